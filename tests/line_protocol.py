"""A little protocol on the loop that all protocols share, and what its tests need."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer

from mailkit.connection import (
    CHUNK,
    CommandConnection,
    CommandFactory,
)
from mailkit.errors import AuthenticationFailed, AuthorizationFailed
from mailkit.sasl.plain import with_password


class IThing(Interface):
    """What the tests log in for."""


class LineConnection(CommandConnection):
    """A little protocol: a command a line."""

    protocol_name = "lines"
    factory: LineFactory

    def greet(self) -> None:
        self.write(b"hello\n")

    def next_command(self) -> bytes | None:
        line = self.buffer.take_line(1000)
        if line == b"UNREADABLE":
            raise RuntimeError("bug in the reader")
        return line

    def run_command(self, command: bytes) -> Coroutine[Any, Any, None] | None:
        verb, _, rest = command.partition(b" ")
        match verb:
            case b"ECHO":
                self.write(rest + b"\n")
            case b"FAIL":
                raise RuntimeError("bug")
            case b"QUIT":
                self.write(b"bye\n")
                self.close(asked_for=True)
            case b"ABORT":
                self.abort()
            case b"TLS":
                self.write(b"go ahead\n")
                self.start_tls()
            case _:
                return self.wait(verb, rest)
        return None

    async def wait(self, verb: bytes, rest: bytes) -> None:
        match verb:
            case b"SLOW":
                result = await self.factory.slow(rest)
                self.write(rest + result + b"\n")
            case b"READY":
                await succeed(None)
                self.write(rest + b"\n")
            case b"ASYNC":
                self.write(rest + b"\n")
            case b"FAILSLOW":
                await self.factory.slow(rest)
                raise RuntimeError("bug")
            case b"BIG":
                for _ in range(int(rest)):
                    await self.drain()
                    self.write(b"x" * CHUNK)
                self.write(b"done\n")
            case b"LOGIN":
                await self.log_in(*rest.split(b" "))

    async def log_in(self, username: bytes, password: bytes, identity: bytes = b"") -> None:
        success = with_password(username.decode(), password, identity.decode())
        try:
            avatar = await self.login(success, IThing)
        except AuthenticationFailed:
            self.write(b"wrong\n")
        except AuthorizationFailed:
            self.write(b"not for them\n")
        else:
            self.write(f"welcome {avatar}\n".encode())
        if self.logins_exhausted:
            self.close()

    def command_failed(self) -> None:
        self.write(b"sorry\n")

    def timed_out(self) -> None:
        self.write(b"too slow\n")

    def refuse(self) -> None:
        self.write(b"too many\n")

    def say_goodbye(self) -> None:
        self.write(b"going down\n")

    def closed(self) -> None:
        self.factory.events.append("closed")


@implementer(IRealm)
class Realm:
    """Avatars are the users' names."""

    def __init__(self, events: list[str]) -> None:
        self.events = events
        self.gate: Deferred[None] | None = None

    def requestAvatar(self, user: bytes, mind: Any, *interfaces: Any) -> Any:
        return Deferred.fromCoroutine(self.find(user, mind, interfaces[0]))

    async def find(self, user: bytes, mind: Any, interface: Any) -> Any:
        self.events.append(f"{mind.protocol} login {user.decode()}")
        if self.gate is not None:
            await self.gate
        return interface, user.decode(), lambda: self.events.append(f"logout {user.decode()}")


class LineFactory(CommandFactory):
    connection_class = LineConnection

    def __init__(self, clock: Clock | None = None, **settings: Any) -> None:
        self.events: list[str] = []
        self.waiting: dict[bytes, Deferred[bytes]] = {}
        self.realm = Realm(self.events)
        checker = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret", bob=b"hidden")
        self.test_clock = clock or Clock()
        super().__init__(Portal(self.realm, [checker]), clock=self.test_clock, **settings)

    def slow(self, name: bytes) -> Deferred[bytes]:
        def cancelled(_: Any) -> None:
            self.events.append(f"cancelled {name.decode()}")

        return self.waiting.setdefault(name, Deferred(cancelled))


class Transport(StringTransport):
    """Counts writes, and says like a real one when its buffer is full."""

    limit = 1 << 62

    def __init__(self, host: str = "192.0.2.1") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 54321))
        self.writes: list[bytes] = []
        self.tls: Any = None
        self.aborting = False

    def write(self, data: bytes) -> None:
        super().write(data)
        self.writes.append(data)
        if len(self.value()) > self.limit and self.producer is not None:
            self.producer.pauseProducing()

    def read(self) -> bytes:
        """What the client reads: all that there is."""
        data = self.value()
        self.clear()
        self.writes.clear()
        if len(data) > self.limit and self.producer is not None:
            self.producer.resumeProducing()
        return data

    def abortConnection(self) -> None:  # noqa: N802
        self.aborting = True

    def startTLS(self, context: Any) -> None:  # noqa: N802
        self.tls = context

    @property
    def paused(self) -> bool:
        return self.producerState == "paused"


class ConnectionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.factory = LineFactory()
        self.clock = self.factory.test_clock

    def connect(self, transport: Transport | None = None) -> tuple[LineConnection, Transport]:
        """A new connection, its greeting read."""
        transport = transport or Transport()
        connection = self.factory.buildProtocol(transport.getPeer())
        connection.makeConnection(transport)
        return connection, transport

    def talk(self) -> tuple[LineConnection, Transport]:
        connection, transport = self.connect()
        self.assertEqual(transport.read(), b"hello\n")
        return connection, transport

    def lose(self, connection: LineConnection) -> None:
        connection.connectionLost(Failure(ConnectionDone()))

    def bugs(self, count: int) -> None:
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), count)
