"""What DNS says about a domain that sends and takes mail, and what it should say.

Each check asks a few questions and tells in plain words what it found. DNS is asked, and for the MTA-STS
policy the web server that has it; nothing is changed.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from mailkit.dns.lookups import find_addresses, find_exchangers, find_names, find_texts
from mailkit.dns.records import MX, TLSA, RecordType
from mailkit.errors import DNSFailure
from mailkit.interfaces import IDNSResolver
from mailkit.queue.sts import (
    PolicyFetcher,
    STSMode,
    STSPolicy,
    STSPolicyUnavailable,
    parse_policy,
    parse_record,
)
from mailkit.signing.keys import KeyState, SigningKey
from mailkit.tap.dns_check_spf import judge_spf
from mailkit.wire.domains import canonical_domain

#: Exchangers and addresses that are looked at.
MAX_HOSTS = 10


class Level(enum.Enum):
    """How good what was found is."""

    OK = "ok"
    #: Mail works, but not as well as it could.
    WARNING = "warning"
    #: Mail is lost or refused, or this will not work.
    ERROR = "error"


class Finding(NamedTuple):
    """One thing that was found."""

    #: ``MX``, ``SPF``, ...
    topic: str
    level: Level
    text: str


class KnownKey(NamedTuple):
    """A key of ours, which others should find."""

    key: SigningKey
    state: KeyState


@dataclass
class DomainCheck:
    """What is known of a domain while it is checked.

    :param host: the server that sends for it; the first exchanger when None.
    :param keys: with which mail of the domain is signed.
    :param fetcher: gets the MTA-STS policy; None to leave that out.
    """

    resolver: IDNSResolver
    domain: str
    host: str | None = None
    keys: Sequence[KnownKey] = ()
    fetcher: PolicyFetcher | None = None
    findings: list[Finding] = field(default_factory=list)
    #: Names of the hosts that take its mail.
    exchangers: list[str] = field(default_factory=list)
    #: Where the host sends from.
    addresses: list[str] = field(default_factory=list)
    #: What :meth:`tell` is about.
    topic: str = ""

    def tell(self, level: Level, text: str) -> None:
        """Put down a finding."""
        # Names and records are others': nothing that a terminal obeys, or cannot show.
        shown = "".join(char if char.isprintable() else "?" for char in text)
        self.findings.append(Finding(self.topic, level, shown))

    def good(self, text: str) -> None:
        """As it should be."""
        self.tell(Level.OK, text)

    def warn(self, text: str) -> None:
        """It could be better."""
        self.tell(Level.WARNING, text)

    def fail(self, text: str) -> None:
        """It does not work."""
        self.tell(Level.ERROR, text)

    async def texts(self, name: str, start: str) -> list[str]:
        """TXT records that begin with a version."""
        found = await find_texts(self.resolver, name)
        return [text for text in found if text[: len(start)].lower() == start.lower()]


async def check_domain(check: DomainCheck) -> Sequence[Finding]:
    """All checks, one after the other; a name server's silence is a finding too."""
    for topic, work in CHECKS.items():
        check.topic = topic
        try:
            await work(check)
        except DNSFailure as error:
            check.fail(f"cannot be judged: {error.text}")
    return check.findings


# Who takes the domain's mail.


async def _check_mx(check: DomainCheck) -> None:
    domain = check.domain
    found = await find_exchangers(check.resolver, domain)
    if found is None:
        check.fail(f"{domain} does not exist")
        return
    if len(found) == 1 and not found[0].exchange:
        check.fail(f"{domain} has a null MX record (RFC 7505): it says that it takes no mail")
        return
    if not found:
        check.warn(
            f"{domain} has no MX record; mail goes to its own address."
            f" Publish: {domain}. IN MX 10 {check.host or 'mail.' + domain}."
        )
        found = [MX(0, domain)]
    else:
        listed = ", ".join(f"{each.exchange} ({each.preference})" for each in found)
        check.good(f"mail goes to {listed}")
    if len(found) > 1 and any(not each.exchange for each in found):
        check.fail("a null MX record stands beside others (RFC 7505 section 3)")
    names = [canonical_domain(each.exchange) for each in found if each.exchange]
    check.exchangers = list(dict.fromkeys(names))[:MAX_HOSTS]
    for name in check.exchangers:
        await _check_exchanger(check, name)
    if check.host is None:
        check.host = next(iter(check.exchangers), None)
    elif check.host not in check.exchangers:
        check.warn(f"{check.host} is none of them: mail for {domain} does not come there")


