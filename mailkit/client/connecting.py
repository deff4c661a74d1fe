"""Opening a connection as a policy wants it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mailkit.client.channel import DuplexChannel
from mailkit.client.errors import TLSFailed
from mailkit.client.security import TLSInfo, TLSMode, TLSPolicy

_Session = TypeVar("_Session")

#: Connects, and makes the TLS that a policy wants from the start.
Connector = Callable[[TLSPolicy], Awaitable["tuple[DuplexChannel, TLSInfo | None]"]]
#: Makes a session of a connection.
Opener = Callable[[DuplexChannel, "TLSInfo | None", TLSPolicy], Awaitable[_Session]]


async def open_connection(
    connector: Connector, policy: TLSPolicy, open_session: Opener[_Session]
) -> tuple[_Session, str]:
    """Connect and open a session; once more without TLS where the policy lets that be.

    :returns: the session, and why it has no TLS though that was tried.
    :raises ClientError: that cannot be done.
    """
    try:
        return await open_session(*await connector(policy), policy), ""
    except TLSFailed as error:
        if policy.mode is not TLSMode.OPPORTUNISTIC:
            raise
        # RFC 7435 section 3: any encryption is better than none, and none better than no mail.
        failure = error.text
    plain = TLSPolicy.none()
    return await open_session(*await connector(plain), plain), failure
