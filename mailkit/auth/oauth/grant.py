"""Passwords of users whom an issuer of tokens knows, for programs that know no tokens.

The issuer is asked for a token by user name and password (RFC 6749 section 4.3), and says in its ID
token (OpenID Connect Core section 2) who that is. Issuers leave this way out more and more: it shows
them no second factor.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from twisted.logger import Logger
from zope.interface import implementer

from mailkit.auth.located import ExistingUser, NotAsked
from mailkit.auth.oauth.documents import IssuerFailed, read_object
from mailkit.auth.oauth.introspection import authorization
from mailkit.auth.oauth.keys import IssuerKeys, find_endpoint, is_https
from mailkit.auth.oauth.rules import TokenRules
from mailkit.auth.oauth.settings import TIMEOUT, read_secret
from mailkit.auth.oauth.tokens import SignedTokens
from mailkit.errors import TemporaryFailure, TokenRefused
from mailkit.https import HTTPSClient, HTTPSFailed, Response
from mailkit.interfaces import IPasswordVerifier
from mailkit.wire.domains import canonical_domain

#: Users who are asked for at the same time.
AT_ONCE = 16


@implementer(IPasswordVerifier)
class PasswordGrant:
    """Users who have a password at an issuer of tokens.

    :param client: makes the requests.
    :param tokens: verifies ID tokens.
    :param rules: what is asked of their claims; the account is named by one of them.
    :param domains: whose users it may name, in canonical form; empty for all who have accounts. A
        name without a domain is one of the first.
    :param url: of the token endpoint; empty to be found out.
    :param secret: what ``client_id`` proves itself by; empty for a public client.
    :param seconds: tells the time.
    """

    log = Logger()

    def __init__(
        self,
        client: HTTPSClient,
        tokens: SignedTokens,
        rules: TokenRules,
        *,
        client_id: str,
        secret: str = "",
        scope: str = "openid email",
        domains: Sequence[str] = (),
        url: str = "",
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self.at_once = AT_ONCE
        self._client = client
        self._tokens = tokens
        self._rules = rules
        self._authorization = authorization(client_id, secret)
        self._fixed = {"grant_type": "password", "scope": scope}
        if not secret:
            # RFC 6749 section 2.3.1: one without a secret names itself so.
            self._fixed["client_id"] = client_id
        self._domains = tuple(domains)
        self._url = url
        self._seconds = seconds

    async def verify_password(self, login: str, password: bytes) -> str | None:
        try:
            text = password.decode("utf-8")
        except UnicodeDecodeError:
            # RFC 6749 appendix B has no place for it.
            raise NotAsked from None
        try:
            token = await self._ask(login, text)
            return None if token is None else await self._name(token)
        except (HTTPSFailed, IssuerFailed) as error:
            self.log.error(
                "{issuer} cannot be asked: {reason}", issuer=self._rules.issuer, reason=error.text
            )
            # Where it is and what ails it is no business of clients.
            raise TemporaryFailure from error

    async def _ask(self, login: str, password: str) -> str | None:
        """The ID token of a user; None for one who is refused."""
        if not self._url:
            self._url = await find_endpoint(self._client, self._rules.issuer, "token_endpoint")
        body = urlencode({**self._fixed, "username": login, "password": password}).encode("ascii")
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            **self._authorization,
        }
        response = await self._client.request("POST", self._url, headers, body)
        if response.code in (400, 401):
            error = _error_of(response)
            if error == "invalid_grant":
                return None
            raise IssuerFailed(f"{self._url}: {error}")
        token = read_object(self._url, response).get("id_token")
        if not isinstance(token, str):
            raise IssuerFailed(f"{self._url} gives no ID token")
        return token

    async def _name(self, token: str) -> str | None:
        """The account that an ID token names; None where it names nobody of ours."""
        try:
            claims = await self._tokens.claims(token)
            name = self._rules.judge(claims, self._seconds())
            if self._domains and "@" not in name:
                name = f"{name}@{self._domains[0]}"
            if self._domains and canonical_domain(name.rpartition("@")[2]) not in self._domains:
                raise TokenRefused("for a user of another domain")
        except TokenRefused as error:
            self.log.info("an ID token was refused: {reason}", reason=error.text)
            return None
        # Whoever may name any address must not make us serve its domain.
        return name if self._domains else ExistingUser(name)


def _error_of(response: Response) -> str:
    """What an issuer says of its refusal (RFC 6749 section 5.2)."""
    try:
        content: Any = json.loads(response.body)
    except (ValueError, RecursionError):
        content = None
    error = content.get("error") if isinstance(content, Mapping) else None
    if isinstance(error, str) and len(error) <= 100 and error.isprintable():
        return error
    return f"status {response.code}"


def make(
    issuer: str,
    *,
    client_id: str = "",
    client_secret_file: str = "",
    claim: str = "email",
    scope: str = "openid email",
    ca_file: str | None = None,
    domains: Sequence[str] = (),
    reactor: Any = None,
    seconds: Callable[[], float] = time.time,
) -> PasswordGrant:
    """What ``--auth oidc:ISSUER`` stands for.

    :param issuer: its URL, as it stands in its tokens.
    :raises ValueError: a setting is wrong.
    :raises ImportError: a library is missing.
    """
    if reactor is None:
        from twisted.internet import reactor
    if not is_https(issuer):
        raise ValueError(f"issuer: {issuer!r} is no URL such as https://id.example.org")
    if not client_id:
        raise ValueError("client-id is missing: what the issuer calls this server")
    if ca_file is not None and not os.path.exists(ca_file):
        raise ValueError(f"ca-file: there is no {ca_file}")
    client = HTTPSClient(None, reactor, ca_file=ca_file, timeout=TIMEOUT)
    keys = IssuerKeys(client, seconds, issuer=issuer)
    return PasswordGrant(
        client,
        SignedTokens(keys, issuer),
        # OpenID Connect Core section 3.1.3.7: an ID token is for who has asked for it.
        TokenRules(claim, issuer, frozenset({client_id})),
        client_id=client_id,
        secret=read_secret(client_secret_file) if client_secret_file else "",
        scope=scope,
        domains=domains,
        seconds=seconds,
    )