async def _check_exchanger(check: DomainCheck, name: str) -> None:
    alias = await check.resolver.lookup(name=name, type=RecordType.CNAME)
    if alias.records:
        # RFC 5321 section 5.1, RFC 2181 section 10.3
        check.fail(f"{name} is an alias (CNAME); an MX record must name the host itself")
    if not await find_addresses(check.resolver, name):
        check.fail(f"{name} has no address: nobody can send there")


# Where mail comes from.


async def _check_host(check: DomainCheck) -> None:
    if check.host is None:
        check.warn("nobody knows which host sends: give --host NAME")
        return
    host = check.host
    found = await find_addresses(check.resolver, host)
    check.addresses = list(found)[:MAX_HOSTS]
    if not found:
        check.fail(f"{host} has no address (A, AAAA)")
        return
    check.good(f"{host} has the addresses {', '.join(check.addresses)}")
    if not any(":" in address for address in found):
        check.warn(f"{host} has no IPv6 address (AAAA)")
    elif all(":" in address for address in found):
        check.warn(f"{host} has no IPv4 address (A): many servers cannot reach it")


async def _check_reverse(check: DomainCheck) -> None:
    for address in check.addresses:
        if not _is_public(address):
            check.warn(f"{address} is not an address of the internet: nobody can look it up")
        names = [canonical_domain(name) for name in await find_names(check.resolver, address)]
        confirmed = [
            name
            for name in names[:MAX_HOSTS]
            if address in await find_addresses(check.resolver, name)
        ]
        if not names:
            check.fail(
                f"{address} has no name (PTR): many servers refuse mail from it. Ask who gave you"
                f" the address to name it {check.host}"
            )
        elif not confirmed:
            check.fail(f"{address} is called {names[0]}, which does not lead back to it")
        elif check.host not in confirmed:
            check.warn(f"{address} is called {confirmed[0]}, and not {check.host}")
        else:
            check.good(f"{address} is called {check.host}")


def _is_public(address: str) -> bool:
    parsed: IPv4Address | IPv6Address = ip_address(address)
    return parsed.is_global


async def _check_spf(check: DomainCheck) -> None:
    domain = check.domain
    found = await check.texts(domain, "v=spf1")
    found = [text for text in found if text.lower().split(" ")[0] == "v=spf1"]
    if not found:
        check.fail(f'no record. Publish: {domain}. IN TXT "v=spf1 mx -all"')
        return
    if len(found) > 1:
        # RFC 7208 section 4.5
        check.fail(f"{len(found)} records, of which none counts: put them into one")
        return
    check.good(f"the record is {found[0]}")
    for address in check.addresses:
        result = await judge_spf(check.resolver, domain, found[0], address)
        if result == "pass":
            check.good(f"it allows {address}")
        elif result == "unknown":
            check.warn(f"whether it allows {address} cannot be judged by this command")
        elif result == "permerror":
            check.fail("it is damaged, or asks for more than ten names (RFC 7208 section 4.6)")
            return
        else:
            check.fail(f"it does not allow {address} ({result})")
    if "+all" in found[0].lower().split() or "all" in found[0].lower().split():
        check.fail("it allows the whole world to send (+all)")


# How mail is signed, and what others do with it.


async def _check_dkim(check: DomainCheck) -> None:
    if not check.keys:
        check.warn(f"mail is not signed here. Make a key: mailkit dkim generate {check.domain}")
    for key, state in check.keys:
        found = await find_texts(check.resolver, key.name)
        if not found and state is KeyState.ACTIVE:
            check.fail(f"{key.name} is not published, and signs: see mailkit dkim show")
        elif not found:
            check.good(f"{key.name} is retired, and published no more: mailkit dkim remove")
        elif len(found) > 1:
            check.fail(f"{key.name} has {len(found)} records instead of one")
        elif _tags(found[0]).get("p", "") != _tags(key.record)["p"]:
            check.fail(f"{key.name} is another key than ours: see mailkit dkim show")
        elif "y" in _tags(found[0]).get("t", "").split(":"):
            check.warn(f"{key.name} says that it is a test (t=y): signatures do not count")
        else:
            check.good(f"{key.name} is published")


