"""What both drivers do with connections."""

from __future__ import annotations

from mailkit.client.connecting import Connector, open_by_policy
from mailkit.imap.client.session import Session
from mailkit.imap.client.settings import ClientSettings


def default_port(settings: ClientSettings) -> int:
    """RFC 9051 section 2.1, RFC 8314 section 3.2."""
    return 993 if settings.tls.implicit else 143


async def open_session(connector: Connector, settings: ClientSettings) -> Session:
    """Connect and open a session as the settings want it.

    :raises ClientError: that cannot be done.
    """
    return await open_by_policy(connector, settings, Session)
