"""Getting MTA-STS policies by HTTPS (RFC 8461 section 3.3), by twisted.web."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from mailkit._typing import override
from mailkit.client.security import TLSPolicy
from mailkit.client.tls import connection_creator
from mailkit.dns.lookups import find_addresses
from mailkit.errors import DNSFailure
from mailkit.interfaces import IDNSResolver
from mailkit.queue.sts import MAX_POLICY, PolicyFetcher, STSPolicyUnavailable

#: Addresses of a policy host that are tried.
MAX_ADDRESSES = 4
#: Seconds for all that it takes to get a policy.
TIMEOUT = 30.0

_TEXT = re.compile(rb"text/plain[ \t]*(;.*)?", re.IGNORECASE | re.DOTALL)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Way:
    """The one way to a server, for one request."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self._connected: Any = None

    def endpointForURI(self, uri: URI) -> _Way:  # noqa: N802
        return self

    def connect(self, factory: Any) -> Any:
        def remember(protocol: Any) -> Any:
            self._connected = protocol
            return protocol

        connecting: Any = self._endpoint.connect(factory)
        return connecting.addCallback(remember)

    def abort(self) -> None:
        """End the connection, whatever the server still has to say."""
        if self._connected is not None and self._connected.transport is not None:
            self._connected.transport.abortConnection()


class _Body(Protocol):
    """Takes a response, up to a limit."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._parts: list[bytes] = []
        self._size = 0

    @override
    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MAX_POLICY:
            self._parts.append(data)
        elif not self.done.called:
            self.done.errback(STSPolicyUnavailable("The policy is too long", "sts-policy-invalid"))

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if isinstance(reason.value, ResponseDone):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(STSPolicyUnavailable("The policy breaks off"))


class HTTPSFetcher(PolicyFetcher):
    """Gets them from ``https://mta-sts.DOMAIN/.well-known/mta-sts.txt``.

    The server's certificate is verified, no redirection is followed, and length and time are limited.

    :param resolver: finds the servers.
    :param ca_file: certificates (PEM) to trust; the system's when None.
    """

    def __init__(
        self,
        resolver: IDNSResolver,
        reactor: Any,
        *,
        ca_file: str | None = None,
        port: int = 443,
        timeout: float = TIMEOUT,
    ) -> None:
        self._resolver = resolver
        self._reactor = reactor
        self._ca_file = ca_file
        self._port = port
        self._timeout = timeout

    @override
    async def fetch(self, domain: str) -> bytes:
        host = f"mta-sts.{domain}"
        getting = Deferred.fromCoroutine(self._get(host))
        getting.addTimeout(self._timeout, self._reactor, _time_out)
        return await getting

    async def _get(self, host: str) -> bytes:
        try:
            addresses = await find_addresses(self._resolver, host)
        except DNSFailure as error:
            raise STSPolicyUnavailable(f"{host}: {error.text}") from error
        trouble: Exception | None = None
        for address in addresses[:MAX_ADDRESSES]:
            try:
                return await self._get_from(host, address)
            except (ConnectError, TimeoutError) as reason:
                trouble = reason
            except ResponseFailed as reason:
                raise _explain(host, reason) from reason
        raise STSPolicyUnavailable(f"{host} cannot be reached: {trouble or 'it has no address'}")

    async def _get_from(self, host: str, address: str) -> bytes:
        creator = connection_creator(TLSPolicy.verified(host, ca_file=self._ca_file), host)
        tcp: Any = HostnameEndpoint(self._reactor, address, self._port)
        way = _Way(wrapClientTLS(creator, tcp))
        agent: Any = Agent.usingEndpointFactory(self._reactor, way)
        try:
            return await _request(agent, host)
        finally:
            way.abort()


async def _request(agent: Any, host: str) -> bytes:
    headers = Headers({"Accept": ["text/plain"]})
    url = f"https://{host}/.well-known/mta-sts.txt".encode("ascii")
    response = await agent.request(b"GET", url, headers)
    # RFC 8461 section 3.3: neither redirections nor anything else but 200.
    if response.code != 200:
        raise STSPolicyUnavailable(f"{host} says {response.code}")
    types: Sequence[bytes] = response.headers.getRawHeaders(b"content-type") or ()
    if len(types) != 1 or not _TEXT.fullmatch(types[0]):
        raise STSPolicyUnavailable(f"{host} has no text/plain", "sts-policy-invalid")
    body = _Body()
    response.deliverBody(body)
    return await body.done


def _explain(host: str, failed: ResponseFailed) -> STSPolicyUnavailable:
    reasons: Sequence[Failure] = failed.reasons
    texts = "; ".join(str(each.value) or type(each.value).__name__ for each in reasons)
    names = {type(each.value).__module__.partition(".")[0] for each in reasons}
    if names & {"OpenSSL", "service_identity"}:
        text = f"{host} has no certificate that can be trusted: {texts}"
        return STSPolicyUnavailable(text, "sts-webpki-invalid")
    return STSPolicyUnavailable(f"{host} does not answer: {texts}")


def _time_out(_: object, seconds: float) -> Failure:
    error = STSPolicyUnavailable(f"The policy was not there in {seconds:g} seconds")
    return Failure(error)
