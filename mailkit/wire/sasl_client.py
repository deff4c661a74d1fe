"""SASL mechanisms, client side, one class each, no I/O (RFC 4422).

A protocol decodes and encodes base64 and carries the steps. A mechanism that is added to
:data:`CLIENT_MECHANISMS` is used by every client of mailkit.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from mailkit._typing import override
from mailkit.wire import scram
from mailkit.wire.sasl import SASLError


@dataclass(frozen=True)
class Credentials:
    """Who logs in to a server, by a password or a token."""

    username: str
    password: str = field(default="", repr=False)
    #: Identity to act as; empty for the user's own.
    authorization_id: str = ""
    #: Access token of OAuth 2.0 (RFC 6750), fresh: what expires is its owner's to renew.
    token: str = field(default="", repr=False)

    @property
    def has_password(self) -> bool:
        return bool(self.password) or not self.token


#: Gives channel binding data of a type (RFC 5056), such as ``tls-exporter``; None for none.
ChannelBinding: TypeAlias = Callable[[str], "bytes | None"]


class NoMechanism(SASLError):
    """The server offers none that is known here and fits the credentials."""


class SASLClient(ABC):
    """One authentication exchange."""

    name = ""
    #: The mechanism sends the secret as it is, so it needs TLS.
    plaintext = True

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        #: What the server has said within the exchange about why it refuses.
        self.refusal = ""

    @property
    def usable(self) -> bool:
        """The credentials hold what the mechanism needs."""
        return self.credentials.has_password

    def bind(self, channel_binding: ChannelBinding, offered: Collection[str]) -> None:
        """Take note of the connection, before all else.

        :param channel_binding: gives channel binding data of a type, if there are any.
        :param offered: names of all mechanisms that the server offers.
        """
        return

    def initial_response(self) -> bytes | None:
        """What the client says first; None where the server begins.

        :raises SASLError: the mechanism cannot carry the credentials.
        """
        return None

    @abstractmethod
    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge.

        :raises SASLError: the server does not follow the mechanism, or is not who it says it is.
        """

    def finish(self) -> None:
        """The server says that the login succeeded.

        :raises SASLError: it cannot know that yet.
        """
        if self.refusal:
            raise SASLError(f"The server accepts what it has refused: {self.refusal}")

    def explain(self, text: str) -> str:
        """The text of the server's refusal, with what the exchange has told of it."""
        return f"{text} ({self.refusal})" if self.refusal else text


class PlainClient(SASLClient):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._said = False

    @override
    def initial_response(self) -> bytes:
        c = self.credentials
        fields = (c.authorization_id, c.username, c.password)
        if any("\0" in text for text in fields):
            raise SASLError("PLAIN cannot carry a NUL")
        self._said = True
        return "\0".join(fields).encode("utf-8")

    @override
    def respond(self, challenge: bytes) -> bytes:
        if self._said:
            raise SASLError("The server asks for more than PLAIN has")
        return self.initial_response()


