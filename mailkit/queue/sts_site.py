"""Our own MTA-STS policy, for whoever sends mail to us (RFC 8461 section 3.2), by twisted.web."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Collection, Sequence
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from mailkit._typing import override
from mailkit.queue.sts import STSPolicy, parse_policy
from mailkit.wire.domains import canonical_domain

#: Seconds after which a connection that asks for nothing is closed.
IDLE_TIMEOUT = 20
#: Where the policy stands on its server.
PATH = b"/.well-known/mta-sts.txt"
#: A whole address: a host by name, and a path.
_WHOLE = re.compile(rb"(?i:https?)://([A-Za-z0-9.-]+)(?::[0-9]*)?(/.*)")


def policy_text(policy: STSPolicy) -> bytes:
    """The policy file.

    :raises ValueError: others could not read it; the text says why.
    """
    octets = "".join(f"{line}\r\n" for line in policy.lines()).encode("utf-8")
    parse_policy(octets)
    return octets


def policy_id(policy: STSPolicy) -> str:
    """An id that changes when the policy does."""
    return hashlib.sha256(policy_text(policy)).hexdigest()[:20]


def dns_records(policy: STSPolicy, domain: str, server: str = "") -> Sequence[str]:
    """What must stand in the DNS of a domain, as lines of a zone file.

    :param server: the name of the machine that serves the policy, where it is known.
    """
    return [
        f"mta-sts.{domain}.  CNAME  {server or 'SERVER.OF.THE.POLICY'}.",
        f'_mta-sts.{domain}.  TXT  "v=STSv1; id={policy_id(policy)};"',
    ]


class PolicyResource(Resource):
    """The policy, under ``https://mta-sts.DOMAIN`` for some domains; 404 for all else.

    :param domains: those that have the policy; all whose ``mta-sts.DOMAIN`` leads here when empty.
    :raises ValueError: the policy makes no sense.
    """

    isLeaf = True  # noqa: N815

    def __init__(self, policy: STSPolicy, domains: Collection[str] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._text = policy_text(policy)
        self._hosts = {f"mta-sts.{canonical_domain(domain)}" for domain in domains}

    @override
    def render(self, request: Any) -> bytes:
        content = self._answer(request)
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        request.setHeader("Content-Length", str(len(content)))
        # RFC 9110 section 9.3.2: the fields are those of GET. Twisted logs content that it drops.
        return b"" if request.method == b"HEAD" else content

    def _answer(self, request: Any) -> bytes:
        if request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(405)
            request.setHeader("Allow", "GET, HEAD")
            return b"The policy can only be read.\n"
        host, path = _find_target(request)
        known = host in self._hosts if self._hosts else host.startswith("mta-sts.")
        if path != PATH or not known:
            request.setResponseCode(404)
            return b"There is nothing here.\n"
        return self._text


def _find_target(request: Any) -> tuple[str, bytes]:
    """Host, without its port, and path that are asked for."""
    # RFC 9112 section 3.2.2: a whole address as the target is taken, and then Host does not count.
    found = _WHOLE.fullmatch(request.path)
    host = request.getRequestHostname() if found is None else found[1]
    return host.decode("latin-1").lower(), request.path if found is None else found[2]


class _Request(Request):
    """Takes no content, however much is sent."""

    @override
    def gotLength(self, length: int | None) -> None:  # noqa: N802
        self.content = io.BytesIO()

    @override
    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Nobody reads it."""


class PolicySite(Site):
    """A web server for the policy alone."""

    noisy = False

    def __init__(self, policy: STSPolicy, domains: Collection[str] = ()) -> None:
        resource = PolicyResource(policy, domains)
        super().__init__(resource, _Request, timeout=IDLE_TIMEOUT)  # type: ignore[no-untyped-call]
