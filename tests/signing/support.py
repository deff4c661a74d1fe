"""What the tests of signatures share: keys, public records, a verifier that others wrote."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any, BinaryIO

import dkim

from mailkit.signing.keys import Algorithm, SigningKey, make_key

NOW = 1_700_000_000


@cache
def key(
    domain: str = "example.org", selector: str = "r", algorithm: Algorithm = Algorithm.RSA
) -> SigningKey:
    """A key; short, as long ones take their time to make."""
    return make_key(domain, selector, algorithm, 1024)


def both_keys(domain: str = "example.org") -> list[SigningKey]:
    """One of each kind."""
    return [key(domain), key(domain, "e", Algorithm.ED25519)]


def verify(message: bytes, keys: Sequence[SigningKey]) -> list[bool]:
    """What dkimpy says of each signature, the first one first."""
    records = {each.name + ".": each.record.encode() for each in keys}

    def find(name: Any, timeout: float = 5) -> bytes | None:
        return records.get(name.decode() if isinstance(name, bytes) else name)

    found = dkim.DKIM(message)
    count = sum(name.lower() == b"dkim-signature" for name, _ in found.headers)
    outcomes = []
    for index in range(count):
        try:
            outcomes.append(bool(found.verify(index, dnsfunc=find)))
        except dkim.DKIMException:
            outcomes.append(False)
    return outcomes


def file(octets: bytes) -> BinaryIO:
    """Octets as a file."""
    return io.BytesIO(octets)
