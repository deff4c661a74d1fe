"""Domains of senders that cannot get an answer."""

from __future__ import annotations

from collections.abc import Sequence

from mailkit._typing import override
from mailkit.checks.base import Action, Finding, FindingCheck, check_actions, shown
from mailkit.checks.networks import is_reachable
from mailkit.dns.lookups import find_addresses, find_exchangers
from mailkit.errors import DNSFailure
from mailkit.hooks import MailSession
from mailkit.interfaces import IDNSResolver
from mailkit.model import Envelope
from mailkit.wire.nullmx import is_null_mx


class SenderDomain(FindingCheck):
    """Looks the domain of the reverse-path up: whoever cannot be told of a failure sends spam.

    The null reverse-path and address literals are not its business.

    :param missing: the domain does not exist, or has neither mail exchangers nor an address.
    :param null_mx: the domain says that it takes no mail (RFC 7505 section 4.2).
    :param unreachable: its mail exchangers are all in networks for private use.
    :param unknown: DNS did not answer.
    :param max_exchangers: mail exchangers that are looked at.
    :param points: for the action ``score``.
    """

    name = "sender-domain"

    def __init__(
        self,
        resolver: IDNSResolver,
        *,
        missing: Action = "reject",
        null_mx: Action = "reject",
        unreachable: Action = "none",
        unknown: Action = "none",
        max_exchangers: int = 10,
        points: float = 3.0,
        exempt: Sequence[str] = (),
        spare_postmaster: bool = True,
    ) -> None:
        super().__init__(exempt=exempt, spare_postmaster=spare_postmaster)
        check_actions(missing=missing, null_mx=null_mx, unreachable=unreachable, unknown=unknown)
        self._resolver = resolver
        self._missing = missing
        self._null_mx = null_mx
        self._unreachable = unreachable
        self._unknown = unknown
        self._max_exchangers = max_exchangers
        self._points = points

    @override
    async def find(self, session: MailSession, envelope: Envelope) -> Finding | None:
        domain = envelope.reverse_path.domain
        if not domain or domain.startswith("["):
            return None
        try:
            finding = await self._judge(domain)
        except DNSFailure:
            text = "cannot be looked up just now"
            # RFC 3463 X.4.3: directory server failure.
            finding = Finding(text, self._unknown, self._points, "4.3", defer_code=451)
        if finding is None or finding.action == "none":
            return None
        return finding._replace(text=f"The sender's domain {shown(domain)} {finding.text}")

    async def _judge(self, domain: str) -> Finding | None:
        exchangers = await find_exchangers(self._resolver, domain)
        # RFC 3463 X.1.8: bad sender's system address.
        missing = Finding("does not exist", self._missing, self._points, "1.8")
        if exchangers is None:
            return missing
        if is_null_mx(exchangers):
            return Finding("takes no mail", self._null_mx, self._points, "7.27")
        exchangers = [exchanger for exchanger in exchangers if exchanger.exchange]
        if not exchangers:
            # RFC 5321 section 5.1: the domain itself is its mail exchanger.
            found = await find_addresses(self._resolver, domain)
            if not found:
                return missing._replace(text="has no mail exchanger")
            return self._judge_addresses(found)
        if self._unreachable == "none":
            return None
        found = []
        for exchanger in exchangers[: self._max_exchangers]:
            found += await find_addresses(self._resolver, exchanger.exchange)
        return self._judge_addresses(found)

    def _judge_addresses(self, found: Sequence[str]) -> Finding | None:
        if any(map(is_reachable, found)):
            return None
        text = "has no mail exchanger that can be reached"
        return Finding(text, self._unreachable, self._points, "1.8")
