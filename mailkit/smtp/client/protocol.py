"""The client under Twisted."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from mailkit.client.connecting import Connector
from mailkit.client.protocol import connector
from mailkit.model import Path
from mailkit.smtp.client.address import Recipients, make_envelope, parse_server
from mailkit.smtp.client.connecting import open_session, send_message
from mailkit.smtp.client.content import Content, Source
from mailkit.smtp.client.results import SendResult
from mailkit.smtp.client.session import Session
from mailkit.smtp.client.settings import ClientSettings


async def connect(
    server: str | IStreamClientEndpoint,
    settings: ClientSettings | None = None,
    *,
    reactor: Any = None,
) -> Session:
    """Connect to a server and do all that comes before the first message.

    ::

        session = await connect("mail.example.org:587", ClientSettings(
            tls=TLSPolicy.verified(), credentials=Credentials("ann", "secret")))
        result = await session.send(make_envelope("ann@example.org", "bob@example.net"), octets)
        await session.quit()

    :param server: ``host``, ``host:port``, ``unix:/path``, or an endpoint; then a policy that
        verifies names the server itself.
    :param reactor: connects and tells the time; the running one when None.
    :raises ClientError: there is no connection as the settings want it.
    :raises ValueError: the settings or the server make no sense.
    """
    settings = settings or ClientSettings()
    return await open_session(_connector(server, settings, reactor), settings)


async def sendmail(
    server: str | IStreamClientEndpoint,
    sender: str | Path | None,
    recipients: Recipients,
    message: Source,
    settings: ClientSettings | None = None,
    *,
    reactor: Any = None,
) -> SendResult:
    """Send one message and tell what became of each recipient.

    ::

        await sendmail("localhost:25", "ann@example.org", ["bob@example.net"], message)

    :param server: as for :func:`connect`.
    :param sender: the envelope's sender; None or nothing for the null reverse-path.
    :param message: octets, an ``email`` message, a spool or a binary file.
    :raises SendFailed: nobody got the message.
    :raises ClientError: there was no connection.
    :raises ValueError: an address is none.
    """
    settings = settings or ClientSettings()
    envelope = make_envelope(sender, recipients)
    to_server = _connector(server, settings, reactor)
    return await send_message(to_server, settings, envelope, Content(message))


def _connector(
    server: str | IStreamClientEndpoint, settings: ClientSettings, reactor: Any
) -> Connector:
    target = parse_server(server, settings) if isinstance(server, str) else server
    return connector(target, settings.timeouts.connect, settings.timeouts.tls, reactor)
