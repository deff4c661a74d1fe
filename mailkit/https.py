"""One HTTPS request as policies, reports and tokens need it, by twisted.web.

The certificate is verified, no redirection is followed; length and time are limited.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError, TimeoutError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    FileBodyProducer,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from mailkit._typing import override
from mailkit.client.security import TLSPolicy
from mailkit.client.tls import connection_creator
from mailkit.dns.lookups import find_addresses
from mailkit.errors import DNSFailure, TemporaryFailure
from mailkit.interfaces import IDNSResolver
from mailkit.weblimit import MAX_RECEIVED, LimitedEndpoint

#: Addresses of a server that are tried.
MAX_ADDRESSES = 4
#: Seconds for all that a request takes.
TIMEOUT = 30.0
#: Octets of a response.
MAX_RESPONSE = 64 * 1024


class HTTPSFailed(TemporaryFailure):
    """There is no response.

    :ivar untrusted: because of the server's certificate.
    """

    default_text = "The web server does not answer"

    def __init__(self, text: str = "", *, untrusted: bool = False) -> None:
        super().__init__(text)
        self.untrusted = untrusted


class Response(NamedTuple):
    """What a server has answered."""

    code: int
    #: Values of Content-Type.
    types: Sequence[bytes]
    #: Its start, where it is longer than :data:`MAX_RESPONSE`.
    body: bytes
    too_long: bool
    #: Values of Cache-Control.
    cache_control: Sequence[bytes] = ()


class HTTPSClient:
    """Makes requests, each over a connection of its own.

    :param resolver: finds the servers; None for the system's way, which knows its file of hosts.
    :param ca_file: certificates (PEM) to trust; the system's when None.
    :param allow_clear: URLs may be with ``http``: whoever makes them knows to whom they lead.
    """

    def __init__(
        self,
        resolver: IDNSResolver | None,
        reactor: Any,
        *,
        ca_file: str | None = None,
        port: int = 443,
        timeout: float = TIMEOUT,
        allow_clear: bool = False,
    ) -> None:
        self._resolver = resolver
        self._reactor = reactor
        self._ca_file = ca_file
        self._port = port
        self._timeout = timeout
        self._allow_clear = allow_clear

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Response:
        """Ask for something.

        :param url: with ``https``; the port is that of the URL, or the client's.
        :raises HTTPSFailed: there was no response.
        """
        asking = Deferred.fromCoroutine(self._request(method, url, headers, body))
        asking.addTimeout(self._timeout, self._reactor, _time_out)
        return await asking

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        try:
            clear = self._allow_clear and url.startswith("http:")
            uri = URI.fromBytes(url.encode("ascii"), 80 if clear else self._port)
            host = uri.host.decode("ascii")
        except ValueError as error:
            raise HTTPSFailed(f"{url} is no URL") from error
        trouble: Exception | None = None
        for address in await self._addresses(host):
            creator = connection_creator(TLSPolicy.verified(host, ca_file=self._ca_file), host)
            tcp: Any = HostnameEndpoint(self._reactor, address, uri.port)
            link = LimitedEndpoint(tcp if clear else wrapClientTLS(creator, tcp))
            agent: Any = Agent.usingEndpointFactory(self._reactor, _Way(link))
            try:
                response = await _exchange(agent, method, url, headers, body)
                if (link.too_much or link.broken_off) and not response.too_long:
                    # Without a length, what was cut off looks whole.
                    raise HTTPSFailed("The response breaks off")
                return response
            except (ConnectError, DNSLookupError, TimeoutError) as reason:
                trouble = reason
            except (RequestTransmissionFailed, ResponseFailed, HTTPSFailed) as reason:
                if link.too_much:
                    raise HTTPSFailed(f"{host} sends more than {MAX_RECEIVED} octets") from reason
                raise _explain(host, reason) from reason
            finally:
                link.abort()
        raise HTTPSFailed(f"{host} cannot be reached: {trouble or 'it has no address'}")

    async def _addresses(self, host: str) -> Sequence[str]:
        """To what a connection is made."""
        if self._resolver is None:
            return [host]
        try:
            return (await find_addresses(self._resolver, host))[:MAX_ADDRESSES]
        except DNSFailure as error:
            raise HTTPSFailed(f"{host}: {error.text}") from error


async def _exchange(
    agent: Any, method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> Response:
    producer = None if body is None else FileBodyProducer(io.BytesIO(body))
    fields = Headers({name: [value] for name, value in headers.items()})
    response = await agent.request(method.encode(), url.encode("ascii"), fields, producer)
    reader = _Body()
    response.deliverBody(reader)
    octets = await reader.done
    types = response.headers.getRawHeaders(b"content-type") or ()
    caching = response.headers.getRawHeaders(b"cache-control") or ()
    too_long = len(octets) > MAX_RESPONSE
    return Response(response.code, types, octets[:MAX_RESPONSE], too_long, caching)


@implementer(IAgentEndpointFactory)
class _Way:
    """The one way to a server, for one request."""

    def __init__(self, endpoint: LimitedEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> LimitedEndpoint:  # noqa: N802
        return self._endpoint


class _Body(Protocol):
    """Takes a response, up to a limit."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._parts: list[bytes] = []
        self._size = 0

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._size <= MAX_RESPONSE:
            self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_RESPONSE and not self.done.called:
            self.done.callback(b"".join(self._parts))

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        # RFC 9112 section 6.3: one without a length ends with its connection.
        if isinstance(reason.value, (ResponseDone, PotentialDataLoss)):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(HTTPSFailed("The response breaks off"))


def _explain(
    host: str, failed: RequestTransmissionFailed | ResponseFailed | HTTPSFailed
) -> HTTPSFailed:
    if isinstance(failed, HTTPSFailed):
        return failed
    reasons: Sequence[Failure] = failed.reasons
    texts = "; ".join(str(each.value) or type(each.value).__name__ for each in reasons)
    names = {type(each.value).__module__.partition(".")[0] for each in reasons}
    if names & {"OpenSSL", "service_identity"}:
        text = f"{host} has no certificate that can be trusted: {texts}"
        return HTTPSFailed(text, untrusted=True)
    return HTTPSFailed(f"{host} does not answer: {texts}")


def _time_out(_: object, seconds: float) -> Failure:
    return Failure(HTTPSFailed(f"There was no response in {seconds:g} seconds"))
