"""Opening a connection as a policy wants it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from mailkit.client.channel import DuplexChannel
from mailkit.client.errors import TLSFailed
from mailkit.client.security import TLSInfo, TLSMode, TLSPolicy

#: Connects, and makes the TLS that a policy wants from the start.
Connector = Callable[[TLSPolicy], Awaitable["tuple[DuplexChannel, TLSInfo | None]"]]


class OpenableSession(Protocol):
    """What a session of each protocol can do."""

    async def open(self) -> None:
        """Go from the greeting to the login."""

    def note_tls_failure(self, text: str) -> None:
        """The session has no TLS though that was tried."""


_Session = TypeVar("_Session", bound=OpenableSession)

#: Makes a session of a connection, by settings in which the policy stands that holds for it.
SessionMaker = Callable[[DuplexChannel, Any, "TLSInfo | None"], _Session]


async def open_by_policy(
    connector: Connector, settings: Any, make_session: SessionMaker[_Session]
) -> _Session:
    """Connect and open a session; once more without TLS where the policy lets that be.

    :param settings: a protocol's ``ClientSettings``.
    :raises ClientError: that cannot be done.
    """
    try:
        return await _open(connector, settings, make_session)
    except TLSFailed as error:
        if settings.tls.mode is not TLSMode.OPPORTUNISTIC:
            raise
        # RFC 7435 section 3: any encryption is better than none, and none better than no mail.
        failure = error.text
    without = replace(settings, tls=TLSPolicy.none())
    session = await _open(connector, without, make_session)
    session.note_tls_failure(failure)
    return session


async def _open(
    connector: Connector, settings: Any, make_session: SessionMaker[_Session]
) -> _Session:
    channel, tls = await connector(settings.tls)
    session = make_session(channel, settings, tls)
    await session.open()
    return session
