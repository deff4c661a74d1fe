"""The loop that all protocols share: serial commands, replies in order, limits, TLS, time-outs.

Ordering and locking: one command runs at a time. While it waits, further input stays in the buffer
(and above :attr:`CommandFactory.input_limit` in the client's socket), so replies leave in the order
of the commands and a command is judged in the state that its predecessor left. Replies to pipelined
commands leave in one write. No command begins while the client does not read its replies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol, cast

from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.compression import COMMANDS_A_PIECE
from mailkit.coroutines import Task, pause
from mailkit.deadlines import Deadlines
from mailkit.login import LoginConnection, LoginFactory
from mailkit.model import ConnectionInfo
from mailkit.output import CHUNK as CHUNK
from mailkit.peers import is_loopback, local_of, peer_of
from mailkit.proxy import ToldAddress
from mailkit.sasl import Mechanism
from mailkit.seats import Seats, TryLock
from mailkit.wire.proxy import ToldClient

#: Commands run in one go before other connections get their turn.
COMMANDS_A_TURN = 200
#: Seconds that a long reply may keep the reactor before other connections get their turn.
SECONDS_A_TURN = 0.005


class Cancellable(Protocol):
    """A command at work."""

    def cancel(self) -> None:
        """The connection is gone."""


@implementer(IPushProducer, IHalfCloseableProtocol)
class CommandConnection(LoginConnection, ABC):
    """A server's side of one connection.

    A subclass gives :meth:`greet`, :meth:`next_command`, :meth:`run_command`,
    :meth:`command_failed`, :meth:`timed_out` and :meth:`refuse`. A coroutine that runs a command
    never waits for the client's next octets: :meth:`next_command` reads them, in whatever state the
    command has left (more of a literal, an AUTH response, the DONE of IDLE).
    """

    # Beside the dictionary, as there: see OutputConnection.
    __slots__ = ("_commands_left",)

    log = Logger()
    factory: CommandFactory

    # Before other connections get their turn.
    _commands_left: int

    def __init__(self) -> None:
        LoginConnection.__init__(self)
        self._running: Cancellable | None = None
        self._pumping = False
        self._closing = False
        self._stopping = False
        self._input_ended = False
        self._input_paused = False
        self._gate: Deferred[None] | None = None
        self._output_paused = False
        # The second in which the time is looked at; None for never.
        self._deadline: int | None = None
        self._last_activity = 0.0
        self._turn_started = 0.0
        # Where it came from, at the beginning.
        self._peer = ("", 0)
        # What is known of the connection; forgotten when it may have changed.
        self._info: ConnectionInfo | None = None
        #: Who the client is and where it has connected to, when a trusted proxy tells it.
        self.told: ToldClient | None = None
        self._heard = False

    # What a subclass gives.

    @abstractmethod
    def greet(self) -> Coroutine[Any, Any, None] | None:
        """The connection is up: send the greeting; no command is read before that is done."""

    @abstractmethod
    def next_command(self) -> Any:
        """Take one command from :attr:`buffer`; None when it is not all here yet.

        Called again and again; may consume octets without giving a command.
        """

    @abstractmethod
    def run_command(self, command: Any) -> Coroutine[Any, Any, None] | None:
        """Run a command: at once (returning None), or by a coroutine when it must wait."""

    @abstractmethod
    def command_failed(self) -> None:
        """A bug made the command fail; it is logged already. Write the generic reply."""

    @abstractmethod
    def timed_out(self) -> None:
        """The client was silent too long; say so if the protocol can. The connection closes."""

    def stays_alive(self) -> bool:
        """The client was silent too long: whether the connection goes on all the same."""
        return False

    @abstractmethod
    def refuse(self) -> None:
        """There are too many connections; say so if the protocol can. The connection closes."""

    def command_is_slow(self, seconds: float) -> None:
        """The command at work has had no answer for so many seconds more.

        It goes on: it may be a long search, or a copy of everything, and ends when the client goes.
        """
        self.log.warn("a command of {protocol} from {peer} has been at work for {seconds:.0f} s more",
                      protocol=self.protocol_name, peer=self.info().peer, seconds=seconds)  # fmt: skip

    def idle_timeout(self) -> float:
        """Seconds of silence after which the connection ends, in the state that it is in now."""
        return self.factory.timeout

    # Facts about the connection.

    @property
    @override
    def clock(self) -> IReactorTime:
        return self.factory.clock

    @property
    def closing(self) -> bool:
        """The connection is gone or about to go; nothing more will be read."""
        return self._closing

    @override
    def may_send_plaintext_passwords(self) -> bool:
        """Under TLS, from loopback, or where the operator says so (RFC 4954 section 4)."""
        if self.factory.allow_plaintext_passwords:
            return True
        if self._socket is not None and self.told is None:
            # Nothing stands between us and the client, and nobody tells of another one.
            return is_loopback(self._peer[0])
        if self.encrypted:
            return True
        if self.told is not None and not (self.told.peer and is_loopback(self._peer[0])):
            # However near the client is to its proxy.
            return False
        if self._heard or self.told is not None:
            return is_loopback(self.info().peer)
        return is_loopback(self._peer[0])

    @override
    def info(self) -> ConnectionInfo:
        """Where the connection comes from, as it stands now."""
        if self._info is not None:
            return self._info
        peer, port = self._peer
        if self._socket is None:
            # Somebody between us and the socket may have learnt more since.
            peer, port = peer_of(self.transport)
        local, local_port = local_of(self.transport)
        if self.told is not None:
            peer, port, local, local_port = self.told[0:4]
        info = ConnectionInfo(self.protocol_name, peer, port, local, local_port, self.encrypted)
        if self._heard:
            # Not before: a proxy's first octets may tell another address.
            self._info = info
        return info

    def speak_for(self, client: ToldClient) -> bool:
        """Believe who the client is; false when that one has too many connections."""
        self.told, self._info = client, None
        return self.factory.admit_as(self, client.peer)

    # Called by Twisted.

    @override
    def connectionMade(self) -> None:
        self._touch()
        self._peer = peer_of(self.transport)
        self._write_straight()
        if not self.factory.admit(self, self.told.peer if self.told else self._peer[0]):
            self.refuse()
            self.close()
            return
        # Transports of UNIX sockets have it, and log that it fails.
        if self._peer[0] and hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        self._look_after(self.idle_timeout())
        if (waiting := self.greet()) is not None:
            self._start(waiting)
        self.flush()

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._heard = True
        self._last_activity = self._turn_started = self.factory.deadlines.seconds()
        self.source.feed(data)
        self.pump()

    def readConnectionLost(self) -> None:
        """The client has sent all it will; what is in the buffer is still answered."""
        self._input_ended = True
        self.pump()

    def writeConnectionLost(self) -> None:
        """The client reads no more."""
        self.abort()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = self._closing = True
        self._socket = self._output = None
        if self._deadline is not None:
            self.factory.deadlines.remove(self, self._deadline)
        self.factory.release(self)
        if self._running is not None or self._gate is not None:
            self._cancel()
        self.buffer.clear()
        try:
            self.closed()
        finally:
            if self._logout is not None:
                self._end_login()

    def _cancel(self) -> None:
        """Whatever is at work or waits for the client ends."""
        gate, self._gate = self._gate, None
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        elif gate is not None:
            gate.cancel()

    def closed(self) -> None:
        """The connection is gone; a subclass releases what it holds."""

    # Commands, one after the other.

    def pump(self) -> None:
        """Run the commands that are in the buffer. Does not re-enter."""
        if self._pumping or self._running is not None:
            self._limit_input()
            return
        self._pumping = True
        self._commands_left = COMMANDS_A_TURN
        try:
            while not (self._running or self._output_paused or self._closing or self._stopping):
                if self._commands_left <= 0:
                    self._start(self._next_turn())
                    break
                try:
                    command = self.next_command()
                except Exception:
                    # Nobody knows what has been read of the input: the connection cannot go on.
                    self._log_bug(Failure())
                    self.close()
                    break
                if command is None:
                    if self._deflate is not None and self.inflate():
                        self._commands_left -= COMMANDS_A_PIECE
                        continue
                    if self._input_ended:
                        self.close()
                    break
                self._commands_left -= 1
                try:
                    waiting = self.run_command(command)
                except Exception:
                    # The command has been read whole: the next one can be served.
                    self._log_bug(Failure())
                    continue
                if waiting is not None:
                    self._start(waiting)
        finally:
            self._pumping = False
        if self._stopping and self._running is None and not self._closing:
            self.say_goodbye()
            self.close()
        self.flush()
        if self._running is not None or self._output_paused or self._input_paused:
            self._limit_input()

    def count_commands(self, count: int) -> None:
        """The command at work has answered so many behind it, too, which it took from the buffer."""
        self._commands_left -= count

    def _start(self, waiting: Coroutine[Any, Any, None]) -> None:
        try:
            awaited = waiting.send(None)
        except StopIteration:
            # It had nothing to wait for, so it costs no Deferred.
            return
        except Exception:
            # As _command_done would, had there been something to wait for.
            self._log_bug(Failure())
            return
        self._running = task = Task(waiting, self._command_done)
        task.wait_for(awaited)
        if self._lost:
            # The connection went while the command ran to its first wait.
            task.cancel()

    def _command_done(self, outcome: Failure | None = None) -> None:
        try:
            if isinstance(outcome, Failure):
                self._log_bug(outcome)
        finally:
            self._running = None
            self._touch()
            if not self._lost:
                self.pump()

    def _log_bug(self, failure: Failure) -> None:
        if self._lost and isinstance(failure.value, CancelledError):
            return
        self.log.failure("a command of {protocol} failed", failure, protocol=self.protocol_name)
        if not self._lost:
            self.command_failed()

    async def _next_turn(self) -> None:
        """Let the reactor serve others once."""
        await self.pause(0)
        self._turn_started = self.factory.deadlines.seconds()

    def _limit_input(self) -> None:
        waiting = self._running is not None or self._output_paused
        full = waiting and self.unread > self.factory.input_limit
        if full != self._input_paused and not self._closing:
            self._input_paused = full
            if full:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    # Output.

    async def drain(self) -> None:
        """Wait until the client has read what was written, and let others have their turn.

        Every handler awaits this before each chunk of at most 64 KiB.
        """
        self.flush()
        if self._lost:
            raise CancelledError
        if self._output_paused:
            self._gate = Deferred()
            await self._gate
        now = self.factory.deadlines.seconds()
        if now - self._turn_started > SECONDS_A_TURN:
            await self._next_turn()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._output_paused = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._output_paused = False
        self._write_straight()
        self._touch()
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.callback(None)
        self.pump()

    def stopProducing(self) -> None:
        """The transport is gone."""
        self._output_paused = False

    # Ends.

    def close(self, *, asked_for: bool = False) -> None:
        """Send what was written and end the connection.

        :param asked_for: the client said good bye, so nothing comes from it any more.
        """
        if self._closing:
            return
        self._closing = True
        self.buffer.clear()
        if self._input_paused:
            # Under TLS the client's own farewell must be read.
            self._input_paused = False
            self.transport.resumeProducing()
        if not self._end_output(in_one_packet=asked_for):
            self._touch()
            self._look_after(self.factory.close_timeout)

    def shut_down(self) -> None:
        """The server stops: end the connection once the command at work is answered."""
        self._stopping = True
        self.pump()

    def say_goodbye(self) -> None:
        """The server stops; a subclass says so if the protocol can. The connection closes."""

    def abort(self) -> None:
        """End the connection at once."""
        if not self._lost:
            self._closing = True
            self._socket = None
            self.transport.abortConnection()

    def _touch(self) -> None:
        self._last_activity = self._turn_started = self.factory.deadlines.seconds()

    def _look_after(self, delay: float) -> None:
        """Look at the time after so much silence; whoever looks too early looks again later."""
        when = self._last_activity + delay
        deadlines = self.factory.deadlines
        if self._deadline is not None:
            if self._deadline <= when:
                return
            deadlines.remove(self, self._deadline)
        self._deadline = deadlines.add(self, when)

    def deadline_reached(self) -> None:
        self._deadline = None
        if self._lost:
            return
        timeout = self.factory.close_timeout if self._closing else self.idle_timeout()
        if self._last_activity + timeout > self.factory.deadlines.seconds():
            self._look_after(timeout)
        elif self._closing:
            self.abort()
        elif self._output_paused:
            self.log.info("client does not read", protocol=self.protocol_name)
            self.abort()
        elif self._running is not None:
            # The silence is ours: a command is still at work.
            self.command_is_slow(timeout)
            self._touch()
            self._look_after(timeout)
        elif self.stays_alive():
            self._touch()
            self._look_after(timeout)
        else:
            self.timed_out()
            self.close()

    def set_idle_timer(self) -> None:
        """The result of :meth:`idle_timeout` may have become shorter: look again then."""
        self._touch()
        self._look_after(self.idle_timeout())

    # TLS.

    def start_tls(self) -> None:
        """Begin TLS once the reply is sent; what the client sent before is forgotten.

        RFC 3207 section 4.2, RFC 3501 section 6.2.1, RFC 2595 section 4.
        """
        self.flush()
        self.buffer.clear()
        self._write_by_transport()
        self.transport.startTLS(self.factory.tls_context)
        self._info = self._encrypted = None

    @property
    def can_start_tls(self) -> bool:
        return self.factory.tls_context is not None and not self.encrypted

    async def pause(self, seconds: float) -> None:
        """Wait, unless the connection goes first."""
        await pause(self.clock, seconds)


class CommandFactory(LoginFactory):
    """Makes connections and holds their settings; the protocols' factories extend it.

    :param portal: where clients log in; None where nobody can.
    :param tls_context: an ``IOpenSSLServerConnectionCreator`` or context factory for STARTTLS;
        None to not offer it.
    :param clock: source of time; the global reactor when None.
    :param timeout: seconds of silence after which a connection ends.
    :param max_connections: connections at the same time.
    :param max_connections_per_address: the same for one client address; loopback is exempt.
    :param allow_plaintext_passwords: take passwords without TLS from other hosts too.
    :param mechanisms: SASL mechanisms that clients may be offered, by their names or as classes, the
        one to prefer first; None for all of :data:`mailkit.sasl.MECHANISMS`.
    :raises ValueError: ``mechanisms`` names one that is not there.
    """

    noisy = False
    #: Class of the connections.
    connection_class: type[CommandConnection]

    #: Octets of unread input kept while a command runs; above, the client must wait.
    input_limit = 256 * 1024
    #: Seconds that a closing connection may take to read the rest.
    close_timeout = 30.0

    def __init__(
        self,
        portal: Portal | None = None,
        *,
        tls_context: Any = None,
        clock: IReactorTime | None = None,
        timeout: float = 300.0,
        max_connections: int = 10_000,
        max_connections_per_address: int = 200,
        allow_plaintext_passwords: bool = False,
        mechanisms: Iterable[Mechanism] | None = None,
    ) -> None:
        if clock is None:
            from twisted.internet import reactor

            clock = cast(IReactorTime, reactor)
        super().__init__(portal, mechanisms)
        self.tls_context = tls_context
        self.clock = clock
        self.timeout = timeout
        self.max_connections = max_connections
        self.max_connections_per_address = max_connections_per_address
        self.allow_plaintext_passwords = allow_plaintext_passwords
        #: Connections, with the address that each has a seat of; empty where it needs none.
        self.connections: dict[CommandConnection, str] = {}
        #: Of a client only the transport has to know who it is; see :class:`mailkit.tcp.Port`.
        self.needs_address = type(self).buildProtocol is not CommandFactory.buildProtocol
        #: When to look at the connections' times.
        self.deadlines = Deadlines(clock)
        #: Of the connections from each address.
        self.addresses = Seats()

    @override
    def buildProtocol(self, addr: IAddress | None) -> Any:
        connection = self.connection_class()
        connection.factory = self
        if isinstance(addr, ToldAddress):
            connection.told = addr.client
            connection._encrypted = addr.client.tls or None
        return connection

    def share_limits(self, name: str, try_lock: TryLock) -> None:
        """Count the connections of each address in all processes of a store.

        :param name: of the protocol: others are counted apart.
        :param try_lock: see :class:`~mailkit.interfaces.IProcessLocks`.
        """
        self.addresses.share(f"{name} address", try_lock)

    def admit(self, connection: CommandConnection, host: str) -> bool:
        """Count a new connection from an address; false when there are too many."""
        exempt = is_loopback(host)
        seated = not exempt and self.addresses.take(host, self.max_connections_per_address)
        self.connections[connection] = host if seated else ""
        return len(self.connections) <= self.max_connections and (exempt or seated)

    def admit_as(self, connection: CommandConnection, host: str) -> bool:
        """Count a connection under another address; false when there are too many from there."""
        if before := self.connections.get(connection):
            self.addresses.give_back(before)
        return self.admit(connection, host)

    def release(self, connection: CommandConnection) -> None:
        """Forget a connection that is gone."""
        if connection in self.connections:
            if host := self.connections.pop(connection):
                self.addresses.give_back(host)
            if not self.connections:
                self._stop_timer()

    @override
    def stopFactory(self) -> None:
        super().stopFactory()
        self._stop_timer()
        self.login_log.flush()

    def _stop_timer(self) -> None:
        # While a port is open, the next connection comes soon.
        if not self.connections and not self.numPorts:
            self.deadlines.stop_timer()
            self.login_log.flush()
