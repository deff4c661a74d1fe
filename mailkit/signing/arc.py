"""ARC sets for mail that is sent on (RFC 8617): what we found when it came, sealed.

What an alias sends on reaches the next server from an address that the author's domain does not
know, and a subject line or a footer that was added has broken the author's signature. An ARC set says
what was true here. It says only what has been verified here: the signatures (DKIM) and the chain of the
sets before, by dkimpy.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from mailkit.signing.body import BodyHash, relax
from mailkit.signing.dkim import MessageHeader, Unsignable, make_field, read_header, signed_names
from mailkit.signing.keys import SigningKey
from mailkit.signing.library import load_dkim

#: Octets of a message that is sealed: dkimpy needs it in memory, several times over.
MAX_SEALED = 10 * 1024 * 1024
#: Signatures of a message that are verified.
MAX_VERIFIED = 5
#: Sets of one chain (RFC 8617 section 4.2.1), and keys that are asked for to verify it.
MAX_SETS = 50
MAX_KEYS = 50
#: Octets of a message's body times the sets that it has.
MAX_WORK = 50 * 1024 * 1024

_TAG = rb"(?:^|;)\s*%b\s*=\s*([A-Za-z0-9._-]+)\s*(?=;|\Z)"
_DOMAIN, _SELECTOR = (re.compile(_TAG % name) for name in (b"d", b"s"))
_ALGORITHM = re.compile(_TAG % b"a")
_BODY_FORM = re.compile(rb"(?:^|;)\s*c\s*=\s*\w+\s*(?:/\s*(\w+))?")
#: More white space than anybody writes: dkimpy's patterns would go astray in it.
_WASTE = re.compile(rb"\s{100}")
_SIGNATURE = re.compile(rb"(?:^|;)\s*b\s*=([A-Za-z0-9+/=\s]+)")


class Record(NamedTuple):
    """What DNS said at the name of a key."""

    #: None where there is none.
    text: str | None
    #: Nobody has answered.
    failed: bool = False


@dataclass(frozen=True)
class Findings:
    """What was found out about a message."""

    #: Results for the field, such as ``dkim=pass header.d=example.org``.
    results: Sequence[str]
    #: Of the sets that it has: none, pass or fail (RFC 8617 section 4.4); None where a set says that
    #: the chain had failed before.
    chain: str | None
    #: The chain could not be judged: a name server did not answer.
    doubtful: bool = False


def key_names(header: MessageHeader) -> list[str]:
    """Where the keys stand in DNS that verify a message."""
    wanted = []
    signatures = 0
    for name, value in header.fields:
        lower = name.lower()
        if lower == b"dkim-signature":
            signatures += 1
            if signatures > MAX_VERIFIED:
                continue
        elif lower not in (b"arc-seal", b"arc-message-signature"):
            continue
        if (key := _key_name(value)) is not None:
            wanted.append(key)
    return list(dict.fromkeys(wanted))[:MAX_KEYS]


def _key_name(value: bytes) -> str | None:
    domain, selector = _DOMAIN.search(value), _SELECTOR.search(value)
    if domain is None or selector is None:
        return None
    return f"{selector[1].decode()}._domainkey.{domain[1].decode()}".lower().rstrip(".")


class Verifier:
    """Verifies one message.

    :param octets: all of it, its lines ended by CRLF.
    :param records: what DNS said at the names of :func:`key_names`.
    :raises Unsignable: its header is damaged, or too long.
    """

    def __init__(self, octets: bytes, records: Mapping[str, Record]) -> None:
        self._records = records
        self._dkim = load_dkim()
        self._failed = False
        self.header = read_header(io.BytesIO(octets))
        self._head = octets[: self.header.body_start]
        body = octets[self.header.body_start :].rstrip(b"\r\n")
        #: Of either form, without what dkimpy would take its time to remove.
        self._simple = body + b"\r\n" if body else b""
        self._relaxed = relax(self._simple)
        #: The fields of the sets, by instance: the last one first.
        self.last, self.sets = self._dkim.ARC(self._head).sorted_arc_headers()

    def find(self) -> Findings:
        """What holds, and what does not."""
        self._failed = False
        chain = self._verify_chain()
        doubtful = self._failed
        return Findings([f"arc={chain or 'fail'}", *self._verify_signatures()], chain, doubtful)

    def _body(self, form: bytes) -> bytes:
        return self._relaxed if form == b"relaxed" else self._simple

    def _verify_chain(self) -> str | None:
        if self.last > MAX_SETS or any(_WASTE.search(value) for value in self._values(b"arc-")):
            return "fail"
        found = self._dkim.ARC(self._head)
        signatures = [
            value for name, (field, value) in self.sets if field == b"arc-message-signature"
        ]
        # That of the last set decides (RFC 8617 section 5.2).
        found.body = self._body(_body_form(signatures[0], b"relaxed") if signatures else b"")
        try:
            chain, _, _ = found.verify(dnsfunc=self._look_up)
        except Exception:
            # Anything may be in there: whatever dkimpy raises means that it does not hold.
            return "fail"
        return None if chain is None else str(chain, "ascii")

    def _values(self, start: bytes) -> list[bytes]:
        """Of the fields whose names begin so."""
        return [value for name, value in self.header.fields if name.lower().startswith(start)]

    def _verify_signatures(self) -> list[str]:
        values = self._values(b"dkim-signature")
        if not values:
            return ["dkim=none"]
        return [
            f"dkim={self._verify_signature(index, value)}{_properties(value)}"
            for index, value in enumerate(values[:MAX_VERIFIED])
        ]

    def _verify_signature(self, index: int, value: bytes) -> str:
        algorithm = _ALGORITHM.search(value)
        if algorithm is not None and algorithm[1].lower() == b"rsa-sha1":
            # RFC 8301 section 3.1: such a signature counts as none.
            return "permerror"
        if _WASTE.search(value):
            return "permerror"
        self._failed = False
        found = self._dkim.DKIM(self._head)
        found.body = self._body(_body_form(value, b"simple"))
        try:
            holds = found.verify(index, dnsfunc=self._look_up)
        except Exception:
            # As above. A key that is too short is among it (RFC 8301 section 3.2).
            holds = False
        if self._failed:
            return "temperror"
        if holds:
            return "pass"
        key = _key_name(value)
        record = None if key is None else self._records.get(key)
        return "permerror" if record is None or record.text is None else "fail"

    def _look_up(self, name: Any, timeout: float = 0) -> bytes | None:
        """What dkimpy asks instead of DNS."""
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        record = self._records.get(text.lower().rstrip("."))
        if record is None:
            return None
        if record.failed:
            self._failed = True
            raise self._dkim.DnsTimeoutError("no name server has answered")
        return None if record.text is None else record.text.encode("utf-8", "surrogateescape")


def _body_form(value: bytes, default: bytes) -> bytes:
    """``relaxed`` or ``simple``, by the tag ``c=`` (RFC 6376 section 3.5)."""
    found = _BODY_FORM.search(value)
    if found is None:
        return default
    return (found[1] or b"simple").lower()


def _properties(value: bytes) -> str:
    """What tells a signature from others (RFC 8601 section 2.7.1, RFC 6008)."""
    found = ""
    for pattern, name in (_DOMAIN, "header.d"), (_SELECTOR, "header.s"):
        if (match := pattern.search(value)) is not None:
            found += f" {name}={match[1].decode()}"
    if (match := _SIGNATURE.search(value)) is not None:
        # Base64 may have what a token may not.
        found += f' header.b="{b"".join(match[1].split())[:8].decode()}"'
    return found


class Sealer:
    """Makes ARC sets.

    :param key: an RSA key: RFC 8617 knows no other kind so far.
    :param service: who has verified: our name (authserv-id, RFC 8601 section 2.5).
    :param seconds: tells the time since the epoch.
    """

    def __init__(self, key: SigningKey, service: str, seconds: Callable[[], float]) -> None:
        self._key = key
        self._service = service
        self._seconds = seconds

    def seal(self, content: BinaryIO, records: Mapping[str, Record]) -> bytes:
        """The fields to put before a message, nothing where it must not be sealed.

        :param content: as it will be transmitted, its lines ended by CRLF.
        :raises Unsignable: it is too large, or its header is damaged.
        """
        content.seek(0)
        octets = content.read(MAX_SEALED + 1)
        if len(octets) > MAX_SEALED:
            raise Unsignable(f"it has more than {MAX_SEALED} octets")
        verifier = Verifier(octets, records)
        header, last = verifier.header, verifier.last
        if last >= MAX_SETS:
            return b""
        if last * len(octets) > MAX_WORK:
            raise Unsignable(
                f"its {last} ARC sets and {len(octets)} octets take too long to verify"
            )
        findings = verifier.find()
        if findings.chain is None or findings.doubtful:
            # RFC 8617 section 5.1: a chain that has failed is not gone on with. One that cannot be
            # judged now can be judged by the next server: we have changed nothing.
            return b""
        body = BodyHash()
        body.feed(octets[header.body_start :])
        digest = base64.b64encode(body.digest())
        # Newest first, as they will stand; of a chain that fails only our own set is sealed (RFC 8617
        # section 5.1.2).
        before = _in_order(verifier.sets) if findings.chain != "fail" else []
        return self._make(last + 1, findings, header, digest, before)

    def _make(
        self,
        instance: int,
        findings: Findings,
        header: MessageHeader,
        digest: bytes,
        before: list[tuple[bytes, bytes]],
    ) -> bytes:
        number = b"%d" % instance
        results = "".join(f";\r\n {result}" for result in findings.results)
        results_value = f" i={instance}; {self._service}{results}\r\n".encode("ascii")
        results_name = b"ARC-Authentication-Results"
        signed = _message_names(header.names)
        common = [
            (b"a", self._key.algorithm.signature),
            (b"d", self._key.domain.encode("ascii")),
            (b"s", self._key.selector.encode("ascii")),
            (b"t", b"%d" % self._seconds()),
        ]
        message_signature = make_field(
            b"ARC-Message-Signature",
            [
                (b"i", number),
                *common,
                (b"c", b"relaxed/relaxed"),
                (b"h", b" : ".join(signed)),
                (b"bh", digest),
            ],
            header.fields,
            signed,
            self._key,
        )
        name, _, value = message_signature.partition(b":")
        sets = [(name, value), (results_name, results_value), *before]
        # RFC 8617 section 5.1.1: by instance, in each results, signature, seal.
        order = [field.lower() for field, _ in reversed(sets)]
        chain = (findings.chain or "fail").encode("ascii")
        seal = make_field(
            b"ARC-Seal", [(b"i", number), (b"cv", chain), *common], sets, order, self._key
        )
        return b"%b%b%b:%b" % (seal, message_signature, results_name, results_value)


def _message_names(present: Sequence[bytes]) -> list[bytes]:
    """What the ARC-Message-Signature signs (RFC 8617 section 4.1.2)."""
    names = signed_names(present)
    return names + [b"dkim-signature"] * sum(name == b"dkim-signature" for name in present)


def _in_order(sets: Sequence[tuple[int, tuple[bytes, bytes]]]) -> list[tuple[bytes, bytes]]:
    """Fields of a chain that holds: newest set first, in each seal, signature, results."""
    places = {
        b"arc-seal": 0,
        b"arc-message-signature": 1,
        b"arc-authentication-results": 2,
    }
    ordered = sorted(sets, key=lambda each: (-each[0], places[each[1][0].lower()]))
    return [field for _, field in ordered]
