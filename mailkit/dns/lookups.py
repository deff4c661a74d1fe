"""Questions that are asked often."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from mailkit.dns.records import MX, RecordType
from mailkit.errors import DNSFailure
from mailkit.interfaces import IDNSResolver


async def find_addresses(resolver: IDNSResolver, name: str) -> Sequence[str]:
    """The IPv4 and IPv6 addresses of a host.

    :raises DNSFailure: one of the questions got no answer, and the other found nothing.
    """
    found: list[str] = []
    failure: DNSFailure | None = None
    for type in (RecordType.A, RecordType.AAAA):
        try:
            answer = await resolver.lookup(name=name, type=type)
        except DNSFailure as error:
            failure = error
            continue
        if not answer.exists:
            break
        found += [record for record in answer.records if isinstance(record, str)]
    if failure is not None and not found:
        raise failure
    return found


async def find_names(resolver: IDNSResolver, address: str) -> Sequence[str]:
    """What DNS says the host at an address is called (PTR); proves nothing by itself.

    :raises DNSFailure: there was no answer.
    """
    answer = await resolver.lookup(name=ip_address(address).reverse_pointer, type=RecordType.PTR)
    return [record for record in answer.records if isinstance(record, str)]


async def find_exchangers(resolver: IDNSResolver, domain: str) -> Sequence[MX] | None:
    """The mail exchangers of a domain, the preferred ones first; None when it does not exist.

    Empty when it has none, which leaves its own address (RFC 5321 section 5.1).

    :raises DNSFailure: there was no answer.
    """
    answer = await resolver.lookup(name=domain, type=RecordType.MX)
    if not answer.exists:
        return None
    return sorted(record for record in answer.records if isinstance(record, MX))


async def find_texts(resolver: IDNSResolver, name: str) -> Sequence[str]:
    """The texts at a name.

    :raises DNSFailure: there was no answer.
    """
    answer = await resolver.lookup(name=name, type=RecordType.TXT)
    return [record for record in answer.records if isinstance(record, str)]
