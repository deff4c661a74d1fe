"""CRAM-MD5 (RFC 2195) and what APOP of POP3 shares with it: proofs by a secret that the server has too.

Whoever hears an exchange can try millions of passwords a second, and the server must keep the password
as it is. Both are for devices that can do nothing better, where the operator names CRAM-MD5.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal

from zope.interface import implementer

from mailkit._typing import override
from mailkit.interfaces import ISharedSecretLogin
from mailkit.wire.sasl import SASLContext, SASLError, SASLServer, Success, decode_name

_DIGEST = re.compile(rb"[0-9a-fA-F]{32}")


@implementer(ISharedSecretLogin)
@dataclass(frozen=True)
class DigestLogin:
    """A digest of a challenge and the secret."""

    username: str
    challenge: bytes
    #: Hexadecimal.
    digest: bytes = field(repr=False)
    kind: Literal["CRAM-MD5", "APOP"]

    def is_proved_by(self, secret: bytes) -> bool:
        if self.kind == "APOP":
            # RFC 1939 section 7
            right = hashlib.md5(self.challenge + secret).hexdigest()
        else:
            right = hmac.new(secret, self.challenge, "md5").hexdigest()
        return hmac.compare_digest(right.encode("ascii"), self.digest.lower())


class CramMD5Server(SASLServer):
    """CRAM-MD5 (RFC 2195)."""

    name = "CRAM-MD5"
    plaintext = False
    by_default = False
    credentials = ISharedSecretLogin

    def __init__(self, context: SASLContext) -> None:
        super().__init__(context)
        self._challenge = b""

    @override
    def step(self, response: bytes | None) -> bytes | Success:
        if not self._challenge:
            if response is not None:
                # RFC 4954 section 4: the server begins.
                raise SASLError("CRAM-MD5 takes no initial response")
            self._challenge = new_challenge()
            return self._challenge
        name, _, digest = (response or b"").rpartition(b" ")
        login = read_digest(name, digest, self._challenge, "CRAM-MD5")
        return Success(login, login.username)


def new_challenge() -> bytes:
    """What nobody has been asked before, in the form of a message identifier (RFC 2195 section 2).

    Some clients take no address literal in it, and what is random needs no host's name.
    """
    return b"<%d.%d@mailkit.invalid>" % (secrets.randbits(64), secrets.randbits(32))


def read_digest(
    name: bytes, digest: bytes, challenge: bytes, kind: Literal["CRAM-MD5", "APOP"]
) -> DigestLogin:
    """What a client has answered.

    :raises SASLError: it is no name and digest.
    """
    if not name or not _DIGEST.fullmatch(digest):
        raise SASLError(f"{kind} wants a user name and a digest of 32 hexadecimal digits")
    return DigestLogin(decode_name(name), challenge, digest, kind)
