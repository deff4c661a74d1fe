"""An asynchronous client for SMTP, submission and LMTP.

One message, under Twisted and under asyncio::

    from mailkit.smtp.client import sendmail
    result = await sendmail("localhost:25", "ann@example.org", ["bob@example.net"], message)

    from mailkit.smtp.client import asyncio_sendmail
    result = await asyncio_sendmail("localhost:25", "ann@example.org", ["bob@example.net"], message)

Several over one connection, with an envelope that asks for more (a delivery, a queue)::

    session = await connect("unix:/run/dovecot/lmtp", ClientSettings(lmtp=True))
    result = await session.send(envelope, spool)
    outcomes = [Outcome(each.recipient, each.error) for each in result.outcomes]

The names of asyncio's and Twisted's side are loaded when they are first used: neither needs the
other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mailkit.client.address import ServerAddress
from mailkit.client.channel import Channel
from mailkit.client.errors import (
    AuthFailed,
    ClientError,
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    ServiceRefused,
    TimedOut,
    TLSFailed,
    TrustUnreadable,
)
from mailkit.client.security import TLSInfo, TLSMode, TLSPolicy
from mailkit.smtp.client.address import make_envelope, parse_path, parse_server
from mailkit.smtp.client.content import Content, Source
from mailkit.smtp.client.errors import SendFailed
from mailkit.smtp.client.extensions import Extensions, FutureRelease, ServerLimits
from mailkit.smtp.client.replies import ReplyLimits
from mailkit.smtp.client.results import ConnectionFacts, RecipientOutcome, SendResult, Status
from mailkit.smtp.client.session import Session
from mailkit.smtp.client.settings import ClientSettings, Timeouts
from mailkit.wire.sasl_client import Credentials

if TYPE_CHECKING:
    from mailkit.smtp.client.aio import connect as asyncio_connect
    from mailkit.smtp.client.aio import sendmail as asyncio_sendmail
    from mailkit.smtp.client.pool import SessionPool
    from mailkit.smtp.client.protocol import connect, sendmail

__all__ = [
    "AuthFailed",
    "Channel",
    "ClientError",
    "ClientSettings",
    "ConnectFailed",
    "ConnectionFacts",
    "ConnectionLost",
    "Content",
    "Credentials",
    "Extensions",
    "FutureRelease",
    "ProtocolError",
    "RecipientOutcome",
    "ReplyLimits",
    "SendFailed",
    "SendResult",
    "ServerAddress",
    "ServerLimits",
    "ServiceRefused",
    "Session",
    "SessionPool",
    "Source",
    "Status",
    "TLSFailed",
    "TLSInfo",
    "TLSMode",
    "TLSPolicy",
    "TimedOut",
    "Timeouts",
    "TrustUnreadable",
    "asyncio_connect",
    "asyncio_sendmail",
    "connect",
    "make_envelope",
    "parse_path",
    "parse_server",
    "sendmail",
]

_DRIVERS = {
    "SessionPool": ("pool", "SessionPool"),
    "connect": ("protocol", "connect"),
    "sendmail": ("protocol", "sendmail"),
    "asyncio_connect": ("aio", "connect"),
    "asyncio_sendmail": ("aio", "sendmail"),
}


def __getattr__(name: str) -> Any:
    if name not in _DRIVERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _DRIVERS[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
