"""MTA-STS (RFC 8461): policies of domains, found by DNS and HTTPS, and remembered."""

from __future__ import annotations

import enum
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailkit.coroutines import Shared, run
from mailkit.dns.lookups import find_texts
from mailkit.errors import DNSFailure, MailError, TemporaryFailure
from mailkit.expiring import ExpiringMap
from mailkit.interfaces import IDNSResolver, IKeyValueStore
from mailkit.wire.domains import canonical_domain, is_dns_name

#: Octets of a policy file (RFC 8461 section 3.3).
MAX_POLICY = 64 * 1024
#: Patterns of exchangers in a policy.
MAX_PATTERNS = 100
#: Seconds for which a policy may be remembered (RFC 8461 section 3.2).
MAX_AGE = 31_557_600
#: Seconds after which a policy is fetched anew though its id is the same (RFC 8461 section 3.3).
REFRESH_INTERVAL = 86_400
#: Seconds in which it is not tried again when that has failed.
FAILURE_INTERVAL = 300.0
#: Domains whose policies, or failures, are held in memory.
MAX_DOMAINS = 1000

#: What the kept values are about.
KIND = "mta-sts"

_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_RECORD_FIELD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x3a\x3c\x3e-\x7e]+")
_POLICY_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*(\S(?:.*\S)?)[ \t]*")


class STSMode(enum.Enum):
    """What becomes of mail for servers that are not as the policy says (RFC 8461 section 5)."""

    ENFORCE = "enforce"
    #: It is sent, and reported.
    TESTING = "testing"
    NONE = "none"


class STSPolicy(NamedTuple):
    """A domain's policy (RFC 8461 section 3.2)."""

    mode: STSMode
    #: Names of exchangers, in lower case; ``*.`` stands for one label.
    mx: tuple[str, ...]
    #: Seconds for which it holds.
    max_age: int
    #: That of the TXT record.
    id: str = ""

    def matches(self, host: str) -> bool:
        """Whether an exchanger is one of the policy's (RFC 8461 section 4.1)."""
        name = canonical_domain(host)
        parent = "*." + name.partition(".")[2]
        return name in self.mx or parent in self.mx

    def lines(self) -> list[str]:
        """As in a policy file."""
        return [
            "version: STSv1",
            f"mode: {self.mode.value}",
            *(f"mx: {pattern}" for pattern in self.mx),
            f"max_age: {self.max_age}",
        ]


class STSPolicyUnavailable(TemporaryFailure):
    """A policy that is announced cannot be had.

    :ivar result_type: what TLS reports call that (RFC 8460 section 4.3).
    """

    default_text = "The domain's MTA-STS policy cannot be fetched"

    def __init__(self, text: str = "", result_type: str = "sts-policy-fetch-error") -> None:
        super().__init__(text)
        self.result_type = result_type


def parse_policy(octets: bytes, id: str = "") -> STSPolicy:
    """Read a policy file.

    :raises ValueError: it is none; the text says why.
    """
    if len(octets) > MAX_POLICY:
        raise ValueError("the policy is too long")
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in octets.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n"):
        found = _POLICY_FIELD.fullmatch(line)
        if found is None:
            raise ValueError(f"{line[:80]!r} is no field")
        name, value = found.groups()
        if name == "mx":
            patterns.append(_pattern(value))
        else:
            # RFC 8461 section 3.2: of what is repeated the first counts; what is unknown does not.
            fields.setdefault(name, value)
    if fields.get("version") != "STSv1":
        raise ValueError("the version is not STSv1")
    try:
        mode = STSMode(fields.get("mode"))
    except ValueError:
        raise ValueError("the mode is not enforce, testing or none") from None
    age = fields.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", age) or int(age) > MAX_AGE:
        raise ValueError("max_age is no number of seconds")
    if not patterns and mode is not STSMode.NONE:
        raise ValueError("there is no mx")
    if len(patterns) > MAX_PATTERNS:
        raise ValueError("there are too many mx")
    return STSPolicy(mode, tuple(patterns), int(age), id)


def _pattern(text: str) -> str:
    name = text.removeprefix("*.")
    if not name.isascii() or not is_dns_name(canonical_domain(name)) or "*" in name:
        raise ValueError(f"{text[:80]!r} is no mx")
    return canonical_domain(text)


def parse_record(texts: Sequence[str]) -> str | None:
    """The id in the TXT records at ``_mta-sts``; None where they announce no policy."""
    # RFC 8461 section 3.1: others may stand there too.
    records = [text for text in texts if re.match(r"v=STSv1[ \t]*;", text)]
    if len(records) != 1:
        return None
    fields = [field.strip(" \t") for field in records[0].split(";")]
    if not fields[-1]:
        fields.pop()
    ids = [field[3:] for field in fields if field.startswith("id=")]
    good = all(_RECORD_FIELD.fullmatch(field) for field in fields)
    return ids[0] if good and ids and _ID.fullmatch(ids[0]) else None


class PolicyFetcher(ABC):
    """Gets policy files."""

    @abstractmethod
    async def fetch(self, domain: str) -> bytes:
        """The policy file of a domain.

        :raises STSPolicyUnavailable: it cannot be had.
        """


