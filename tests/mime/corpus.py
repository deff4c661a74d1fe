"""The messages in ``../shared/corpus``, beside the checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
MISSING = None if CORPUS.is_dir() else f"{CORPUS} is missing"


def messages() -> Iterator[tuple[str, bytes]]:
    """Name and octets of each message."""
    for path in sorted(CORPUS.rglob("*")):
        if path.suffix in (".eml", ".msg"):
            yield str(path.relative_to(CORPUS)), path.read_bytes()
