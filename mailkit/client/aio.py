"""Connections of clients under asyncio, without a reactor."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from ipaddress import ip_address
from typing import Any, TypeVar, cast

from mailkit._typing import override
from mailkit.certificates import end_point
from mailkit.client.address import ServerAddress
from mailkit.client.certificates import judge
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
    TrustUnreadable,
)
from mailkit.client.security import TLSInfo, TLSMode, TLSPolicy, why_no_handshake

_T = TypeVar("_T")

# Seconds after the first address until the next is tried beside it (RFC 8305 section 5).
_ATTEMPT_DELAY = 0.25

#: Of OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH.
_RESULT_TYPES = {
    10: "certificate-expired",
    62: "certificate-host-mismatch",
    64: "certificate-host-mismatch",
}


class AsyncioChannel(BufferedChannel, asyncio.Protocol):
    """A connection of asyncio's.

    :param hostname: the name that is connected to, if it has one.
    """

    def __init__(self, hostname: str | None = None) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._hostname = hostname
        self._transport: asyncio.Transport | None = None
        self._paused = False
        # Whoever waits: to read, to write, for the end.
        self._waiting: list[asyncio.Future[None]] = []
        self._detached: set[asyncio.Task[object]] = set()

    # What asyncio calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = str(ServerAddress(peer[0], peer[1]))
            self.local = transport.get_extra_info("sockname")[0]
            self.is_local = is_loopback(peer[0])
        else:
            self.peer = f"unix:{peer}"
            self.is_local = True

    @override
    def data_received(self, data: bytes) -> None:
        self.came(data)
        self._wake()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.ended(f"The connection broke: {exc}" if exc else "")
        self._paused = False
        self._wake()

    @override
    def pause_writing(self) -> None:
        self._paused = True

    @override
    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    # What the dialogue calls.

    @override
    async def write(self, data: bytes, timeout: float) -> None:
        if self._error is None:
            assert self._transport is not None
            self._transport.write(self.compressed(data))
        give_up = self.seconds() + timeout
        while self._paused and self._error is None:
            await self._wait(give_up - self.seconds())
        if self._error is not None:
            raise self._copy_error()

    @override
    async def read(self, timeout: float) -> bytes:
        give_up = self.seconds() + timeout
        while not self._unread:
            if self._error is not None:
                raise self._copy_error()
            await self._wait(give_up - self.seconds())
        return self.received()

    @override
    def _read_on(self, reading: bool) -> None:
        if self._error is None and self._transport is not None:
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    @override
    def _later(self, call: Callable[[], None]) -> None:
        self._loop.call_soon(call)

    @override
    def detach(self, steps: Coroutine[Any, Any, object]) -> None:
        if self._loop.is_closed():
            steps.close()
            return
        task = self._loop.create_task(steps)
        # The loop itself forgets tasks.
        self._detached.add(task)
        task.add_done_callback(self._forget_task)

    def _forget_task(self, task: asyncio.Task[object]) -> None:
        self._detached.discard(task)
        if not task.cancelled():
            # Who does not ask has it logged.
            task.exception()

    @override
    def waiter(self) -> Waiter:
        return _AsyncioWaiter(self._loop)

    @override
    async def start_tls(self, policy: TLSPolicy, timeout: float) -> TLSInfo:
        assert self._transport is not None
        try:
            transport = await within(
                self._loop.start_tls(
                    self._transport,
                    self,
                    ssl_context(policy),
                    server_hostname=server_name(policy, self._hostname),
                    ssl_handshake_timeout=timeout,
                ),
                timeout,
            )
            if transport is None:
                raise TLSFailed("The TLS handshake failed: the connection is gone")
            self._transport = transport
            return self.tls_info(policy)
        except TLSFailed as error:
            self.abort()
            error.command = "TLS"
            raise
        except (OSError, asyncio.TimeoutError) as error:
            self.abort()
            reason = why_no_handshake(str(error), policy) or "it took too long"
            text = f"The TLS handshake failed: {reason}"
            raise TLSFailed(text, command="TLS", result_type=_result_type(error)) from error

    def tls_info(self, policy: TLSPolicy) -> TLSInfo:
        """What the handshake has come to.

        :raises TLSFailed: no certificate that the policy wants; the connection is aborted.
        """
        assert self._transport is not None
        try:
            return ssl_object_info(self._transport.get_extra_info("ssl_object"), policy)
        except TLSFailed as error:
            self.abort()
            error.command = "TLS"
            raise

    @override
    def channel_binding(self, kind: str) -> bytes | None:
        # The standard library has no exporter (RFC 9266).
        connection = None
        if self._transport is not None:
            connection = self._transport.get_extra_info("ssl_object")
        if connection is None:
            return None
        if kind == "tls-server-end-point":
            certificate = connection.getpeercert(binary_form=True)
            return end_point(certificate) if certificate else None
        if kind == "tls-unique" and connection.version() == "TLSv1.2":
            found: bytes | None = connection.get_channel_binding(kind)
            return found
        return None

    @override
    async def turn(self) -> None:
        await asyncio.sleep(0)

    @override
    def seconds(self) -> float:
        return self._loop.time()

    @override
    def now(self) -> float:
        return time.time()

    @override
    async def close(self) -> None:
        if self._transport is not None:
            # Python up to 3.11.2 cannot abort TLS that was closed twice.
            if not self._transport.is_closing():
                self._transport.close()
            give_up = self.seconds() + CLOSE_TIMEOUT
            try:
                while self._error is None:
                    await self._wait(give_up - self.seconds())
            except TimedOut:
                self.abort()

    @override
    def abort(self) -> None:
        self.stop_inflating()
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self, timeout: float) -> None:
        """Wait until something has happened.

        :raises TimedOut: nothing has.
        """
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        try:
            await within(waiting, max(0.0, timeout))
        except asyncio.TimeoutError:
            raise TimedOut from None
        finally:
            self._waiting.remove(waiting)

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


class _AsyncioWaiter(Waiter):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    @property
    @override
    def fired(self) -> bool:
        return self._future.done()

    @override
    def fire(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    @override
    async def wait(self, timeout: float | None = None) -> None:
        # asyncio.wait_for() would cancel the future.
        await asyncio.wait([self._future], timeout=timeout)
        if not self._future.done():
            raise TimedOut


async def within(awaitable: Awaitable[_T], seconds: float) -> _T:
    """Wait for something, for so long.

    :raises asyncio.TimeoutError: it took longer.
    """
    if sys.version_info >= (3, 11):
        # wait_for() of Python 3.11 loses a cancellation that comes when the awaitable is just done.
        async with asyncio.timeout(seconds):
            return await awaitable
    return await asyncio.wait_for(awaitable, seconds)


def ssl_context(policy: TLSPolicy) -> ssl.SSLContext:
    """
    :raises TrustUnreadable: the file of trusted certificates cannot be read.
    :raises TLSFailed: the policy wants DANE.
    """
    if policy.mode is TLSMode.VERIFIED:
        try:
            context = ssl.create_default_context(cafile=policy.ca_file)
        except (OSError, ssl.SSLError) as error:
            text = f"Cannot read the certificates to trust: {error}"
            raise TrustUnreadable(text, command="TLS") from error
    elif policy.mode is TLSMode.DANE:
        # The standard library does not tell what chain a server presents before Python 3.13.
        raise TLSFailed("Only the client for Twisted verifies by DANE", command="TLS")
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # RFC 8996. Debian's Python leaves it to the system, of which it begins with TLS 1.0.
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context


def _result_type(error: BaseException) -> str:
    """What TLS reports call the end of a handshake (RFC 8460 section 4.3)."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "validation-failure"
    return _RESULT_TYPES.get(error.verify_code, "certificate-not-trusted")


