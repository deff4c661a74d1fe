"""SCRAM (RFC 5802; RFC 7677 for SHA-256): both sides prove that they know the password or its keys."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from zope.interface import implementer

from mailkit._typing import override
from mailkit.interfaces import IScramLogin
from mailkit.wire.sasl import (
    Lookup,
    SASLContext,
    SASLError,
    SASLServer,
    Step,
    Success,
    decode_name,
)
from mailkit.wire.saslprep import Unprepared, saslprep
from mailkit.wire.scram import BINDINGS, FoundKeys, ScramKeys, is_proof, sign_as_server

#: Octets of a client's nonce.
MAX_NONCE = 512
_NONCE_OCTETS = 18

# RFC 5802 section 7.
_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
_SASLNAME = re.compile(rb"(?:[^\0=,]|=2C|=3D)+")
_NO_EXTENSION = "This extension of SCRAM is not known here"


class ClientFirst(NamedTuple):
    """What a client says first."""

    #: All of the gs2-header, with its last comma.
    header: bytes
    #: ``n``, ``y``, or the name of a channel binding.
    binding: str
    authorization_id: str
    username: str
    nonce: bytes
    #: The rest, which is signed.
    bare: bytes


@implementer(IScramLogin)
@dataclass(frozen=True)
class ScramLogin:
    """A proof, and what it is about."""

    username: str
    mechanism: str
    #: AuthMessage.
    messages: bytes = field(repr=False)
    proof: bytes = field(repr=False)

    def is_proved_by(self, keys: ScramKeys) -> bool:
        return keys.mechanism == self.mechanism and is_proof(keys, self.messages, self.proof)


class ScramServer(SASLServer):
    """Without channel binding; a subclass for each hash function."""

    plaintext = False
    credentials = IScramLogin
    #: Whose keys it takes.
    keys_name = ""

    def __init__(self, context: SASLContext) -> None:
        super().__init__(context)
        self._nonce = secrets.token_urlsafe(_NONCE_OCTETS).encode("ascii")
        self._first: ClientFirst | None = None
        self._keys: ScramKeys | None = None
        self._asked = b""

    @classmethod
    @override
    def is_known_to(cls, checker: Any) -> bool:
        return cls.keys_name in getattr(checker, "scram_mechanisms", ())

    @override
    def step(self, response: bytes | None) -> Step:
        if response is None:
            return b""
        if self._first is not None:
            return self._take_proof(response, self._first)
        first = self._first = read_client_first(response)
        self.check_binding(first)
        return Lookup(
            lambda checker: checker.find_scram_keys(login=first.username, mechanism=self.keys_name)
        )

    def check_binding(self, first: ClientFirst) -> None:
        """Judge what the client says of channel bindings (RFC 5802 section 6).

        :raises SASLError: it cannot be had.
        """
        if first.binding == "y" and any(name.endswith("-PLUS") for name in self.context.offered):
            # Somebody in between has taken the mechanism out of the list.
            raise SASLError("The server does support channel binding: somebody hides that from you")
        if first.binding not in ("n", "y"):
            raise SASLError(f"{self.name} takes no channel binding")

    def binding_data(self, first: ClientFirst) -> bytes:
        """What stands behind the gs2-header in the client's last message."""
        return b""

    @override
    def resume(self, answer: Any) -> Step:
        found: FoundKeys = answer
        first, keys = self._first, found.keys
        assert first is not None
        self._keys = keys
        salt = base64.b64encode(keys.salt)
        self._nonce = first.nonce + self._nonce
        self._asked = b"r=%b,s=%b,i=%d" % (self._nonce, salt, keys.iterations)
        return self._asked

    def _take_proof(self, response: bytes, first: ClientFirst) -> Success:
        keys = self._keys
        assert keys is not None
        signed, _, last = response.rpartition(b",p=")
        binding, nonce = _read_client_final(signed)
        if not hmac.compare_digest(nonce, self._nonce):
            raise SASLError("The client's nonce is not the one that was agreed on")
        if not hmac.compare_digest(binding, first.header + self.binding_data(first)):
            raise SASLError("The channel binding is not that of this connection")
        messages = b",".join((first.bare, self._asked, signed))
        credentials = ScramLogin(first.username, self.keys_name, messages, _decode(last))
        data = b"v=" + base64.b64encode(sign_as_server(keys, messages))
        return Success(credentials, first.username, first.authorization_id, data)


