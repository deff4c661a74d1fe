"""How secure the connection to a host must be, and why: settings, DANE, what the message wants."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from mailkit.client.dane import usable_associations
from mailkit.client.security import is_host_name
from mailkit.dns.records import TLSA, RecordType
from mailkit.errors import DNSFailure, MailError
from mailkit.interfaces import IDNSResolver
from mailkit.mime.headers import parse_header
from mailkit.model import Envelope
from mailkit.queue.hosts import Host
from mailkit.queue.sts import STSMode, STSPolicies
from mailkit.queue.tlsrpt import AppliedPolicy, applied_policy
from mailkit.smtp.client import TLSFailed, TLSMode, TLSPolicy

#: Octets at the start of a message in which TLS-Required is looked for.
MAX_HEADER = 64 * 1024

_NO = re.compile(rb"\s*no\s*", re.IGNORECASE)
_EMPTY_LINE = b"\r\n\r\n"
# Modes that stand below a certificate that is verified.
_WEAKER = (TLSMode.NONE, TLSMode.OPPORTUNISTIC, TLSMode.REQUIRED)


class Wish(enum.Enum):
    """What a message wants (RFC 8689)."""

    NORMAL = "normal"
    #: REQUIRETLS: a certificate that is verified, of a host whose name is certain.
    REQUIRED = "REQUIRETLS"
    #: ``TLS-Required: No``: rather sent without TLS than not at all.
    OPTIONAL = "TLS-Required: No"


class HostNotSecure(MailError):
    """A host may not get the message, whatever it says (RFC 3463 X.7.10, RFC 8689 section 4.2.1)."""

    default_text = "The message must not go to that server without more security"


class RequireTLSMissing(HostNotSecure):
    """A host does not know REQUIRETLS (RFC 3463 X.7.30)."""

    default_text = "REQUIRETLS: the server does not support it"


class Decision(NamedTuple):
    """How to connect to a host."""

    policy: TLSPolicy
    #: For people; kept with each attempt.
    reason: str
    applied: AppliedPolicy
    #: It is known for certain that the host is one of the domain's.
    certain: bool = False
    #: Why the host is not as the domain's policy wants it, though it is used all the same.
    violation: str = ""


class PolicyFailed(TLSFailed):
    """A host is not used because of a policy of its domain.

    :ivar applied: that policy.
    """

    def __init__(self, text: str, result_type: str, applied: AppliedPolicy) -> None:
        super().__init__(text, command="policy", result_type=result_type)
        self.applied = applied


def wish_of(envelope: Envelope, content: BinaryIO) -> Wish:
    """What a message wants; reads from the start of the content."""
    if envelope.require_tls:
        # RFC 8689 section 5: a report is not lost for it. Section 4.1: the field counts for nothing then.
        return Wish.NORMAL if envelope.reverse_path.is_null else Wish.REQUIRED
    start = _read_start(content)
    # No field stands behind an empty line: the body of most messages is left alone.
    end = start.find(_EMPTY_LINE)
    if b"tls-required" not in (start[:end] if end >= 0 else start).lower():
        return Wish.NORMAL
    value = parse_header(start).get(b"TLS-Required")
    return Wish.OPTIONAL if value is not None and _NO.fullmatch(value) else Wish.NORMAL


def _read_start(content: BinaryIO) -> bytes:
    """The header, and what is read with it."""
    content.seek(0)
    start = content.read(MAX_HEADER)
    # A file of several parts gives them one by one.
    while (
        _EMPTY_LINE not in start
        and len(start) < MAX_HEADER
        and (data := content.read(MAX_HEADER - len(start)))
    ):
        start += data
    return start


class DestinationSecurity:
    """Decides how secure the connection to each host must be.

    :param resolver: asks for TLSA records, and says what DNSSEC proves; no DANE without one.
    :param policies: those of MTA-STS; none when None.
    :param domains: modes for domains that the site has set, in place of that of all;
        ``.example.org`` is for the domains below. ``DANE`` means that there must be TLSA records.
    """

    def __init__(
        self,
        resolver: IDNSResolver | None = None,
        *,
        policies: STSPolicies | None = None,
        domains: Mapping[str, TLSMode] | None = None,
    ) -> None:
        self._resolver = resolver
        self._policies = policies
        self._domains = dict(domains or {})

    async def decide(self, host: Host, base: TLSPolicy, wish: Wish = Wish.NORMAL) -> Decision:
        """How to connect to a host.

        :param base: what is wanted of all hosts.
        :raises DNSFailure: it is not known; the host cannot be used now.
        :raises TLSFailed: there is no way to it that is secure enough now.
        :raises HostNotSecure: nor will there be.
        """
        domain = host.domains[0] if host.domains else host.name
        # TLS from the first octet is for servers that the site has chosen, with their own mode.
        wanted = None if base.implicit else self._mode_of(domain)
        mode = base.mode if wanted is None else wanted
        reason = mode.value if wanted is None else f"{mode.value}: setting for {domain}"
        if mode is not TLSMode.DANE:
            base = replace(base, mode=mode)
        policy = replace(base, hostname=base.hostname or host.name)
        nothing = AppliedPolicy("no-policy-found", domain)
        decision = Decision(policy, reason, nothing, host.secure)
        if base.implicit or mode in (TLSMode.NONE, TLSMode.PINNED):
            return _require(decision, wish)
        if wish is Wish.OPTIONAL and mode is TLSMode.OPPORTUNISTIC:
            # RFC 8689 section 4.1: what the recipient's side asks for does not count.
            return decision._replace(reason=f"{reason}: {wish.value}")
        # RFC 8461 section 2: DANE comes before MTA-STS.
        found = await self._dane(host, policy, mode)
        if found is None:
            found = await self._sts(host, decision, mode)
        return _require(found or decision, wish)

    def _mode_of(self, domain: str) -> TLSMode | None:
        if not self._domains:
            return None
        found = self._domains.get(domain)
        parent = domain
        while found is None and "." in parent:
            parent = parent.partition(".")[2]
            found = self._domains.get(f".{parent}")
        return found

    async def _sts(self, host: Host, decision: Decision, mode: TLSMode) -> Decision | None:
        """What the MTA-STS policy of a domain wants; None where it has none."""
        # RFC 8461 section 3.4: a smart host is the policy domain itself.
        domain = host.domains[0] if host.domains else host.name
        if self._policies is None or not (host.domains or _is_asked_for(host, mode)):
            return None
        found = await self._policies.find(domain)
        if found is None:
            return None
        applied = applied_policy("sts", domain, found.lines(), found.mx)
        name = f"mta-sts {found.mode.value}, policy {found.id}"
        matches = found.matches(host.name)
        violation = "" if matches else f"{host.name} is none of the servers of the MTA-STS policy"
        certain = decision.certain or matches
        policy = decision.policy
        if found.mode is STSMode.TESTING:
            # RFC 8461 section 5.2: it is only reported.
            reason = f"{decision.reason}; {name}"
            return Decision(replace(policy, observe=True), reason, applied, certain, violation)
        if violation:
            raise PolicyFailed(violation, "validation-failure", applied)
        policy = replace(policy, mode=TLSMode.VERIFIED)
        return Decision(policy, name, applied, certain)

    async def _dane(self, host: Host, policy: TLSPolicy, mode: TLSMode) -> Decision | None:
        """What the TLSA records of a host want; None where it has none."""
        found = None
        wanted = host.domains or mode is TLSMode.DANE
        if host.secure and is_host_name(host.name) and (wanted or _is_asked_for(host, mode)):
            found = await self._find_associations(host, lenient=not wanted)
        if found is None:
            if mode is TLSMode.DANE:
                raise PolicyFailed(
                    "The setting wants DANE, and the server has no TLSA records that DNSSEC proves",
                    "dane-required",
                    AppliedPolicy("no-policy-found", host.name),
                )
            return None
        base, records = found
        usable = usable_associations(records)
        lines = [f"{r.usage} {r.selector} {r.matching_type} {r.data.hex()}" for r in records]
        applied = applied_policy("tlsa", base, lines)
        where = f"{len(usable)} TLSA at _{host.port}._tcp.{base}"
        if usable:
            names = [name for name in (host.name, *host.domains) if name != base]
            policy = TLSPolicy.dane(base, usable, names)
            return Decision(policy, f"dane: {where}", applied, certain=True)
        if mode is TLSMode.DANE:
            raise PolicyFailed(
                "The setting wants DANE, and none of the server's TLSA records can be used",
                "tlsa-invalid",
                applied,
            )
        # RFC 7672 section 2.2: TLS must be, but nothing says with which certificate.
        if not policy.mandatory:
            policy = replace(policy, mode=TLSMode.REQUIRED)
        reason = f"{policy.mode.value}: none of the TLSA records can be used"
        return Decision(policy, reason, applied, certain=True)

    async def _find_associations(
        self, host: Host, lenient: bool
    ) -> tuple[str, Sequence[TLSA]] | None:
        """The TLSA base domain of a host, and its records (RFC 7672 section 2.2).

        :param lenient: DNS need not know the host: this site has chosen it.
        :raises DNSFailure: there was no answer, which may be an attack.
        """
        if self._resolver is None:
            return None
        try:
            bases = await self._base_domains(self._resolver, host.name)
        except DNSFailure:
            if not lenient:
                raise
            bases = []
        for base in bases:
            answer = await self._resolver.lookup(
                name=f"_{host.port}._tcp.{base}", type=RecordType.TLSA
            )
            records = [record for record in answer.records if isinstance(record, TLSA)]
            if records and answer.authenticated:
                return base, records
        return None

    async def _base_domains(self, resolver: IDNSResolver, name: str) -> Sequence[str]:
        """Names whose TLSA records count for a host (RFC 7672 section 2.2.2)."""
        canonical, secure, found = "", True, False
        failure: DNSFailure | None = None
        for type in (RecordType.A, RecordType.AAAA):
            try:
                answer = await resolver.lookup(name=name, type=type)
            except DNSFailure as error:
                failure = error
                continue
            canonical = canonical or answer.canonical
            if answer.records:
                found = True
                secure = secure and answer.authenticated
        if not found:
            if failure is not None:
                raise failure
            return []
        if secure:
            return [canonical, name] if canonical else [name]
        if canonical:
            alias = await resolver.lookup(name=name, type=RecordType.CNAME)
            if alias.authenticated and alias.records:
                return [name]
        # There could be no proven record in a zone that is not signed, and its servers may fail.
        return []


def _is_asked_for(host: Host, mode: TLSMode) -> bool:
    """Whether a server that the site has chosen may say itself how secure it is.

    Where the site has said more than "if possible", that counts. A name without a dot is one that
    only this site knows.
    """
    return mode is TLSMode.OPPORTUNISTIC and is_host_name(host.name) and "." in host.name


def _require(decision: Decision, wish: Wish) -> Decision:
    """What REQUIRETLS makes of a decision (RFC 8689 section 4.2.1)."""
    if wish is not Wish.REQUIRED:
        return decision
    if not decision.certain:
        raise HostNotSecure(
            "REQUIRETLS: neither DNSSEC nor MTA-STS says which servers the domain has"
        )
    policy = decision.policy
    if policy.mode in _WEAKER:
        policy = replace(policy, mode=TLSMode.VERIFIED)
    return decision._replace(policy=policy, reason=f"{decision.reason}; {wish.value}")
