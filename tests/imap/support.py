"""A server on a string transport, and a client that reads whole responses."""

from __future__ import annotations

import queue
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import AccountExists
from mailkit.imap.protocol import IMAPFactory, IMAPProtocol
from mailkit.interfaces import IMailAccount
from mailkit.model import AppendMessage
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.store.sqlite import SQLiteStore, StoreSettings
from mailkit.store.sqlite.check import check_store

USER = "ann@example.org"
PASSWORD = b"secret"
_T = TypeVar("_T")
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


#: Seconds that a test waits for a store's threads.
PATIENCE = 60.0


class StoreReactor:
    """What a store needs of a reactor; its threads are waited for where a test says so."""

    #: Those of the stores that are open.
    running: list[StoreReactor] = []

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = (
            queue.SimpleQueue()
        )
        self.callLater = clock.callLater

    def callFromThread(self, callable: Callable[..., object], *args: Any) -> None:  # noqa: N802
        self._calls.put((callable, args))

    def run_until(self, done: Callable[[], bool]) -> bool:
        """Run what threads want to be run; ends with nothing left to run.

        :returns: whether there was anything.
        """
        ran = False
        # What was begun before this, in the turn that ends here.
        self._clock.advance(0)
        while not done() or not self._calls.empty():
            ran = True
            # What only gives way to others is not waiting for a thread.
            if not (self._calls.empty() and self._is_due()):
                function, arguments = self._calls.get(timeout=PATIENCE)
                function(*arguments)
            self._clock.advance(0)
        return ran

    def _is_due(self) -> bool:
        now = self._clock.seconds()
        return any(call.getTime() <= now for call in self._clock.getDelayedCalls())


def now(awaitable: Awaitable[_T]) -> _T:
    """The result of something that does not wait, but for the threads of a store."""
    results: list[Any] = []
    Deferred.fromCoroutine(awaitable).addBoth(results.append)  # type: ignore[arg-type]
    for reactor in StoreReactor.running:
        reactor.run_until(lambda: bool(results))
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result  # type: ignore[no-any-return]


class Realm:
    """Gives one account to everybody."""

    def __init__(self, account: object) -> None:
        self.account = account
        self.logouts = 0

    def requestAvatar(self, avatar_id: object, mind: object, *interfaces: object) -> Any:
        assert IMailAccount in interfaces

        def logout() -> None:
            self.logouts += 1

        return IMailAccount, self.account, logout


class Server:
    """A factory on a clock, with one account in a store: the memory store, if no other is given."""

    def __init__(
        self, account: Any = None, store: Any = None, clock: Clock | None = None, **settings: Any
    ) -> None:
        if clock is None:
            clock = Clock()
            clock.advance(1_000_000_000)
        self.clock = clock
        #: Closes what the store has open.
        self.close: Callable[[], None] = lambda: None
        self.store = store or MemoryStore(self.clock)
        if account is None:
            with suppress(AccountExists):
                now(self.store.add_account(name=USER))
            account = now(self.store.open_account(name=USER))
        self.account: Any = account
        checker = InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(USER.encode(), PASSWORD)
        self.realm = Realm(self.account)
        self.factory = IMAPFactory(Portal(self.realm, [checker]), clock=self.clock, **settings)

    def connect(self, host: str = "127.0.0.1") -> Client:
        """A connection that has been greeted."""
        return Client(self, host)

    def login(self, *commands: str) -> Client:
        """A connection that is logged in and has sent some commands."""
        client = self.connect()
        client.command(f"LOGIN {USER} {PASSWORD.decode()}")
        for command in commands:
            client.command(command)
        return client

    def add(self, *messages: bytes, mailbox: str = "INBOX", flags: str = "") -> list[int]:
        """Put messages into a mailbox behind everybody's back."""
        box = now(self.account.open_mailbox(name=mailbox))
        appended = [
            AppendMessage(Spool.from_bytes(message), frozenset(flags.split()))
            for message in messages
        ]
        return list(now(box.append(messages=appended)).uids)

    def mailbox(self, name: str = "INBOX") -> Any:
        return now(self.account.open_mailbox(name=name))


