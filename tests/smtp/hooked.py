"""A hook whose answers the tests give, now or later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from zope.interface import alsoProvides

from mailkit.hooks import HeaderField, Step
from mailkit.model import Envelope, Outcome, Recipient
from mailkit.smtp.hooks import HookSettings
from mailkit.spool import Spool
from tests.certificates import authority, make_client
from tests.smtp.fakes import Server

MESSAGE = b"Subject: hello\r\nX-Loop: one\r\n\r\nbody\r\n"


class ScriptedHook:
    """Answers each step as ``answers`` says: with a value, an exception, or a Deferred."""

    def __init__(self, name: str = "", **answers: Any) -> None:
        self.name = name
        self.answers = answers
        self.timeouts: dict[Step, float] = {}
        self.calls: list[str] = []
        self.seen: dict[str, Any] = {}

    def _ask(self, step: str, **arguments: Any) -> Any:
        self.calls.append(step)
        self.seen |= arguments
        answer = self.answers.get(step)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, step: str) -> Deferred[Any]:
        """Let a step wait for the Deferred that this gives."""
        gate: Deferred[Any] = Deferred()
        self.answers[step] = gate
        return gate

    def connect(self, session: Any) -> Any:
        return self._ask("connect", session=session)

    def ehlo(self, session: Any) -> Any:
        return self._ask("ehlo", helo=session.helo)

    def auth(self, session: Any) -> Any:
        return self._ask("auth", account=session.account)

    def mail(self, session: Any, envelope: Envelope) -> Any:
        return self._ask("mail", envelope=envelope)

    def rcpt(self, session: Any, envelope: Envelope, recipient: Recipient) -> Any:
        return self._ask("rcpt", recipient=recipient)

    def header(self, session: Any, envelope: Envelope, fields: Sequence[HeaderField]) -> Any:
        return self._ask("header", fields=list(fields))

    def message(self, session: Any, envelope: Envelope, message: Spool) -> Any:
        with message.open() as file:
            return self._ask("message", message=file.read())

    def delivered(self, session: Any, envelope: Envelope, outcomes: Sequence[Outcome]) -> Any:
        return self._ask("delivered", outcomes=list(outcomes))

    def disconnect(self, session: Any) -> Any:
        return self._ask("disconnect", session=session)


class HookedServer(Server):
    """A server with hooks."""

    def __init__(self, *hooks: object, **settings: Any) -> None:
        names = {name: settings.pop(name) for name in HookSettings._fields if name in settings}
        super().__init__(hooks=hooks, hook_settings=HookSettings(**names), **settings)

    def send_message(self, content: bytes = MESSAGE) -> bytes:
        """The content and its end, after the 354."""
        return self.send(content + b".\r\n")

    def whole(self, content: bytes = MESSAGE) -> bytes:
        """A whole transaction after the greeting, in one piece."""
        return self.send(
            b"EHLO client.example\r\nMAIL FROM:<ann@example.net>\r\nRCPT TO:<bob@example.org>\r\n"
            b"DATA\r\n" + content + b".\r\nNOOP\r\n"
        )


def codes(octets: bytes) -> list[str]:
    """The last line of each reply, without the text."""
    lines = octets.decode().splitlines()
    return [" ".join(line.split(" ")[:2]) for line in lines if line[3:4] == " "]


class Handle:
    """What OpenSSL knows of a connection."""

    def get_protocol_version_name(self) -> str:
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        return "TLS_AES_256_GCM_SHA384"

    def get_cipher_bits(self) -> int:
        return 256


class _Certificate:
    def __init__(self, name: str) -> None:
        self._name = name

    def to_cryptography(self) -> Any:
        return make_client(name=self._name).certificate


def encrypt(server: Server, client: str = "") -> str:
    """Begin TLS, and say EHLO then.

    :param client: whose certificate the client has.
    :returns: the name of its authority.
    """
    server.say("STARTTLS")
    transport: Any = server.transport
    alsoProvides(transport, ISSLTransport)
    transport.getHandle = Handle
    transport.getPeerCertificate = lambda: _Certificate(client) if client else None
    server.greet()
    return authority().certificate.subject.rfc4514_string().removeprefix("CN=")
