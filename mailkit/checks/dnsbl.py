"""Block lists and allow lists in DNS (RFC 5782)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailkit._typing import override
from mailkit.checks.base import (
    Action,
    Finding,
    FindingCheck,
    check_actions,
    given_or_default,
    host_text,
    is_name,
    shown,
)
from mailkit.checks.networks import parse_address
from mailkit.coroutines import Shared
from mailkit.dns.lookups import find_texts
from mailkit.dns.records import RecordType
from mailkit.errors import DNSFailure
from mailkit.expiring import ExpiringMap
from mailkit.hooks import Accept, Answers, MailSession
from mailkit.interfaces import IDNSResolver
from mailkit.model import Envelope, Recipient
from mailkit.wire.domains import canonical_domain, is_dns_name
from mailkit.wire.networks import Networks

#: RFC 5782 section 2.1: what an answer looks like.
ANSWERS = ("127.0.0.0/8",)
# Big lists say so that they do not answer this name server, or not any more.
_ERRORS = Networks(["127.255.255.0/24"])
# Seconds between two lines in the log about the same list.
_LOG_INTERVAL = 3600.0


@dataclass(frozen=True)
class DNSList:
    """A list in DNS.

    :raises ValueError: the zone is no domain, or an answer is neither an address nor a network.
    """

    zone: str
    #: What being on it counts; those of block lists add up, see ``threshold``.
    weight: float = 1.0
    #: Answers that count: addresses or networks.
    answers: Sequence[str] = ANSWERS
    networks: Networks = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        zone = canonical_domain(self.zone).strip(".")
        if not is_dns_name(zone):
            raise ValueError(f"{self.zone!r} is no zone such as bl.example.org")
        object.__setattr__(self, "zone", zone)
        object.__setattr__(self, "networks", Networks(self.answers))


class Hit(NamedTuple):
    """Something is on a list."""

    list: DNSList
    #: What is on it: an address, a domain.
    what: str
    #: What the list was asked for.
    name: str


class DNSLists(FindingCheck):
    """Asks lists about the client's address, and about the names that it gives.

    Addresses are looked up while the client is greeted, all lists at the same time; what has not
    answered in time does not count. A list that also has what none may have (RFC 5782 section 5)
    is ignored, so that one that has been given up and lists everything does no harm.

    :param block: lists of addresses, by zone.
    :param block_domains: lists of domains: of the client's name in HELO, of its confirmed name, of
        the reverse-path.
    :param allow: lists of good addresses. Whoever is on one is not refused here, and not asked
        about by later hooks either, unless ``allow_accepts`` is false.
    :param allow_accepts: see ``allow``; otherwise their weights count against the block lists'.
    :param threshold: sum of weights from which on the action is taken.
    :param action: what happens to those who are on a list.
    :param text: the reply; ``{client}``, ``{what}`` and ``{zone}`` stand for themselves. The text
        of the list follows when ``use_txt``.
    :param use_txt: show what the list says about the entry.
    :param timeout: seconds for which the lists are waited for.
    :param points: for the action ``score``, as factor of the sum of weights.
    :raises ValueError: a setting makes no sense.
    """

    name = "dns-lists"
    log = Logger()

    def __init__(
        self,
        resolver: IDNSResolver,
        *,
        block: Sequence[DNSList | str] = (),
        block_domains: Sequence[DNSList | str] = (),
        allow: Sequence[DNSList | str] = (),
        allow_accepts: bool = True,
        threshold: float = 1.0,
        action: Action = "reject",
        text: str = "Mail from {client} is refused: {what} is on the list {zone}",
        use_txt: bool = True,
        timeout: float = 5.0,
        points: float = 1.0,
        exempt: Sequence[str] = (),
        spare_postmaster: bool = True,
        clock: IReactorTime | None = None,
    ) -> None:
        super().__init__(exempt=exempt, spare_postmaster=spare_postmaster)
        check_actions(action=action)
        try:
            text.format(client="", what="", zone="")
        except (LookupError, ValueError):
            raise ValueError(f"{text!r} may only have {{client}}, {{what}} and {{zone}}") from None
        self._resolver = resolver
        if not (block or block_domains or allow):
            raise ValueError("it needs a list to ask: block, block-domains or allow")
        self._block = _lists(block)
        self._block_domains = _lists(block_domains)
        self._allow = _lists(allow)
        self._allow_accepts = allow_accepts
        self._threshold = threshold
        self._action: Action = action
        self._text = text
        self._use_txt = use_txt
        self._timeout = timeout
        self._points = points
        self._clock = given_or_default(clock)
        self._told: ExpiringMap[str, bool] = ExpiringMap(1000, self._clock.seconds)

    @override
    def connect(self, session: MailSession) -> Answers:
        if self.concerns(session) and parse_address(session.connection.peer) is not None:
            peer = session.connection.peer
            session.facts[self.key] = Shared(self._ask_all((*self._block, *self._allow), [peer]))
        return None

    @override
    async def judge(
        self, session: MailSession, envelope: Envelope, recipient: Recipient
    ) -> Answers:
        answers = await super().judge(session, envelope, recipient)
        allowed = session.facts.get(f"{self.key}.allowed")
        return Accept(allowed) if allowed and answers is None else answers

    @override
    async def find(self, session: MailSession, envelope: Envelope) -> Finding | None:
        looking: Shared[list[Hit]] | None = session.facts.get(self.key)
        hits = [] if looking is None else list(await looking.result())
        good = [hit for hit in hits if hit.list in self._allow]
        bad = [hit for hit in hits if hit.list not in self._allow]
        if good and self._allow_accepts:
            session.facts[f"{self.key}.allowed"] = f"on the list {good[0].list.zone}"
            return None
        bad += await self._ask_all(self._block_domains, _domains(session, envelope))
        total = sum(hit.list.weight for hit in bad) - sum(hit.list.weight for hit in good)
        if not bad or total < self._threshold:
            return None
        worst = max(bad, key=lambda hit: hit.list.weight)
        text = await self._reply_text(session, worst)
        return Finding(text, self._action, total * self._points, defer_code=451)

    async def _reply_text(self, session: MailSession, hit: Hit) -> str:
        text = self._text.format(client=host_text(session), what=hit.what, zone=hit.list.zone)
        if self._use_txt:
            try:
                texts = await self._in_time(find_texts(self._resolver, hit.name))
            except (DNSFailure, TimeoutError):
                texts = ()
            if texts:
                text += f"; {shown(texts[0])}"
        return text

    # Asking.

    async def _ask_all(self, lists: Iterable[DNSList], things: Sequence[str]) -> list[Hit]:
        asking = [
            Deferred.fromCoroutine(self._ask(each, thing)) for each in lists for thing in things
        ]
        hits = await gatherResults(asking, consumeErrors=True)
        return [hit for hit in hits if hit is not None]

    async def _ask(self, each: DNSList, thing: str) -> Hit | None:
        target = parse_address(thing) or thing
        name = list_name(each.zone, target)
        try:
            if not await self._has(each, name):
                return None
            if await self._has(each, list_name(each.zone, _never_listed(target))):
                self._tell(each, "lists everything and is ignored", str(thing))
                return None
        except (DNSFailure, TimeoutError) as error:
            self._tell(each, "does not answer", str(error) or "not in time")
            return None
        return Hit(each, shown(str(target)), name)

    async def _has(self, each: DNSList, name: str) -> bool:
        answer = await self._in_time(self._resolver.lookup(name=name, type=RecordType.A))
        answers = [str(record) for record in answer.records]
        if any(record in _ERRORS for record in answers):
            self._tell(each, "answers with an error, see its documentation", ", ".join(answers))
            return False
        return any(record in each.networks for record in answers)

    async def _in_time(self, question: Any) -> Any:
        waiting = Deferred.fromCoroutine(_await(question))
        waiting.addTimeout(self._timeout, self._clock)
        return await waiting

    def _tell(self, each: DNSList, what: str, detail: str) -> None:
        """Log what is wrong with a list, once in a while."""
        key = f"{each.zone} {what}"
        if self._told.get(key) is None:
            self._told.set(key, True, _LOG_INTERVAL)
            self.log.warn(
                "DNS list {zone} {what} ({detail})", zone=each.zone, what=what, detail=detail
            )

    async def check_lists(self) -> Sequence[str]:
        """Ask each list for its test entries (RFC 5782 section 5).

        :returns: what is wrong, a line for each fault.
        """
        problems = []
        for each in (*self._block, *self._allow, *self._block_domains):
            domains = each in self._block_domains
            must: IPv4Address | str = "test" if domains else IPv4Address("127.0.0.2")
            must_not = _never_listed(must)
            try:
                if not await self._has(each, list_name(each.zone, must)):
                    problems.append(f"{each.zone} does not have its test entry {must}")
                if await self._has(each, list_name(each.zone, must_not)):
                    problems.append(f"{each.zone} has {must_not}, which no list may have")
            except (DNSFailure, TimeoutError) as error:
                problems.append(f"{each.zone} does not answer: {error or 'not in time'}")
        return problems


def list_name(zone: str, thing: IPv4Address | IPv6Address | str) -> str:
    """What a list is asked for: about an address (RFC 5782 sections 2.1, 2.4) or a domain (3)."""
    if isinstance(thing, str):
        return f"{canonical_domain(thing)}.{zone}"
    # Octets or nibbles in reverse, without the name of the reverse tree.
    return f"{thing.reverse_pointer.rsplit('.', 2)[0]}.{zone}"


def _never_listed(thing: IPv4Address | IPv6Address | str) -> IPv4Address | IPv6Address | str:
    """What no list may have (RFC 5782 section 5)."""
    if isinstance(thing, str):
        return "invalid"
    return IPv4Address("127.0.0.1") if thing.version == 4 else IPv6Address("::ffff:7f00:1")


def _lists(given: Sequence[DNSList | str]) -> list[DNSList]:
    return [DNSList(each) if isinstance(each, str) else each for each in given]


def _domains(session: MailSession, envelope: Envelope) -> list[str]:
    """The names that a client gives."""
    names = (session.helo, session.client_name, envelope.reverse_path.domain)
    return list(dict.fromkeys(canonical_domain(name) for name in names if is_name(name)))


async def _await(question: Any) -> Any:
    return await question
