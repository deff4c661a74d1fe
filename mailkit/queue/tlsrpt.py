"""TLS reports (RFC 8460): what is in them, reading and writing them. No I/O."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from mailkit.mime.dates import format_date
from mailkit.mime.decoding import make_decoder
from mailkit.mime.parts import Part, parse_message

#: Octets of a report, before and after decompression, and of a message with one.
MAX_REPORT = 10 * 1024 * 1024
MAX_MESSAGE = 16 * 1024 * 1024
#: Policies of a report, and failures of each.
MAX_POLICIES = 1000
MAX_DETAILS = 10_000
#: Lines of a policy that are reported, and characters of each.
MAX_LINES = 32
MAX_LINE = 600
#: Characters of a text in a report.
MAX_TEXT = 2000
#: Places that a domain's reports are sent to.
MAX_PLACES = 4

_GZIP = b"\x1f\x8b"
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")
_HTTPS = re.compile(r"https://[\x21-\x7e]{1,1000}")
_MAIL_TYPES = (b"tlsrpt+json", b"tlsrpt+gzip")


class AppliedPolicy(NamedTuple):
    """What a domain has published for the way to it (RFC 8460 section 4.4)."""

    #: ``tlsa``, ``sts`` or ``no-policy-found``.
    type: str
    #: What it is about: the domain, or the TLSA base domain.
    domain: str
    #: Records, or lines of the policy.
    lines: tuple[str, ...] = ()
    #: Patterns of exchangers.
    mx: tuple[str, ...] = ()


def applied_policy(
    type: str, domain: str, lines: Sequence[str], mx: Sequence[str] = ()
) -> AppliedPolicy:
    """A policy as it is counted: what a domain may publish without end is cut."""
    cut = tuple(line[:MAX_LINE] for line in lines[:MAX_LINES])
    return AppliedPolicy(type, domain, cut, tuple(mx[:MAX_LINES]))


class FailureDetail(NamedTuple):
    """Sessions that failed for the same reason; what is not known is empty."""

    #: Such as ``certificate-expired`` (RFC 8460 section 4.3).
    result_type: str
    sessions: int
    receiving_host: str = ""
    receiving_address: str = ""
    receiving_helo: str = ""
    sending_address: str = ""
    reason: str = ""
    #: A URI.
    information: str = ""


class PolicyResult(NamedTuple):
    """What came of the sessions under one policy."""

    policy: AppliedPolicy
    successes: int
    failures: int
    details: Sequence[FailureDetail] = ()


class TLSReport(NamedTuple):
    """A report about one day."""

    organization: str
    contact: str
    id: str
    start: datetime
    end: datetime
    policies: Sequence[PolicyResult]


class BadReport(ValueError):
    """It is no TLS report; the text says why."""


# What domains want.


def parse_places(texts: Sequence[str]) -> list[str]:
    """Where a domain wants its reports, from the TXT records at ``_smtp._tls``.

    :returns: ``mailto:`` and ``https:`` URIs, the first ones first; empty for none.
    """
    # RFC 8460 section 3: others may stand there too.
    records = [text for text in texts if re.match(r"v=TLSRPTv1[ \t]*;", text)]
    if len(records) != 1:
        return []
    places: list[str] = []
    for field in records[0].split(";"):
        name, _, value = field.strip(" \t").partition("=")
        if name == "rua":
            places += [place.strip(" \t") for place in value.split(",")]
    return [place for place in places if mail_address(place) or _HTTPS.fullmatch(place)][
        :MAX_PLACES
    ]


def mail_address(place: str) -> str | None:
    """The address in a ``mailto:`` URI; None where it is another one, or one that is not plain."""
    scheme, _, address = place.partition(":")
    if scheme.lower() != "mailto" or not _ADDRESS.fullmatch(address):
        return None
    return address


# Writing.


def write_report(report: TLSReport) -> bytes:
    """A report in JSON, compressed."""
    octets = json.dumps(_as_json(report), ensure_ascii=False, indent=1).encode("utf-8")
    return gzip.compress(octets, mtime=0)


def _as_json(report: TLSReport) -> dict[str, Any]:
    return {
        "organization-name": report.organization,
        "date-range": {"start-datetime": _date(report.start), "end-datetime": _date(report.end)},
        "contact-info": report.contact,
        "report-id": report.id,
        "policies": [_policy_as_json(result) for result in report.policies],
    }


def _policy_as_json(result: PolicyResult) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "policy-type": result.policy.type,
        "policy-domain": result.policy.domain,
    }
    if result.policy.lines:
        policy["policy-string"] = list(result.policy.lines)
    if result.policy.mx:
        policy["mx-host"] = list(result.policy.mx)
    return {
        "policy": policy,
        "summary": {
            "total-successful-session-count": result.successes,
            "total-failure-session-count": result.failures,
        },
        "failure-details": [
            {key: value for key, value in zip(_DETAIL_KEYS, detail, strict=True) if value != ""}
            for detail in result.details
        ],
    }


#: In the order of FailureDetail's fields.
_DETAIL_KEYS = (
    "result-type",
    "failed-session-count",
    "receiving-mx-hostname",
    "receiving-ip",
    "receiving-mx-helo",
    "sending-mta-ip",
    "failure-reason-code",
    "additional-information",
)


def _date(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_message(
    report: TLSReport, domain: str, recipients: Sequence[str], now: float, token: str
) -> bytes:
    """The message that brings a report to a domain (RFC 8460 section 5.3).

    :param now: seconds since the epoch.
    :param token: for boundaries and the Message-ID.
    """
    submitter = report.contact.rpartition("@")[2]
    span = f"{int(report.start.timestamp())}!{int(report.end.timestamp())}"
    lines = [
        f"From: <{report.contact}>",
        f"To: {', '.join(f'<{each}>' for each in recipients)}",
        f"Subject: Report Domain: {domain}",
        f" Submitter: {submitter}",
        f" Report-ID: <{report.id}>",
        f"Date: {format_date(now)}",
        f"Message-ID: <{token}@{submitter}>",
        f"TLS-Report-Domain: {domain}",
        f"TLS-Report-Submitter: {submitter}",
        # RFC 8460 section 5.3: it arrives in spite of what it is about.
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type="tlsrpt";',
        f' boundary="=_{token}"',
        "",
        f"--=_{token}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is an aggregate TLS report from {submitter} about {domain}.",
        "",
        f"--=_{token}",
        "Content-Type: application/tlsrpt+gzip",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f' filename="{submitter}!{domain}!{span}.json.gz"',
        "",
    ]
    head = "\r\n".join(lines).encode("ascii", "replace")
    body = base64.encodebytes(write_report(report)).replace(b"\n", b"\r\n")
    return b"%b\r\n%b--=_%b--\r\n" % (head, body, token.encode("ascii"))


# Reading.


def read_report(octets: bytes) -> TLSReport:
    """Read a report: JSON, compressed JSON, or a message that brings one.

    :raises BadReport: it is none.
    """
    if len(octets) > MAX_MESSAGE:
        raise BadReport("it is too long")
    if not octets.startswith(_GZIP) and octets.lstrip()[:1] != b"{":
        octets = _attachment(octets)
    if octets.startswith(_GZIP):
        octets = _decompress(octets)
    if len(octets) > MAX_REPORT:
        raise BadReport("it is too long")
    try:
        value = json.loads(octets)
    except (ValueError, RecursionError):
        raise BadReport("it is not JSON") from None
    try:
        return _parse(value)
    except (KeyError, TypeError, AttributeError, OverflowError):
        raise BadReport("a field is missing, or of another kind") from None


def _decompress(octets: bytes) -> bytes:
    decompressor = zlib.decompressobj(wbits=31)
    try:
        plain = decompressor.decompress(octets, MAX_REPORT + 1)
    except zlib.error:
        raise BadReport("it cannot be decompressed") from None
    if not decompressor.eof and len(plain) <= MAX_REPORT:
        raise BadReport("it breaks off")
    return plain


def _attachment(message: bytes) -> bytes:
    part = _find(parse_message(message))
    if part is None:
        raise BadReport("it is neither JSON nor a message with application/tlsrpt")
    octets = message[part.body_start : part.body_end]
    decoder = make_decoder(part.header.get(b"Content-Transfer-Encoding") or b"7bit")
    if decoder is None:
        raise BadReport("its transfer encoding is not known")
    return decoder.feed(octets) + decoder.finish()


def _find(part: Part) -> Part | None:
    if part.type == b"application" and part.subtype in _MAIL_TYPES:
        return part
    return next((found for each in part.children if (found := _find(each)) is not None), None)


def _parse(value: Any) -> TLSReport:
    span = value["date-range"]
    policies = value["policies"]
    if not isinstance(policies, list) or len(policies) > MAX_POLICIES:
        raise BadReport("policies is no array, or too long")
    return TLSReport(
        _text(value.get("organization-name", "")),
        _text(value.get("contact-info", "")),
        _text(value["report-id"]),
        _moment(span["start-datetime"]),
        _moment(span["end-datetime"]),
        [_parse_policy(each) for each in policies],
    )


def _parse_policy(value: Any) -> PolicyResult:
    policy, summary = value["policy"], value["summary"]
    details = value.get("failure-details") or []
    if not isinstance(details, list) or len(details) > MAX_DETAILS:
        raise BadReport("failure-details is no array, or too long")
    applied = AppliedPolicy(
        _text(policy["policy-type"]),
        _text(policy["policy-domain"]),
        _texts(policy.get("policy-string")),
        _texts(policy.get("mx-host")),
    )
    successes = _count(summary["total-successful-session-count"])
    failures = _count(summary["total-failure-session-count"])
    return PolicyResult(applied, successes, failures, [_parse_detail(each) for each in details])


def _parse_detail(value: Mapping[str, Any]) -> FailureDetail:
    type, count, *texts = _DETAIL_KEYS
    fields = [_text(value.get(key) or "") for key in texts]
    return FailureDetail(_text(value[type]), _count(value[count]), *fields)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    # For people: nothing that a terminal obeys.
    return "".join(c if c.isprintable() else "?" for c in value[:MAX_TEXT])


def _texts(value: Any) -> tuple[str, ...]:
    # lenient: the standard's own example has one string for mx-host.
    values = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(_text(each) for each in values[:MAX_POLICIES])


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise TypeError
    return value


def _moment(value: Any) -> datetime:
    text = _text(value)
    try:
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    except ValueError:
        raise BadReport(f"{text[:40]!r} is no date and time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)
