"""A web server on loopback for a test, which leaves nothing behind."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import TestCase
from twisted.web.server import Site

from .certificates import Identity

reactor: Any = _reactor


def serve_https(case: TestCase, site: Site, identity: Identity) -> int:
    """Serve a site until the test is over; at which port."""
    site.timeOut = None
    factory: Any = WrappingFactory(site)
    factory.noisy = False
    port = reactor.listenSSL(0, factory, identity.options(), interface="127.0.0.1")

    async def stop() -> None:
        await port.stopListening()
        for _ in range(500):
            if not factory.protocols:
                return
            for protocol in list(factory.protocols):
                protocol.abortConnection()
            await deferLater(reactor, 0.01)

    case.addCleanup(stop)
    number: int = port.getHost().port
    return number
