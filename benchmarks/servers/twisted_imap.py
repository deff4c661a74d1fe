"""``twisted.mail.imap4.IMAP4Server`` over lists in memory.

twisted_imap.py PORT DOMAIN USERS PASSWORD. Twisted ships no mailbox, so this is a small one, not
slower than it need be.
"""
# ruff: noqa: N802 - the names and meanings are those of twisted.mail.imap4's interfaces

from __future__ import annotations

import email.utils
import sys
import time
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from twisted.cred import checkers, portal
from twisted.internet import defer, protocol, reactor
from twisted.mail import imap4
from zope.interface import implementer


def _split(raw: bytes) -> tuple[bytes, bytes]:
    end = raw.find(b"\r\n\r\n")
    return (raw, b"") if end < 0 else (raw[: end + 2], raw[end + 4 :])


def _parse_headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    last = ""
    for line in block.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and last:
            headers[last] += "\r\n" + line.decode("utf-8", "replace")
        elif b":" in line:
            name, value = line.split(b":", 1)
            last = name.decode("latin1").lower()
            headers[last] = value.strip().decode("utf-8", "replace")
    return headers


@implementer(imap4.IMessagePart)
class Part:
    """A message or a part of one, taken apart when it is asked for."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Parsed once."""
        if self._headers is None:
            self._headers = _parse_headers(_split(self.raw)[0])
        return self._headers

    def getHeaders(self, negate: bool, *names: str | bytes) -> dict[str, str]:
        asked = {(name if isinstance(name, str) else name.decode()).lower() for name in names}
        if not asked and not negate:
            return dict(self.headers)
        return {name: text for name, text in self.headers.items() if (name in asked) != negate}

    def getBodyFile(self) -> BytesIO:
        return BytesIO(_split(self.raw)[1])

    def getSize(self) -> int:
        return len(self.raw)

    def _boundary(self) -> bytes | None:
        content_type = self.headers.get("content-type", "")
        if not content_type.lower().startswith("multipart/"):
            return None
        value = content_type.split("boundary=", 1)[1].split(";")[0]
        return b"--" + value.strip().strip('"').encode()

    def isMultipart(self) -> bool:
        return self._boundary() is not None

    def getSubPart(self, part: int) -> Part:
        boundary = self._boundary()
        if boundary is None:
            content_type = self.headers.get("content-type", "").lower()
            if part == 0 and content_type.startswith("message/rfc822"):
                return Part(_split(self.raw)[1])
            raise TypeError
        parts = (b"\r\n" + _split(self.raw)[1]).split(b"\r\n" + boundary)[1:-1]
        # An IndexError past the end is what the caller wants.
        return Part(parts[part].split(b"\r\n", 1)[1])


@implementer(imap4.IMessage)
class Message(Part):
    """A message with its flags."""

    def __init__(self, raw: bytes, flags: Iterable[str], date: str, uid: int) -> None:
        super().__init__(raw)
        self.flags, self.date, self.uid = set(flags), date, uid

    def getUID(self) -> int:
        return self.uid

    def getFlags(self) -> list[str]:
        return list(self.flags)

    def getInternalDate(self) -> str:
        return self.date


