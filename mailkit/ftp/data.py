"""The data connection: listening or connecting, under TLS or not, and what goes through it.

One coroutine at a time waits for it. A connection that makes no progress for
:attr:`DataChannel.timeout` seconds ends.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet import main
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IHandshakeListener,
    IProtocol,
    IPushProducer,
)
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.ftp.direct import DirectSocket, Turn
from mailkit.ftp.grammar import same_host
from mailkit.ftp.passive import PassivePort, ReactorPort, listen
from mailkit.ftp.protecting import HeldOutput, put_under_tls
from mailkit.peers import host_and_port
from mailkit.tcp import Server

#: Octets that wait for the disk before the client must wait.
MAX_WAITING = 1024 * 1024
#: Octets of a file that is not worth a thread of its own.
SMALL = 64 * 1024
#: Ports of the passive range that are tried for one PASV.
MAX_TRIES = 100
#: Seconds after which a passive port is looked at that no command has needed yet.
LOOK_AFTER = 1.0

_DONE = Failure(main.CONNECTION_DONE)
_LOST = Failure(main.CONNECTION_LOST)
# Closing breaks the connection off: struct linger of socket(7).
_BREAK_OFF = struct.pack("ii", 1, 0)


class TransferFailed(Exception):
    """A transfer came to no good end.

    :param code: the reply's: 425 there was no connection, 426 it broke.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@implementer(IPushProducer, IHandshakeListener)
