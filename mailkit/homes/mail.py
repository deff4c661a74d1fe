"""Homes that are made of mail: mailboxes are directories, messages are files.

Only the contracts of accounts and mailboxes are used, so this works with any store.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Any, BinaryIO

from zope.interface import implementer

from mailkit.errors import (
    InvalidMailboxName,
    MessageRefused,
    MessageTooLarge,
    NoSuchMessage,
    PermissionDenied,
    ReadOnly,
)
from mailkit.files import FileEntry, FilePath
from mailkit.homes.disk import InThread, threads_of
from mailkit.homes.names import (
    MESSAGE_SUFFIX,
    level_name,
    message_name,
    read_level_name,
    read_message_name,
    read_subject,
)
from mailkit.interfaces import (
    IFileHome,
    IFileHomes,
    IMailbox,
    IMailStore,
    IReadableFile,
    IRestrictedMailbox,
    ISpooling,
    ISummarizingMailbox,
    IWritableFile,
    IWritableMailbox,
)
from mailkit.model import SEPARATOR, AppendMessage, MailboxInfo, MessageInfo
from mailkit.spool import Spool
from mailkit.wire.lineends import ToNetwork

#: Messages of a mailbox that are listed at a time: some milliseconds.
MESSAGES_A_PIECE = 64
#: Octets of a message that are read to find its subject, where no store has it ready.
MAX_HEADER = 16 * 1024

_FIXED = "Messages do not change: put them into a mailbox whole, and remove them by IMAP or POP3"
_MAILBOXES = "Mailboxes are made, renamed and removed by IMAP, not here"


@implementer(IFileHomes)
class MailHomes:
    """Gives each account its mail as files.

    :param append: a file that is put into the directory of a mailbox is appended to that.
    :param max_message_size: octets of such a file.
    :param in_thread: calls what may block; by the global reactor's threads when None.
    """

    def __init__(
        self,
        store: IMailStore,
        *,
        append: bool = False,
        max_message_size: int = 50 * 1024 * 1024,
        in_thread: InThread | None = None,
    ) -> None:
        self.append = append
        self.max_message_size = max_message_size
        self.in_thread = in_thread or threads_of()
        self._store = store

    async def open_home(self, account: str) -> MailHome:
        return MailHome(account, self)

    async def open_account(self, name: str) -> Any:
        """:raises MailError: there is none, or not just now."""
        return await self._store.open_account(name=name)


@implementer(IFileHome)
class MailHome:
    """The mail of one account."""

    def __init__(self, name: str, homes: MailHomes) -> None:
        self.name = name
        self._homes = homes
        self._account: Any = None

    # Finding.

    async def _open_account(self) -> Any:
        if self._account is None:
            self._account = await self._homes.open_account(self.name)
        return self._account

    async def _mailboxes(self) -> dict[FilePath, MailboxInfo | None]:
        """All directories; None for those that are no mailbox."""
        found: dict[FilePath, MailboxInfo | None] = {}
        for info in await (await self._open_account()).list_mailboxes():
            path = tuple(level_name(level) for level in info.name.split(SEPARATOR))
            for depth in range(1, len(path)):
                found.setdefault(path[:depth], None)
            found[path] = info if info.selectable else None
        return found

    async def _open_mailbox(self, path: FilePath) -> IMailbox:
        """The mailbox that a directory is.

        :raises OSError: it is none.
        :raises NoSuchMailbox: there is none.
        """
        levels = [read_level_name(name) for name in path]
        if not levels:
            raise IsADirectoryError(errno.EISDIR, "the mail itself")
        if all(level is not None for level in levels):
            name = SEPARATOR.join(level or "" for level in levels)
        else:
            info = (await self._mailboxes()).get(path)
            if info is None:
                raise FileNotFoundError(errno.ENOENT, "no such mailbox")
            name = info.name
        mailbox: IMailbox = await (await self._open_account()).open_mailbox(name=name)
        return mailbox

    async def _open_message(self, path: FilePath) -> tuple[IMailbox, MessageInfo]:
        uid = read_message_name(path[-1]) if path else None
        if uid is None:
            if path in await self._mailboxes() or not path:
                raise IsADirectoryError(errno.EISDIR, "a mailbox")
            raise FileNotFoundError(errno.ENOENT, "no such message")
        mailbox = await self._open_mailbox(path[:-1])
        infos = await mailbox.get_messages(uids=[uid]) if 0 < uid < 1 << 32 else ()
        if not infos:
            raise NoSuchMessage
        return mailbox, infos[0]

    # What there is.

    async def get_entry(self, path: FilePath) -> FileEntry:
        if path and read_message_name(path[-1]) is not None:
            mailbox, info = await self._open_message(path)
            return (await self._entries(mailbox, [info]))[0]
        mailboxes = await self._mailboxes()
        if path and path not in mailboxes:
            raise FileNotFoundError(errno.ENOENT, "no such mailbox")
        return self._directory(path, mailboxes.get(path))

    async def list_entries(self, path: FilePath) -> AsyncIterator[Sequence[FileEntry]]:
        mailboxes = await self._mailboxes()
        if path and path not in mailboxes:
            raise FileNotFoundError(errno.ENOENT, "no such mailbox")
        below = [each for each in mailboxes if each[:-1] == path]
        for start in range(0, len(below), MESSAGES_A_PIECE):
            piece = below[start : start + MESSAGES_A_PIECE]
            yield [self._directory(each, mailboxes[each]) for each in piece]
        if (info := mailboxes.get(path)) is None:
            return
        mailbox = await (await self._open_account()).open_mailbox(name=info.name)
        uids = await mailbox.list_uids()
        for start in range(0, len(uids), MESSAGES_A_PIECE):
            infos = await mailbox.get_messages(uids=uids[start : start + MESSAGES_A_PIECE])
            if infos:
                yield await self._entries(mailbox, infos)

    def _directory(self, path: FilePath, info: MailboxInfo | None) -> FileEntry:
        # RFC 3659 section 7.5.2: no two have the same.
        unique = f"m{info.mailbox_id}" if info else f"l{_digest(path)}"
        rights = "cel" if self._homes.append and info else "el"
        return FileEntry(path[-1] if path else "/", True, 0, None, unique, rights)

    async def _entries(self, mailbox: Any, infos: Sequence[MessageInfo]) -> list[FileEntry]:
        state = await mailbox.get_info()
        subjects = await self._subjects(mailbox, [info.uid for info in infos])
        return [
            FileEntry(
                message_name(info.uid, subjects.get(info.uid, "")),
                False,
                info.size,
                info.internal_date,
                f"m{state.mailbox_id}g{state.uid_validity}g{info.uid}",
                "r",
            )
            for info in infos
        ]

    async def _subjects(self, mailbox: Any, uids: Sequence[int]) -> dict[int, str]:
        if ISummarizingMailbox.providedBy(mailbox):
            summaries = await mailbox.get_summaries(uids=uids, structure=False)
            return {summary.uid: read_subject(summary.header) for summary in summaries}
        found: dict[int, str] = {}
        for uid in uids:
            try:
                file = await mailbox.open_message(uid=uid)
            except NoSuchMessage:
                # Gone meanwhile.
                continue
            found[uid] = read_subject(await self._homes.in_thread(_read_head, file))
        return found

    # Reading and appending.

    async def open_to_read(self, path: FilePath) -> MessageFile:
        mailbox, info = await self._open_message(path)
        content = await mailbox.open_message(uid=info.uid)
        return MessageFile(content, info.size, self._homes.in_thread)

    async def open_to_write(self, path: FilePath, offset: int | None) -> NewMessage:
        if not self._homes.append:
            raise ReadOnly("Mail can only be read here")
        if offset != 0:
            raise PermissionDenied(_FIXED)
        if len(path) < 2 or not path[-1].lower().endswith(MESSAGE_SUFFIX):
            raise InvalidMailboxName("Only files whose names end in .eml go into mailboxes")
        mailbox = await self._open_mailbox(path[:-1])
        if IRestrictedMailbox.providedBy(mailbox):
            mailbox.check_right(right="i")
        if not IWritableMailbox.providedBy(mailbox):
            raise ReadOnly
        uid = read_message_name(path[-1])
        if uid and (infos := await mailbox.get_messages(uids=[uid])):
            [entry] = await self._entries(mailbox, infos)
            if entry.name == path[-1]:
                raise PermissionDenied("That message is there already. " + _FIXED)
        account = await self._open_account()
        spool = account.new_spool() if ISpooling.providedBy(account) else Spool()
        return NewMessage(mailbox, spool, self._homes)

    # What is not done by FTP.

    async def make_directory(self, path: FilePath) -> None:
        raise PermissionDenied(_MAILBOXES)

    async def remove_directory(self, path: FilePath) -> None:
        raise PermissionDenied(_MAILBOXES)

    async def remove_file(self, path: FilePath) -> None:
        raise PermissionDenied(_FIXED)

    async def rename(self, old: FilePath, new: FilePath) -> None:
        raise PermissionDenied(_FIXED)


def _digest(path: FilePath) -> str:
    return sha256("/".join(path).encode()).hexdigest()[:32]


def _read_head(file: BinaryIO) -> bytes:
    with file:
        return file.read(MAX_HEADER)


@implementer(IReadableFile)
class MessageFile:
    """A message that is read."""

    def __init__(self, content: BinaryIO, size: int, in_thread: InThread) -> None:
        self.size = size
        self._content = content
        self._in_thread = in_thread
        # A thread may be at work yet when the connection is gone.
        self._lock = threading.Lock()

    async def read(self, offset: int, count: int) -> bytes:
        data: bytes = await self._in_thread(self._read, offset, count)
        return data

    def _read(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._content.seek(offset)
            return self._content.read(count)

    def close(self) -> None:
        self._in_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            self._content.close()


@implementer(IWritableFile)
class NewMessage:
    """A message that is being put into a mailbox; without its end, nothing of it stays.

    lenient: a file whose first line ends with LF alone, as on Unix, gets CRLF in all of its lines.
    All others are kept octet for octet.
    """

    keeps_crlf = True

    def __init__(self, mailbox: Any, spool: Spool, homes: MailHomes) -> None:
        self._mailbox = mailbox
        self._spool = spool
        self._homes = homes
        self._head = b""
        # None while it is not known how lines end.
        self._is_unix: bool | None = None
        self._lines = ToNetwork()

    async def write(self, data: bytes) -> None:
        # As all spools of a store: on the reactor's thread, where they count their memory.
        if self._is_unix is None and (place := data.find(b"\n")) >= 0:
            before = data[place - 1 : place] if place else self._head[-1:]
            self._is_unix = before != b"\r"
        if self._is_unix:
            data = self._lines.convert(data)
        if self._spool.size + len(data) > self._homes.max_message_size:
            raise MessageTooLarge
        self._head += data[: MAX_HEADER - len(self._head)]
        self._spool.write(data)

    async def finish(self) -> str:
        if not self._spool.size:
            raise MessageRefused("An empty file is no message")
        result = await self._mailbox.append(messages=[AppendMessage(self._spool)])
        return message_name(result.uids[0], read_subject(self._head))

    def close(self) -> None:
        self._spool.close()
