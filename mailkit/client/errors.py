"""What can go wrong between a client and its server."""

from __future__ import annotations

from typing import Protocol

from mailkit.errors import MailError


class ServerReply(Protocol):
    """A reply with a code of three digits."""

    @property
    def code(self) -> int: ...

    @property
    def enhanced(self) -> str: ...

    @property
    def text(self) -> str: ...


class ClientError(MailError):
    """A connection cannot be made or used.

    :ivar code: reply code of the server, or 0 when it said nothing or its protocol has none.
    :ivar enhanced: enhanced status code (RFC 3463): the server's, or ours where it gave none.
    :ivar command: what was under way: ``connect``, ``greeting``, ``TLS``, or the name of a command.
    """

    default_text = "The mail server cannot be used"
    temporary = True
    default_enhanced = "4.4.2"

    def __init__(
        self, text: str = "", *, command: str = "", reply: ServerReply | None = None
    ) -> None:
        super().__init__(text)
        self.command = command
        self.reply = reply
        self.code = reply.code if reply else 0
        self.enhanced = self.default_enhanced
        if reply is not None:
            # A refusal before any message leaves another attempt, or another host, possible.
            self.temporary = reply.code < 500
            if reply.code >= 400:
                self.enhanced = reply.enhanced or ("4.3.0" if self.temporary else "5.3.0")


class ConnectFailed(ClientError):
    """There is no connection to the server."""

    default_text = "The mail server cannot be reached"
    default_enhanced = "4.4.1"


class ConnectionLost(ClientError):
    """The server ended the connection."""

    default_text = "The mail server closed the connection"


class TimedOut(ClientError):
    """The server said nothing, or took nothing, for too long."""

    default_text = "The mail server did not answer in time"


class ProtocolError(ClientError):
    """What the server says is not of the protocol, or not what may come now."""

    default_text = "The mail server does not speak the protocol"
    default_enhanced = "4.5.0"


class ServiceRefused(ClientError):
    """The server does not want us: its greeting, or a farewell that nobody asked for."""

    default_text = "The mail server refuses to serve"
    default_enhanced = "4.3.2"


class TLSFailed(ClientError):
    """No connection as secure as the policy wants (RFC 3207, RFC 8689 section 4.2.1).

    :ivar result_type: what TLS reports call that (RFC 8460 section 4.3).
    :ivar untried: there are other addresses, where nobody knows what the certificate will be.
    """

    untried = False

    default_text = "The connection cannot be secured"
    default_enhanced = "4.7.5"

    def __init__(
        self,
        text: str = "",
        *,
        command: str = "",
        reply: ServerReply | None = None,
        result_type: str = "validation-failure",
    ) -> None:
        super().__init__(text, command=command, reply=reply)
        self.result_type = result_type


class TrustUnreadable(TLSFailed):
    """The file of certificates to trust cannot be read: that says nothing of the server."""

    default_text = "Cannot read the certificates to trust"
    # RFC 3463 section 3.4: system incorrectly configured.
    default_enhanced = "4.3.5"


class AuthFailed(ClientError):
    """The server did not take the login, or there is no safe way to log in."""

    default_text = "The mail server did not accept the login"
    default_enhanced = "5.7.8"
    temporary = False
