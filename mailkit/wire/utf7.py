"""Modified UTF-7 for mailbox names (RFC 3501 section 5.1.3)."""

from __future__ import annotations

import binascii
import re

# Names without a shift stand for themselves.
_PLAIN = re.compile(rb"[\x20-\x25\x27-\x7e]*\Z")
# A second "&" cannot be part of one; each would be read to the end of the name otherwise.
_SHIFTED = re.compile(rb"&([^&-]*)-")
_ENCODE = re.compile(r"&|[^\x20-\x7e]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+,]+\Z")


def encode(name: str) -> bytes:
    """A mailbox name as it stands on the wire."""
    return _ENCODE.sub(_encode_run, name).encode("ascii")


def _encode_run(match: re.Match[str]) -> str:
    run = match.group()
    if run == "&":
        return "&-"
    encoded = binascii.b2a_base64(run.encode("utf-16-be", "surrogatepass"), newline=False)
    return "&" + encoded.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def decode(octets: bytes) -> str:
    """The mailbox name that ``octets`` stand for.

    :raises ValueError: 8-bit or control octets, an unfinished shift, a shift that encodes what
        needs none, broken base64 or UTF-16: the name has exactly one encoding, so that two
        spellings never name one mailbox.
    """
    if _PLAIN.match(octets):
        return octets.decode("ascii")
    parts = []
    position = 0
    for match in _SHIFTED.finditer(octets):
        parts.append(octets[position : match.start()].decode("ascii"))
        parts.append(_decode_run(match.group(1)))
        position = match.end()
    parts.append(octets[position:].decode("ascii"))
    name = "".join(parts)
    # A shift without an end, and what must be shifted.
    if encode(name) != octets:
        raise ValueError("not the modified UTF-7 form of a name")
    return name


def _decode_run(run: bytes) -> str:
    if not run:
        return "&"
    if not _BASE64.match(run):
        raise ValueError("broken base64 in a mailbox name")
    padded = run.replace(b",", b"/") + b"=" * (-len(run) % 4)
    try:
        return binascii.a2b_base64(padded).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("broken base64 in a mailbox name") from error
