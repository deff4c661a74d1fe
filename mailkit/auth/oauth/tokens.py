"""Tokens that carry their claims with a signature (JWT, RFC 7519, RFC 9068)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mailkit.auth.oauth.keys import ALGORITHMS, IssuerKeys
from mailkit.auth.oauth.library import load_jwt
from mailkit.errors import TokenRefused

#: Algorithms of signatures that are taken unless a setting says otherwise.
DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
#: Keys that are tried where a token does not say which it is.
MAX_TRIED = 4

# RFC 8725 section 3.11: a token of another kind is not taken for one that opens doors.
_TYPES = frozenset({"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# Time, audience and issuer are judged for all kinds of tokens, by our clock.
_SIGNATURE_ALONE = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
}


class SignedTokens:
    """Verifies signatures with an issuer's keys.

    :param algorithms: of :data:`~mailkit.auth.oauth.keys.ALGORITHMS`.
    :raises ValueError: one of the algorithms is none of these.
    :raises ImportError: PyJWT is not installed.
    """

    def __init__(
        self,
        keys: IssuerKeys,
        issuer: str,
        algorithms: Collection[str] = DEFAULT_ALGORITHMS,
    ) -> None:
        for name in algorithms:
            if name not in ALGORITHMS:
                known = ", ".join(sorted(ALGORITHMS))
                raise ValueError(f"{name!r} is none of {known}")
        self._jwt = load_jwt()
        self._keys = keys
        self._issuer = issuer
        self._algorithms = frozenset(algorithms)

    async def claims(self, token: str) -> Mapping[str, Any]:
        """What the token says, and its issuer has signed.

        :raises TokenRefused: it is none, or nobody knows who has signed it.
        :raises TemporaryFailure: the issuer's keys cannot be had.
        """
        header, claims = self._read(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise TokenRefused("signed in a way that is not taken")
        if kid is not None and not isinstance(kid, str):
            raise TokenRefused("with a name of a key that is none")
        if "crit" in header:
            # RFC 7515 section 4.1.11: none of these is known here.
            raise TokenRefused("with something critical in its header")
        kind = header.get("typ", "")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise TokenRefused("a token for something else")
        # Before anybody is asked for keys.
        if claims.get("iss") != self._issuer:
            raise TokenRefused("another issuer")
        for key in (await self._keys.find(kid, algorithm))[:MAX_TRIED]:
            try:
                return self._verify(token, key.key, algorithm)
            except (self._jwt.PyJWTError, ValueError, TypeError, RecursionError):
                continue
        raise TokenRefused("not signed by a key of its issuer")

    def _read(self, token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Header and claims, which nobody has verified yet."""
        try:
            found = self._jwt.api_jwt.decode_complete(token, options={"verify_signature": False})
            return found["header"], found["payload"]
        except (self._jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenRefused("no token with a signature") from error

    def _verify(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
        # One algorithm, which is one of the key's: the token has no say.
        claims: Mapping[str, Any] = self._jwt.decode(
            token, key, algorithms=[algorithm], options=_SIGNATURE_ALONE
        )
        return claims
