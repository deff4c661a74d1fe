"""What both drivers do with connections: open one, and send one message."""

from __future__ import annotations

from dataclasses import replace

from mailkit.client.connecting import Connector, open_by_policy
from mailkit.client.errors import ClientError
from mailkit.model import Envelope
from mailkit.smtp.client.content import Content
from mailkit.smtp.client.errors import SendFailed
from mailkit.smtp.client.results import RecipientOutcome, SendResult
from mailkit.smtp.client.session import Session
from mailkit.smtp.client.settings import ClientSettings

#: Connections that one message is sent over, where a server limits transactions.
MAX_CONNECTIONS = 100


async def open_session(connector: Connector, settings: ClientSettings) -> Session:
    """Connect and open a session as the settings want it.

    :raises ClientError: that cannot be done.
    """
    return await open_by_policy(connector, settings, Session)


async def send_message(
    connector: Connector, settings: ClientSettings, envelope: Envelope, content: Content
) -> SendResult:
    """Connect, send, quit; again for recipients that a server's limits have left over.

    :raises ClientError: nobody got the message; :class:`SendFailed` where the server said why.
    """
    result: SendResult | None = None
    pending = list(range(len(envelope.recipients)))
    outcomes: dict[int, RecipientOutcome] = {}
    for _ in range(MAX_CONNECTIONS):
        try:
            session = await open_session(connector, settings)
        except ClientError:
            if result is None:
                raise
            # The outcomes that are there say what is left over.
            break
        part = replace(envelope, recipients=[envelope.recipients[index] for index in pending])
        result = await session.send(part, content)
        await session.quit()
        outcomes.update(zip(pending, result.outcomes, strict=True))
        left = [index for index in pending if not outcomes[index].attempted]
        if not left or len(left) == len(pending):
            break
        pending = left
    assert result is not None
    result.outcomes = [outcomes[index] for index in range(len(envelope.recipients))]
    if not result.accepted:
        raise SendFailed(result)
    return result
