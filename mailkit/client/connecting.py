"""Opening a connection as a policy wants it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

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

#: Makes a session of a connection, by the policy that holds for it.
SessionMaker = Callable[[DuplexChannel, "TLSInfo | None", TLSPolicy], _Session]


async def open_by_policy(
    connector: Connector, policy: TLSPolicy, make_session: SessionMaker[_Session]
) -> _Session:
    """Connect and open a session; once more without TLS where the policy lets that be.

    :raises ClientError: that cannot be done.
    """
    try:
        return await _open(connector, policy, make_session)
    except TLSFailed as error:
        if policy.mode is not TLSMode.OPPORTUNISTIC:
            raise
        # RFC 7435 section 3: any encryption is better than none, and none better than no mail.
        failure = error.text
    session = await _open(connector, TLSPolicy.none(), make_session)
    session.note_tls_failure(failure)
    return session


async def _open(
    connector: Connector, policy: TLSPolicy, make_session: SessionMaker[_Session]
) -> _Session:
    session = make_session(*await connector(policy), policy)
    await session.open()
    return session
