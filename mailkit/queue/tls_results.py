"""What came of securing connections, counted by day and domain for TLS reports (RFC 8460).

Counts are kept in the store once a minute: a crash loses those of the last one.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from twisted.internet.defer import gatherResults
from twisted.logger import Logger

from mailkit.coroutines import Shared, run
from mailkit.dns.lookups import find_texts
from mailkit.errors import DNSFailure, MailError
from mailkit.interfaces import IDNSResolver, IKeyValueStore
from mailkit.queue.hosts import Host
from mailkit.queue.security import Decision, PolicyFailed
from mailkit.queue.sts import STSPolicyUnavailable
from mailkit.queue.tlsrpt import AppliedPolicy, FailureDetail, PolicyResult, parse_places
from mailkit.smtp.client import ConnectionFacts, TLSFailed, TLSMode

#: Domains of a day whose connections are counted.
MAX_DOMAINS = 20_000
#: Policies of a domain in a day, and different failures of each; further ones are not told apart.
MAX_POLICIES = 20
MAX_FAILURES = 50
#: Seconds between two writings, and for which counts are kept.
FLUSH_INTERVAL = 60.0
KEPT = 4 * 86_400
#: Characters of a reason.
MAX_REASON = 200

#: What the kept values are about. Each has the domains of a day whose names have the same hash.
KIND = "tls-results"
BUCKETS = 64

DAY = 86_400


class TLSSession(NamedTuple):
    """How the attempt to secure one connection ended."""

    #: Whose mail it was for.
    domain: str
    host: Host
    applied: AppliedPolicy
    #: What kind of failure it was (RFC 8460 section 4.3); empty for none.
    result_type: str = ""
    reason: str = ""
    #: What the server calls itself.
    helo: str = ""


def finished_session(host: Host, decision: Decision, facts: ConnectionFacts) -> TLSSession | None:
    """What to count of a connection that is used."""
    if not host.domains or decision.policy.mode is TLSMode.NONE:
        return None
    kind, reason = "", ""
    if facts.tls is None:
        kind = "validation-failure" if facts.tls_failure else "starttls-not-supported"
        reason = facts.tls_failure
    elif facts.tls.problem and not facts.tls.result_type:
        # A fault of our own: nobody knows whether the policy is met.
        return None
    elif facts.tls.problem:
        kind, reason = facts.tls.result_type, facts.tls.problem
    elif decision.violation:
        kind, reason = "validation-failure", decision.violation
    helo = facts.extensions.hostname
    return TLSSession(host.domains[0], host, decision.applied, kind, reason, helo)


def failed_session(host: Host, decision: Decision | None, error: TLSFailed) -> TLSSession | None:
    """What to count of a connection that could not be made secure enough."""
    if isinstance(error, PolicyFailed):
        applied = error.applied
    elif decision is not None:
        applied = decision.applied
    else:
        return None
    if not host.domains:
        return None
    return TLSSession(host.domains[0], host, applied, error.result_type, error.text)


def failed_policy(domain: str, error: STSPolicyUnavailable) -> TLSSession:
    """What to count when an MTA-STS policy that is announced cannot be had."""
    host = Host(f"mta-sts.{domain}", "", 443, domains=(domain,))
    applied = AppliedPolicy("sts", domain)
    return TLSSession(domain, host, applied, error.result_type, error.text)


@dataclass
class _Counts:
    """Of one policy."""

    successes: int = 0
    #: By result type, host, address, what it calls itself, reason.
    failures: Counter[tuple[str, str, str, str, str]] = field(default_factory=Counter)

    def add(self, session: TLSSession) -> None:
        if not session.result_type:
            self.successes += 1
            return
        host, helo = session.host, session.helo[:MAX_REASON]
        key = session.result_type, host.name, host.address, helo, session.reason[:MAX_REASON]
        if key not in self.failures and len(self.failures) >= MAX_FAILURES:
            key = session.result_type, "", "", "", ""
        self.failures[key] += 1


#: By domain and policy.
_Domains = dict[str, dict[AppliedPolicy, _Counts]]


class TLSResults:
    """Counts connections for the domains that want reports.

    :param resolver: knows who wants them.
    :param values: keeps the counts.
    :param clock: tells the time, since the epoch, and calls.
    """

    log = Logger()

    def __init__(self, resolver: IDNSResolver, values: IKeyValueStore, clock: Any) -> None:
        self._resolver = resolver
        self._values = values
        self._clock = clock
        self._buckets: dict[tuple[int, int], _Domains] = {}
        self._loading: dict[tuple[int, int], Shared[_Domains]] = {}
        self._changed: set[tuple[int, int]] = set()
        self._domains: Counter[int] = Counter()
        self._timer: Any = None
        self._running = True

    @property
    def today(self) -> int:
        """The number of the day (UTC)."""
        return int(self._clock.seconds()) // DAY

    # Counting.

    def note(self, session: TLSSession) -> None:
        """Count a connection; what goes wrong with that is logged."""
        if self._running:
            run(self._note(session)).addErrback(
                lambda failure: self.log.failure("a TLS result is lost", failure)
            )

    async def _note(self, session: TLSSession) -> None:
        try:
            if not await self.places(session.domain):
                return
            key = self.today, _bucket(session.domain)
            domains = await self._load(key)
        except DNSFailure:
            return
        except MailError as error:
            self.log.warn("a TLS result is lost: {error}", error=error.text)
            return
        if session.domain not in domains:
            if self._domains[key[0]] >= MAX_DOMAINS:
                return
            self._domains[key[0]] += 1
        policies = domains.setdefault(session.domain, {})
        if session.applied in policies or len(policies) < MAX_POLICIES:
            policies.setdefault(session.applied, _Counts()).add(session)
            self._change(key)

    async def places(self, domain: str) -> Sequence[str]:
        """Where a domain wants its reports.

        :raises DNSFailure: it is not known.
        """
        return parse_places(await find_texts(self._resolver, f"_smtp._tls.{domain}"))

    # Reading.

    async def list_domains(self, day: int) -> list[str]:
        """The domains of a day that connections were counted for."""
        found: list[str] = []
        for number in range(BUCKETS):
            found += await self._load((day, number))
        return found

    async def get(self, day: int, domain: str) -> list[PolicyResult]:
        """What was counted for a domain."""
        policies = (await self._load((day, _bucket(domain)))).get(domain, {})
        return [_result(policy, counts) for policy, counts in policies.items()]

    async def remove(self, day: int, domain: str) -> None:
        """Forget what was counted for a domain."""
        key = day, _bucket(domain)
        if (await self._load(key)).pop(domain, None) is not None:
            self._change(key)

    def forget(self, before: int) -> None:
        """Hold nothing of earlier days in memory."""
        for key in [each for each in self._buckets if each[0] < before]:
            del self._buckets[key]
            self._changed.discard(key)
        for day in [each for each in self._domains if each < before]:
            del self._domains[day]

    # Keeping.

    async def _load(self, key: tuple[int, int]) -> _Domains:
        domains = self._buckets.get(key)
        if domains is not None:
            return domains
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = Shared(self._read(key))
        try:
            return await loading.result()
        finally:
            self._loading.pop(key, None)

    async def _read(self, key: tuple[int, int]) -> _Domains:
        text = await self._values.get_value(kind=KIND, key=_name(key))
        domains = _parse(text) if text else {}
        self._buckets[key] = domains
        self._domains[key[0]] += len(domains)
        return domains

    def _change(self, key: tuple[int, int]) -> None:
        self._changed.add(key)
        if self._timer is None and self._running:
            self._timer = self._clock.callLater(FLUSH_INTERVAL, self._flush_later)

    def _flush_later(self) -> None:
        self._timer = None
        run(self.flush()).addErrback(
            lambda failure: self.log.failure("TLS results are not kept", failure)
        )

    async def flush(self) -> None:
        """Keep what was counted."""
        changed, self._changed = self._changed, set()
        writing = [run(self._write(key)) for key in changed]
        await gatherResults(writing)

    async def _write(self, key: tuple[int, int]) -> None:
        domains = self._buckets.get(key, {})
        seconds = KEPT if domains else 0
        try:
            await self._values.set_value(
                kind=KIND, key=_name(key), value=_text(domains), seconds=seconds
            )
        except MailError as error:
            self.log.warn("TLS results are not kept: {error}", error=error.text)

    async def close(self) -> None:
        """Keep what was counted, and count no more."""
        self._running = False
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        await self.flush()


def _bucket(domain: str) -> int:
    return zlib.crc32(domain.encode("utf-8", "surrogateescape")) % BUCKETS


def _name(key: tuple[int, int]) -> str:
    return f"{key[0]}/{key[1]}"


def _result(policy: AppliedPolicy, counts: _Counts) -> PolicyResult:
    details = [
        FailureDetail(type, sessions, host, address, helo, reason=reason)
        for (type, host, address, helo, reason), sessions in counts.failures.items()
    ]
    return PolicyResult(policy, counts.successes, sum(counts.failures.values()), details)


def _text(domains: _Domains) -> str:
    return json.dumps(
        {
            domain: [
                [*policy, counts.successes, [[*key, n] for key, n in counts.failures.items()]]
                for policy, counts in policies.items()
            ]
            for domain, policies in domains.items()
        }
    )


def _parse(text: str) -> _Domains:
    domains: _Domains = {}
    try:
        for domain, policies in json.loads(text).items():
            for type, about, lines, mx, successes, failures in policies:
                policy = AppliedPolicy(type, about, tuple(lines), tuple(mx))
                counts = Counter({tuple(key): n for *key, n in failures})
                domains.setdefault(domain, {})[policy] = _Counts(successes, counts)
    except (ValueError, TypeError, AttributeError):
        return {}
    return domains
