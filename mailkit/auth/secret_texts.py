"""Random secrets that people copy, and what is kept of them.

They have so many bits that guessing is hopeless however fast the hash is, so a salted SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

#: Five bits each, without those that look like others.
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUP = 4
_SALT_OCTETS = 16

#: Kept of a secret that nobody has.
NOBODYS = f"{secrets.token_hex(_SALT_OCTETS)}${secrets.token_hex(32)}"


def new_text(length: int) -> str:
    """Random characters of the alphabet."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def grouped(text: str) -> str:
    """The same in groups that are parted by dashes, for people."""
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def keep(text: str) -> str:
    """What is kept of a secret text."""
    salt = secrets.token_hex(_SALT_OCTETS)
    return f"{salt}${_digest(salt, text)}"


def is_kept(kept: str, text: str) -> bool:
    """Whether it is the text of which that is kept."""
    salt, _, digest = kept.partition("$")
    return hmac.compare_digest(digest, _digest(salt, text))


def _digest(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}{text}".encode("ascii")).hexdigest()