@implementer(imap4.IMailbox, imap4.ICloseableMailbox, imap4.IMessageCopier)
class Mailbox:
    """A list of messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.next_uid = 1
        self.listeners: list[Any] = []

    def getFlags(self) -> list[str]:
        return ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"]

    def getHierarchicalDelimiter(self) -> str:
        return "/"

    def getUIDValidity(self) -> int:
        return 1

    def getUIDNext(self) -> int:
        return self.next_uid

    def getUID(self, message: int) -> int:
        return self.messages[message - 1].uid

    def getMessageCount(self) -> int:
        return len(self.messages)

    def getRecentCount(self) -> int:
        return 0

    def getUnseenCount(self) -> int:
        return sum("\\Seen" not in message.flags for message in self.messages)

    def isWriteable(self) -> bool:
        return True

    def destroy(self) -> None:
        self.messages = []

    def close(self) -> None:
        self.expunge()

    def requestStatus(self, names: Any) -> Any:
        return imap4.statusRequestHelper(self, names)

    def addListener(self, listener: Any) -> None:
        self.listeners.append(listener)

    def removeListener(self, listener: Any) -> None:
        if listener in self.listeners:
            self.listeners.remove(listener)

    def _add(self, raw: bytes, flags: Iterable[str], date: str) -> int:
        uid = self.next_uid
        self.messages.append(Message(raw, flags, date, uid))
        self.next_uid += 1
        for listener in list(self.listeners):
            listener.newMessages(len(self.messages), None)
        return uid

    def addMessage(
        self, message: Any, flags: Iterable[str] = (), date: str | None = None
    ) -> defer.Deferred[int]:
        raw = message.read() if hasattr(message, "read") else message
        given = date if isinstance(date, str) and date else email.utils.formatdate(time.time())
        return defer.succeed(self._add(raw, flags, given))

    def copy(self, message: Message) -> defer.Deferred[int]:
        return defer.succeed(self._add(message.raw, message.flags, message.date))

    def expunge(self) -> list[int]:
        gone = [n + 1 for n, message in enumerate(self.messages) if "\\Deleted" in message.flags]
        self.messages = [m for m in self.messages if "\\Deleted" not in m.flags]
        return [number - before for before, number in enumerate(gone)]

    def fetch(self, messages: Any, uid: bool) -> list[tuple[int, Message]]:
        if uid:
            messages.last = self.messages[-1].uid if self.messages else 0
            numbers = {message.uid: n for n, message in enumerate(self.messages, 1)}
            wanted = [numbers[uid] for uid in messages if uid in numbers]
        else:
            messages.last = len(self.messages)
            wanted = [number for number in messages if number <= len(self.messages)]
        return [(number, self.messages[number - 1]) for number in wanted]

    def store(self, messages: Any, flags: Any, mode: int, uid: bool) -> dict[int, list[str]]:
        stored = {}
        for number, message in self.fetch(messages, uid):
            given = set(flags)
            kept = message.flags
            message.flags = given if mode == 0 else kept | given if mode > 0 else kept - given
            stored[number] = list(message.flags)
        return stored


class Account(imap4.MemoryAccount):
    """An account that has an INBOX."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.addMailbox("INBOX", Mailbox())

    def _emptyMailbox(self, name: str, id: int) -> Mailbox:
        return Mailbox()


class Realm:
    """Makes an account at its first login."""

    def __init__(self) -> None:
        self._accounts: dict[bytes, Account] = {}

    def requestAvatar(self, avatar_id: bytes, mind: object, *interfaces: Any) -> Any:
        if (account := self._accounts.get(avatar_id)) is None:
            account = self._accounts[avatar_id] = Account(avatar_id.decode())
        return imap4.IAccount, account, lambda: None


class Server(imap4.IMAP4Server):
    """With one repair: Twisted 26.10 fails on APPEND without flags."""

    def _cbAppendGotMailbox(self, mbox: Any, tag: Any, flags: Any, date: Any, message: Any) -> Any:
        return super()._cbAppendGotMailbox(mbox, tag, flags or (), date, message)


class Factory(protocol.Factory):
    """Makes servers that never time out."""

    noisy = False

    def __init__(self, portal_: portal.Portal) -> None:
        self._portal = portal_

    def buildProtocol(self, addr: object) -> Server:
        server = Server()
        server.portal = self._portal
        server.timeOut = None
        server.factory = self
        return server


port, domain, count, password = sys.argv[1:]
logins = {f"user{number}@{domain}": password.encode() for number in range(int(count))}
checker = checkers.InMemoryUsernamePasswordDatabaseDontUse(**logins)
factory = Factory(portal.Portal(Realm(), [checker]))
reactor.listenTCP(int(port), factory, interface="127.0.0.1", backlog=512)
reactor.run()
