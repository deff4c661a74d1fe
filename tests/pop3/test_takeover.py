"""Maildrops whose session's client is gone, or silent."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.interfaces import IProcessChannel, IProcessLocks
from mailkit.pop3.liveness import PROBE_SECONDS, PROBES, end_probe, probe
from mailkit.pop3.neighbours import LOOK_SECONDS, SETTLE_SECONDS
from tests.pop3.fakes import Client, FakeWritableMailbox, Server

BUSY = b"-ERR [IN-USE] Another session has this maildrop open\r\n"


class SilenceTests(SynchronousTestCase):
    """``takeover``."""

    def setUp(self) -> None:
        self.mailbox = FakeWritableMailbox(b"one", b"two")
        self.server = Server(self.mailbox, takeover=120)

    def ask_password(self) -> bytes:
        client = self.server.connect()
        client.ask(b"USER ann")
        return client.ask(b"PASS secret")

    def test_a_silent_session_gives_way(self) -> None:
        old = self.server.login()
        old.ask(b"DELE 1")
        self.server.clock.advance(119)
        self.assertEqual(self.ask_password(), BUSY)
        self.server.clock.advance(1)
        self.assertTrue(self.ask_password().startswith(b"+OK"))
        self.assertTrue(old.closed)
        self.assertEqual(old.read(), b"")
        # Nothing is removed, and the end of the old one does not free the lock of the new one.
        old.lose()
        self.assertEqual(self.mailbox.expunged, [])
        self.assertEqual(self.ask_password(), BUSY)

    def test_a_session_that_speaks_does_not(self) -> None:
        old = self.server.login()
        self.server.clock.advance(100)
        old.ask(b"NOOP")
        self.server.clock.advance(100)
        self.assertEqual(self.ask_password(), BUSY)

    def test_a_session_at_work_does_not(self) -> None:
        old = self.server.login()
        self.mailbox.slow.add("open_message")
        old.ask(b"RETR 1")
        self.server.clock.advance(500)
        self.assertEqual(self.ask_password(), BUSY)


class Socket:
    """Notes what it is told."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.options: dict[int, int] = {}

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.options[name] = value


class GoneTests(SynchronousTestCase):
    """A client that is gone, as TCP finds out."""

    def setUp(self) -> None:
        self.mailbox = FakeWritableMailbox(b"one")
        self.server = Server(self.mailbox)
        self.old = self.server.login()
        self.socket: Any = Socket()
        self.old.transport.socket = self.socket  # type: ignore[attr-defined]

    def start(self) -> Client:
        client = self.server.connect()
        client.ask(b"USER ann")
        self.assertEqual(client.ask(b"PASS secret"), b"")
        return client

    def test_its_maildrop_is_free_as_soon_as_that_is_known(self) -> None:
        client = self.start()
        self.assertEqual(self.socket.options[socket.TCP_KEEPIDLE], 1)
        self.assertEqual(self.socket.options[socket.TCP_KEEPCNT], PROBES)
        self.assertEqual(self.socket.options[socket.TCP_USER_TIMEOUT], 3000)
        self.server.clock.advance(PROBE_SECONDS - 1)
        self.assertEqual(client.read(), b"")
        self.old.lose()
        self.server.clock.advance(0)
        self.assertTrue(client.read().startswith(b"+OK Logged in"))
        self.assertEqual(client.ask(b"STAT"), b"+OK 1 3\r\n")

    def test_one_that_is_there_keeps_it(self) -> None:
        client = self.start()
        self.server.clock.advance(PROBE_SECONDS)
        self.assertEqual(client.read(), BUSY)
        self.assertGreater(self.socket.options[socket.TCP_KEEPIDLE], 10)
        self.assertEqual(self.old.ask(b"NOOP"), b"+OK\r\n")

    def test_one_that_quits_leaves_it(self) -> None:
        client = self.start()
        self.old.ask(b"QUIT")
        self.assertTrue(client.read().startswith(b"+OK"))

    def test_of_many_that_wait_one_gets_it(self) -> None:
        clients = [self.start() for _ in range(3)]
        self.old.lose()
        answers = [client.read() for client in clients]
        self.assertEqual(sorted(bool(answer) for answer in answers), [False, False, True])

    def test_one_that_waits_may_give_up(self) -> None:
        client = self.start()
        client.lose()
        self.old.lose()
        other = self.server.connect()
        other.ask(b"USER ann")
        self.assertTrue(other.ask(b"PASS secret").startswith(b"+OK"))


