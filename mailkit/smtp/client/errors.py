"""What can go wrong with a message, besides the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailkit.client.errors import ClientError

if TYPE_CHECKING:
    from mailkit.smtp.client.results import SendResult


class SendFailed(ClientError):
    """No recipient got the message; :attr:`result` tells why, each by itself."""

    default_text = "No recipient was accepted"

    def __init__(self, result: SendResult) -> None:
        worst = result.outcomes[0]
        text = "; ".join(
            f"<{outcome.recipient.path}>: {outcome.text}" for outcome in result.outcomes[:5]
        )
        if len(result.outcomes) > 5:
            text += f"; and {len(result.outcomes) - 5} more"
        super().__init__(text, command=worst.command)
        self.result = result
        self.code, self.enhanced = worst.code, worst.enhanced
        # One that may still succeed makes it worth while to try again.
        self.temporary = any(outcome.temporary for outcome in result.outcomes)