def ssl_object_info(connection: ssl.SSLObject, policy: TLSPolicy) -> TLSInfo:
    """What a finished handshake has come to.

    :raises TLSFailed: no certificate that the policy wants.
    """
    cipher = connection.cipher()
    der = connection.getpeercert(binary_form=True)
    return judge(connection.version() or "", cipher[0] if cipher else "", der, policy)


def server_name(policy: TLSPolicy, hostname: str | None) -> str | None:
    """The name to verify and to announce.

    :raises ValueError: the policy wants one and there is none.
    """
    name = policy.hostname or hostname
    if policy.mode is TLSMode.VERIFIED and not name:
        raise ValueError("a verified policy needs the name of the server")
    return name


def connector(address: ServerAddress, connect_timeout: float, tls_timeout: float) -> Connector:
    """What connects to a server; as :func:`mailkit.client.protocol.connector`."""

    async def connect_channel(policy: TLSPolicy) -> tuple[DuplexChannel, TLSInfo | None]:
        try:
            channel = await within(_connect(address), connect_timeout)
        except (OSError, asyncio.TimeoutError) as error:
            text = f"Cannot connect to {address}: {error or 'it took too long'}"
            raise ConnectFailed(text, command="connect") from error
        if not policy.implicit:
            return channel, None
        try:
            return channel, await channel.start_tls(policy, tls_timeout)
        except BaseException:
            # Cancelled, perhaps: nobody else knows of the connection.
            channel.abort()
            raise

    return connect_channel


async def _connect(address: ServerAddress) -> AsyncioChannel:
    loop = asyncio.get_running_loop()
    if address.path:
        _, channel = await loop.create_unix_connection(AsyncioChannel, address.path)
        return channel
    _, channel = await loop.create_connection(
        lambda: AsyncioChannel(address.host),
        address.host,
        address.port,
        # With a delay asyncio may forget to close a connection when it is cancelled.
        happy_eyeballs_delay=None if _is_address(address.host) else _ATTEMPT_DELAY,
    )
    return channel


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
