"""Whether a domain's SPF record allows an address: for the administrator's own record.

It does what RFC 7208 says of the mechanisms that people write; where there is a macro, ``exists`` or
``ptr`` it says that it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from mailkit.dns.lookups import find_addresses, find_exchangers, find_texts
from mailkit.interfaces import IDNSResolver

#: Terms that ask name servers (RFC 7208 section 4.6.4).
MAX_TERMS = 10
#: Exchangers of one term, likewise.
MAX_EXCHANGERS = 10

_RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


class _NotJudgedError(Exception):
    """What becomes of the record cannot be told."""

    def __init__(self, result: str) -> None:
        super().__init__(result)
        self.result = result


async def judge_spf(resolver: IDNSResolver, domain: str, record: str, address: str) -> str:
    """``pass``, ``fail``, ``softfail``, ``neutral``, ``permerror`` or ``unknown``.

    :raises DNSFailure: a name server did not answer.
    """
    try:
        return await _Judgement(resolver, address).judge(domain, record)
    except _NotJudgedError as error:
        return error.result


@dataclass
class _Judgement:
    resolver: IDNSResolver
    address: str
    terms: int = 0

    async def judge(self, domain: str, record: str) -> str:
        """What a record says."""
        redirect = None
        for term in record.lower().split()[1:]:
            if "=" in term.partition(":")[0].partition("/")[0]:
                name, _, value = term.partition("=")
                if name == "redirect":
                    redirect = value
                continue
            result = "+"
            if term[0] in _RESULTS:
                result, term = term[0], term[1:]
            if await self._matches(domain, term):
                return _RESULTS[result]
        if redirect is None:
            # RFC 7208 section 4.7
            return "neutral"
        self._count(redirect)
        return await self.judge(redirect, await self._record(redirect))

    def _count(self, target: str) -> None:
        if "%" in target:
            raise _NotJudgedError("unknown")
        self.terms += 1
        if self.terms > MAX_TERMS or not target:
            raise _NotJudgedError("permerror")

    async def _record(self, domain: str) -> str:
        texts = await find_texts(self.resolver, domain)
        found = [text for text in texts if text.lower().split(" ")[0] == "v=spf1"]
        if len(found) != 1:
            # RFC 7208 section 5.2
            raise _NotJudgedError("permerror")
        return found[0]

    async def _matches(self, domain: str, term: str) -> bool:
        name, colon, target = term.partition(":")
        if name == "all":
            return True
        if name in ("ip4", "ip6"):
            return self._is_in(target)
        if name in ("exists", "ptr"):
            raise _NotJudgedError("unknown")
        if name == "include":
            self._count(target)
            return await self.judge(target, await self._record(target)) == "pass"
        if name.partition("/")[0] not in ("a", "mx"):
            raise _NotJudgedError("permerror")
        # ``a``, ``a/24``, ``a:host``, ``a:host/24//64``
        host, _, lengths = (target if colon else name).partition("/")
        host = host if colon else domain
        self._count(host)
        hosts: Sequence[str] = [host]
        if name.startswith("mx"):
            exchangers = await find_exchangers(self.resolver, host) or []
            hosts = [each.exchange for each in exchangers[:MAX_EXCHANGERS] if each.exchange]
        for each in hosts:
            for found in await find_addresses(self.resolver, each):
                if self._is_in(found + self._length(found, lengths)):
                    return True
        return False

    @staticmethod
    def _length(address: str, lengths: str) -> str:
        """The prefix length that is for addresses of a kind: ``24``, ``24//64`` or ``/64``."""
        four, _, six = lengths.partition("//")
        if lengths.startswith("/"):
            four, six = "", lengths[1:]
        chosen = six if ":" in address else four
        return f"/{chosen}" if chosen else ""

    def _is_in(self, network: str) -> bool:
        try:
            known = ip_network(network, strict=False)
        except ValueError:
            raise _NotJudgedError("permerror") from None
        return ip_address(self.address) in known
