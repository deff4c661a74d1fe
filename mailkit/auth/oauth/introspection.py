"""Tokens that only their issuer can read: it is asked about each (RFC 7662)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from twisted.logger import Logger

from mailkit.auth.oauth.documents import IssuerFailed, read_object
from mailkit.auth.oauth.keys import find_endpoint
from mailkit.coroutines import Shared
from mailkit.errors import TemporaryFailure, TokenRefused
from mailkit.expiring import ExpiringMap
from mailkit.https import HTTPSClient

#: Seconds that an answer is kept: a token that is taken back counts so much longer.
CACHE_SECONDS = 60.0
#: Answers that are kept.
MAX_CACHED = 10_000
#: Questions at the same time; who comes above that is told to come back later.
MAX_REQUESTS = 50


class IntrospectedTokens:
    """Asks an issuer about tokens.

    :param url: where it is asked; found out from ``issuer`` when empty.
    :param client_id: who asks; with ``secret`` by HTTP Basic (RFC 6749 section 2.3.1).
    :param secret: the client's secret; alone it is a bearer token.
    :param seconds: tells the time.
    :param cache_seconds: how long an answer is kept at most.
    """

    log = Logger()

    def __init__(
        self,
        client: HTTPSClient,
        seconds: Callable[[], float],
        *,
        url: str = "",
        issuer: str = "",
        client_id: str = "",
        secret: str = "",
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self._client = client
        self._seconds = seconds
        self._url = url
        # What was found out instead.
        self._found = ""
        self._issuer = issuer
        self._authorization = authorization(client_id, secret)
        self._cache_seconds = cache_seconds
        self._cache: ExpiringMap[bytes, Mapping[str, Any]] = ExpiringMap(MAX_CACHED, seconds)
        self._asking: dict[bytes, Shared[Mapping[str, Any]]] = {}

    async def claims(self, token: str) -> Mapping[str, Any]:
        """What the issuer says of a token.

        :raises TokenRefused: it is none of its, or no longer.
        :raises TemporaryFailure: the issuer does not answer.
        """
        # Nobody finds tokens in a dump of the memory because of us.
        digest = hashlib.sha256(token.encode("ascii")).digest()
        claims = self._cache.get(digest)
        if claims is None:
            claims = await self._ask_once(digest, token)
        if claims.get("active") is not True:
            raise TokenRefused("not known to its issuer")
        return claims

    async def _ask_once(self, digest: bytes, token: str) -> Mapping[str, Any]:
        """The connections that a client opens at once share a question."""
        asking = self._asking.get(digest)
        if asking is None:
            if len(self._asking) >= MAX_REQUESTS:
                raise IssuerFailed
            asking = Shared(self._ask_and_tell(digest, token))
            if not asking.done:
                self._asking[digest] = asking
        try:
            claims = await asking.result()
        except TemporaryFailure as error:
            raise IssuerFailed from error
        if claims.get("active") is True:
            self._cache.set(digest, claims, self._cache_seconds)
        return claims

    async def _ask_and_tell(self, digest: bytes, token: str) -> Mapping[str, Any]:
        """Ask, and let the log tell of trouble."""
        try:
            return await self._ask(token)
        except TemporaryFailure as error:
            self.log.warn(
                "{issuer} cannot be asked about tokens: {reason}",
                issuer=self._issuer or self._url,
                reason=error.text,
            )
            raise
        finally:
            # Also when nobody waits for it any more.
            self._asking.pop(digest, None)

    async def _ask(self, token: str) -> Mapping[str, Any]:
        url = self._url or self._found
        if not url:
            name = "introspection_endpoint"
            url = self._found = await find_endpoint(self._client, self._issuer, name)
        body = urlencode({"token": token, "token_type_hint": "access_token"}).encode("ascii")
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            **self._authorization,
        }
        try:
            response = await self._client.request("POST", url, headers, body)
            return read_object(url, response)
        except TemporaryFailure:
            # It may have moved.
            self._found = ""
            raise


def authorization(client_id: str, secret: str) -> dict[str, str]:
    """The field of a request that tells an issuer who asks; none without a secret."""
    if not secret:
        return {}
    if not client_id:
        return {"Authorization": f"Bearer {secret}"}
    # RFC 6749 section 2.3.1: both are encoded as in a form first.
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode("ascii")
    return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
