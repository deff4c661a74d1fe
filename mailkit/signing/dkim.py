"""DKIM-Signature fields (RFC 6376, RFC 8463).

The forms are dkimpy's, the arithmetic is that of ``cryptography``: dkimpy's own RSA is made of Python
integers, takes ten times as long and keeps all other threads waiting. The body is read in pieces,
so that a large message does not have to fit into memory.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from mailkit.mime.headers import parse_header
from mailkit.signing.body import BodyHash, read_pieces
from mailkit.signing.keys import SigningKey
from mailkit.signing.library import load_dkim

#: Signatures that one message gets.
MAX_SIGNATURES = 4
#: Octets and fields of a header that is signed or verified. dkimpy takes a time that grows with
#: the square of them.
MAX_HEADER = 128 * 1024
MAX_FIELDS = 500

#: Fields that are signed as often as they are there and once more, so that nobody can add one (RFC
#: 6376 section 8.15).
OVERSIGNED = (
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"in-reply-to",
    b"references",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
#: Fields that are signed where they are (RFC 6376 section 5.4.1; RFC 8058 section 4).
SIGNED = (
    b"resent-date",
    b"resent-from",
    b"resent-sender",
    b"resent-to",
    b"resent-cc",
    b"resent-message-id",
    b"content-id",
    b"content-description",
    b"list-id",
    b"list-help",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"list-subscribe",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"autocrypt",
)


class Unsignable(Exception):
    """The message has no header that could be signed; the text says why."""


@dataclass(frozen=True)
class Canonicalization:
    """How much may change on the way (RFC 6376 section 3.4)."""

    relaxed_header: bool = True
    relaxed_body: bool = True

    @classmethod
    def parse(cls, text: str) -> Canonicalization:
        """What stands in the tag ``c=``.

        :raises ValueError: it is none.
        """
        parts = text.lower().split("/")
        if len(parts) != 2 or not set(parts) <= {"relaxed", "simple"}:
            raise ValueError("write relaxed/relaxed, relaxed/simple, simple/relaxed, simple/simple")
        return cls(parts[0] == "relaxed", parts[1] == "relaxed")

    @property
    def tag(self) -> bytes:
        """The value of ``c=``."""
        names = (self.relaxed_header, self.relaxed_body)
        return b"/".join(b"relaxed" if each else b"simple" for each in names)


class MessageHeader(NamedTuple):
    """A header as signatures see it."""

    #: Name and value, with the line ends.
    fields: Sequence[tuple[bytes, bytes]]
    #: Where the body begins in the message.
    body_start: int

    @property
    def names(self) -> list[bytes]:
        """In lower case, in their order."""
        return [name.lower() for name, _ in self.fields]


def read_header(content: BinaryIO) -> MessageHeader:
    """The header of a message whose lines end with CRLF.

    :raises Unsignable: it is too long, or damaged.
    """
    content.seek(0)
    octets = content.read(MAX_HEADER + 4)
    while len(octets) < MAX_HEADER + 4 and (more := content.read(MAX_HEADER + 4 - len(octets))):
        octets += more
    header = parse_header(octets)
    if header.body_start > MAX_HEADER or (not header.blank_line and len(octets) > MAX_HEADER):
        raise Unsignable(f"the header has more than {MAX_HEADER} octets")
    dkim = load_dkim()
    try:
        fields, _ = dkim.rfc822_parse(octets[: header.body_start])
    except (dkim.MessageFormatError, IndexError) as error:
        raise Unsignable(f"a line of the header is no field: {error}") from error
    if len(fields) > MAX_FIELDS:
        raise Unsignable(f"the header has more than {MAX_FIELDS} fields")
    return MessageHeader([(name, value) for name, value in fields], header.body_start)


def signed_names(present: Iterable[bytes], oversign: bool = True) -> list[bytes]:
    """What goes into the tag ``h=``.

    :param present: names of the fields in the message, in lower case.
    """
    counts = Counter(present)
    names: list[bytes] = []
    for name in OVERSIGNED:
        names += [name] * (counts[name] + (1 if oversign else 0))
    for name in SIGNED:
        names += [name] * counts[name]
    return names


class _OpenSSLKey:
    """A key as dkimpy asks one to sign a digest."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.signature = b""

    def sign(self, digest: bytes) -> _OpenSSLKey:
        self.signature = self._key.sign_digest(digest)
        return self


def make_field(
    name: bytes,
    tags: Sequence[tuple[bytes, bytes]],
    fields: Sequence[tuple[bytes, bytes]],
    signed: Sequence[bytes],
    key: SigningKey,
    canonicalization: bytes = b"relaxed/relaxed",
) -> bytes:
    """A field with a signature of other fields and of itself.

    :param tags: its tags, but for the signature.
    :param fields: the header.
    :param signed: names of the fields that are signed, in their order.
    """
    dkim = load_dkim()
    signer: Any = dkim.DKIM()
    signer.headers = fields
    signer.hasher = hashlib.sha256
    # The kind of key that is asked to sign a digest, whichever it is: the tags tell which.
    signer.signature_algorithm = b"ed25519-sha256"
    policy = dkim.canonicalization.CanonicalizationPolicy.from_c_value(canonicalization)
    # Long enough to be folded onto lines of its own, so that no other tag is.
    whole = [*tags, (b"b", b"0" * 60)]
    value: bytes = signer.gen_header(whole, list(signed), policy, name, _OpenSSLKey(key))
    return b"%b: %b" % (name, value)


class DKIMSigner:
    """Signs messages.

    :param seconds: tells the time since the epoch.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        canonicalization: Canonicalization = Canonicalization(),
    ) -> None:
        self._seconds = seconds
        self._canonicalization = canonicalization

    def sign(self, content: BinaryIO, keys: Sequence[SigningKey]) -> bytes:
        """The fields to put before a message, one a key.

        :param content: as it will be transmitted, its lines ended by CRLF.
        :raises Unsignable: the header is damaged, or nobody stands in From.
        """
        header = read_header(content)
        if b"from" not in header.names:
            # RFC 6376 section 5.4
            raise Unsignable("there is no From field")
        body = BodyHash(self._canonicalization.relaxed_body)
        for piece in read_pieces(content, header.body_start):
            body.feed(piece)
        digest = base64.b64encode(body.digest())
        signed = signed_names(header.names)
        time = b"%d" % self._seconds()
        return b"".join(
            make_field(
                b"DKIM-Signature",
                [
                    (b"v", b"1"),
                    (b"a", key.algorithm.signature),
                    (b"c", self._canonicalization.tag),
                    (b"d", key.domain.encode("ascii")),
                    (b"s", key.selector.encode("ascii")),
                    (b"t", time),
                    (b"h", b" : ".join(signed)),
                    (b"bh", digest),
                ],
                header.fields,
                signed,
                key,
                self._canonicalization.tag,
            )
            for key in keys
        )
