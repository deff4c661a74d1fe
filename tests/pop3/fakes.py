"""A maildrop whose speed and health the tests decide, and a server without a network."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, cast

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from mailkit.errors import NoSuchMailbox, NoSuchMessage
from mailkit.interfaces import (
    IBatchReadingMailbox,
    IMailAccount,
    IMailbox,
    IUnendedMessages,
    IWritableMailbox,
)
from mailkit.model import Changes, MailboxInfo, MessageInfo
from mailkit.pop3.protocol import POP3Connection, POP3Factory


@implementer(IMailbox)
class FakeMailbox:
    """Messages by UID. What is in ``trouble`` is raised by the method of that name."""

    name = "INBOX"

    def __init__(self, *messages: bytes, first_uid: int = 7) -> None:
        self.messages = dict(enumerate(messages, first_uid))
        self.trouble: dict[str, Exception] = {}
        #: Names of methods that wait for :meth:`go_on`.
        self.slow: set[str] = set()
        self.waiting: list[Deferred[None]] = []
        self.expunged: list[list[int]] = []
        self.open_files: list[BinaryIO] = []
        self.asked: list[int] = []

    async def _enter(self, method: str) -> None:
        if method in self.slow:
            gate: Deferred[None] = Deferred()
            self.waiting.append(gate)
            await gate
        if method in self.trouble:
            raise self.trouble[method]

    def go_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        for gate in waiting:
            gate.callback(None)

    async def get_info(self) -> MailboxInfo:
        await self._enter("get_info")
        return MailboxInfo("INBOX", "m1", 42, 1000, 1, len(self.messages), 0, 0, 0)

    async def list_uids(self) -> Sequence[int]:
        await self._enter("list_uids")
        return sorted(self.messages)

    async def get_messages(self, uids: Sequence[int]) -> Sequence[MessageInfo]:
        await self._enter("get_messages")
        self.asked.append(len(uids))
        return [
            MessageInfo(uid, frozenset(), 0, len(self.messages[uid]), 1)
            for uid in uids
            if uid in self.messages
        ]

    async def open_message(self, uid: int) -> BinaryIO:
        await self._enter("open_message")
        if uid not in self.messages:
            raise NoSuchMessage
        file = self.make_file(self.messages[uid])
        self.open_files.append(file)
        return file

    def make_file(self, content: bytes) -> BinaryIO:
        return io.BytesIO(content)

    async def get_changes(self, since: int) -> Changes:
        raise NotImplementedError


@implementer(IWritableMailbox)
class FakeWritableMailbox(FakeMailbox):
    """The same, and messages can be removed."""

    async def append(self, messages: Any) -> Any:
        raise NotImplementedError

    async def store_flags(
        self, uids: Any, op: Any, flags: Any, unchanged_since: int | None = None
    ) -> Any:
        raise NotImplementedError

    async def expunge(self, uids: Sequence[int], only_deleted: bool = False) -> Sequence[int]:
        await self._enter("expunge")
        self.expunged.append(list(uids))
        return [uid for uid in uids if self.messages.pop(uid, None) is not None]


@implementer(IUnendedMessages)
class FakeUnendedMailbox(FakeWritableMailbox):
    """The same, and it knows which messages lack the last line end."""

    async def list_unended(self, uids: Sequence[int]) -> Sequence[int]:
        await self._enter("list_unended")
        return [uid for uid in uids if not (self.messages.get(uid) or b"\r\n").endswith(b"\r\n")]


@implementer(IBatchReadingMailbox)
class FakeBatchMailbox(FakeUnendedMailbox):
    """The same, and it reads many at once. ``together`` has how many were read each time."""

    def __init__(self, *messages: bytes, first_uid: int = 7) -> None:
        super().__init__(*messages, first_uid=first_uid)
        self.together: list[int] = []

    async def read_messages(self, uids: Sequence[int], octets: int) -> Sequence[bytes]:
        await self._enter("read_messages")
        found: list[bytes] = []
        for uid in uids:
            data = self.messages.get(uid)
            if data is None or (octets := octets - len(data)) < 0:
                break
            found.append(data)
        self.together.append(len(found))
        return found


@implementer(IMailAccount)
class FakeAccount:
    def __init__(self, name: str, mailbox: Any) -> None:
        self.name = name
        self.mailbox = mailbox

    async def list_mailboxes(self) -> Sequence[MailboxInfo]:
        return [await self.mailbox.get_info()]

    async def open_mailbox(self, name: str) -> Any:
        if name != "INBOX" or self.mailbox is None:
            raise NoSuchMailbox
        return self.mailbox


@implementer(IRealm)
class FakeRealm:
    def __init__(self, mailboxes: dict[str, Any]) -> None:
        self.mailboxes = mailboxes
        self.minds: list[Any] = []
        self.logouts = 0

    def _logout(self) -> None:
        self.logouts += 1

    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
        self.minds.append(mind)
        assert IMailAccount in interfaces
        name = avatar_id.decode()
        return IMailAccount, FakeAccount(name, self.mailboxes[name]), self._logout


class Transport(StringTransport):
    """Remembers each write; startTLS only changes what the transport says it is."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(peerAddress=cast(Any, IPv4Address("TCP", host, 54321)))
        self.writes: list[bytes] = []
        self.tls: list[Any] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def startTLS(self, context: Any) -> None:  # noqa: N802
        self.tls.append(context)
        alsoProvides(self, ISSLTransport)


class Server:
    """A factory with accounts ``ann`` (password ``secret``) and ``bob``, and its clock."""

    def __init__(self, mailbox: Any, bob: Any = None, **settings: Any) -> None:
        self.clock = Clock()
        self.realm = FakeRealm({"ann": mailbox, "bob": bob})
        self.checker = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret", bob=b"hunter2")
        portal = Portal(self.realm, [self.checker])
        self.factory = POP3Factory(portal, clock=cast(Any, self.clock), **settings)

    def connect(self, host: str = "127.0.0.1") -> Client:
        return Client(self.factory, host)

    def login(self) -> Client:
        client = self.connect()
        client.send(b"USER ann\r\nPASS secret\r\n")
        client.read()
        return client


class Client:
    """One connection to a :class:`Server`."""

    def __init__(self, factory: POP3Factory, host: str) -> None:
        self.transport = Transport(host)
        self.connection: POP3Connection = factory.buildProtocol(None)
        self.connection.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def read(self) -> bytes:
        """What the server has sent since the last time."""
        data = self.transport.value()
        self.transport.clear()
        self.transport.writes.clear()
        return data

    def ask(self, line: bytes) -> bytes:
        self.read()
        self.send(line + b"\r\n")
        return self.read()

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting or self.transport.disconnected)


def every_split(data: bytes, run: Callable[[list[bytes]], bytes]) -> set[bytes]:
    """The dialogues that ``run`` has for the input in one piece, in two, and octet by octet."""
    pieces = [[data], [data[i : i + 1] for i in range(len(data))]]
    pieces += [[data[:i], data[i:]] for i in range(1, len(data))]
    return {run(piece) for piece in pieces}