class ServerTestCase(SynchronousTestCase):
    """Makes servers: on the memory store, and in a subclass with ``sqlite = True`` on the other one."""

    sqlite = False

    def make_server(self, **settings: Any) -> Server:
        if not self.sqlite:
            return Server(**settings)
        self.directory = tempfile.mkdtemp(prefix="mailkit-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        return self._open(**settings)

    def reopen(self, server: Server) -> Server:
        """Another server on the same store, which is whole in between; memory is not kept."""
        server.close()
        self.assertEqual(check_store(self.directory).problems, [])
        return self._open()

    def _open(self, **settings: Any) -> Server:
        clock = Clock()
        clock.advance(1_000_000_000)
        reactor = StoreReactor(clock)
        quiet = StoreSettings(maintenance_interval=1e9)
        store = SQLiteStore(self.directory, reactor=reactor, clock=clock, settings=quiet)
        store.open()
        StoreReactor.running.append(reactor)
        server = Server(store=store, clock=clock, **settings)

        def close() -> None:
            if reactor in StoreReactor.running:
                now(store.close())
                StoreReactor.running.remove(reactor)

        server.close = close
        self.addCleanup(close)
        return server


class Transport(StringTransport):
    """Says where the client is, and counts writes."""

    def __init__(self, host: str) -> None:
        super().__init__(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 143),
            peerAddress=IPv4Address("TCP", host, 50000),
        )
        self.writes = 0
        self.aborting = False
        #: Octets that wait for the client when the protocol is told to pause; None for never.
        self.limit: int | None = None
        self.paused = False

    def abortConnection(self) -> None:  # noqa: N802
        self.aborting = True
        super().abortConnection()

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)
        if self.limit is not None and len(self.value()) > self.limit and not self.paused:
            self.paused = True
            self.producer.pauseProducing()

    def resume(self) -> None:
        """The client has read everything."""
        if self.paused:
            self.paused = False
            self.producer.resumeProducing()


class Client:
    """One connection."""

    def __init__(self, server: Server, host: str = "127.0.0.1") -> None:
        self.server = server
        self.transport = Transport(host)
        self.protocol: IMAPProtocol = server.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.greeting = self.take()
        self._tags = 0

    def take(self) -> bytes:
        """What the server has sent since the last time."""
        data = self.transport.value()
        self.transport.clear()
        return data

    def read(self) -> bytes:
        """Take what the server has sent, and let it go on."""
        data = self.take()
        self.transport.resume()
        self.server.clock.advance(0)
        return data

    def send(self, data: bytes, *, turn: bool = True) -> bytes:
        """Send octets and take what comes back."""
        self.protocol.dataReceived(data)
        if turn:
            self.server.clock.advance(0)
            for reactor in StoreReactor.running:
                reactor.run_until(self._is_still)
        return self.take()

    def _is_still(self) -> bool:
        """The server waits for this client, not for a store."""
        return self.protocol._running is None or self.protocol._output_paused

    def command(self, text: str | bytes) -> list[bytes]:
        """Send a command with a tag; gives the responses, the tagged one without its tag."""
        if isinstance(text, str):
            text = text.encode("utf-8")
        self._tags += 1
        tag = b"t%d" % self._tags
        lines = split_responses(self.send(tag + b" " + text + b"\r\n"))
        if lines and lines[-1].startswith(tag + b" "):
            lines[-1] = lines[-1][len(tag) + 1 :]
        return lines

    def lose(self) -> None:
        """The connection breaks."""
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.protocol.connectionLost(Failure(ConnectionLost()))

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting or self.transport.aborting


def split_responses(data: bytes) -> list[bytes]:
    """Responses without their last CRLF; literals stay inside."""
    responses = []
    current = b""
    position = 0
    while position < len(data):
        end = data.index(b"\r\n", position) + 2
        current += data[position:end]
        position = end
        literal = _LITERAL.search(current)
        if literal is not None:
            size = int(literal.group(1))
            current += data[position : position + size]
            position += size
        else:
            responses.append(current[:-2])
            current = b""
    assert not current, current
    return responses
