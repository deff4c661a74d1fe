"""The keys of an issuer (JWKS, RFC 7517): where they are, which may verify what, when to look again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from twisted.logger import Logger

from mailkit.auth.oauth.documents import IssuerFailed, NoDocument, get_document
from mailkit.auth.oauth.library import load_jwt
from mailkit.coroutines import Shared
from mailkit.errors import TemporaryFailure
from mailkit.https import HTTPSClient

#: Keys of an issuer that are read.
MAX_KEYS = 50
#: Bits of an RSA key (RFC 7518 section 3.3 asks for the lower one).
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
#: Seconds between two looks for keys, whatever kid tokens name.
MIN_INTERVAL = 60.0
#: The same after a failure.
RETRY_INTERVAL = 10.0
#: Seconds that keys go on to count when the issuer does not answer any more.
MAX_STALE = 86_400.0

# What a public key is made of, by its type (RFC 7518 section 6, RFC 8037 section 2).
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("EC", "P-521"): "ES512",
    ("OKP", "Ed25519"): "EdDSA",
    ("OKP", "Ed448"): "EdDSA",
}
#: All with which tokens may be signed. None of them verifies by what everybody knows.
ALGORITHMS = frozenset({*_RSA, *_CURVES.values()})


class VerifyingKey(NamedTuple):
    """A public key of an issuer."""

    #: None where it has no name.
    kid: str | None
    #: Algorithms that it may be used with: its type decides, not the token.
    algorithms: frozenset[str]
    #: As ``cryptography`` has it.
    key: Any


class IssuerKeys:
    """The keys of one issuer.

    :param issuer: its URL, where it says where its keys are; empty with ``url`` alone.
    :param url: where the keys are; found out when empty (OpenID Connect Discovery, RFC 8414).
    :param seconds: tells the time.
    """

    log = Logger()

    def __init__(
        self, client: HTTPSClient, seconds: Callable[[], float], *, issuer: str = "", url: str = ""
    ) -> None:
        self._client = client
        self._seconds = seconds
        self._issuer = issuer
        self._url = url
        self._keys: Sequence[VerifyingKey] = ()
        #: Until when they need not be looked at, and until when they count.
        self._fresh = self._good = float("-inf")
        #: When they may be looked at again, and whether it went wrong the last time.
        self._next = float("-inf")
        self._failed = False
        self._looking: Shared[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> Sequence[VerifyingKey]:
        """The keys that may have signed a token.

        :param kid: the key that the token names.
        :raises TemporaryFailure: the issuer does not tell its keys.
        """
        now = self._seconds()
        if now >= self._good:
            await self._look()
        elif now >= self._fresh:
            # Whoever logs in now need not wait for it.
            self._begin()
        found = self._matching(kid, algorithm)
        if not found:
            # The issuer may have a new one.
            await self._look()
            found = self._matching(kid, algorithm)
        return found

    def _matching(self, kid: str | None, algorithm: str) -> list[VerifyingKey]:
        return [
            key
            for key in self._keys
            if algorithm in key.algorithms and (kid is None or key.kid in (None, kid))
        ]

    async def _look(self) -> None:
        """Look at the issuer's keys, unless it was done just now.

        :raises TemporaryFailure: they cannot be had.
        """
        looking = self._begin()
        if looking is None:
            if self._failed:
                raise IssuerFailed
            return
        try:
            await looking.result()
        except TemporaryFailure as error:
            raise IssuerFailed from error

    def _begin(self) -> Shared[None] | None:
        """Several who need the keys look once; None where it is too early to look again."""
        if self._looking is None or self._looking.done:
            now = self._seconds()
            if now < self._next:
                return None
            self._next = now + RETRY_INTERVAL
            self._looking = Shared(self._fetch())
        return self._looking

    async def _fetch(self) -> None:
        try:
            url = self._url or await find_endpoint(self._client, self._issuer, "jwks_uri")
            document = await get_document(self._client, url)
            self._keys = read_keys(document.content)
        except TemporaryFailure as error:
            self._failed = True
            self.log.warn(
                "the keys of {issuer} cannot be had: {reason}",
                issuer=self._issuer or self._url,
                reason=error.text,
            )
            raise
        self._failed = False
        now = self._seconds()
        self._next = now + MIN_INTERVAL
        self._fresh = now + document.seconds
        self._good = self._fresh + MAX_STALE


async def find_endpoint(client: HTTPSClient, issuer: str, name: str) -> str:
    """The URL of that name in what an issuer says of itself.

    :param name: such as ``jwks_uri``.
    :raises TemporaryFailure: it does not say.
    """
    content: Mapping[str, Any] = {}
    for url in configuration_urls(issuer):
        try:
            content = (await get_document(client, url)).content
        except NoDocument:
            continue
        break
    else:
        raise IssuerFailed(f"{issuer} says nothing of itself")
    # OpenID Connect Discovery section 4.3, RFC 8414 section 3.3: or it speaks for somebody else.
    if content.get("issuer") != issuer:
        raise IssuerFailed(f"{url} is about another issuer")
    endpoint = content.get(name)
    if not isinstance(endpoint, str) or not is_https(endpoint):
        raise IssuerFailed(f"{url} has no {name} with https")
    return endpoint


def configuration_urls(issuer: str) -> Sequence[str]:
    """Where an issuer may describe itself.

    OpenID Connect Discovery section 4 puts it behind the issuer's path, RFC 8414 section 3 before it.
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return (
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}",
    )


def is_https(url: str) -> bool:
    """Whether it is a URL of the web with TLS, with a host and nothing that could be a trap."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and not parts.fragment
    return plain and parts.scheme == "https" and bool(parts.hostname) and parts.username is None


def read_keys(content: Mapping[str, Any]) -> list[VerifyingKey]:
    """The keys of a JWKS that can verify tokens; others are passed over (RFC 7517 section 5).

    :raises IssuerFailed: it is none.
    """
    entries = content.get("keys")
    if not isinstance(entries, list):
        raise IssuerFailed("the issuer's key set is none")
    found = (_read_key(entry) for entry in entries[:MAX_KEYS] if isinstance(entry, dict))
    return [key for key in found if key is not None]


def _read_key(entry: Mapping[str, Any]) -> VerifyingKey | None:
    kty = str(entry.get("kty"))
    names = _PUBLIC.get(kty, ())
    if not names or not all(isinstance(entry.get(name), str) for name in names):
        return None
    if entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    curve = _CURVES.get((kty, str(entry.get("crv"))))
    algorithms = _RSA if kty == "RSA" else frozenset({curve} if curve else ())
    if "alg" in entry:
        algorithms &= {entry["alg"]} if isinstance(entry["alg"], str) else set()
    if not algorithms:
        return None
    kid = entry.get("kid")
    key = _load({"kty": kty, **{name: entry[name] for name in names}})
    if key is None or (kid is not None and not isinstance(kid, str)):
        return None
    return VerifyingKey(kid, algorithms, key)


def _load(entry: Mapping[str, str]) -> Any:
    """A public key of these numbers; None for one that is none, or too weak."""
    algorithms = load_jwt().algorithms
    kind = {
        "RSA": algorithms.RSAAlgorithm,
        "EC": algorithms.ECAlgorithm,
        "OKP": algorithms.OKPAlgorithm,
    }[entry["kty"]]
    try:
        key = kind.from_jwk(dict(entry))
    except Exception:
        # Whatever PyJWT, base64 and cryptography say of it.
        return None
    if entry["kty"] == "RSA" and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return None
    return key
