"""Clients behind a proxy: the PROXY protocol, before anything else and before TLS.

Twisted has ``haproxy:`` endpoints. They believe everybody who connects, wait for a header without
an end, refuse one that comes in two pieces, and stand between the protocol and its transport for as
long as the connection lasts. Here the header is read by an object that then leaves the transport to
the protocol.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.peers import host_and_port
from mailkit.wire.networks import Networks
from mailkit.wire.proxy import ToldClient, read_header


@implementer(IAddress)
class ToldAddress:
    """What ``buildProtocol`` is given for a client that a proxy has told."""

    def __init__(self, client: ToldClient) -> None:
        self.client = client
        self.host = client.peer
        self.port = client.peer_port


class ProxyFactory(WrappingFactory):
    """Reads a PROXY header from those who must send one, and no header from anybody else.

    :param factory: serves the clients; given a :class:`ToldAddress` for those behind a proxy.
    :param proxies: who must send a header.
    :param header_timeout: seconds until the header must be there.
    :param max_waiting: connections without their header at the same time.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        factory: Any,
        proxies: Networks,
        clock: IReactorTime,
        *,
        header_timeout: float = 10.0,
        max_waiting: int = 1000,
    ) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self.proxies = proxies
        self.clock = clock
        self.header_timeout = header_timeout
        self.max_waiting = max_waiting
        self.waiting: set[HeaderReader] = set()

    @override
    def buildProtocol(self, addr: IAddress | None) -> Any:
        if host_and_port(addr)[0] not in self.proxies:
            return self.wrappedFactory.buildProtocol(addr)
        if len(self.waiting) >= self.max_waiting:
            self.log.info("too many connections from proxies without a PROXY header")
            return None
        return HeaderReader(self, addr)

    @override
    def stopFactory(self) -> None:
        super().stopFactory()  # type: ignore[no-untyped-call]
        for reader in list(self.waiting):
            reader.give_up()


class HeaderReader(Protocol):
    """Reads the header of one connection, then hands the transport over."""

    transport: Any

    def __init__(self, factory: ProxyFactory, address: IAddress | None) -> None:
        self._factory = factory
        self._address = address
        self._buffer = b""
        self._timer: IDelayedCall | None = None
        #: Who serves the client, once the header is there.
        self.served_by: IProtocol | None = None

    @override
    def connectionMade(self) -> None:
        factory = self._factory
        factory.waiting.add(self)
        self._timer = factory.clock.callLater(
            factory.header_timeout, self._refuse, "no PROXY header in time"
        )

    @override
    def dataReceived(self, data: bytes) -> None:
        if self.served_by is not None:
            # The transport is one that does not let go of its protocol.
            self.served_by.dataReceived(data)
            return
        if self._timer is None:
            return
        self._buffer += data
        try:
            header = read_header(self._buffer)
        except ValueError as error:
            self._refuse(str(error))
            return
        if header is not None:
            rest, self._buffer = self._buffer[header.length :], b""
            self._hand_over(header.client, rest)

    def _hand_over(self, client: ToldClient | None, rest: bytes) -> None:
        self._stop_waiting()
        address: Any = self._address if client is None else ToldAddress(client)
        protocol = self._factory.wrappedFactory.buildProtocol(address)
        if protocol is None:
            self.transport.loseConnection()
            return
        self.served_by = self.transport.protocol = cast(IProtocol, protocol)
        protocol.makeConnection(self.transport)
        if rest:
            protocol.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self._factory.log.info(
            "{reason} from {proxy}: connection closed",
            reason=reason,
            proxy=host_and_port(self._address)[0],
        )
        self.give_up()

    def give_up(self) -> None:
        """End the connection."""
        self._stop_waiting()
        self.transport.abortConnection()

    def _stop_waiting(self) -> None:
        self._factory.waiting.discard(self)
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        self._buffer = b""
        if self.served_by is not None:
            self.served_by.connectionLost(reason)