async def _check_dmarc(check: DomainCheck) -> None:
    name = check.domain
    found = await check.texts(f"_dmarc.{name}", "v=DMARC1")
    while not found and name.count(".") > 1:
        # A domain above it may speak for it (RFC 7489 section 6.6.3).
        name = name.partition(".")[2]
        found = await check.texts(f"_dmarc.{name}", "v=DMARC1")
    if not found:
        check.fail(
            f'no record. Publish: _dmarc.{check.domain}. IN TXT "v=DMARC1; p=none;'
            f' rua=mailto:postmaster@{check.domain}", later p=quarantine or p=reject'
        )
        return
    if len(found) > 1:
        check.fail(f"_dmarc.{name} has {len(found)} records, of which none counts")
        return
    tags = _tags(found[0])
    policy = tags.get("sp" if name != check.domain and "sp" in tags else "p", "").lower()
    if policy not in ("none", "quarantine", "reject"):
        check.fail(f"the policy of _dmarc.{name} is {policy or 'missing'}")
    elif policy == "none":
        check.warn(f"_dmarc.{name} says p=none: forged mail is let through")
    else:
        check.good(f"_dmarc.{name} says p={policy}")
    if "rua" not in tags:
        check.warn(f"_dmarc.{name} names nobody who gets reports (rua)")


# How safely mail comes here.


async def _check_sts(check: DomainCheck) -> None:
    name = f"_mta-sts.{check.domain}"
    found = await check.texts(name, "v=STSv1")
    if not found:
        check.warn(f"no record at {name} (RFC 8461): TLS may be stripped")
        return
    if parse_record(found) is None:
        check.fail(f"{name} must have one record, such as v=STSv1; id=20261121")
        return
    check.good(f"the record is {found[0]}")
    if check.fetcher is None:
        return
    try:
        policy = parse_policy(await check.fetcher.fetch(domain=check.domain))
    except STSPolicyUnavailable as error:
        check.fail(f"the policy cannot be fetched: {error.text}")
    except ValueError as error:
        check.fail(f"the policy is damaged: {error}")
    else:
        _judge_policy(check, policy)


def _judge_policy(check: DomainCheck, policy: STSPolicy) -> None:
    if policy.mode is STSMode.NONE:
        check.warn("the policy says mode: none, which protects nothing")
        return
    missing = [host for host in check.exchangers if not policy.matches(host)]
    if missing:
        # RFC 8461 section 5: with enforce no mail goes there.
        check.fail(f"the policy does not name {', '.join(missing)}: mail for them will wait")
    elif policy.mode is STSMode.TESTING:
        check.warn("the policy says mode: testing: failures are reported, mail goes all the same")
    else:
        check.good("the policy says mode: enforce, and names all exchangers")


async def _check_tlsa(check: DomainCheck) -> None:
    for exchanger in check.exchangers:
        name = f"_25._tcp.{exchanger}"
        answer = await check.resolver.lookup(name=name, type=RecordType.TLSA)
        records = [record for record in answer.records if isinstance(record, TLSA)]
        if not records:
            check.warn(f"no record at {name} (RFC 7672)")
        elif not answer.authenticated:
            check.warn(f"{name} is not proved by DNSSEC, or the name server does not say so")
        elif not any(record.usage in (2, 3) for record in records):
            # RFC 7672 section 3.1.3
            check.fail(f"{name} has no record of usage 2 or 3: others cannot be used for mail")
        else:
            check.good(f"{name} has {len(records)} records, proved by DNSSEC")


async def _check_tlsrpt(check: DomainCheck) -> None:
    name = f"_smtp._tls.{check.domain}"
    found = await check.texts(name, "v=TLSRPTv1")
    if not found:
        check.warn(
            f"nobody gets reports of failing TLS (RFC 8460). Publish: {name}. IN TXT"
            f' "v=TLSRPTv1; rua=mailto:postmaster@{check.domain}"'
        )
    elif len(found) > 1 or not _tags(found[0]).get("rua", "").startswith(("mailto:", "https:")):
        check.fail(f"{name} must have one record, with rua=mailto: or https:")
    else:
        check.good(f"the record is {found[0]}")


def _tags(text: str) -> dict[str, str]:
    """Tags of a record (RFC 6376 section 3.2), without blanks in their values."""
    found = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found[name.strip().lower()] = "".join(value.split())
    return found


#: In the order in which they are made: later ones know what earlier ones have found.
CHECKS: dict[str, Callable[[DomainCheck], Awaitable[None]]] = {
    "MX": _check_mx,
    "host": _check_host,
    "PTR": _check_reverse,
    "SPF": _check_spf,
    "DKIM": _check_dkim,
    "DMARC": _check_dmarc,
    "MTA-STS": _check_sts,
    "TLSA": _check_tlsa,
    "TLSRPT": _check_tlsrpt,
}
