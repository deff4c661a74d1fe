"""Posting something to a program by HTTP: what deliveries and webhooks have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    FileBodyProducer,
    HTTPConnectionPool,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from mailkit._typing import override
from mailkit.client.security import TLSPolicy
from mailkit.client.tls import connection_creator
from mailkit.weblimit import LimitedEndpoint

#: Seconds until the connection must be there, and until the answer must.
CONNECT_TIMEOUT = 30.0
TIMEOUT = 120.0

_CHUNK = 64 * 1024
_SECONDS = re.compile(rb"[0-9]{1,9}")


class PostFailed(Exception):
    """There was no answer; the text says why."""


class Answer(NamedTuple):
    """What a server has answered."""

    status: int
    #: Seconds that it asks to be left alone (RFC 9110 section 10.2.3); 0 where it does not.
    wait: float = 0.0


class Poster:
    """Posts to one URL. Redirections are not followed, the server's certificate is verified.

    :param url: ``http:`` or ``https:``.
    :param reactor: Twisted's own when None.
    :param ca_file: certificates (PEM) to trust; the system's when None.
    :param agent: makes the requests, instead of one with these settings.
    :param timeout: seconds until there must be an answer.
    :raises ValueError: that is no URL.
    :raises TLSFailed: the file of certificates cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        reactor: Any = None,
        ca_file: str | None = None,
        agent: IAgent | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.url = url
        self._url = check_url(url)
        self.reactor = reactor
        self._timeout = timeout
        if agent is None:
            # A connection that the other side has closed meanwhile would fail the next request.
            pool: Any = HTTPConnectionPool(reactor, False)
            ways = _Ways(reactor, URI.fromBytes(self._url), ca_file)
            agent = Agent.usingEndpointFactory(reactor, ways, pool)
        self._agent: Any = agent

    async def post(self, fields: Mapping[bytes, bytes], content: BinaryIO) -> Answer:
        """Post a file.

        :param content: is closed.
        :raises PostFailed: there is no answer.
        :raises CancelledError: nobody waits for one any more.
        """
        headers = Headers({name: [value] for name, value in fields.items()})
        # Closes it at the end, once there is a connection.
        producer: Any = FileBodyProducer(content, readSize=_CHUNK)
        request: Deferred[Any] = self._agent.request(b"POST", self._url, headers, producer)
        request.addTimeout(self._timeout, self.reactor, self._time_out)
        try:
            response = await request
        except Exception as error:
            # Whatever names, connections, TLS and HTTP may end with.
            content.close()
            if isinstance(error, PostFailed):
                raise
            if _is_cancelled(error):
                raise CancelledError from None
            raise PostFailed(_reason(error)) from error
        # What comes before the body says it all.
        response.deliverBody(_Closer())
        (wait,) = response.headers.getRawHeaders(b"retry-after", [b""])[:1]
        return Answer(response.code, _read_wait(wait, self.reactor.seconds()))

    def _time_out(self, result: Any, seconds: float) -> Any:
        # Once it is sent, Twisted gives another failure than that of a time-out.
        if isinstance(result, Failure):
            raise PostFailed(f"no answer in {seconds:g} seconds")
        return result


def check_url(url: str) -> bytes:
    """The octets of a URL to which can be posted.

    :raises ValueError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
        raise ValueError(f"{url!r} is no URL such as https://example.org/mail")
    if parts.username is not None or parts.fragment:
        raise ValueError("the URL must have no user name and no fragment")
    if not url.isprintable() or " " in url:
        raise ValueError("the URL has characters that must be escaped")
    # Raises ValueError for a port that is none.
    _ = parts.port
    return url.encode("ascii")


def _read_wait(text: bytes, now: float) -> float:
    """Seconds of a field Retry-After (RFC 9110 section 10.2.3), which is a number or a date."""
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text.decode("ascii"))
        if moment.tzinfo is None:
            # RFC 9110 section 5.6.7: the form of asctime() names no zone, and is UTC.
            moment = moment.replace(tzinfo=timezone.utc)
        return max(0.0, moment.timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        # Which of them it is depends on the version of Python.
        return 0.0


def _is_cancelled(error: Exception) -> bool:
    """Whether nobody waits for the answer any more."""
    reasons = getattr(error, "reasons", None) or ()
    return isinstance(error, CancelledError) or any(each.check(CancelledError) for each in reasons)


def _reason(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)
    if reasons:
        # Of a request that was begun.
        return "; ".join(_reason(failure.value) for failure in reasons)
    return str(error) or type(error).__name__


@implementer(IAgentEndpointFactory)
class _Ways:
    """How connections to one server are made."""

    def __init__(self, reactor: Any, uri: URI, ca_file: str | None) -> None:
        self._reactor = reactor
        self._creator: Any = None
        if uri.scheme == b"https":
            # Not Twisted's own, which takes a certificate for any name that has no name at all.
            policy = TLSPolicy.verified(ca_file=ca_file)
            self._creator = connection_creator(policy, uri.host.decode("ascii"))

    def endpointForURI(self, uri: URI) -> LimitedEndpoint:  # noqa: N802
        way: Any = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=CONNECT_TIMEOUT)
        if self._creator is not None:
            way = wrapClientTLS(self._creator, way)
        return LimitedEndpoint(way)


class _Closer(Protocol):
    """Wants no body."""

    @override
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()
