"""Connecting to a server that has several addresses (RFC 8305, "happy eyeballs").

Twisted's ``HostnameEndpoint`` looks the name up itself, with one address to bind for both families,
and waits the whole delay after an attempt that failed; mail servers' addresses are known from DNS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.client.address import ServerAddress
from mailkit.client.reasons import why_not_connected

#: Seconds after an attempt until the next address is tried beside it (RFC 8305 section 8).
ATTEMPT_DELAY = 0.25
#: The bounds of the same section.
MIN_ATTEMPT_DELAY = 0.01
MAX_ATTEMPT_DELAY = 2.0
#: Why an address was not taken that did not fail.
SLOWER = "slower"


def is_address(text: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        return bool(family(text))
    except ValueError:
        return False


def family(address: str) -> int:
    """4 or 6, for an IP address.

    :raises ValueError: it is none.
    """
    return ip_address(address.partition("%")[0]).version


@implementer(IStreamClientEndpoint)
class RacingEndpoint:
    """The addresses of one server: the next one is tried when one fails or is slow, the first wins.

    :param name: of the server, for people.
    :param addresses: IP addresses, the preferred one first.
    :param sources: addresses of this machine to connect from, by family; any where none is named.
    :param delay: seconds after which the next address is tried beside the one before.
    :param timeout: seconds that each attempt may take.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        addresses: Sequence[str],
        port: int,
        *,
        sources: Mapping[int, str] | None = None,
        delay: float = ATTEMPT_DELAY,
        timeout: float = 30.0,
    ) -> None:
        self._reactor = reactor
        self.name = name
        self._addresses = addresses
        self._port = port
        self._sources = sources or {}
        self.delay = delay
        self._timeout = timeout
        #: Why addresses were not taken, once :meth:`connect` has ended.
        self.failures: dict[str, str] = {}
        #: The address that was taken; empty for none.
        self.winner = ""

    @override
    def __str__(self) -> str:
        return str(ServerAddress(self.name, self._port))

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.failures = {}
        self.winner = ""
        return _Race(self, self._reactor, self._addresses, protocolFactory).start()

    def endpoint(self, address: str) -> Any:
        """For one of the addresses."""
        kind = family(address)
        source = self._sources.get(kind)
        make: Any = TCP6ClientEndpoint if kind == 6 else TCP4ClientEndpoint
        bind = (source, 0) if source else None
        return make(self._reactor, address, self._port, self._timeout, bind)


class _Race:
    """One call of :meth:`RacingEndpoint.connect`."""

    def __init__(
        self,
        endpoint: RacingEndpoint,
        reactor: Any,
        addresses: Sequence[str],
        factory: IProtocolFactory,
    ) -> None:
        self._endpoint = endpoint
        self._reactor = reactor
        self._waiting = deque(addresses)
        self._factory = factory
        self._pending: dict[str, Deferred[IProtocol]] = {}
        self._timer: Any = None
        self._ended = False
        self._result: Deferred[IProtocol] = Deferred(lambda _: self._stop())

    def start(self) -> Deferred[IProtocol]:
        self._next()
        return self._result

    def _next(self) -> None:
        self._stop_timer()
        if not self._waiting:
            if not self._pending:
                self._lose()
            return
        address = self._waiting.popleft()
        attempt: Deferred[IProtocol] = self._endpoint.endpoint(address).connect(self._factory)
        self._pending[address] = attempt
        attempt.addCallbacks(self._won, self._lost, callbackArgs=(address,), errbackArgs=(address,))
        if self._waiting and not self._ended and self._timer is None:
            self._timer = self._reactor.callLater(self._endpoint.delay, self._next)

    def _won(self, protocol: IProtocol, address: str) -> None:
        del self._pending[address]
        if self._ended:
            # Two at the same time, or cancelled too late.
            transport: Any = protocol
            transport.transport.abortConnection()
            return
        for slow in self._pending:
            self._endpoint.failures[slow] = SLOWER
        self._endpoint.winner = address
        self._stop()
        self._result.callback(protocol)

    def _lost(self, failure: Failure, address: str) -> None:
        self._pending.pop(address, None)
        if self._ended:
            return
        self._endpoint.failures[address] = why_not_connected(cast(Exception, failure.value))
        # RFC 8305 section 5: the next one need not wait for its time.
        self._next()

    def _lose(self) -> None:
        self._ended = True
        name, failures = self._endpoint.name, self._endpoint.failures
        # The name, which whoever is told of them knows, may be the address.
        reasons = "; ".join(
            text if each == name else f"{each}: {text}" for each, text in failures.items()
        )
        make_error: Any = ConnectError
        self._result.errback(make_error(string=reasons or "it has no address"))

    def _stop(self) -> None:
        """Break the other attempts off."""
        self._ended = True
        self._stop_timer()
        self._waiting.clear()
        for attempt in list(self._pending.values()):
            attempt.cancel()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


@implementer(IResolutionReceiver)
class _Receiver:
    """Gathers the addresses that Twisted's resolver finds."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self.complete: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """They come one by one."""

    def addressResolved(self, address: IAddress) -> None:
        host = getattr(address, "host", None)
        if host is not None and host not in self._found:
            self._found.append(host)

    def resolutionComplete(self) -> None:
        if not self.complete.called:
            self.complete.callback(self._found)


async def find_system_addresses(reactor: Any, name: str) -> list[str]:
    """The addresses of a host, as this machine knows it: by its hosts file, by DNS.

    :returns: none where it has none; the name itself where it is an address.
    """
    if is_address(name):
        return [name]
    receiver = _Receiver()
    reactor.nameResolver.resolveHostName(receiver, name)
    return await receiver.complete
