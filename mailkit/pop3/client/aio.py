"""The client under asyncio, without a reactor."""

from __future__ import annotations

from mailkit.client.address import parse_address
from mailkit.client.aio import connector
from mailkit.pop3.client.connecting import default_port, open_session
from mailkit.pop3.client.session import Session
from mailkit.pop3.client.settings import ClientSettings


async def connect(server: str, settings: ClientSettings | None = None) -> Session:
    """As :func:`mailkit.pop3.client.connect`, under asyncio."""
    settings = settings or ClientSettings()
    address = parse_address(server, default_port(settings))
    to_server = connector(address, settings.timeouts.connect, settings.timeouts.tls)
    return await open_session(to_server, settings)
