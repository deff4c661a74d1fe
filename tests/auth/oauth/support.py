"""Keys, tokens, and an issuer that answers without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from twisted.internet.defer import Deferred

from mailkit.auth.oauth.checker import BearerChecker
from mailkit.auth.oauth.keys import IssuerKeys
from mailkit.auth.oauth.rules import TokenRules
from mailkit.auth.oauth.tokens import SignedTokens
from mailkit.https import HTTPSFailed, Response

ISSUER = "https://id.example.org/mail"
CONFIGURATION = f"{ISSUER}/.well-known/openid-configuration"
KEYS = "https://id.example.org/keys"
NOW = 1_000_000_000
ANN = "ann@example.org"

_KINDS = {
    "RS": jwt.algorithms.RSAAlgorithm,
    "PS": jwt.algorithms.RSAAlgorithm,
    "ES": jwt.algorithms.ECAlgorithm,
    "Ed": jwt.algorithms.OKPAlgorithm,
}


@lru_cache
def key(name: str) -> Any:
    """A private key of that name, the same each time: ``rsa``, ``p256``, ..., ``rsa other``."""
    kind = name.partition(" ")[0]
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "rsa1024":
        return rsa.generate_private_key(65537, 1024)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


def public_jwk(name: str, algorithm: str, **members: Any) -> dict[str, Any]:
    """The public half as an issuer shows it, with its name as ``kid``."""
    found = json.loads(_KINDS[algorithm[:2]].to_jwk(key(name).public_key()))
    return {**found, "kid": name, **members}


def claims_of(**changes: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim away."""
    claims = {"iss": ISSUER, "aud": "mail", "exp": NOW + 600, "email": ANN, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def new_token(
    name: str = "rsa",
    algorithm: str = "RS256",
    headers: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    header = {"kid": name, **(headers or {})}
    header = {field: value for field, value in header.items() if value is not None}
    return jwt.encode(claims_of(**changes), key(name), algorithm, headers=header)


class FakeClient:
    """Answers requests from a table; None for a server that is down."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], bytes | None]] = []
        self.answers: dict[str, Any] = {}
        self.caching: tuple[bytes, ...] = ()
        #: Answers wait for these, where there are some.
        self.gate: Deferred[None] | None = None

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Response:
        self.asked.append((method, url, headers, body))
        if self.gate is not None:
            await self.gate
        answer = self.answers.get(url, 404)
        if answer is None:
            raise HTTPSFailed(f"{url} cannot be reached")
        if isinstance(answer, int):
            return Response(answer, (), b"", False)
        octets = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return Response(200, (), octets, len(octets) > 60_000, self.caching)

    def publish(self, *keys: dict[str, Any]) -> None:
        """Let the issuer have these keys."""
        self.answers[CONFIGURATION] = {"issuer": ISSUER, "jwks_uri": KEYS}
        self.answers[KEYS] = {"keys": list(keys)}

    def fail(self) -> None:
        """The issuer is down from now on."""
        self.answers = dict.fromkeys([CONFIGURATION, KEYS])


def make_checker(client: Any, clock: Any, **settings: Any) -> BearerChecker:
    algorithms = settings.pop("algorithms", ("RS256", "ES256", "ES384", "ES512", "EdDSA"))
    keys = IssuerKeys(client, clock.seconds, issuer=ISSUER)
    rules = TokenRules(**{"issuer": ISSUER, "audience": frozenset({"mail"}), **settings})
    return BearerChecker(
        SignedTokens(keys, ISSUER, algorithms),
        rules,
        configuration_url=CONFIGURATION,
        seconds=clock.seconds,
    )
