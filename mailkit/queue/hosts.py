"""Which hosts take the mail of a domain (RFC 5321 section 5.1)."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, MutableSequence, Sequence
from ipaddress import ip_address
from itertools import chain, groupby, zip_longest
from typing import NamedTuple

from mailkit._typing import override
from mailkit.dns.lookups import find_addresses
from mailkit.dns.records import MX, RecordType
from mailkit.errors import DNSFailure, DomainAcceptsNoMail, MailLoop, NoSuchDomain
from mailkit.interfaces import IDNSResolver
from mailkit.wire.domains import canonical_domain, is_dns_name

#: Exchangers of one domain, and addresses of one exchanger, that are looked at.
MAX_EXCHANGERS = 20
MAX_ADDRESSES = 8


class Host(NamedTuple):
    """Where to connect."""

    #: The name that the certificate should have; an address where there is no name.
    name: str
    #: An IP address; or the name where somebody else looks it up.
    address: str
    port: int
    #: The name is known for certain: by setting, or by an answer that DNSSEC proves.
    secure: bool = False
    #: Names of the domain that the host was found for, aliases followed.
    domains: tuple[str, ...] = ()

    @override
    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


class HostFinder(ABC):
    """Knows the hosts of domains.

    :ivar own_names: what we are called: a host that calls itself so would send the mail to us again.
    """

    own_names: Collection[str] = ()

    @abstractmethod
    async def find(self, domain: str) -> Sequence[Host]:
        """Hosts in the order in which they are to be tried, at least one.

        :param domain: in lower case and with A-labels, or an address literal.
        :raises MailError: there is none.
        """

    def key(self, domain: str) -> str:
        """What domains have in common whose connections may be shared."""
        return domain


class FixedHosts(HostFinder):
    """Servers that get all the mail, whatever its domain: the first that can be used.

    :param servers: names or addresses, each with its port.
    """

    def __init__(self, servers: Sequence[tuple[str, int]]) -> None:
        self._hosts = [Host(name, name, port, secure=True) for name, port in servers]

    @override
    async def find(self, domain: str) -> Sequence[Host]:
        return self._hosts

    @override
    def key(self, domain: str) -> str:
        return ""


class ExchangerFinder(HostFinder):
    """The mail exchangers of a domain, by DNS.

    :param own_names: what we are called: when we are an exchanger ourselves, only those that the
        domain prefers to us may get its mail.
    :param port: of all servers.
    :param shuffle: puts exchangers of equal preference in any order.
    """

    def __init__(
        self,
        resolver: IDNSResolver,
        own_names: Collection[str] = (),
        port: int = 25,
        shuffle: Callable[[MutableSequence[MX]], None] = random.shuffle,
    ) -> None:
        self._resolver = resolver
        self.own_names = {canonical_domain(name) for name in own_names}
        self._port = port
        self._shuffle = shuffle

    @override
    async def find(self, domain: str) -> Sequence[Host]:
        if domain.startswith("["):
            return [self._literal(domain)]
        if not is_dns_name(domain):
            raise NoSuchDomain
        answer = await self._resolver.lookup(name=domain, type=RecordType.MX)
        if not answer.exists:
            raise NoSuchDomain
        found = [record for record in answer.records if isinstance(record, MX)]
        exchangers = [each for each in found if each.exchange]
        if found and not exchangers:
            # RFC 7505 section 3; several say the same as one.
            raise DomainAcceptsNoMail
        if not exchangers:
            # RFC 5321 section 5.1: the domain itself, as if it had preference 0.
            exchangers = [MX(0, domain)]
        names = self._order(exchangers)
        domains = tuple(dict.fromkeys(filter(None, (domain, answer.canonical))))
        hosts: list[Host] = []
        failure: DNSFailure | None = None
        for name in names:
            try:
                addresses = await find_addresses(self._resolver, name)
            except DNSFailure as error:
                failure = error
                continue
            hosts += [
                Host(name, address, self._port, answer.authenticated, domains)
                for address in _both_kinds(addresses)[:MAX_ADDRESSES]
            ]
        if not hosts:
            raise failure or NoSuchDomain("No server of that domain has an address")
        return hosts

    def _order(self, exchangers: Sequence[MX]) -> list[str]:
        """Names of exchangers, the preferred ones first.

        :raises MailLoop: we are the best of them.
        """
        own = [each for each in exchangers if canonical_domain(each.exchange) in self.own_names]
        if own:
            # RFC 5321 section 5.1: those that are not better than we would send it back.
            limit = min(each.preference for each in own)
            exchangers = [each for each in exchangers if each.preference < limit]
            if not exchangers:
                raise MailLoop("The mail of that domain would come back to this server")
        names: list[str] = []
        for _, equals in groupby(sorted(exchangers), key=lambda each: each.preference):
            group = list(equals)
            self._shuffle(group)
            names += [canonical_domain(each.exchange) for each in group]
        return list(dict.fromkeys(names))[:MAX_EXCHANGERS]

    def _literal(self, domain: str) -> Host:
        """:raises NoSuchDomain: it is no address."""
        text = domain[1:].removesuffix("]")
        if text.lower().startswith("ipv6:"):
            text = text[5:]
        try:
            address = str(ip_address(text))
        except ValueError:
            raise NoSuchDomain("That is no address literal that mail can be sent to") from None
        return Host(address, address, self._port, secure=True)


def _both_kinds(addresses: Sequence[str]) -> list[str]:
    """Addresses of both kinds in turn, IPv6 first: if one kind does not work here, the other does."""
    new = [address for address in addresses if ":" in address]
    old = [address for address in addresses if ":" not in address]
    return [address for address in chain(*zip_longest(new, old)) if address is not None]
