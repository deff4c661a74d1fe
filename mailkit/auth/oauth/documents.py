"""JSON from an issuer, by HTTPS, and for how long it may be kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mailkit.errors import TemporaryFailure
from mailkit.https import HTTPSClient, Response

#: Seconds that what an issuer has published is kept: at least, unless it says, and at most.
MIN_KEPT = 300.0
KEPT = 3600.0
MAX_KEPT = 86_400.0

_MAX_AGE = re.compile(rb"(?:^|,)[ \t]*max-age=\"?([0-9]{1,10})\"?[ \t]*(?:,|$)", re.IGNORECASE)


class IssuerFailed(TemporaryFailure):
    """The issuer does not answer, or not as it should."""

    default_text = "Tokens cannot be verified just now, please try again later"


class NoDocument(IssuerFailed):
    """There is nothing at that URL."""


class Document(NamedTuple):
    """What an issuer has published."""

    content: Mapping[str, Any]
    #: Seconds that it may be kept.
    seconds: float


async def get_document(client: HTTPSClient, url: str) -> Document:
    """Get a JSON object.

    :raises NoDocument: there is none.
    :raises IssuerFailed: there may be one; the cause says more.
    """
    response = await client.request("GET", url, {"Accept": "application/json"})
    return Document(read_object(url, response), _keeping_time(response.cache_control))


def read_object(url: str, response: Response) -> Mapping[str, Any]:
    """The JSON object in a response.

    :raises IssuerFailed: there is none.
    """
    if response.code == 404:
        raise NoDocument(f"{url}: status 404")
    if response.code != 200:
        raise IssuerFailed(f"{url}: status {response.code}")
    if response.too_long:
        raise IssuerFailed(f"{url}: the response is too long")
    try:
        content = json.loads(response.body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise IssuerFailed(f"{url}: the response is no JSON object")
    return content


def _keeping_time(fields: Sequence[bytes]) -> float:
    """RFC 9111 section 5.2.2, within bounds: nobody can make us ask all the time, or never again."""
    text = b",".join(fields)
    if re.search(rb"(?:^|,)[ \t]*no-(?:store|cache)\b", text, re.IGNORECASE):
        return MIN_KEPT
    found = _MAX_AGE.search(text)
    return KEPT if found is None else min(max(float(found[1]), MIN_KEPT), MAX_KEPT)
