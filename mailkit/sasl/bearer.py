"""Mechanisms that carry a token of OAuth 2.0: OAUTHBEARER and XOAUTH2."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from typing import Any, NamedTuple

from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import AuthorizationFailed, TokenRefused
from mailkit.interfaces import IBearerToken
from mailkit.wire.sasl import SASLError, SASLServer, Success, decode_name

# RFC 6750 section 2.1: b64token, behind the scheme in any case.
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*)\Z", re.IGNORECASE)
# RFC 7628 section 3.1; keys are letters.
_PAIR = re.compile(rb"([A-Za-z]+)=([\t\r\n\x20-\x7e]*)\Z")
# RFC 5801 section 4, without the flag for a name that is no GS2 mechanism's.
_GS2_HEADER = re.compile(rb"(n|y|p=[A-Za-z0-9.-]+),(?:a=([^,]+))?,\Z")
_SEPARATOR = b"\x01"


@implementer(IBearerToken)
class BearerToken(NamedTuple):
    """Credentials: a token, and for whom the client says it is."""

    username: str
    token: str
    #: Where the client says that it has connected to; empty where it does not.
    host: str = ""

    @override
    def __repr__(self) -> str:
        return f"<token for {self.username!r}>"


class _BearerServer(SASLServer):
    credentials = IBearerToken

    @override
    def step(self, response: bytes | None) -> bytes | Success:
        if response is None:
            return b""
        username, authorization, host = self.read(response)
        found = _BEARER.match(authorization)
        if found is None:
            raise SASLError(f"{self.name} wants a bearer token")
        return Success(BearerToken(username, found[1].decode("ascii"), host), username)

    @abstractmethod
    def read(self, response: bytes) -> tuple[str, bytes, str]:
        """The user name, perhaps empty, what HTTP has in the field Authorization, and the host.

        :raises SASLError: it is no such message.
        """

    @override
    def explain(self, error: Exception) -> bytes | None:
        reason = error if isinstance(error, TokenRefused) else error.__cause__
        status = self.status("invalid_token")
        scope = url = ""
        if isinstance(reason, TokenRefused):
            status, scope, url = self.status(reason.status), reason.scope, reason.configuration_url
        elif isinstance(error, AuthorizationFailed):
            status = self.status("insufficient_scope")
        return json.dumps(self.answer(status, scope, url)).encode("ascii")

    def status(self, status: str) -> str:
        """What the client is told for an error code of OAuth."""
        return status

    def answer(self, status: str, scope: str, url: str) -> dict[str, Any]:
        """What the client is told."""
        answer = {"status": status}
        if scope:
            answer["scope"] = scope
        return answer


class OAuthBearerServer(_BearerServer):
    """OAUTHBEARER (RFC 7628)."""

    name = "OAUTHBEARER"

    @override
    def read(self, response: bytes) -> tuple[str, bytes, str]:
        header, *pairs = response.split(_SEPARATOR)
        # RFC 7628 section 3.1: each pair ends with a separator, and so does the whole.
        found = _GS2_HEADER.match(header)
        if found is None or len(pairs) < 2 or pairs[-2:] != [b"", b""]:
            raise SASLError("OAUTHBEARER wants a GS2 header and pairs, each with %x01 behind it")
        if found[1].startswith(b"p"):
            # RFC 7628 section 2.1 has no channel bindings.
            raise SASLError("OAUTHBEARER has no channel binding")
        authorization, host = None, ""
        for pair in pairs[:-2]:
            parts = _PAIR.match(pair)
            if parts is None:
                raise SASLError("OAUTHBEARER wants pairs of a key and a value")
            # Unknown keys are ignored, as the section wants it; the port may be that of a proxy.
            key = parts[1].lower()
            if key == b"auth":
                if authorization is not None:
                    raise SASLError("OAUTHBEARER wants one token")
                authorization = parts[2]
            elif key == b"host":
                host = parts[2].decode("ascii")
        if authorization is None:
            raise SASLError("OAUTHBEARER wants a token")
        return _read_name(found[2] or b""), authorization, host

    @override
    def answer(self, status: str, scope: str, url: str) -> dict[str, Any]:
        answer = super().answer(status, scope, url)
        if url:
            answer["openid-configuration"] = url
        return answer


class XOAuth2Server(_BearerServer):
    """XOAUTH2: what Google and Microsoft had before RFC 7628."""

    name = "XOAUTH2"

    @override
    def read(self, response: bytes) -> tuple[str, bytes, str]:
        parts = response.split(_SEPARATOR)
        if (
            len(parts) != 4
            or parts[2:] != [b"", b""]
            or not parts[0].startswith(b"user=")
            or not parts[1].lower().startswith(b"auth=")
        ):
            raise SASLError("XOAUTH2 wants user=NAME %x01 auth=Bearer TOKEN %x01 %x01")
        return decode_name(parts[0][5:]), parts[1][5:], ""

    @override
    def status(self, status: str) -> str:
        # Google's clients look for a number, as HTTP would have it.
        return {"insufficient_scope": "403", "invalid_request": "400"}.get(status, "401")

    @override
    def answer(self, status: str, scope: str, url: str) -> dict[str, Any]:
        return {"schemes": "bearer", **super().answer(status, scope, url)}


def _read_name(saslname: bytes) -> str:
    """RFC 5801 section 4: comma and equals sign are written as ``=2C`` and ``=3D``.

    :raises SASLError: it is none.
    """
    if re.search(rb"=(?!2C|3D)|\0", saslname):
        raise SASLError("The GS2 header's name is not written as RFC 5801 has it")
    return decode_name(saslname.replace(b"=2C", b",").replace(b"=3D", b"="))
