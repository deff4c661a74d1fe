"""What a token must say of itself, whoever has verified that its issuer said so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mailkit.errors import TokenRefused

#: Seconds that clocks may differ, by which any time of a token may be off.
LEEWAY = 60.0
#: Characters of a user's name.
MAX_NAME = 320


@dataclass(frozen=True)
class TokenRules:
    """What is asked of the claims of a token (RFC 7519 section 4, RFC 7662 section 2.2)."""

    #: The claim that is the user's name here.
    claim: str = "email"
    #: Who may have issued it; empty for anybody.
    issuer: str = ""
    #: For whom it must be, one of these; empty for anybody.
    audience: frozenset[str] = frozenset()
    #: A scope that it must have; empty for none.
    scope: str = ""
    leeway: float = LEEWAY

    def judge(self, claims: Mapping[str, Any], now: float, *, must_expire: bool = True) -> str:
        """The user's name.

        :param must_expire: there must be a time at which the token ends.
        :raises TokenRefused: it is not for us, or not now.
        """
        self._judge_time(claims, now, must_expire)
        if self.issuer and claims.get("iss", self.issuer) != self.issuer:
            raise TokenRefused("another issuer")
        if self.audience and self.audience.isdisjoint(_texts(claims.get("aud"))):
            raise TokenRefused("for another audience")
        if "cnf" in claims:
            # RFC 7800 section 3: whoever shows it must also prove to have a key.
            raise TokenRefused("not a bearer token")
        if self.scope and self.scope not in scopes_of(claims):
            raise TokenRefused("without the scope", "insufficient_scope", self.scope)
        return self._name(claims)

    def _judge_time(self, claims: Mapping[str, Any], now: float, must_expire: bool) -> None:
        end, start = _number(claims, "exp"), _number(claims, "nbf")
        issued = _number(claims, "iat")
        if end is None and must_expire:
            raise TokenRefused("it never expires")
        if end is not None and now >= end + self.leeway:
            raise TokenRefused("expired")
        if start is not None and now < start - self.leeway:
            raise TokenRefused("not valid yet")
        if issued is not None and now < issued - self.leeway:
            # RFC 7519 section 4.1.6 leaves it open; Dovecot and PyJWT refuse such ones, too.
            raise TokenRefused("issued in the future")

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self.claim)
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise TokenRefused(f"without a claim {self.claim} that is a name")
        if self.claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            # Otherwise whoever may choose an address at the issuer has everybody's mail.
            raise TokenRefused("with an address that its issuer has not verified")
        return name


def scopes_of(claims: Mapping[str, Any]) -> Collection[str]:
    """RFC 8693 section 4.2: one text with spaces; Microsoft has ``scp`` and others arrays."""
    found: set[str] = set()
    for key in ("scope", "scp"):
        for text in _texts(claims.get(key)):
            found.update(text.split())
    return found


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


def _number(claims: Mapping[str, Any], key: str) -> float | None:
    """Seconds since the epoch (RFC 7519 section 2, NumericDate).

    :raises TokenRefused: there is something else.
    """
    value = claims.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
        raise TokenRefused(f"with a claim {key} that is no time")
    return float(value)
