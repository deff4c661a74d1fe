"""Getting MTA-STS policies by HTTPS (RFC 8461 section 3.3)."""

from __future__ import annotations

import re

from mailkit._typing import override
from mailkit.https import HTTPSClient, HTTPSFailed
from mailkit.queue.sts import PolicyFetcher, STSPolicyUnavailable

_TEXT = re.compile(rb"text/plain[ \t]*(;.*)?", re.IGNORECASE | re.DOTALL)


class HTTPSFetcher(PolicyFetcher):
    """Gets them from ``https://mta-sts.DOMAIN/.well-known/mta-sts.txt``."""

    def __init__(self, client: HTTPSClient) -> None:
        self._client = client

    @override
    async def fetch(self, domain: str) -> bytes:
        url = f"https://mta-sts.{domain}/.well-known/mta-sts.txt"
        try:
            response = await self._client.request("GET", url, {"Accept": "text/plain"})
        except HTTPSFailed as error:
            result_type = "sts-webpki-invalid" if error.untrusted else "sts-policy-fetch-error"
            raise STSPolicyUnavailable(error.text, result_type) from error
        # RFC 8461 section 3.3: neither redirections nor anything else but 200.
        if response.code != 200:
            raise STSPolicyUnavailable(f"{url}: the server says {response.code}")
        if len(response.types) != 1 or not _TEXT.fullmatch(response.types[0]):
            raise STSPolicyUnavailable(f"{url} is no text/plain", "sts-policy-invalid")
        if response.too_long:
            raise STSPolicyUnavailable(f"{url} is too long", "sts-policy-invalid")
        return response.body
