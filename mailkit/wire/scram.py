"""SCRAM's messages and keys, for both sides (RFC 5802; RFC 7677 for SHA-256).

The arithmetic is the standard library's: PBKDF2, HMAC and a comparison in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

from mailkit._typing import override
from mailkit.wire.sasl import SASLError
from mailkit.wire.saslprep import Unprepared, saslprep

#: Hash functions by the name of the mechanism, the strongest first.
HASHES = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
#: Types of channel binding, the one to prefer first (RFC 9266, RFC 5929).
BINDINGS = ("tls-exporter", "tls-unique", "tls-server-end-point")
#: Iterations that a server must ask for at least (RFC 7677 section 4): with fewer, whoever plays the
#: server could try all passwords.
MIN_ITERATIONS = 4096
#: Iterations that a server may ask for: a tenth of a second's work.
MAX_ITERATIONS = 100_000

#: Iterations of the keys that a server keeps: two and a half times what RFC 7677 section 4 asks for
#: at least, and still no burden for a telephone.
DEFAULT_ITERATIONS = 10_000
#: Octets of their salt.
SALT_LENGTH = 16

# RFC 5802 section 7: printable, without the comma.
_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
_ITERATIONS = re.compile(rb"[1-9][0-9]{0,9}")


class ScramKeys(NamedTuple):
    """What a server keeps of a password (RFC 5802 section 2.2).

    Who steals it can try passwords much faster than against argon2id, and with the proof of one
    login log in without knowing the password.
    """

    #: One of :data:`HASHES`.
    mechanism: str
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    @override
    def __repr__(self) -> str:
        return f"<keys for {self.mechanism}>"


class FoundKeys(NamedTuple):
    """The keys of a user; of one whom nobody knows, keys that fit no password."""

    #: None where there is no such account, or it has no keys of that mechanism.
    account: str | None
    keys: ScramKeys


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
    client_key, server_key = _client_and_server_key(algorithm, password, salt, iterations)
    stored_key = hashlib.new(algorithm, client_key).digest()
    signature = hmac.digest(stored_key, messages, algorithm)
    return Signatures(_xor(client_key, signature), hmac.digest(server_key, messages, algorithm))


def derive_keys(
    mechanism: str, password: str, *, salt: bytes = b"", iterations: int = DEFAULT_ITERATIONS
) -> ScramKeys:
    """The keys of a password. Takes some milliseconds, so not for the reactor's thread.

    :param mechanism: one of :data:`HASHES`.
    :param salt: a random one when empty.
    :raises SASLError: the password is empty.
    """
    salt = salt or secrets.token_bytes(SALT_LENGTH)
    algorithm = HASHES[mechanism]
    prepared = prepare_password(password)
    client_key, server_key = _client_and_server_key(algorithm, prepared, salt, iterations)
    stored_key = hashlib.new(algorithm, client_key).digest()
    return ScramKeys(mechanism, salt, iterations, stored_key, server_key)


def keys_of_nobody(mechanism: str, name: str, secret: bytes) -> ScramKeys:
    """Keys for a user who is not there: always the same, so that they look like an account's.

    :param name: in the form in which an account's name is compared.
    :param secret: the store's.
    """
    algorithm = HASHES[mechanism]

    def value(what: str) -> bytes:
        return hmac.digest(secret, f"{what}:{mechanism}:{name}".encode(), algorithm)

    salt = value("salt")[:SALT_LENGTH]
    return ScramKeys(mechanism, salt, DEFAULT_ITERATIONS, value("stored"), value("server"))


def is_proof(keys: ScramKeys, messages: bytes, proof: bytes) -> bool:
    """Whether a client has proved that it knows the password (RFC 5802 section 3).

    :param messages: AuthMessage.
    """
    algorithm = HASHES[keys.mechanism]
    signature = hmac.digest(keys.stored_key, messages, algorithm)
    if len(proof) != len(signature):
        return False
    client_key = _xor(proof, signature)
    return hmac.compare_digest(hashlib.new(algorithm, client_key).digest(), keys.stored_key)


def sign_as_server(keys: ScramKeys, messages: bytes) -> bytes:
    """ServerSignature, by which the client knows that the server has the keys."""
    return hmac.digest(keys.server_key, messages, HASHES[keys.mechanism])


def _client_and_server_key(
    algorithm: str, password: bytes, salt: bytes, iterations: int
) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    return client_key, hmac.digest(salted, b"Server Key", algorithm)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _decode(value: bytes) -> bytes:
    try:
        octets = base64.b64decode(value, validate=True)
    except ValueError:
        octets = b""
    if not octets:
        raise SASLError("The server's message holds something that is not base64")
    return octets