class DataChannel(Protocol):
    """One data connection, from PASV or PORT to the end of the transfer.

    What the system takes at once of a connection in the clear goes straight to its socket. Only when
    something has to be waited for does the connection become a transport of Twisted.

    :param peer: the address that the client has; no other one may connect.
    :param tls: context factory of a protected connection; None for one in the clear.
    :param timeout: seconds without progress after which it ends.
    """

    transport: Any

    def __init__(self, reactor: Any, peer: str, tls: Any, timeout: float) -> None:
        self.protected = tls is not None
        #: Octets that have gone through, as far as is known.
        self.moved = 0
        self._reactor = reactor
        self._peer = peer
        self._tls = tls
        self._timeout = timeout
        self._port: PassivePort | ReactorPort | None = None
        self._port_closed: Deferred[Any] | None = None
        # The connection and who has made it, as long as it has no transport.
        self._socket: socket.socket | None = None
        self._client: tuple[Any, ...] = ()
        self._connector: Any = None
        # Where PORT leads; connected to when a transfer begins.
        self._target: tuple[str, int, str] | None = None
        self._gate: Deferred[None] | None = None
        self._open = False
        self._held: HeldOutput | None = None
        # Octets may go through.
        self._ready = False
        self._ended: Failure | TransferFailed | None = None
        self._finishing = False
        self._paused = False
        self._input: list[bytes] = []
        self._waiting = 0
        self._input_paused = False
        self._timer: Any = None

    # Ways to be connected.

    def listen(self, interface: str, ports: Sequence[int]) -> int:
        """Wait for the client to connect; the port where.

        :param ports: one of these; any when empty.
        :raises CannotListenError: none of those that were tried is free.
        """
        choices = random.sample(ports, min(len(ports), MAX_TRIES)) if ports else [0]
        for number, port in enumerate(choices, 1):
            try:
                opened = listen(self._reactor, port, interface, self)
            except CannotListenError:
                if number == len(choices):
                    raise
            else:
                break
        self._port = opened
        if self._tls is not None:
            # The client may begin TLS before it sends the command.
            opened.wait()
        look = not opened.is_waited_for()
        self._start_timer(min(LOOK_AFTER, self._timeout) if look else self._timeout)
        return opened.number

    def aim(self, host: str, port: int, interface: str) -> None:
        """Connect to the client when a transfer begins."""
        self._target = host, port, interface
        self._start_timer(self._timeout)

    def protocol(self) -> IProtocol:
        """What the connection's transport is to talk to: this, or TLS before it."""
        if self._tls is None:
            return self
        # RFC 4217 section 7: the server is TLS's server too when it has connected.
        self._held = put_under_tls(self, self._tls, self._reactor)
        return self._held

    def accepts(self, host: str) -> bool:
        """Whether a connection from there is the one that is waited for."""
        if self._open or self._ended is not None:
            return False
        return host == self._peer or same_host(host, self._peer)

    def arrived(self, connection: socket.socket, client: tuple[Any, ...]) -> None:
        """The client has connected to the port."""
        self._stop_listening()
        connection.setblocking(False)
        self._open = True
        self._socket, self._client = connection, client
        if self._tls is None:
            self._ready = True
            self._wake()
        else:
            self._need_transport()

    def port_failed(self) -> None:
        """Nobody can connect to the port."""
        self._end(TransferFailed(425, "No connection can be taken just now"))

    def _need_transport(self) -> None:
        """Something has to be waited for: let the reactor have the connection."""
        connection, self._socket = self._socket, None
        if connection is not None:
            protocol = self.protocol()
            client, reactor = self._client, self._reactor
            protocol.makeConnection(Server(connection, protocol, client, None, 0, reactor))

    async def until_connected(self) -> None:
        """Wait for the connection.

        :raises TransferFailed: there is none.
        """
        if self._target is not None and self._connector is None:
            host, port, interface = self._target
            self._connector = self._reactor.connectTCP(
                host, port, _Connecting(self), self._timeout, (interface, 0)
            )
        if self._port is not None:
            self._port.look()
        while not self._ready:
            if self._ended is not None:
                raise self._failure(425)
            if self._port is not None:
                self._port.wait()
            await self._wait()

    # Octets.

    async def read(self) -> bytes:
        """What has come; nothing at the end.

        :raises TransferFailed: the connection broke.
        """
        self._need_transport()
        while not self._input:
            if self._ended is not None:
                if self._is_done():
                    return b""
                raise self._failure(426)
            self._read_on()
            await self._wait()
        data, self._input, self._waiting = b"".join(self._input), [], 0
        self._read_on()
        return data

    async def read_small(self) -> bytes | None:
        """All that comes, when it is little and comes to a good end; else None, and nothing is read."""
        self._need_transport()
        while self._ended is None and self._waiting <= SMALL:
            self._read_on()
            await self._wait()
        if self._waiting <= SMALL and self._is_done():
            return await self.read() if self._input else b""
        if self._ended is None and not self._input_paused:
            self._input_paused = True
            self.transport.pauseProducing()
        return None

    def _is_done(self) -> bool:
        return isinstance(self._ended, Failure) and bool(self._ended.check(ConnectionDone))

    def _read_on(self) -> None:
        if self._input_paused:
            self._input_paused = False
            if self._ended is None:
                self.transport.resumeProducing()

    async def write(self, data: bytes) -> None:
        """Send octets; returns when more may be sent.

        :raises TransferFailed: the connection broke.
        """
        if self._socket is not None:
            data = self._send_at_once(self._socket, data)
            if not data:
                return
            self._need_transport()
        if self._ended is None:
            self._release()
            self.transport.write(data)
            self.moved += len(data)
        while self._paused and self._ended is None:
            await self._wait()
        if self._ended is not None:
            raise self._failure(426)

    def _send_at_once(self, connection: socket.socket, data: bytes) -> bytes:
        """Send what the system takes; the rest."""
        try:
            sent = connection.send(data)
        except BlockingIOError:
            return data
        except OSError:
            self._close_socket()
            self._end(_LOST)
            return data
        self.moved += sent
        self._timer.reset(self._timeout)
        return data[sent:]

    async def send_directly(self, file: Any, offset: int) -> bool:
        """Send a file from an octet on, by threads; false when that is not possible.

        :param file: provides :class:`~mailkit.interfaces.IThreadedFile`.
        :raises TransferFailed: the connection broke.
        """
        sent = offset

        async def turn(direct: DirectSocket) -> Turn:
            nonlocal sent
            done: Turn = await file.run(work=lambda raw: direct.send(raw, sent))
            sent += done.octets
            # Once something is sent, nobody else can begin again.
            return done._replace(broken=done.broken or (done.unsupported and sent > offset))

        return await self._move_directly(turn, to_read=False)

    async def receive_directly(self, file: Any) -> bool:
        """Write all that comes to a file, by threads; false when that is not possible.

        :param file: provides :class:`~mailkit.interfaces.IThreadedFile`.
        :raises TransferFailed: the connection broke.
        """

        async def turn(direct: DirectSocket) -> Turn:
            done: Turn = await file.run(work=direct.receive)
            return done

        if not self._can_move_directly():
            return False
        if self._input:
            data, self._input, self._waiting = b"".join(self._input), [], 0
            await file.run(work=lambda raw: raw.write(data))
        if not await self._move_directly(turn, to_read=True):
            return False
        await self.finish()
        return True

    async def _move_directly(
        self, turn: Callable[[DirectSocket], Awaitable[Turn]], *, to_read: bool
    ) -> bool:
        if not self._can_move_directly():
            return False
        direct = DirectSocket(self._reactor, self.transport, self._open_gate)
        try:
            while True:
                moved = await turn(direct)
                if moved.broken or self._ended is not None:
                    raise self._failure(426)
                if moved.done or moved.unsupported:
                    return moved.done
                if moved.octets:
                    self.moved += moved.octets
                    self._timer.reset(self._timeout)
                if moved.blocked:
                    direct.wait(to_read=to_read)
                    await self._wait()
                    direct.stop_waiting()
        finally:
            direct.close()

    def _can_move_directly(self) -> bool:
        self._need_transport()
        return (
            self._tls is None
            and self._ended is None
            and DirectSocket.is_possible(self._reactor, self.transport)
        )

    async def finish(self) -> None:
        """Return when the client has what was written.

        :raises TransferFailed: the connection broke before.
        """
        self._finishing = True
        if self._socket is not None:
            # The system has all of it. With octets of the client unread, closing would throw away
            # what is not acknowledged yet (RFC 1122 4.2.2.13).
            with suppress(OSError):
                self._socket.recv(SMALL)
            self._close_socket()
            self._end(_DONE)
            return
        if self._ended is None:
            self._release()
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            if self._held is not None:
                self._held.end(self.transport.getHandle())
        while self._ended is None:
            await self._wait()
        if isinstance(self._ended, TransferFailed) or not (
            # lenient: some clients do not end TLS when they have read our end of it.
            self.protected or self._ended.check(ConnectionDone)
        ):
            raise self._failure(426)

    def _release(self) -> None:
        if self._held is not None:
            self._held.release()

    def close(self) -> None:
        """End whatever there is, when nobody waits for it; may be called more than once."""
        self._gate = None
        self.abort("The data connection is closed")

    def abort(self, text: str) -> None:
        """End it, whoever waits for it being told why."""
        if self._socket is not None:
            # Some systems refuse where the client has broken it off already.
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK_OFF)
            self._close_socket()
        self._end(TransferFailed(426, text))
        if self._connector is not None:
            self._connector.disconnect()
        if self._open:
            self.transport.abortConnection()

    def _close_socket(self) -> None:
        connection, self._socket = self._socket, None
        self._open = False
        if connection is not None:
            connection.close()

    def _failure(self, code: int) -> TransferFailed:
        if isinstance(self._ended, TransferFailed):
            return TransferFailed(code, self._ended.text)
        if code == 425:
            return TransferFailed(code, "There is no data connection")
        return TransferFailed(code, "The data connection broke")

    def _end(self, reason: Failure | TransferFailed) -> None:
        if self._ended is None:
            self._ended = reason
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._stop_listening()
        self._wake()

    def _stop_listening(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            self._port_closed = port.close()

    async def until_port_is_free(self) -> None:
        """Wait for the end of a port where this does not listen any more."""
        closed, self._port_closed = self._port_closed, None
        if closed is not None:
            await closed

    def _start_timer(self, seconds: float) -> None:
        self._timer = self._reactor.callLater(seconds, self._stalled)

    def _stalled(self) -> None:
        if self._port is not None and not self._port.is_waited_for():
            # Whoever should not be there is told so, and makes room for others.
            self._port.wait()
            self._start_timer(max(self._timeout - LOOK_AFTER, 0))
            return
        self.abort("The data connection made no progress")

    async def _wait(self) -> None:
        self._gate = Deferred()
        await self._gate

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.reset(self._timeout)
        self._open_gate()

    def _open_gate(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None and not gate.called:
            gate.callback(None)

    # Called by Twisted.

    @override
    def connectionMade(self) -> None:
        self._stop_listening()
        if self._ended is not None:
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self, True)
        self._open = True
        self._ready = self._tls is None
        if self._ready:
            # Nothing is read before it is known who reads: a thread perhaps.
            self._input_paused = True
            self.transport.pauseProducing()
        self._wake()

    def handshakeCompleted(self) -> None:  # noqa: N802
        """TLS is there; before that, an end without a single octet would break the connection."""
        self._ready = True
        if self._held is not None:
            self._held.hold(self.transport.getHandle())
        self._wake()

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._ended is not None or self._finishing:
            return
        self._input.append(data)
        self.moved += len(data)
        self._waiting += len(data)
        if self._waiting > MAX_WAITING and not self._input_paused:
            self._input_paused = True
            self.transport.pauseProducing()
        self._wake()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._open = False
        self._end(reason)

    def connection_failed(self) -> None:
        """The client does not let us connect."""
        self._end(TransferFailed(425, "No connection can be made to the port that you gave"))

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        self._paused = False


class _Connecting(ClientFactory):
    """Connects to the client."""

    noisy = False

    def __init__(self, channel: DataChannel) -> None:
        self.channel = channel

    @override
    def buildProtocol(self, addr: IAddress | None) -> Any:
        accepted = self.channel.accepts(host_and_port(addr)[0])
        return self.channel.protocol() if accepted else None

    @override
    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.channel.connection_failed()