class LoginClient(SASLClient):
    """LOGIN (draft-murchison-sasl-login): two questions, whatever their words."""

    name = "LOGIN"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._answers = [credentials.username, credentials.password]

    @override
    def respond(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise SASLError("The server asks for more than LOGIN has")
        return self._answers.pop(0).encode("utf-8")


class ScramClient(SASLClient):
    """SCRAM (RFC 5802): each side proves that it knows the password.

    With -PLUS the proof is good for this TLS connection alone: whoever stands between, with whatever
    certificate, cannot pass it on.

    :param nonce: printable ASCII without commas; a random one when empty.
    """

    plaintext = False

    def __init__(self, name: str, credentials: Credentials, nonce: str = "") -> None:
        super().__init__(credentials)
        self.name = name
        self._hash = scram.HASHES[name.removesuffix("-PLUS")]
        # RFC 5802 section 6: "n" for a client without channel binding.
        self._flag, self._binding = b"n", b""
        self._nonce = (nonce or secrets.token_urlsafe(24)).encode("ascii")
        self._header = self._first = self._password = b""
        self._expected: bytes | None = None
        self._verified = False

    @property
    def _is_plus(self) -> bool:
        return self.name.endswith("-PLUS")

    @property
    @override
    def usable(self) -> bool:
        return super().usable and (not self._is_plus or bool(self._binding))

    @override
    def bind(self, channel_binding: ChannelBinding, offered: Collection[str]) -> None:
        found = next(
            ((kind, data) for kind in scram.BINDINGS if (data := channel_binding(kind))), None
        )
        if found is None:
            return
        if self._is_plus:
            kind, self._binding = found
            self._flag = b"p=" + kind.encode("ascii")
        elif not any(name.endswith("-PLUS") for name in offered):
            # Should the server offer it all the same, somebody has taken it out of the list.
            self._flag = b"y"

    @override
    def initial_response(self) -> bytes:
        credentials = self.credentials
        if self._is_plus and not self._binding:
            raise SASLError("The connection has no channel binding")
        self._header = _gs2_header(credentials.authorization_id, self._flag)
        self._first = b"n=%b,r=%b" % (scram.escape_name(credentials.username), self._nonce)
        self._password = scram.prepare_password(credentials.password)
        return self._header + self._first

    @override
    def respond(self, challenge: bytes) -> bytes:
        if not self._first:
            return self.initial_response()
        if self._expected is None:
            return self._prove(challenge)
        if self._verified or self.refusal:
            raise SASLError("The server asks for more than SCRAM has")
        self._verify(challenge, self._expected)
        return b""

    @override
    def finish(self) -> None:
        super().finish()
        if not self._verified:
            # RFC 5802 section 5: whoever skips its signature may be anybody.
            raise SASLError("The server has not proved that it knows the password")

    def _prove(self, challenge: bytes) -> bytes:
        asked = scram.read_server_first(challenge)
        # RFC 5802 section 5.1: ours, and something of the server's.
        if not asked.nonce.startswith(self._nonce) or asked.nonce == self._nonce:
            raise SASLError("The server's nonce does not continue ours")
        last = b"c=%b,r=%b" % (base64.b64encode(self._header + self._binding), asked.nonce)
        proof, self._expected = scram.sign(
            self._hash,
            self._password,
            asked.salt,
            asked.iterations,
            b",".join((self._first, challenge, last)),
        )
        return last + b",p=" + base64.b64encode(proof)

    def _verify(self, challenge: bytes, expected: bytes) -> None:
        try:
            signature = scram.read_server_final(challenge)
        except SASLError as error:
            if not challenge.startswith(b"e="):
                raise
            # Its reply to an empty response says more, in words for people.
            self.refusal = str(error)
            return
        if not hmac.compare_digest(signature, expected):
            raise SASLError("The server does not know the password: its signature is wrong")
        self._verified = True


class _TokenClient(SASLClient):
    """A token of OAuth 2.0, and the server's error in JSON."""

    #: What follows an error, so that the server can end the exchange.
    acknowledgement = b""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._said = False

    @property
    @override
    def usable(self) -> bool:
        return bool(self.credentials.token)

    @abstractmethod
    def message(self, user: str, token: bytes) -> bytes:
        """What the client says.

        :raises SASLError: the mechanism cannot carry the name.
        """

    @override
    def initial_response(self) -> bytes:
        c = self.credentials
        if not _TOKEN.fullmatch(c.token):
            raise SASLError("The token is none of OAuth 2.0")
        self._said = True
        return self.message(c.authorization_id or c.username, c.token.encode("ascii"))

    @override
    def respond(self, challenge: bytes) -> bytes:
        if not self._said:
            return self.initial_response()
        if self.refusal:
            raise SASLError(f"The server asks for more than {self.name} has")
        self.refusal = _read_token_error(challenge)
        return self.acknowledgement


class OAuthBearerClient(_TokenClient):
    """OAUTHBEARER (RFC 7628)."""

    name = "OAUTHBEARER"
    # RFC 7628 section 3.2.3
    acknowledgement = b"\x01"

    @override
    def message(self, user: str, token: bytes) -> bytes:
        return b"%b\x01auth=Bearer %b\x01\x01" % (_gs2_header(user), token)


class XOAuth2Client(_TokenClient):
    """XOAUTH2: what Google and Microsoft had before RFC 7628."""

    name = "XOAUTH2"

    @override
    def message(self, user: str, token: bytes) -> bytes:
        if not user or "\x01" in user:
            raise SASLError("XOAUTH2 cannot carry this user name")
        return b"user=%b\x01auth=Bearer %b\x01\x01" % (user.encode("utf-8"), token)


class CramMD5Client(SASLClient):
    """CRAM-MD5 (RFC 2195), for servers that have nothing better.

    Whoever hears an exchange can try millions of passwords a second, so it wants TLS too.
    """

    name = "CRAM-MD5"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._said = False

    @override
    def respond(self, challenge: bytes) -> bytes:
        if self._said:
            raise SASLError("The server asks for more than CRAM-MD5 has")
        if not challenge:
            raise SASLError("The server has sent no challenge")
        if self.credentials.authorization_id:
            raise SASLError("CRAM-MD5 cannot name another identity")
        self._said = True
        digest = hmac.new(self.credentials.password.encode("utf-8"), challenge, "md5")
        return f"{self.credentials.username} {digest.hexdigest()}".encode()


def _gs2_header(identity: str, flag: bytes = b"n") -> bytes:
    """RFC 5801 section 4.

    :raises SASLError: the identity cannot be sent.
    """
    return b"%b,%b," % (flag, b"a=" + scram.escape_name(identity) if identity else b"")


def _read_token_error(challenge: bytes) -> str:
    """RFC 7628 section 3.2.2: what is wrong with a token, for people.

    :raises SASLError: it is no error.
    """
    try:
        error = json.loads(challenge)
    except (ValueError, RecursionError):
        error = None
    if not isinstance(error, dict) or not isinstance(error.get("status"), str):
        raise SASLError("The server's error message is none of OAuth 2.0")
    scope = error.get("scope")
    text = error["status"] + (f", scope {scope}" if scope and isinstance(scope, str) else "")
    return "".join(character if character.isprintable() else "?" for character in text)[:200]


#: Mechanisms by name, the one to prefer first: where there is a token, it is meant to be used. MD5
#: is worse than a password under TLS.
CLIENT_MECHANISMS: Mapping[str, Callable[[Credentials], SASLClient]] = {
    "OAUTHBEARER": OAuthBearerClient,
    "XOAUTH2": XOAuth2Client,
    **{name: partial(ScramClient, name) for name in (f"{h}-PLUS" for h in scram.HASHES)},
    **{name: partial(ScramClient, name) for name in scram.HASHES},
    "PLAIN": PlainClient,
    "LOGIN": LoginClient,
    "CRAM-MD5": CramMD5Client,
}

# RFC 6750 section 2.1: b64token.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def choose_mechanism(
    offered: Collection[str],
    credentials: Credentials,
    plaintext: bool,
    mechanisms: Mapping[str, Callable[[Credentials], SASLClient]] = CLIENT_MECHANISMS,
    channel_binding: ChannelBinding | None = None,
) -> SASLClient:
    """The first of ``mechanisms`` that the server offers, that fits, and that may be used.

    :param offered: names in capitals.
    :param plaintext: a password may be sent as it is.
    :param channel_binding: gives what identifies the connection.
    :raises NoMechanism: the server offers none that fits.
    :raises SASLError: what it offers may not be used.
    """
    unfit = withheld = False
    for name, make in mechanisms.items():
        if name in offered:
            mechanism = make(credentials)
            if channel_binding is not None:
                mechanism.bind(channel_binding, offered)
            if not mechanism.usable:
                unfit = True
            elif plaintext or not mechanism.plaintext:
                return mechanism
            else:
                withheld = True
    kind = "password" if credentials.has_password else "token"
    if withheld:
        raise SASLError(f"The connection is not encrypted, so the {kind} is not sent")
    if unfit:
        raise NoMechanism(f"The server offers no authentication mechanism that takes a {kind}")
    raise NoMechanism("The server offers no authentication mechanism that is known here")
