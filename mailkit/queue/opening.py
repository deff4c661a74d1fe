"""Opening a session with a host that has several addresses, some of which may be dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mailkit.client.racing import (
    ATTEMPT_DELAY,
    SLOWER,
    RacingEndpoint,
    find_system_addresses,
    is_address,
)
from mailkit.errors import MailError
from mailkit.queue.hosts import Host
from mailkit.queue.pacing import Paces
from mailkit.smtp.client import (
    ClientError,
    ClientSettings,
    ConnectFailed,
    Session,
    TimedOut,
    TLSFailed,
    connect,
)
from mailkit.tcp import connecting_together


@dataclass(frozen=True)
class Sources:
    """From where and how connections are made.

    :param addresses: addresses of this machine to connect from, by 4 and 6; any where none is named.
    :param attempt_delay: seconds after which a host's next address is tried beside the one before.
    """

    addresses: Mapping[int, str] = field(default_factory=dict)
    attempt_delay: float = ATTEMPT_DELAY


class Opened(NamedTuple):
    """A session, and how it came to be."""

    session: Session
    #: Where it leads.
    address: str


class HostOpener:
    """Connects to hosts.

    :param reactor: connects, and tells the time.
    :param paces: remembers dead addresses.
    """

    def __init__(self, reactor: Any, sources: Sources, paces: Paces) -> None:
        self._reactor = reactor
        self._connecting = connecting_together(reactor)
        self._sources = sources
        self._paces = paces

    async def open(
        self, servers: Sequence[Host], settings: ClientSettings, passed_over: list[str]
    ) -> Opened:
        """A session with one host.

        :param servers: the addresses of the host.
        :param passed_over: is told which addresses were not taken, and why; not of the failure that is
            raised.
        :raises ClientError: none of them can be used, or could be a short time ago.
        """
        name, port = servers[0].name, servers[0].port
        addresses = [each.address for each in servers]
        if not is_address(addresses[0]):
            addresses = await find_system_addresses(self._reactor, addresses[0])
        failure: ClientError = ConnectFailed(f"{name} has no address", command="connect")
        skipped: list[str] = []
        left = []
        for address in addresses:
            dead = self._paces.why_dead(place(address, port))
            if dead is None:
                left.append(address)
            else:
                failure = dead
                skipped.append(f"{address}: left alone, {dead.text}")
        if left:
            passed_over += skipped
        while left:
            endpoint = self._endpoint(name, left, port, settings)
            try:
                session = await connect(endpoint, settings, reactor=self._reactor)
            except ClientError as error:
                failure = error
                self._note_dead(endpoint, port, failure)
            else:
                self._note_dead(endpoint, port)
                _tell(endpoint, passed_over)
                return Opened(session, endpoint.winner)
            if not endpoint.winner:
                break
            # It does not speak for the others.
            left.remove(endpoint.winner)
            _tell(endpoint, passed_over)
            if left:
                passed_over.append(f"{endpoint.winner}: {reply_of(failure)}")
        if isinstance(failure, TLSFailed):
            failure.untried = bool(skipped)
        raise failure

    def _endpoint(
        self, name: str, addresses: Sequence[str], port: int, settings: ClientSettings
    ) -> RacingEndpoint:
        return RacingEndpoint(
            self._connecting,
            name,
            addresses,
            port,
            sources=self._sources.addresses,
            delay=self._sources.attempt_delay,
            timeout=settings.timeouts.connect,
        )

    def _note_dead(
        self, endpoint: RacingEndpoint, port: int, failure: ClientError | None = None
    ) -> None:
        """Remember at which addresses nobody answers.

        :param failure: what became of the one that was taken.
        """
        for address, why in endpoint.failures.items():
            if why != SLOWER:
                text = f"Cannot connect to {place(address, port)}: {why}"
                error = ConnectFailed(text, command="connect")
                self._paces.note_dead(place(address, port), error)
        if endpoint.winner and isinstance(failure, TimedOut):
            self._paces.note_dead(place(endpoint.winner, port), failure)


def reply_of(error: MailError) -> str:
    """What a host said that was not taken, or why it said nothing, in a line."""
    code = (
        f"{error.code} {error.enhanced} " if isinstance(error, ClientError) and error.code else ""
    )
    return code + " ".join(error.text.split())


def _tell(endpoint: RacingEndpoint, passed_over: list[str]) -> None:
    """Tell of the addresses that lost a race."""
    passed_over += [f"{address}: {why}" for address, why in endpoint.failures.items()]


def place(address: str, port: int) -> str:
    """An address and a port, for people and for keys."""
    return str(Host("", address, port))