class SocketTests(SynchronousTestCase):
    def test_a_socket_below_layers(self) -> None:
        class Layer:
            def __init__(self, transport: Any) -> None:
                self.transport = transport

        class Transport:
            socket = socket.socket()

        self.addCleanup(Transport.socket.close)
        self.assertTrue(probe(Layer(Layer(Transport()))))
        option = (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        self.assertEqual(Transport.socket.getsockopt(*option), 1)
        end_probe(Layer(Transport()))
        self.assertEqual(Transport.socket.getsockopt(*option), 60)

    def test_what_is_no_socket_of_tcp(self) -> None:
        class Transport:
            socket = socket.socket(socket.AF_UNIX)

        self.addCleanup(Transport.socket.close)
        self.assertFalse(probe(Transport()))
        self.assertFalse(probe(object()))
        self.assertFalse(probe(None))


class Names:
    """The locks and the messages of the processes that have one store."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.stores: list[ProcessStore] = []
        self.alone: list[Callable[[], None]] = []


@implementer(IProcessChannel, IProcessLocks)
class ProcessStore:
    """A store as one of its processes has it."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.listeners: list[Callable[[Any], None]] = []
        names.stores.append(self)

    def try_lock(self, name: str) -> Callable[[], None] | None:
        if name in self.names.taken:
            return None
        self.names.taken.add(name)
        return lambda: self.names.taken.discard(name)

    def when_shared(self, callback: Callable[[], None]) -> Callable[[], None]:
        if len(self.names.stores) > 1:
            callback()
        else:
            self.names.alone.append(callback)
        return lambda: None

    def others_know(self) -> bool:
        return True

    def send_message(self, topic: str, message: Any) -> None:
        for store in self.names.stores:
            if store is not self:
                for listener in list(store.listeners):
                    listener(message)

    def listen(self, topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback)


class ProcessTests(SynchronousTestCase):
    """Two processes with one store: what one of them has, the other one wants."""

    def start(self, **settings: Any) -> Client:
        """Have a session in the first process.

        :param settings: of both.
        """
        names = Names()
        self.servers = [Server(FakeWritableMailbox(b"one"), **settings) for _ in range(2)]
        self.ends = [
            server.factory.neighbours.share(ProcessStore(names)) for server in self.servers
        ]
        old = self.servers[0].login()
        self.socket: Any = Socket()
        old.transport.socket = self.socket  # type: ignore[attr-defined]
        return old

    def ask_password(self) -> Client:
        client = self.servers[1].connect()
        client.send(b"USER ann\r\nPASS secret\r\n")
        return client

    def advance(self, seconds: float) -> None:
        for server in self.servers:
            server.clock.advance(seconds)

    def test_the_process_that_has_it_asks_its_client(self) -> None:
        old = self.start()
        new = self.ask_password()
        self.assertEqual(self.socket.options[socket.TCP_KEEPIDLE], 1)
        self.assertTrue(new.read().endswith(b"+OK Now send PASS\r\n"))
        old.lose()
        self.advance(LOOK_SECONDS)
        self.assertTrue(new.read().startswith(b"+OK Logged in"))

    def test_a_client_that_is_there_keeps_it(self) -> None:
        old = self.start()
        new = self.ask_password()
        for _ in range(int(PROBE_SECONDS / LOOK_SECONDS)):
            self.assertNotIn(BUSY, new.read())
            self.advance(LOOK_SECONDS)
        self.assertEqual(new.read(), BUSY)
        self.assertGreater(self.socket.options[socket.TCP_KEEPIDLE], 10)
        self.assertEqual(old.ask(b"NOOP"), b"+OK\r\n")

    def test_it_is_asked_for_as_long_where_the_clock_is_set_forward(self) -> None:
        old = self.start()
        begun = self.servers[1].clock.seconds()
        self.patch(self.servers[1].factory.deadlines, "seconds", lambda: begun)
        new = self.ask_password()
        self.advance(PROBE_SECONDS)
        self.assertNotIn(BUSY, new.read())
        old.lose()
        self.advance(LOOK_SECONDS)
        self.assertTrue(new.read().startswith(b"+OK Logged in"))

    def test_a_silent_session_gives_way(self) -> None:
        old = self.start(takeover=120)
        self.advance(120)
        new = self.ask_password()
        self.advance(LOOK_SECONDS)
        self.assertTrue(new.read().endswith(b" (3 octets)\r\n"))
        self.assertTrue(old.closed)

    def test_the_login_delay_holds_in_both(self) -> None:
        old = self.start(login_delay=60)
        old.ask(b"QUIT")
        self.assertIn(b"-ERR [LOGIN-DELAY]", self.ask_password().read())
        self.advance(60)
        self.assertIn(b"+OK Logged in", self.ask_password().read())

    def test_the_kernel_is_asked_for_maildrops_where_there_are_others(self) -> None:
        names = Names()
        server = Server(FakeWritableMailbox(b"one"))
        end = server.factory.neighbours.share(ProcessStore(names))
        client = server.login()
        # Somebody who is just about to come may have maildrops.
        self.assertEqual(names.taken, {"maildrop ann"})
        server.clock.advance(SETTLE_SECONDS)
        self.assertEqual(names.taken, set())
        names.alone.pop()()
        self.assertEqual(names.taken, {"maildrop ann"})
        client.ask(b"QUIT")
        self.assertEqual(names.taken, set())
        end()

    def test_with_others_it_stays_so(self) -> None:
        self.start()
        self.advance(SETTLE_SECONDS)
        self.assertEqual(len(self.servers[0].factory.locks._held), 1)
        new = self.ask_password()
        self.advance(PROBE_SECONDS)
        self.assertEqual(new.read().count(b"[IN-USE]"), 1)

    def test_nobody_waits_after_the_end(self) -> None:
        server = Server(FakeWritableMailbox(b"one"))
        server.factory.neighbours.share(ProcessStore(Names()))()
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_one_that_does_not_listen_any_more_keeps_it(self) -> None:
        self.start()
        for end in self.ends:
            end()
        new = self.ask_password()
        self.advance(PROBE_SECONDS)
        self.assertIn(BUSY, new.read())
