"""``--auth oauth:ISSUER``: a checker of tokens made of settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from mailkit.auth.oauth.checker import BearerChecker, TokenVerifier
from mailkit.auth.oauth.introspection import CACHE_SECONDS, IntrospectedTokens
from mailkit.auth.oauth.keys import IssuerKeys, configuration_urls, is_https
from mailkit.auth.oauth.rules import LEEWAY, TokenRules
from mailkit.auth.oauth.tokens import DEFAULT_ALGORITHMS, SignedTokens
from mailkit.https import HTTPSClient
from mailkit.wire.domains import canonical_domain

#: Octets of a file with a secret.
MAX_SECRET = 4096
#: Seconds that an issuer has for an answer: somebody waits for the login.
TIMEOUT = 15.0


def make(
    issuer: str,
    *,
    audience: Sequence[str] = (),
    claim: str = "",
    scope: str = "",
    algorithms: Sequence[str] = DEFAULT_ALGORITHMS,
    leeway: float = LEEWAY,
    keys: str = "",
    introspection: str = "",
    client_id: str = "",
    client_secret_file: str = "",
    cache: float = CACHE_SECONDS,
    ca_file: str | None = None,
    domains: Sequence[str] = (),
    hosts: Sequence[str] = (),
    reactor: Any = None,
    seconds: Callable[[], float] = time.time,
) -> BearerChecker:
    """A checker for the tokens of one issuer.

    :param issuer: its URL, as it stands in its tokens.
    :param audience: what its tokens for this server are for; needed where they are not asked about.
    :param claim: that is the user's name; ``email``, or ``username`` where the issuer is asked.
    :param keys: URL of its keys; found out when empty.
    :param introspection: ask it about each token: ``yes``, or the URL where.
    :param client_secret_file: what is in it proves to the issuer who asks.
    :param domains: whose users it may name; empty for all.
    :param hosts: names of this server: clients that say they have connected to another are refused.
    :raises ValueError: a setting is wrong.
    :raises ImportError: a library is missing.
    """
    _check_urls(issuer, keys, introspection)
    if client_id and not client_secret_file:
        raise ValueError("client-id needs client-secret-file")
    if reactor is None:
        from twisted.internet import reactor
    if ca_file is not None and not os.path.exists(ca_file):
        raise ValueError(f"ca-file: there is no {ca_file}")
    client = HTTPSClient(None, reactor, ca_file=ca_file, timeout=TIMEOUT)
    asks = introspection not in ("", "no")
    if not asks and not audience:
        # RFC 8725 section 3.9: otherwise each service of this issuer could log in with its users'
        # tokens.
        raise ValueError("audience is missing: what this server is called in tokens for it")
    verifier: TokenVerifier
    if asks:
        verifier = IntrospectedTokens(
            client,
            seconds,
            url="" if introspection == "yes" else introspection,
            issuer=issuer,
            client_id=client_id,
            secret=read_secret(client_secret_file) if client_secret_file else "",
            cache_seconds=cache,
        )
    else:
        issuer_keys = IssuerKeys(client, seconds, issuer=issuer, url=keys)
        verifier = SignedTokens(issuer_keys, issuer, algorithms)
    rules = TokenRules(
        claim or ("username" if asks else "email"), issuer, frozenset(audience), scope, leeway
    )
    return BearerChecker(
        verifier,
        rules,
        must_expire=not asks,
        domains=domains,
        hosts=[canonical_domain(host) for host in hosts],
        configuration_url=configuration_urls(issuer)[0],
        seconds=seconds,
    )


def _check_urls(issuer: str, keys: str, introspection: str) -> None:
    for name, url in (("issuer", issuer), ("keys", keys)):
        if url and not is_https(url):
            raise ValueError(f"{name}: {url!r} is no URL such as https://id.example.org")
    if introspection not in ("", "yes", "no") and not is_https(introspection):
        raise ValueError(
            f"introspection: {introspection!r} is neither yes, no nor a URL with https"
        )


def read_secret(path: str) -> str:
    """What is in the file of a client's secret.

    :raises ValueError: it cannot be read, or holds none.
    """
    try:
        with open(path, encoding="ascii") as file:
            secret = file.read(MAX_SECRET + 1).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII"
        raise ValueError(f"client-secret-file: cannot read {path}: {reason}") from error
    if not secret or len(secret) > MAX_SECRET or not secret.isprintable():
        raise ValueError(f"client-secret-file: {path} holds no secret of one line")
    return secret
