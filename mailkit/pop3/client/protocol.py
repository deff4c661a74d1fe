"""The client under Twisted."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from mailkit.client.address import parse_address
from mailkit.client.protocol import connector
from mailkit.pop3.client.connecting import default_port, open_session
from mailkit.pop3.client.session import Session
from mailkit.pop3.client.settings import ClientSettings


async def connect(
    server: str | IStreamClientEndpoint,
    settings: ClientSettings | None = None,
    *,
    reactor: Any = None,
) -> Session:
    """Connect to a server, begin TLS and log in as the settings say.

    ::

        session = await connect("pop.example.org", ClientSettings(
            credentials=Credentials("ann@example.org", "secret")))
        print(await session.stat())

    :param server: ``host``, ``host:port``, ``unix:/path``, or an endpoint; then a policy that
        verifies names the server itself. The port is 995 for implicit TLS, else 110.
    :param reactor: connects and tells the time; the running one when None.
    :raises ClientError: there is no connection as the settings want it.
    :raises ValueError: the settings or the server make no sense.
    """
    settings = settings or ClientSettings()
    target = parse_address(server, default_port(settings)) if isinstance(server, str) else server
    timeouts = settings.timeouts
    to_server = connector(target, timeouts.connect, timeouts.tls, reactor)
    return await open_session(to_server, settings)
