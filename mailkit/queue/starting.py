"""Who may ask for the mail of a domain (ETRN, RFC 1985)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mailkit.errors import PermissionDenied
from mailkit.queue.manager import QueueManager
from mailkit.wire.domains import canonical_domain
from mailkit.wire.networks import Networks


@dataclass(frozen=True)
class Fetcher:
    """Those who may ask for the mail of one domain and its subdomains."""

    accounts: Collection[str]
    networks: Networks


class QueueStarter:
    """Starts the queue for those who may ask for the mail of a domain.

    :param fetchers: who may, by domain.
    """

    def __init__(self, fetchers: Mapping[str, Fetcher]) -> None:
        self._fetchers = {canonical_domain(name): each for name, each in fetchers.items()}

    async def start(
        self, queue: QueueManager, node: str, account: str | None, address: str
    ) -> int | None:
        """Try to send what waits for a domain.

        :param node: as ETRN names it.
        :param address: of the client.
        :returns: for how many recipients there will be an attempt; None for those whose turn it is.
        :raises PermissionDenied: not for this client.
        """
        # RFC 1985 section 5.2: @ stands for a domain with its subdomains, # for a queue by name.
        domain = canonical_domain(node.removeprefix("@"))
        fetcher = self._find(domain)
        if fetcher is None or not (account in fetcher.accounts or address in fetcher.networks):
            raise PermissionDenied("mail for it is not kept for you")
        return await queue.flush(domain, subdomains=node.startswith("@"))

    def _find(self, domain: str) -> Fetcher | None:
        """What is said about a domain, or about that above it."""
        while domain:
            if domain in self._fetchers:
                return self._fetchers[domain]
            domain = domain.partition(".")[2]
        return None