class _Known(NamedTuple):
    policy: STSPolicy
    #: When it was fetched, in seconds since the epoch.
    fetched: int


class STSPolicies:
    """Finds the policies of domains, and remembers them as long as they hold.

    A policy that is remembered holds also when it can't be fetched again, or is announced no more.

    :param resolver: asks for what announces policies.
    :param fetcher: gets them.
    :param values: keeps them, so that a restart forgets none; a mail store that can.
    :param failed: is called with domain and error when an announced policy cannot be had.
    """

    log = Logger()

    def __init__(
        self,
        resolver: IDNSResolver,
        fetcher: PolicyFetcher,
        values: IKeyValueStore | None,
        clock: IReactorTime,
        failed: Callable[[str, STSPolicyUnavailable], None] = lambda domain, error: None,
    ) -> None:
        self._resolver = resolver
        self._fetcher = fetcher
        self._values = values
        self._clock = clock
        self._failed = failed
        self._known: ExpiringMap[str, _Known] = ExpiringMap(MAX_DOMAINS, clock.seconds)
        self._troubled: ExpiringMap[str, bool] = ExpiringMap(MAX_DOMAINS, clock.seconds)
        self._fetching: dict[str, Shared[STSPolicy | None]] = {}

    async def find(self, domain: str) -> STSPolicy | None:
        """The policy of a domain; None where it has none that says anything.

        :param domain: in lower case and with A-labels.
        """
        policy = await self._find(domain)
        return None if policy is None or policy.mode is STSMode.NONE else policy

    async def _find(self, domain: str) -> STSPolicy | None:
        known = await self._recall(domain)
        try:
            id = parse_record(await find_texts(self._resolver, f"_mta-sts.{domain}"))
        except DNSFailure:
            # RFC 8461 section 5.1: what is known holds, whatever becomes of its announcement.
            id = None
        if known is None:
            return None if id is None else await self._fetch(domain, id)
        if id is not None and id != known.policy.id:
            return await self._fetch(domain, id) or known.policy
        if self._clock.seconds() - known.fetched >= REFRESH_INTERVAL:
            # Nobody waits for it: what is known holds still.
            run(self._fetch(domain, known.policy.id)).addErrback(self._log_failure)
        return known.policy

    async def _fetch(self, domain: str, id: str) -> STSPolicy | None:
        """A policy as it is now, once for all who ask at the same time; None if that fails."""
        if self._troubled.get(domain):
            return None
        fetching = self._fetching.get(domain)
        if fetching is None:
            fetching = Shared(self._fetch_once(domain, id))
            if not fetching.done:
                self._fetching[domain] = fetching
        return await fetching.result()

    async def _fetch_once(self, domain: str, id: str) -> STSPolicy | None:
        try:
            policy = parse_policy(await self._fetcher.fetch(domain), id)
        except STSPolicyUnavailable as error:
            self._give_up(domain, error)
            return None
        except ValueError as error:
            text = f"The MTA-STS policy of {domain} makes no sense: {error}"
            self._give_up(domain, STSPolicyUnavailable(text, "sts-policy-invalid"))
            return None
        finally:
            self._fetching.pop(domain, None)
        self._remember(domain, _Known(policy, int(self._clock.seconds())))
        return policy

    def _give_up(self, domain: str, error: STSPolicyUnavailable) -> None:
        self.log.warn("{domain}: {error}", domain=domain, error=error.text)
        self._troubled.set(domain, True, FAILURE_INTERVAL)
        self._failed(domain, error)

    # Remembering.

    async def _recall(self, domain: str) -> _Known | None:
        known = self._known.get(domain)
        if known is not None or self._values is None:
            return known
        try:
            text = await self._values.get_value(kind=KIND, key=domain)
        except MailError as error:
            self.log.error("MTA-STS does without its store: {error}", error=error.text)
            return None
        known = _known_of(text) if text else None
        if known is not None:
            left = known.fetched + known.policy.max_age - self._clock.seconds()
            self._known.set(domain, known, left)
        return known

    def _remember(self, domain: str, known: _Known) -> None:
        seconds = known.policy.max_age
        self._known.set(domain, known, seconds)
        if self._values is not None:
            text = json.dumps([known.policy.id, known.fetched, known.policy.lines()])
            run(self._keep(self._values, domain, text, seconds)).addErrback(self._log_failure)

    async def _keep(self, values: IKeyValueStore, domain: str, text: str, seconds: int) -> None:
        try:
            await values.set_value(kind=KIND, key=domain, value=text, seconds=seconds)
        except MailError as error:
            self.log.error("MTA-STS does without its store: {error}", error=error.text)

    def _log_failure(self, failure: Any) -> None:
        self.log.failure("an MTA-STS policy could not be kept up", failure)


def _known_of(text: str) -> _Known | None:
    try:
        id, fetched, lines = json.loads(text)
        return _Known(parse_policy("\n".join(lines).encode(), id), int(fetched))
    except (ValueError, TypeError):
        return None
