"""Connections of clients under Twisted.

What comes while nobody reads waits here, within bounds. Nothing is written while the transport's
buffer is full.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectingCancelledError, ConnectionDone
from twisted.internet.interfaces import (
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.channels import channel_binding
from mailkit.client.address import ServerAddress
from mailkit.client.channel import (
    CLOSE_TIMEOUT,
    BufferedChannel,
    DuplexChannel,
    Waiter,
    is_loopback,
)
from mailkit.client.connecting import Connector
from mailkit.client.errors import (
    ConnectFailed,
    TimedOut,
    TLSFailed,
)
from mailkit.client.reasons import why_not_connected
from mailkit.client.security import TLSInfo, TLSPolicy, why_no_handshake
from mailkit.client.tls import KeepingCreator, connection_creator, openssl_info, why_refused
from mailkit.clocks import steady_seconds
from mailkit.sockets import send_now

#: Octets above which none are held back.
MAX_HELD = 64 * 1024
# Seconds by which a reactor may call too early, for its clock and ours are rounded.
_SLACK = 0.001


@implementer(IPushProducer, IHandshakeListener)
class TwistedChannel(BufferedChannel, Protocol):
    """A connection of Twisted's.

    :param clock: tells the time and makes time-outs.
    :param hostname: the name that is connected to, if it has one.
    """

    transport: Any

    def __init__(self, clock: IReactorTime, hostname: str | None = None) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = steady_seconds(clock)
        self._hostname = hostname
        self._result_type = ""
        self._paused = False
        #: What is held back until all that has come is dealt with; None where nothing is.
        self._output: list[bytes] | None = None
        self._output_size = 0
        # Whoever waits: for octets, for room to write, for the handshake, for the end. Each is told
        # whether it has waited for too long.
        self._reading: Deferred[bool] | None = None
        self._writing: Deferred[bool] | None = None
        self._shaking: Deferred[bool] | None = None
        self._closing: Deferred[bool] | None = None
        #: Until when each of them waits, by a clock that nobody sets.
        self._limits: dict[str, float] = {}
        #: One for all of them: it is not set anew for each reply that comes in time.
        self._timer: Any = None
        self._shaken = False

    # What Twisted calls.

    @override
    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        peer = self.transport.getPeer()
        host = getattr(peer, "host", None)
        if host is not None:
            self.peer = str(ServerAddress(host, peer.port))
            self.local = self.transport.getHost().host
            self.is_local = is_loopback(host)
            self.transport.setTcpNoDelay(True)
        else:
            name = getattr(peer, "name", None) or b""
            self.peer = f"unix:{name.decode('utf-8', 'replace')}"
            self.is_local = True

    @override
    def dataReceived(self, data: bytes) -> None:
        self.came(data)
        if self._reading is None:
            return
        # What one answer leads to leaves in one piece: content, and commands right behind it.
        self._output = []
        try:
            _fire(self, "_reading")
        finally:
            self._flush()
            self._output = None

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._result_type = _result_type(reason)
        self.ended(_reason_text(reason))
        for name in ("_reading", "_writing", "_shaking", "_closing"):
            _fire(self, name)
        self._limits.clear()
        self._end_timer()

    def handshakeCompleted(self) -> None:  # noqa: N802
        """TLS has begun."""
        self._shaken = True
        _fire(self, "_shaking")

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._paused = False
        _fire(self, "_writing")

    def stopProducing(self) -> None:
        """The transport is gone; the loss of the connection will be told."""

    # What the dialogue calls.

    @override
    async def write(self, data: bytes, timeout: float) -> None:
        if self._error is None:
            if self._output is None:
                self._send(data)
            else:
                self._output.append(data)
                self._output_size += len(data)
                if self._output_size >= MAX_HELD:
                    self._flush()
            if self._paused:
                await self._wait("_writing", timeout)
        if self._error is not None:
            raise self._copy_error()

    def _flush(self) -> None:
        """Send what is held."""
        if self._output:
            data = b"".join(self._output)
            self._output.clear()
            self._output_size = 0
            self._send(data)

    def _send(self, data: bytes) -> None:
        data = self.compressed(data)
        sent = send_now(self.transport, data)
        if sent < len(data):
            self.transport.write(data[sent:])

    @override
    async def read(self, timeout: float) -> bytes:
        if not self._unread and self._error is None:
            await self._wait("_reading", timeout)
        if not self._unread and self._error is not None:
            raise self._copy_error()
        return self.received()

    @override
    def _read_on(self, reading: bool) -> None:
        if self._error is None and not self.transport.disconnecting:
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    @override
    def _later(self, call: Callable[[], None]) -> None:
        self._clock.callLater(0, call)

    @override
    def detach(self, steps: Coroutine[Any, Any, object]) -> None:
        Deferred.fromCoroutine(steps).addErrback(lambda _: None)

    @override
    def waiter(self) -> Waiter:
        return _TwistedWaiter(self._clock, self._seconds)

    @override
    async def start_tls(self, policy: TLSPolicy, timeout: float) -> TLSInfo:
        self._flush()
        creator = KeepingCreator(connection_creator(policy, self._hostname))
        self.transport.startTLS(creator)
        return await self.finish_tls(policy, timeout, creator)

    async def finish_tls(
        self, policy: TLSPolicy, timeout: float, creator: KeepingCreator
    ) -> TLSInfo:
        """Wait for the handshake and judge it.

        :param creator: has made the connection.
        :raises TLSFailed: it failed; the connection is aborted.
        """
        try:
            if not self._shaken and self._error is None:
                await self._wait("_shaking", timeout)
            if not self._shaken and self._error is not None:
                raise self._handshake_failure(policy, creator, self._error.text)
            return openssl_info(self.transport.getHandle(), policy)
        except TimedOut:
            self.abort()
            raise TLSFailed("The TLS handshake took too long", command="TLS") from None
        except TLSFailed as error:
            self.abort()
            error.command = "TLS"
            raise

    def _handshake_failure(
        self, policy: TLSPolicy, creator: KeepingCreator, text: str
    ) -> TLSFailed:
        """
        :param text: what the error says.
        """
        found = None
        if creator.connection is not None and self._result_type != "validation-failure":
            # It was the certificate.
            found = why_refused(creator.connection, policy, self._hostname)
        return found or TLSFailed(
            f"The TLS handshake failed: {why_no_handshake(text, policy)}",
            result_type=self._result_type,
        )

    @override
    def channel_binding(self, kind: str) -> bytes | None:
        return channel_binding(self.transport, kind, server=False)

    @override
    async def turn(self) -> None:
        done: Deferred[None] = Deferred()
        call = self._clock.callLater(0, done.callback, None)
        try:
            await done
        finally:
            if call.active():
                call.cancel()

    @override
    def seconds(self) -> float:
        return self._seconds()

    @override
    def now(self) -> float:
        return self._clock.seconds()

    @override
    async def close(self) -> None:
        if self._error is None:
            self._flush()
            # The end of TLS must be read.
            self._read_on(True)
            # Under TLS a registered producer would keep the connection open.
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        if self._error is None:
            try:
                await self._wait("_closing", CLOSE_TIMEOUT)
            except TimedOut:
                self.abort()

    @override
    def abort(self) -> None:
        self.stop_inflating()
        if self._output:
            self._output.clear()
            self._output_size = 0
        if self.transport is not None:
            self.transport.abortConnection()
        if not self._limits:
            self._end_timer()

    async def _wait(self, name: str, timeout: float) -> None:
        """Wait until something fires.

        :raises TimedOut: nothing did.
        """
        waiting: Deferred[bool] = Deferred()
        setattr(self, name, waiting)
        self._limits[name] = self._seconds() + timeout
        # By what is left, as the clock of the day may have been set back since the timer was set.
        if self._timer is None or self._timer.getTime() - self._clock.seconds() > timeout + _SLACK:
            self._set_timer(min(self._limits.values()))
        try:
            late = await waiting
        finally:
            setattr(self, name, None)
            self._limits.pop(name, None)
        if late:
            raise TimedOut

    def _end_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _set_timer(self, time: float) -> None:
        self._end_timer()
        self._timer = self._clock.callLater(max(0.0, time - self._seconds()), self._look)

    def _look(self) -> None:
        """End what has waited for too long."""
        self._timer = None
        now = self._seconds()
        for name in [name for name, limit in self._limits.items() if limit <= now + _SLACK]:
            del self._limits[name]
            _fire(self, name, late=True)
        if self._limits and self._timer is None:
            self._set_timer(min(self._limits.values()))


class _TwistedWaiter(Waiter):
    def __init__(self, clock: IReactorTime, seconds: Callable[[], float]) -> None:
        self._clock = clock
        # By a clock that nobody sets.
        self._seconds = seconds
        self._fired = False
        self._waiting: Deferred[None] | None = None
        self._timer: Any = None

    @property
    @override
    def fired(self) -> bool:
        return self._fired

    @override
    def fire(self) -> None:
        if not self._fired:
            self._fired = True
            self._end()

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _look(self, limit: float) -> None:
        left = limit - self._seconds()
        if left > _SLACK:
            # The clock of the day was set forward.
            self._timer = self._clock.callLater(left, self._look, limit)
        else:
            self._end()

    @override
    async def wait(self, timeout: float | None = None) -> None:
        if self._fired:
            return
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        if timeout is not None:
            self._timer = self._clock.callLater(timeout, self._look, self._seconds() + timeout)
        try:
            await waiting
        finally:
            self._waiting = None
            timer, self._timer = self._timer, None
            if timer is not None and timer.active():
                timer.cancel()
        if not self._fired:
            raise TimedOut


def _fire(channel: TwistedChannel, name: str, late: bool = False) -> None:
    waiting = getattr(channel, name)
    if waiting is not None:
        setattr(channel, name, None)
        waiting.callback(late)


def _reason_text(reason: Failure) -> str:
    if isinstance(reason.value, ConnectionDone):
        return ""
    value: Any = reason.value
    if isinstance(value, SSL.Error) and value.args and isinstance(value.args[0], list):
        # OpenSSL's errors: library, function, reason.
        value = ", ".join(str(each[-1]) for each in value.args[0]) or "TLS error"
    return f"The connection broke: {value}"


def _result_type(reason: Failure) -> str:
    """What TLS reports call the end of a handshake (RFC 8460 section 4.3)."""
    if isinstance(reason.value, (VerificationError, CertificateError)):
        # The latter has no name at all.
        return "certificate-host-mismatch"
    if "certificate verify failed" in _reason_text(reason):
        return "certificate-not-trusted"
    return "validation-failure"


def connector(
    server: ServerAddress | IStreamClientEndpoint,
    connect_timeout: float,
    tls_timeout: float,
    reactor: Any = None,
) -> Connector:
    """What connects to a server.

    :param connect_timeout: seconds until there must be a connection.
    :param tls_timeout: seconds that the handshake may take.
    :param reactor: connects and tells the time; the running one when None.
    """
    if reactor is None:
        # Not before it is needed: importing it installs one.
        from twisted.internet import reactor
    hostname: str | None = None
    endpoint: Any = server
    if isinstance(server, ServerAddress):
        hostname = server.host or None
        endpoint = (
            UNIXClientEndpoint(reactor, server.path)
            if server.path
            else HostnameEndpoint(reactor, server.host, server.port)
        )

    async def connect_channel(policy: TLSPolicy) -> tuple[DuplexChannel, TLSInfo | None]:
        target = cast(IStreamClientEndpoint, endpoint)
        creator: KeepingCreator | None = None
        if policy.implicit:
            creator = KeepingCreator(connection_creator(policy, hostname))
            target = wrapClientTLS(creator, target)
        factory: Any = Factory.forProtocol(cast(Any, lambda: TwistedChannel(reactor, hostname)))
        factory.noisy = False
        try:
            connecting: Deferred[Any] = target.connect(factory)
            connecting.addTimeout(connect_timeout, reactor, _took_too_long)
            channel: TwistedChannel = await connecting
        except (CancelledError, ConnectingCancelledError):
            # Not by the time-out: whoever waits for us has given up.
            raise CancelledError from None
        except Exception as error:
            text = f"Cannot connect to {server}: {why_not_connected(error)}"
            raise ConnectFailed(text, command="connect") from error
        if creator is None:
            return channel, None
        try:
            return channel, await channel.finish_tls(policy, tls_timeout, creator)
        except BaseException:
            # Cancelled, perhaps: nobody else knows of the connection.
            channel.abort()
            raise

    return connect_channel


def _took_too_long(_: object, seconds: float) -> Failure:
    error = TimedOut(f"it took more than {seconds:g} seconds")
    return Failure(error)
