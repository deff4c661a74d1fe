"""SASL exchanges over IMAP, POP3 and submission, in one language for all."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, cast

from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mailkit.connection import CommandConnection, CommandFactory
from mailkit.imap.protocol import IMAPFactory
from mailkit.pop3.protocol import POP3Factory
from mailkit.smtp.protocol import SMTPFactory


class Answer(NamedTuple):
    """What the server says."""

    #: ``challenge``, ``in`` or ``out``; empty while it says nothing.
    kind: str
    #: The challenge, or the line.
    octets: bytes = b""


class Dialogue(ABC):
    """A client on a connection to a server of some protocol."""

    #: How it begins an exchange, and how challenges, success and failure begin.
    command = b""
    challenge = success = b""

    def __init__(self, portal: Portal, *, host: str = "127.0.0.1", **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        self.factory = self.make_factory(portal, clock=self.clock, **settings)
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", host, 50000))
        self.connection: CommandConnection = cast(Any, self.factory).buildProtocol(None)
        self.connection.makeConnection(self.transport)
        self.greeting = self.transport.value()
        self.greet()

    @abstractmethod
    def make_factory(self, portal: Portal, **settings: Any) -> CommandFactory:
        """A server."""

    def greet(self) -> None:
        self.transport.clear()

    def send(self, line: bytes) -> bytes:
        self.transport.clear()
        self.connection.dataReceived(line + b"\r\n")
        return self.transport.value()

    def begin(self, name: str, initial: bytes | None = None) -> Answer:
        """Begin an exchange; the response is not encoded yet."""
        line = self.command + name.encode("ascii")
        if initial is not None:
            line += b" " + (base64.b64encode(initial) or b"=")
        return self.say(line)

    def respond(self, response: bytes) -> Answer:
        """Send a response."""
        return self.say(base64.b64encode(response))

    def say(self, line: bytes) -> Answer:
        """Send a line as it is."""
        self.send(line)
        return self.answer()

    def later(self) -> Answer:
        """What comes once the delay after a failed login is over."""
        self.clock.advance(8)
        return self.answer()

    def answer(self) -> Answer:
        said = self.transport.value()
        if not said:
            return Answer("")
        line = said.splitlines()[-1]
        if line.startswith(self.challenge):
            return Answer("challenge", base64.b64decode(line[len(self.challenge) :]))
        return Answer("in" if line.startswith(self.success) else "out", line)

    @abstractmethod
    def offered(self) -> list[str]:
        """The mechanisms that the server announces."""

    @property
    @abstractmethod
    def logged_in(self) -> bool:
        """Somebody is."""

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))


class IMAPDialogue(Dialogue):
    command = b"a AUTHENTICATE "
    challenge, success = b"+ ", b"a OK "

    def make_factory(self, portal: Portal, **settings: Any) -> CommandFactory:
        return IMAPFactory(portal, **settings)

    def offered(self) -> list[str]:
        words = self.send(b"c CAPABILITY").decode().splitlines()[0].split()
        return [word.removeprefix("AUTH=") for word in words if word.startswith("AUTH=")]

    @property
    def logged_in(self) -> bool:
        return b"\r\nb OK" in b"\r\n" + self.send(b"b NAMESPACE")


class POP3Dialogue(Dialogue):
    command = b"AUTH "
    challenge, success = b"+ ", b"+OK "

    def make_factory(self, portal: Portal, **settings: Any) -> CommandFactory:
        return POP3Factory(portal, **settings)

    def offered(self) -> list[str]:
        lines = self.send(b"CAPA").decode().splitlines()
        return next((line.split()[1:] for line in lines if line.startswith("SASL ")), [])

    @property
    def logged_in(self) -> bool:
        return self.send(b"STAT").startswith(b"+OK ")


class SMTPDialogue(Dialogue):
    command = b"AUTH "
    challenge, success = b"334 ", b"235 "

    def make_factory(self, portal: Portal, **settings: Any) -> CommandFactory:
        return SMTPFactory(portal, hostname="mx.example.org", **settings)

    def greet(self) -> None:
        self.send(b"EHLO client.example.net")

    def offered(self) -> list[str]:
        lines = self.send(b"EHLO client.example.net").decode().splitlines()
        return next((line.split()[1:] for line in lines if line[4:].startswith("AUTH ")), [])

    @property
    def logged_in(self) -> bool:
        return cast(Any, self.connection).session.account is not None


DIALOGUES: tuple[type[Dialogue], ...] = (IMAPDialogue, POP3Dialogue, SMTPDialogue)
