"""What can go wrong with a command, besides the connection."""

from __future__ import annotations

from mailkit.client.errors import AuthFailed, ClientError, ProtocolError, ServiceRefused
from mailkit.imap.client.values import ResponseCode


class Answered:
    """The server answered NO, BAD or BYE.

    :ivar response_code: what stands in brackets before the text (RFC 9051 section 7.1, RFC 5530).
    """

    response_code: ResponseCode | None

    @property
    def code_name(self) -> str:
        """Name of the response code in capitals: ``NONEXISTENT``, ``OVERQUOTA``; or nothing."""
        return self.response_code.name if self.response_code else ""

    @property
    def referrals(self) -> tuple[str, ...]:
        """URLs of where to try instead (RFC 2221, RFC 2193)."""
        return self.response_code.referrals if self.response_code else ()


class FarewellSaid(Answered, ServiceRefused):
    """The server said BYE: at once, or when nobody had asked it to."""

    def __init__(
        self, text: str = "", *, command: str = "", response_code: ResponseCode | None = None
    ) -> None:
        super().__init__(text, command=command)
        self.response_code = response_code


class CommandFailed(Answered, ClientError):
    """The server answered NO or BAD."""

    default_text = "The mail server did not do it"
    temporary = False

    def __init__(
        self, text: str = "", *, command: str = "", response_code: ResponseCode | None = None
    ) -> None:
        super().__init__(text, command=command)
        self.response_code = response_code
        if self.code_name in _TEMPORARY:
            self.temporary = True


class LoginRefused(Answered, AuthFailed):
    """The server answered the login with NO or BAD.

    Where it is ``temporary`` (``UNAVAILABLE``, ``LIMIT``, ...) the password may still be right.
    """

    def __init__(self, text: str, failure: CommandFailed) -> None:
        super().__init__(text, command=failure.command)
        self.response_code = failure.response_code
        self.temporary = failure.temporary


class Refused(CommandFailed):
    """NO: the server understands the command and does not carry it out."""


class NotUnderstood(CommandFailed):
    """BAD: the server does not know the command, or not in this form or state."""

    default_text = "The mail server did not understand the command"


class NotOffered(CommandFailed):
    """The server does not announce the extension that this needs; nothing was sent."""

    default_text = "The mail server cannot do that"


class NumbersChanged(ClientError):
    """Messages have gone before the command could be sent, so that its numbers are wrong."""

    default_text = "The message numbers have changed; ask again"


class ResponseTooLarge(ProtocolError):
    """A response to the command was larger than the limits allow, and was passed over.

    The command itself may have been carried out, and the connection can be used. See
    :class:`~mailkit.imap.client.ResponseLimits`.
    """

    default_text = "A response of the mail server is too large"
    temporary = False


def too_large(what: str, limit: str) -> ResponseTooLarge:
    """The error for a response.

    :param what: it has.
    :param limit: of ResponseLimits, by name.
    """
    return ResponseTooLarge(f"A response of the mail server has {what} (ResponseLimits.{limit})")


class WrongState(ClientError):
    """No mailbox is selected, or the connection is in another state than this needs."""

    default_text = "That is not possible in this state of the connection"
    temporary = False


# RFC 5530 section 3 and RFC 9051 section 7.1: what may succeed when it is tried again.
_TEMPORARY = frozenset(("UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "OVERQUOTA"))
