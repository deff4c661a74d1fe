"""An asynchronous client for IMAP4rev1 and IMAP4rev2.

::

    from mailkit.imap.client import ClientSettings, Credentials, connect

    settings = ClientSettings(credentials=Credentials("ann@example.org", "secret"))
    async with await connect("imap.example.org", settings) as session:
        await session.select("INBOX")
        async for message in session.fetch("1:*", ["FLAGS", "ENVELOPE"]):
            print(message.uid, message.subject)

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
from mailkit.imap.client.errors import (
    CommandFailed,
    FarewellSaid,
    LoginRefused,
    NotOffered,
    NotUnderstood,
    NumbersChanged,
    Refused,
    ResponseTooLarge,
    WrongState,
)
from mailkit.imap.client.fetching import Fetching
from mailkit.imap.client.following import Following, SearchUpdate
from mailkit.imap.client.idle import Change, Idling
from mailkit.imap.client.mailboxes import NewMessage
from mailkit.imap.client.messages import StoreAnswer
from mailkit.imap.client.metadata import MetadataAnswer
from mailkit.imap.client.notify import EventGroup, Notifying
from mailkit.imap.client.reader import ResponseLimits
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.session import Session
from mailkit.imap.client.sets import Numbers
from mailkit.imap.client.settings import ClientSettings, ConnectionFacts, Timeouts
from mailkit.imap.client.survey import Scope, Surveyed
from mailkit.imap.client.sync import Known, Synchronised, synchronise
from mailkit.imap.client.values import (
    AnnotationValues,
    BodyPart,
    Conversion,
    ConversionFailed,
    Converted,
    Exists,
    Expunge,
    ExtendedSearch,
    Identification,
    Listing,
    MailboxStatus,
    Message,
    MetadataChanged,
    Namespace,
    Namespaces,
    PassedOver,
    Quota,
    ResourceUse,
    ResponseCode,
    ResultChange,
    Status,
    Vanished,
)
from mailkit.wire.sasl_client import Credentials

if TYPE_CHECKING:
    from mailkit.imap.client.aio import connect as asyncio_connect
    from mailkit.imap.client.protocol import connect

__all__ = [
    "AnnotationValues",
    "AuthFailed",
    "BodyPart",
    "Change",
    "ClientError",
    "ClientSettings",
    "CommandFailed",
    "ConnectFailed",
    "ConnectionFacts",
    "ConnectionLost",
    "Content",
    "Conversion",
    "ConversionFailed",
    "Converted",
    "Credentials",
    "EventGroup",
    "Exists",
    "Expunge",
    "ExtendedSearch",
    "FarewellSaid",
    "Fetching",
    "Following",
    "Identification",
    "Idling",
    "Known",
    "Listing",
    "LoginRefused",
    "MailboxStatus",
    "Message",
    "MetadataAnswer",
    "MetadataChanged",
    "Namespace",
    "Namespaces",
    "NewMessage",
    "NotOffered",
    "NotUnderstood",
    "Notifying",
    "Numbers",
    "NumbersChanged",
    "PassedOver",
    "ProtocolError",
    "Quota",
    "Refused",
    "ResourceUse",
    "ResponseCode",
    "ResponseLimits",
    "ResponseTooLarge",
    "ResultChange",
    "Scope",
    "SearchUpdate",
    "Selected",
    "ServiceRefused",
    "Session",
    "Status",
    "StoreAnswer",
    "Surveyed",
    "Synchronised",
    "TLSFailed",
    "TLSInfo",
    "TLSMode",
    "TLSPolicy",
    "TimedOut",
    "Timeouts",
    "Vanished",
    "WrongState",
    "asyncio_connect",
    "connect",
    "synchronise",
]

_DRIVERS = {"connect": "protocol", "asyncio_connect": "aio"}


def __getattr__(name: str) -> Any:
    if name not in _DRIVERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{_DRIVERS[name]}").connect
