"""An asynchronous client for POP3.

::

    from mailkit.pop3.client import ClientSettings, Credentials, connect

    session = await connect("pop.example.org", ClientSettings(
        credentials=Credentials("ann@example.org", "secret")))
    async for message in session.fetch(await session.list()):
        print(message.number, message.content.size)
    await session.quit()

Under asyncio the same function is ``asyncio_connect``. The names of asyncio's and Twisted's side are
loaded when they are first used: neither needs the other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mailkit.client.content import Content
from mailkit.client.errors import (
    AuthFailed,
    ClientError,
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    ServiceRefused,
    TimedOut,
    TLSFailed,
)
from mailkit.client.security import TLSInfo, TLSMode, TLSPolicy
from mailkit.pop3.client.errors import NotOffered, Refused
from mailkit.pop3.client.reader import ResponseLimits
from mailkit.pop3.client.session import Session
from mailkit.pop3.client.settings import ClientSettings, ConnectionFacts, Timeouts
from mailkit.pop3.client.values import Farewell, Language, Retrieved, Stat
from mailkit.wire.sasl_client import Credentials

if TYPE_CHECKING:
    from mailkit.pop3.client.aio import connect as asyncio_connect
    from mailkit.pop3.client.protocol import connect

__all__ = [
    "AuthFailed",
    "ClientError",
    "ClientSettings",
    "ConnectFailed",
    "ConnectionFacts",
    "ConnectionLost",
    "Content",
    "Credentials",
    "Farewell",
    "Language",
    "NotOffered",
    "ProtocolError",
    "Refused",
    "ResponseLimits",
    "Retrieved",
    "ServiceRefused",
    "Session",
    "Stat",
    "TLSFailed",
    "TLSInfo",
    "TLSMode",
    "TLSPolicy",
    "TimedOut",
    "Timeouts",
    "asyncio_connect",
    "connect",
]

_DRIVERS = {"connect": "protocol", "asyncio_connect": "aio"}


def __getattr__(name: str) -> Any:
    if name not in _DRIVERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{_DRIVERS[name]}").connect
