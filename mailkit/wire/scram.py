"""SCRAM's messages and keys, for both sides (RFC 5802; RFC 7677 for SHA-256).

The arithmetic is the standard library's: PBKDF2, HMAC and a comparison in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import NamedTuple

from mailkit.wire.sasl import SASLError
from mailkit.wire.saslprep import Unprepared, saslprep

#: Hash functions by the name of the mechanism, the strongest first.
HASHES = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
#: Iterations that a server must ask for at least (RFC 7677 section 4): with fewer, whoever plays the
#: server could try all passwords.
MIN_ITERATIONS = 4096
#: Iterations that a server may ask for: a tenth of a second's work.
MAX_ITERATIONS = 100_000

# RFC 5802 section 7: printable, without the comma.
_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
_ITERATIONS = re.compile(rb"[1-9][0-9]{0,9}")


class ServerFirst(NamedTuple):
    """What the server's first message asks for."""

    nonce: bytes
    salt: bytes
    iterations: int


class Signatures(NamedTuple):
    """What a client sends, and what it must get for that."""

    proof: bytes
    server: bytes


def escape_name(name: str) -> bytes:
    """A user name as it stands in a message.

    :raises SASLError: it cannot be one.
    """
    try:
        # RFC 5802 section 5.1: as a query, so what is not assigned yet is allowed.
        prepared = saslprep(name, query=True)
    except Unprepared as error:
        raise SASLError(f"The user name contains {error}") from None
    if not prepared:
        raise SASLError("SCRAM cannot carry this user name")
    return prepared.replace("=", "=3D").replace(",", "=2C").encode("utf-8")


def prepare_password(password: str) -> bytes:
    """A password as it is hashed.

    Lenient: one that SASLprep does not allow is hashed as it is, as most servers do it.

    :raises SASLError: it is empty.
    """
    try:
        prepared = saslprep(password)
    except Unprepared:
        prepared = password
    if not prepared:
        raise SASLError("The password is empty")
    return prepared.encode("utf-8")


def read_server_first(message: bytes) -> ServerFirst:
    """
    :raises SASLError: it does not follow the grammar, or asks for too little or too much work.
    """
    # RFC 5802 section 5.1: an extension that must be understood comes first. Others, behind the
    # three, are ignored.
    if message.startswith(b"m="):
        raise SASLError("The server wants an extension of SCRAM that is not known here")
    fields = message.split(b",")
    if [field[:2] for field in fields[:3]] != [b"r=", b"s=", b"i="]:
        raise SASLError("The server's first message is not SCRAM's")
    nonce, salt, count = (field[2:] for field in fields[:3])
    if not _NONCE.fullmatch(nonce) or not _ITERATIONS.fullmatch(count):
        raise SASLError("The server's first message is not SCRAM's")
    iterations = int(count)
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise SASLError(
            f"The server asks for {iterations} iterations; "
            f"{MIN_ITERATIONS} to {MAX_ITERATIONS} are allowed"
        )
    return ServerFirst(nonce, _decode(salt), iterations)


def read_server_final(message: bytes) -> bytes:
    """The server's signature.

    :raises SASLError: the server refuses, or the message does not follow the grammar.
    """
    kind, value = message[:2], message[2:].split(b",")[0]
    if kind == b"e=":
        # The words of RFC 5802 section 7; they are the server's, so only harmless octets are shown.
        words = re.sub(rb"[^a-z0-9-]", b"?", value[:64]).decode("ascii")
        raise SASLError(f"The server refuses: {words}")
    if kind != b"v=":
        raise SASLError("The server's last message is not SCRAM's")
    return _decode(value)


def sign(
    algorithm: str, password: bytes, salt: bytes, iterations: int, messages: bytes
) -> Signatures:
    """RFC 5802 section 3.

    :param algorithm: one of the values of :data:`HASHES`.
    :param messages: AuthMessage.
    """
    salted = hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    stored_key = hashlib.new(algorithm, client_key).digest()
    signature = hmac.digest(stored_key, messages, algorithm)
    server_key = hmac.digest(salted, b"Server Key", algorithm)
    return Signatures(
        bytes(a ^ b for a, b in zip(client_key, signature, strict=True)),
        hmac.digest(server_key, messages, algorithm),
    )


def _decode(value: bytes) -> bytes:
    try:
        octets = base64.b64decode(value, validate=True)
    except ValueError:
        octets = b""
    if not octets:
        raise SASLError("The server's message holds something that is not base64")
    return octets