class ScramSHA1(ScramServer):
    """SCRAM-SHA-1."""

    name = keys_name = "SCRAM-SHA-1"


class ScramSHA256(ScramServer):
    """SCRAM-SHA-256."""

    name = keys_name = "SCRAM-SHA-256"


class ScramSHA512(ScramServer):
    """SCRAM-SHA-512 (draft-melnikov-scram-sha-512)."""

    name = keys_name = "SCRAM-SHA-512"


class ScramPlusServer(ScramServer):
    """With channel binding: the proof is good for this TLS connection alone."""

    @classmethod
    @override
    def is_available(cls, context: SASLContext) -> bool:
        return context.binds_channel

    @override
    def check_binding(self, first: ClientFirst) -> None:
        if first.binding in ("n", "y"):
            # RFC 5802 section 6: whoever has chosen -PLUS must use it.
            raise SASLError(f"{self.name} wants channel binding")
        self.binding_data(first)

    @override
    def binding_data(self, first: ClientFirst) -> bytes:
        data = None
        if first.binding in BINDINGS:
            data = self.context.channel_binding(first.binding)
        if not data:
            raise SASLError("This connection has no channel binding of that type")
        return data


class ScramSHA1Plus(ScramPlusServer):
    """SCRAM-SHA-1-PLUS."""

    name, keys_name = "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"


class ScramSHA256Plus(ScramPlusServer):
    """SCRAM-SHA-256-PLUS."""

    name, keys_name = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"


class ScramSHA512Plus(ScramPlusServer):
    """SCRAM-SHA-512-PLUS."""

    name, keys_name = "SCRAM-SHA-512-PLUS", "SCRAM-SHA-512"


def read_client_first(message: bytes) -> ClientFirst:
    """
    :raises SASLError: it does not follow the grammar.
    """
    parts = message.split(b",", 2)
    if len(parts) != 3:
        raise SASLError("The client's first message is not SCRAM's")
    flag, identity, bare = parts
    header = message[: len(message) - len(bare)]
    if identity and not identity.startswith(b"a="):
        raise SASLError("The client's first message is not SCRAM's")
    # RFC 5802 section 5.1: an extension that must be understood comes first, others at the end.
    if bare.startswith(b"m="):
        raise SASLError(_NO_EXTENSION)
    fields = bare.split(b",")
    if [field[:2] for field in fields[:2]] != [b"n=", b"r="]:
        raise SASLError("The client's first message is not SCRAM's")
    nonce = fields[1][2:]
    if not _NONCE.fullmatch(nonce) or len(nonce) > MAX_NONCE:
        raise SASLError("The client's nonce is not SCRAM's, or too long")
    return ClientFirst(
        header,
        _read_binding(flag),
        _read_name(identity[2:]) if identity else "",
        _read_name(fields[0][2:]),
        nonce,
        bare,
    )


def _read_binding(flag: bytes) -> str:
    if flag in (b"n", b"y"):
        return flag.decode("ascii")
    if not re.fullmatch(rb"p=[A-Za-z0-9.-]{1,64}", flag):
        raise SASLError("The client's first message is not SCRAM's")
    return flag[2:].decode("ascii")


def _read_name(text: bytes) -> str:
    """A user name, made comparable."""
    if not _SASLNAME.fullmatch(text):
        raise SASLError("The user name is not encoded as SCRAM wants it")
    name = decode_name(text.replace(b"=2C", b",").replace(b"=3D", b"="))
    try:
        prepared = saslprep(name, query=True)
    except Unprepared as error:
        raise SASLError(f"The user name contains {error}") from None
    if not prepared:
        raise SASLError("The user name is empty")
    return prepared


def _read_client_final(signed: bytes) -> tuple[bytes, bytes]:
    """Channel binding and nonce of the client's last message, which stands there without the proof."""
    fields = signed.split(b",")
    if [field[:2] for field in fields[:2]] != [b"c=", b"r="]:
        raise SASLError("The client's last message is not SCRAM's")
    if any(field.startswith(b"m=") for field in fields[2:]):
        raise SASLError(_NO_EXTENSION)
    return _decode(fields[0][2:]), fields[1][2:]


def _decode(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise SASLError("The client's message holds something that is not base64") from None
