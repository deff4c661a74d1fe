"""Which way mail takes out of here: by the domain that it goes to, and by who sends it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from mailkit._typing import override
from mailkit.model import Envelope
from mailkit.queue.schedule import Schedule
from mailkit.queue.transport import Result, Still, Transport
from mailkit.wire.domains import canonical_domain


@dataclass(frozen=True)
class Condition:
    """What mail a route is for; what is empty lets everything pass.

    :param domains: of recipients: ``example.net``, or ``.example.net`` for all its subdomains.
    :param senders: reverse-paths: ``ann@example.org``, or ``example.org`` and ``.example.org`` for
        all in a domain or its subdomains. Nothing else than an empty list fits the null reverse-path.
    :param accounts: who has submitted it.
    """

    domains: Collection[str] = ()
    senders: Collection[str] = ()
    accounts: Collection[str] = ()

    @property
    def is_about_senders(self) -> bool:
        """The domain alone does not decide."""
        return bool(self.senders or self.accounts)

    def fits_domain(self, domain: str) -> bool:
        """For a domain in canonical form."""
        return not self.domains or _is_named(domain, self.domains)

    def fits_sender(self, envelope: Envelope) -> bool:
        """For who sends a message."""
        if self.accounts and envelope.account not in self.accounts:
            return False
        if not self.senders:
            return True
        path = envelope.reverse_path
        domain = canonical_domain(path.domain)
        return f"{path.local_part.lower()}@{domain}" in self.senders or _is_named(
            domain, self.senders
        )


def _is_named(domain: str, names: Collection[str]) -> bool:
    """Whether a domain is among names, or below one of those that begin with a dot."""
    if domain in names:
        return True
    below = domain
    while dot := below.find(".") + 1:
        below = below[dot:]
        if f".{below}" in names:
            return True
    return False


class OutboundRoute(NamedTuple):
    """A way out."""

    transport: Transport
    schedule: Schedule


class OutboundRoutes:
    """All ways out; the first one whose condition fits is taken.

    :param routes: in the order in which they are asked.
    :param default: where none of them fits.
    """

    def __init__(
        self, routes: Sequence[tuple[Condition, OutboundRoute]], default: OutboundRoute
    ) -> None:
        self._routes = [*routes, (Condition(), default)]
        self._default = default

    def find(self, domain: str, envelope: Envelope) -> OutboundRoute:
        """The way of a message to a domain in canonical form."""
        return next(
            route
            for condition, route in self._candidates(domain)
            if condition.fits_sender(envelope)
        )

    def takes_default(self, domain: str, envelope: Envelope) -> bool:
        """Whether none of the routes is for a message to a domain in canonical form."""
        return self.find(domain, envelope) is self._default

    def schedule(self, domain: str, envelope: Envelope) -> Schedule:
        """The same, of which only the times are wanted."""
        return self.find(domain, envelope).schedule

    def transport(self, domain: str) -> Transport:
        """What takes all mail to a domain."""
        condition, route = next(self._candidates(domain))
        return _BySender(self) if condition.is_about_senders else route.transport

    def _candidates(self, domain: str) -> Iterator[tuple[Condition, OutboundRoute]]:
        return (entry for entry in self._routes if entry[0].fits_domain(domain))

    async def close(self) -> None:
        """Release what the ways hold."""
        for transport in {
            id(route.transport): route.transport for _, route in self._routes
        }.values():
            await transport.close()


class _BySender(Transport):
    """For a domain whose mail takes several ways."""

    def __init__(self, routes: OutboundRoutes) -> None:
        self._routes = routes

    @override
    async def send(
        self, domain: str, envelope: Envelope, content: BinaryIO, still: Still | None = None
    ) -> Result:
        route = self._routes.find(domain, envelope)
        result = await route.transport.send(domain, envelope, content, still)
        # That one way is barred says nothing of the others.
        result.unreachable = False
        return result
