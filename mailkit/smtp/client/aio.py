"""The client under asyncio, without a reactor."""

from __future__ import annotations

from mailkit.client.aio import connector
from mailkit.client.connecting import Connector
from mailkit.model import Path
from mailkit.smtp.client.address import Recipients, make_envelope, parse_server
from mailkit.smtp.client.connecting import open_session, send_message
from mailkit.smtp.client.content import Content, Source
from mailkit.smtp.client.results import SendResult
from mailkit.smtp.client.session import Session
from mailkit.smtp.client.settings import ClientSettings


async def connect(server: str, settings: ClientSettings | None = None) -> Session:
    """As :func:`mailkit.smtp.client.connect`, under asyncio."""
    settings = settings or ClientSettings()
    return await open_session(_connector(server, settings), settings)


async def sendmail(
    server: str,
    sender: str | Path | None,
    recipients: Recipients,
    message: Source,
    settings: ClientSettings | None = None,
) -> SendResult:
    """As :func:`mailkit.smtp.client.sendmail`, under asyncio."""
    settings = settings or ClientSettings()
    envelope = make_envelope(sender, recipients)
    return await send_message(_connector(server, settings), settings, envelope, Content(message))


def _connector(server: str, settings: ClientSettings) -> Connector:
    address = parse_server(server, settings)
    return connector(address, settings.timeouts.connect, settings.timeouts.tls)
