"""Stored passwords as other programs keep them: ``{SCHEME}`` and the hash, as Dovecot and LDAP do.

Plain digests are the standard library's; the variants of crypt(3) are libpass's, which is optional.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any

import argon2
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from mailkit.auth.hmac_md5 import hmac_md5_states

#: The extra that brings the variants of crypt(3).
EXTRA = "crypt"
#: What stored passwords are that do not tell their scheme, where nobody says otherwise.
DEFAULT_SCHEME = "CRYPT"
#: Octets of a password that bcrypt looks at.
MAX_BCRYPT = 72

_PREFIX = re.compile(r"\{([A-Za-z0-9][A-Za-z0-9-]{0,31})(?:\.(b64|base64|hex))?\}", re.IGNORECASE)
#: Digests: the scheme, its algorithm, and whether a salt follows the digest.
_DIGESTS = {
    "SHA": ("sha1", False),
    "SHA1": ("sha1", False),
    "SHA256": ("sha256", False),
    "SHA512": ("sha512", False),
    "SSHA": ("sha1", True),
    "SSHA256": ("sha256", True),
    "SSHA512": ("sha512", True),
    "SMD5": ("md5", True),
    "LDAP-MD5": ("md5", False),
    "PLAIN-MD5": ("md5", False),
}
_PLAIN = frozenset({"PLAIN", "CLEAR", "CLEARTEXT"})
_ARGON2 = frozenset({"ARGON2", "ARGON2I", "ARGON2ID"})
_CRYPT = frozenset({"CRYPT", "DES-CRYPT", "MD5-CRYPT", "BLF-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT"})
_HMAC_MD5 = frozenset({"CRAM-MD5", "HMAC-MD5"})
_SCRAM = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
#: What crypt(3)'s hashes begin with, and what libpass calls them.
_CRYPT_NAMES = {
    "$1$": "md5_crypt",
    "$2a$": "bcrypt",
    "$2b$": "bcrypt",
    "$2x$": "bcrypt",
    "$2y$": "bcrypt",
    "$5$": "sha256_crypt",
    "$6$": "sha512_crypt",
}
_DES = re.compile(r"[./0-9A-Za-z]{13}\Z")
# RFC 5803 section 3, as PostgreSQL keeps it too.
_AUTH_PASSWORD = re.compile(r"(SCRAM-SHA-(?:1|256|512))\$(\d{1,9}):([^$]+)\$([^:]+):([^:]+)\Z")


class UnreadableHash(ValueError):
    """A stored password that is none of the schemes known here. The text never contains it."""


class MissingLibrary(Exception):
    """The scheme needs a library that is not installed; the text says how to get it."""


def split_scheme(stored: str) -> tuple[str, str]:
    """The scheme in capitals, empty where none is told, and what follows it.

    :raises UnreadableHash: the suffix ``.b64`` or ``.hex`` does not hold.
    """
    found = _PREFIX.match(stored)
    if found is None:
        return "", stored
    scheme, encoding = found[1].upper(), (found[2] or "").lower()
    data = stored[found.end() :]
    if not encoding or scheme in _DIGESTS or scheme in _HMAC_MD5:
        # Of digests both encodings are known by their lengths.
        return scheme, data
    octets = bytes.fromhex(data) if encoding == "hex" and _is_hex(data) else _from_base64(data)
    try:
        return scheme, octets.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableHash(f"what {{{scheme}}} encodes is no text") from None


def verify(stored: str, password: bytes) -> bool:
    """Whether the password is the stored one. As slow as its scheme was made to be.

    :param stored: ``{SCHEME}`` and what follows it; or without a scheme a hash that tells itself what
        it is (``$argon2id$``, ``$6$``, ``SCRAM-SHA-256$``, ...).
    :raises UnreadableHash: nothing here can read it.
    :raises MissingLibrary: libpass could.
    """
    matches = find_scheme(stored)
    # C's functions would read up to a NUL, and to HMAC it is no octet at the end of a key.
    return b"\0" not in password and matches(password)


def with_scheme(stored: str, scheme: str) -> str:
    """The stored password with a scheme, where it does not tell its own."""
    if stored.startswith("{"):
        return stored
    try:
        find_scheme(stored)
    except UnreadableHash:
        return f"{{{scheme}}}{stored}"
    return stored


def find_scheme(stored: str) -> Callable[[bytes], bool]:
    """What compares passwords with a stored one. Cheap to ask for.

    :raises UnreadableHash: nothing here does.
    """
    scheme, data = split_scheme(stored)
    if scheme in _PLAIN:
        return lambda password: hmac.compare_digest(data.encode("utf-8", "replace"), password)
    if scheme in _ARGON2 or data.startswith("$argon2"):
        return lambda password: _argon2(data, password)
    if scheme == "MD5":
        # Dovecot's is crypt's; otherwise it is LDAP's.
        scheme = "MD5-CRYPT" if data.startswith("$1$") else "LDAP-MD5"
    if scheme in _DIGESTS:
        return lambda password: _digest(*_DIGESTS[scheme], data, password)
    if scheme in _HMAC_MD5:
        return lambda password: _hmac_md5(data, password)
    if scheme in _SCRAM:
        return lambda password: _scram(_SCRAM[scheme], data.split(","), password)
    if scheme == "PBKDF2":
        return lambda password: _dovecot_pbkdf2(data, password)
    if scheme in _CRYPT or (not scheme and data.startswith("$")):
        name = _crypt_name(data)
        return lambda password: _crypt(name, data, password)
    if scheme:
        raise UnreadableHash(f"the password scheme {{{scheme}}} is not known")
    if data.startswith("pbkdf2_sha"):
        return lambda password: _django_pbkdf2(data, password)
    if found := _AUTH_PASSWORD.match(data):
        mechanism, *parts = found.groups()
        return lambda password: _scram(_SCRAM[mechanism], parts, password)
    raise UnreadableHash("a stored password has no scheme such as {ARGON2ID}")


def _argon2(data: str, password: bytes) -> bool:
    try:
        return argon2.PasswordHasher().verify(data, password)
    except VerifyMismatchError:
        return False
    except InvalidHashError:
        raise UnreadableHash("an argon2 hash is damaged") from None


def _digest(algorithm: str, salted: bool, data: str, password: bytes) -> bool:
    size = hashlib.new(algorithm, usedforsecurity=False).digest_size
    is_hex = _is_hex(data) and (len(data) >= 2 * size if salted else len(data) == 2 * size)
    octets = bytes.fromhex(data) if is_hex else _from_base64(data)
    if len(octets) < size or (len(octets) > size and not salted):
        raise UnreadableHash(f"a digest by {algorithm} has {len(octets)} octets")
    computed = hashlib.new(algorithm, password + octets[size:], usedforsecurity=False).digest()
    return hmac.compare_digest(computed, octets[:size])


def _hmac_md5(data: str, password: bytes) -> bool:
    octets = bytes.fromhex(data) if _is_hex(data) else _from_base64(data)
    if len(octets) != 32:
        raise UnreadableHash(f"states of HMAC-MD5 have 32 octets, not {len(octets)}")
    return hmac.compare_digest(hmac_md5_states(password), octets)


def _scram(algorithm: str, parts: list[str], password: bytes) -> bool:
    """Compare with the stored key (RFC 5802 section 3)."""
    if len(parts) != 4 or not parts[0].isdecimal() or not int(parts[0]):
        raise UnreadableHash("a key of SCRAM is not ITERATIONS,SALT,STORED KEY,SERVER KEY")
    salt, stored_key = _from_base64(parts[1]), _from_base64(parts[2])
    salted = hashlib.pbkdf2_hmac(algorithm, password, salt, int(parts[0]))
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    return hmac.compare_digest(hashlib.new(algorithm, client_key).digest(), stored_key)


def _dovecot_pbkdf2(data: str, password: bytes) -> bool:
    """``$1$SALT$ROUNDS$HEX``, with SHA-1 inside."""
    parts = data.split("$")
    if len(parts) != 5 or parts[1] != "1" or not parts[3].isdecimal() or not _is_hex(parts[4]):
        raise UnreadableHash("{PBKDF2} is not $1$SALT$ROUNDS$HEX")
    return _pbkdf2("sha1", password, parts[2], int(parts[3]), bytes.fromhex(parts[4]))


def _django_pbkdf2(data: str, password: bytes) -> bool:
    """``pbkdf2_sha256$ROUNDS$SALT$BASE64``, as Django keeps it."""
    parts = data.split("$")
    algorithm = parts[0].removeprefix("pbkdf2_")
    if len(parts) != 4 or algorithm not in ("sha1", "sha256") or not parts[1].isdecimal():
        raise UnreadableHash("a hash by pbkdf2 is not ALGORITHM$ROUNDS$SALT$HASH")
    return _pbkdf2(algorithm, password, parts[2], int(parts[1]), _from_base64(parts[3]))


def _pbkdf2(algorithm: str, password: bytes, salt: str, rounds: int, digest: bytes) -> bool:
    if not rounds or not digest:
        raise UnreadableHash("a hash by pbkdf2 has no rounds or no octets")
    computed = hashlib.pbkdf2_hmac(algorithm, password, salt.encode(), rounds, len(digest))
    return hmac.compare_digest(computed, digest)


def _crypt_name(data: str) -> str:
    """libpass's name for a variant of crypt(3)."""
    name = "des_crypt" if _DES.match(data) else _CRYPT_NAMES.get(data[: data.find("$", 1) + 1])
    if name is None:
        raise UnreadableHash("this variant of crypt is not known here")
    return name


def _crypt(name: str, data: str, password: bytes) -> bool:
    # Others look at the whole password.
    secret = password[:MAX_BCRYPT] if name == "bcrypt" else password
    try:
        return bool(_find_crypt(name)(secret, data))
    except (ValueError, TypeError):
        # Its own texts may contain the hash.
        raise UnreadableHash(f"a hash by {name} is damaged") from None


def _find_crypt(name: str) -> Callable[[bytes, str], Any]:
    try:
        from passlib import hash as hashes
    except ImportError:
        raise MissingLibrary(
            f"passwords by crypt need libpass: pip install 'twisted-mailkit[{EXTRA}]'"
        ) from None
    found: Any = getattr(hashes, name)
    if getattr(found, "backends", None) and not _has_backend(found):
        raise MissingLibrary(
            f"passwords by {name} need its library: pip install 'twisted-mailkit[{EXTRA}]'"
        )
    verifier: Callable[[bytes, str], Any] = found.verify
    return verifier


def _has_backend(scheme: Any) -> bool:
    return bool(scheme.has_backend())


def _is_hex(text: str) -> bool:
    return bool(re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", text))


def _from_base64(text: str) -> bytes:
    try:
        # Lenient: the padding may be missing.
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableHash("a stored password is no base64") from None
