"""What both drivers do with connections."""

from __future__ import annotations

from mailkit.client.connecting import Connector, open_by_policy
from mailkit.pop3.client.session import Session
from mailkit.pop3.client.settings import ClientSettings


def default_port(settings: ClientSettings) -> int:
    """RFC 1939 section 3, RFC 8314 section 3.2."""
    return 995 if settings.tls.implicit else 110


async def open_session(connector: Connector, settings: ClientSettings) -> Session:
    """Connect and open a session as the settings want it.

    :raises ClientError: that cannot be done.
    """
    return await open_by_policy(connector, settings, Session)
