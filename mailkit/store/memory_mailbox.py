"""A mailbox in memory: plain dictionaries by UID, and the log of what changed.

Nothing here waits, so each method is one step that nobody sees half done.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.logger import Logger
from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import NoSuchMailbox, NoSuchMessage
from mailkit.interfaces import (
    IAnnotatedMailbox,
    IBatchReadingMailbox,
    ICopyingMailbox,
    IDeletedCounter,
    ILabelledMailbox,
    IReadyFields,
    IReadyMessages,
    IRecentMailbox,
    IReplacingMailbox,
    ISizedMailbox,
    ISummarizingMailbox,
    IThreadNamingMailbox,
    IUnendedMessages,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.mime.chosen import choose_fields
from mailkit.model import (
    DELETED,
    SEEN,
    AppendMessage,
    AppendResult,
    Changes,
    CopyResult,
    DeletedCount,
    FlagOp,
    Flags,
    MailboxInfo,
    MessageInfo,
    MessageSummary,
    StoreResult,
)
from mailkit.rights import ALL_RIGHTS, Rights, changeable, changed_within
from mailkit.store.annotations import check_annotations, writable
from mailkit.store.memory_annotations import AnnotatedMailbox
from mailkit.store.memory_content import Content
from mailkit.store.memory_keywords import Keywords
from mailkit.store.memory_labels import MemoryLabels
from mailkit.store.sharing.records import Place
from mailkit.wire.dotstuff import lacks_line_end

if TYPE_CHECKING:
    from mailkit.store.memory_account import MemoryAccount

#: Vanished UIDs that one mailbox remembers; a client that was away longer hears of all that lack.
MAX_VANISHED = 100_000

#: Values of entries by name, of each user; None stands for those that are shared.
Entries = dict["str | None", dict[str, bytes]]


@implementer(
    IReplacingMailbox,
    IWritableMailbox,
    ICopyingMailbox,
    IWatchableMailbox,
    ISummarizingMailbox,
    IThreadNamingMailbox,
    IRecentMailbox,
    IDeletedCounter,
    IUnendedMessages,
    ISizedMailbox,
    IReadyFields,
    IReadyMessages,
    IBatchReadingMailbox,
    IAnnotatedMailbox,
    ILabelledMailbox,
)
class MemoryMailbox(AnnotatedMailbox, MemoryLabels):
    """One mailbox of a :class:`~mailkit.store.memory.MemoryAccount`."""

    log = Logger()

    def __init__(
        self,
        account: MemoryAccount,
        name: str,
        mailbox_id: str,
        uid_validity: int,
        special_use: str | None = None,
    ) -> None:
        self.name = name
        self.mailbox_id = mailbox_id
        self.uid_validity = uid_validity
        self.special_use = special_use
        self.metadata: Entries = {}
        #: What others may do, by identifier.
        self.acl: dict[str, Rights] = {}
        #: False for a name that only stands above others.
        self.selectable = True
        super().__init__()
        self._account = account
        self._uid_next = 1
        self._first_recent_uid = 1
        self._highest_modseq = account.next_modseq()
        self._unseen = 0
        self._size = 0
        self._infos: dict[int, MessageInfo] = {}
        self._contents: dict[int, Content] = {}
        #: UIDs of the messages with an ``email_id``.
        self.copies: dict[str, list[int]] = {}
        #: Modification sequence at which a message came.
        self._arrivals: dict[int, int] = {}
        #: UID to modification sequence, in the order of the last change.
        self._touched: dict[int, int] = {}
        self._vanished: dict[int, int] = {}
        #: Up to here, vanished UIDs are not remembered any more.
        self._forgotten = 0
        self._keywords = Keywords(self._infos)
        self._uids: array[int] | None = None
        self._watchers: dict[object, Callable[[], None]] = {}
        self._deleted = False

    @property
    @override
    def account(self) -> MemoryAccount:
        """Whose it is."""
        return self._account

    @property
    def messages(self) -> int:
        """How many there are."""
        return len(self._infos)

    @property
    def size(self) -> int:
        """Octets of all messages."""
        return self._size

    # Reading.

    async def get_info(self) -> MailboxInfo:
        self._check()
        return self.info()

    def info(self) -> MailboxInfo:
        """State of the mailbox, of a name that is not selectable too."""
        return MailboxInfo(
            name=self.name,
            mailbox_id=self.mailbox_id,
            uid_validity=self.uid_validity,
            uid_next=self._uid_next,
            highest_modseq=self._highest_modseq,
            messages=len(self._infos),
            unseen=self._unseen,
            size=self._size,
            first_recent_uid=self._first_recent_uid,
            special_use=self.special_use,
            subscribed=self._account.is_subscribed(self.name),
            selectable=self.selectable,
        )

    async def list_uids(self) -> Sequence[int]:
        self._check()
        if self._uids is None:
            # A new array each time: callers keep the old one.
            self._uids = array("I", self._infos)
        return self._uids

    @override
    async def get_messages(self, uids: Sequence[int]) -> Sequence[MessageInfo]:
        self._check()
        infos = self._infos
        return [infos[uid] for uid in uids if uid in infos]

    async def open_message(self, uid: int) -> BinaryIO:
        self._check()
        if uid not in self._contents:
            raise NoSuchMessage
        return io.BytesIO(self._contents[uid].octets)

    def read_ready(self, uid: int) -> bytes | None:
        content = self._contents.get(uid)
        return None if content is None else content.octets

    async def read_messages(self, uids: Sequence[int], octets: int) -> Sequence[bytes]:
        self._check()
        found: list[bytes] = []
        for uid in uids:
            content = self._contents.get(uid)
            if content is None or (octets := octets - len(content.octets)) < 0:
                break
            found.append(content.octets)
        return found

    async def name_threads(self, uids: Sequence[int]) -> None:
        self._check()
        for uid in uids:
            info = self._infos.get(uid)
            if info is not None and info.thread_id is None:
                thread_id = self._account.thread_of(self._contents[uid])
                self._infos[uid] = info._replace(thread_id=thread_id)

    async def get_changes(self, since: int) -> Changes:
        self._check()
        added: list[int] = []
        changed: list[int] = []
        for uid, modseq in reversed(self._touched.items()):
            if modseq <= since:
                break
            (added if self._arrivals[uid] > since else changed).append(uid)
        return Changes(
            self._highest_modseq, sorted(added), sorted(changed), self._vanished_since(since)
        )

    def _vanished_since(self, since: int) -> list[int]:
        if since < self._forgotten:
            return [uid for uid in range(1, self._uid_next) if uid not in self._infos]
        vanished = []
        for uid, modseq in reversed(self._vanished.items()):
            if modseq <= since:
                break
            vanished.append(uid)
        return sorted(vanished)

    async def get_summaries(
        self, uids: Sequence[int], structure: bool = True
    ) -> Sequence[MessageSummary]:
        self._check()
        contents = self._contents
        return [
            contents[uid].summary(structure)._replace(uid=uid) for uid in uids if uid in contents
        ]

    def read_fields(
        self, uids: Sequence[int], fields: Sequence[str]
    ) -> Sequence[Sequence[Any]] | None:
        if self._deleted or not all(map(self._infos.__contains__, uids)):
            return None
        infos = [self._infos[uid] for uid in uids]
        columns: list[Sequence[Any]] = []
        summaries: list[MessageSummary] = []
        structure = "body_structure" in fields
        for field in fields:
            if field in MessageInfo._fields:
                values = list(map(attrgetter(field), infos))
                if field in ("size", "modseq"):
                    values = [b"%d" % number for number in values]
                columns.append(values)
                continue
            summaries = summaries or [self._contents[uid].summary(structure) for uid in uids]
            name, *chosen = field.split(" ")
            values = list(map(attrgetter(name), summaries))
            columns.append(choose_fields(map(str.encode, chosen))(values) if chosen else values)
        return columns

    async def count_deleted(self) -> DeletedCount:
        self._check()
        sizes = [info.size for info in self._infos.values() if DELETED in info.flags]
        return DeletedCount(len(sizes), sum(sizes))

    async def get_sizes(self) -> tuple[MailboxInfo, Sequence[int], Sequence[int], int]:
        uids = await self.list_uids()
        unended = set(await self.list_unended(uids))
        sizes = [self._infos[uid].size + 2 * (uid in unended) for uid in uids]
        return self.info(), uids, sizes, sum(sizes)

    async def list_unended(self, uids: Sequence[int]) -> Sequence[int]:
        self._check()
        contents = self._contents
        return [uid for uid in uids if uid in contents and lacks_line_end(contents[uid].octets)]

    # Changing.

    async def append(self, messages: Sequence[AppendMessage]) -> AppendResult:
        return await self.append_as(self._account.name, messages)

    async def append_as(self, user: str, messages: Sequence[AppendMessage]) -> AppendResult:
        self._check()
        # All that can fail comes first.
        annotations = [message.annotations for message in messages]
        self.check_new(user, annotations)
        new = [
            (self._account.new_content(message.content), message.flags, message.internal_date)
            for message in messages
        ]
        uids = self.add(new)
        self.annotate_new(user, uids, annotations)
        return AppendResult(self.uid_validity, uids)

    def add(
        self, messages: Sequence[tuple[Content, Flags, int | None]], moved: bool = False
    ) -> list[int]:
        """Add content with flags and internal date (None for now).

        :param moved: the account has them already, in another mailbox.
        :returns: the new UIDs.
        :raises OverQuota: there is no room for them.
        """
        self._check()
        if messages and not moved:
            octets = sum(len(content.octets) for content, _, _ in messages)
            self._account.quota().check(octets, len(messages))
        flags = self._keywords.canonical([flags for _, flags, _ in messages])
        if not messages:
            return []
        modseq = self._account.next_modseq()
        now = self._account.now()
        first = self._uid_next
        for uid, (content, _, date), own_flags in zip(
            range(first, first + len(messages)), messages, flags, strict=True
        ):
            self._infos[uid] = MessageInfo(
                uid=uid,
                flags=own_flags,
                internal_date=now if date is None else date,
                size=len(content.octets),
                modseq=modseq,
                email_id=content.email_id,
                save_date=now,
            )
            self._contents[uid] = content
            self.copies.setdefault(content.email_id, []).append(uid)
            self._arrivals[uid] = self._touched[uid] = modseq
            self._size += len(content.octets)
            self._unseen += SEEN not in own_flags
        self._uid_next += len(messages)
        self._uids = None
        self._changed(modseq)
        return list(range(first, self._uid_next))

    async def store_flags(
        self,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None = None,
    ) -> StoreResult:
        return await self.change_flags(uids, op, flags, unchanged_since, ALL_RIGHTS)

    async def change_flags(
        self,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None,
        rights: Rights,
    ) -> StoreResult:
        """``store_flags`` by somebody who may not change all flags."""
        return self.put_flags(uids, op, flags, unchanged_since, rights)

    @override
    def put_flags(
        self,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None = None,
        rights: Rights = ALL_RIGHTS,
    ) -> StoreResult:
        """The same at once."""
        self._check()
        (given,) = self._keywords.canonical(
            [changeable(flags, rights)], remember=op is not FlagOp.REMOVE
        )
        results: list[MessageInfo] = []
        modified: list[int] = []
        modseq = 0
        for uid in uids:
            info = self._infos.get(uid)
            if info is None:
                continue
            if unchanged_since is not None and info.modseq > unchanged_since:
                modified.append(uid)
                continue
            new = changed_within(info.flags, _apply(op, info.flags, given), rights)
            if new != info.flags:
                modseq = modseq or self._account.next_modseq()
                self._unseen += (SEEN not in new) - (SEEN not in info.flags)
                info = self._infos[uid] = info._replace(flags=new, modseq=modseq)
                # Taken out and put in again: the order is that of the changes.
                del self._touched[uid]
                self._touched[uid] = modseq
            results.append(info)
        if modseq:
            self._changed(modseq)
        return StoreResult(results, modified)

    async def expunge(self, uids: Sequence[int], only_deleted: bool = False) -> Sequence[int]:
        self._check()
        if only_deleted:
            infos = self._infos
            uids = [uid for uid in uids if uid in infos and DELETED in infos[uid].flags]
        return self.remove(uids)

    def remove(self, uids: Iterable[int]) -> list[int]:
        """Remove messages; gives the UIDs that were there."""
        found = [uid for uid in uids if uid in self._infos]
        if not found:
            return []
        modseq = self._account.next_modseq()
        for uid in found:
            info = self._infos.pop(uid)
            same = self.copies[self._contents[uid].email_id]
            same.remove(uid)
            if not same:
                del self.copies[self._contents[uid].email_id]
            del self._contents[uid], self._arrivals[uid], self._touched[uid]
            self.annotations.drop(uid)
            self._vanished[uid] = modseq
            self._size -= info.size
            self._unseen -= SEEN not in info.flags
        while len(self._vanished) > MAX_VANISHED:
            oldest = next(iter(self._vanished))
            self._forgotten = self._vanished.pop(oldest)
        self._uids = None
        self._changed(modseq)
        return found

    async def copy_messages(self, uids: Sequence[int], destination: str) -> CopyResult:
        return await self.transfer(uids, self._account.find_place(destination), move=False)

    async def move_messages(self, uids: Sequence[int], destination: str) -> CopyResult:
        return await self.transfer(uids, self._account.find_place(destination), move=True)

    async def transfer(self, uids: Sequence[int], place: Place, move: bool) -> CopyResult:
        """Copy or move messages to a mailbox of any account."""
        return self.put_copies(uids, place, move)

    @override
    def put_copies(self, uids: Sequence[int], place: Place, move: bool = False) -> CopyResult:
        """The same at once."""
        self._check()
        target = self._account.find_target(place)
        found = [uid for uid in uids if uid in self._infos]
        messages = [
            (
                self._contents[uid],
                changeable(self._infos[uid].flags, place.rights),
                self._infos[uid].internal_date,
            )
            for uid in found
        ]
        seen = self.annotations.read(found, place.user)
        annotations = [writable(seen.get(uid, ()), place.rights) for uid in found]
        moved = move and place.account == self._account.name
        if not moved:
            target.check_new(place.user, annotations)
        new = target.add(messages, moved=moved)
        target.annotate_new(place.user, new, annotations)
        if move:
            self.remove(found)
        return CopyResult(target.uid_validity, found, new)

    async def replace_message(
        self, uid: int, destination: str, message: AppendMessage
    ) -> AppendResult:
        return await self.replace(uid, self._account.find_place(destination), message)

    async def replace(self, uid: int, place: Place, message: AppendMessage) -> AppendResult:
        """``replace_message`` with a mailbox of any account."""
        self._check()
        target = self._account.find_target(place)
        if uid not in self._infos:
            raise NoSuchMessage
        check_annotations(message.annotations, place.rights)
        target.check_new(place.user, [message.annotations])
        content = self._account.new_content(message.content)
        flags = changeable(message.flags, place.rights)
        same_account = place.account == self._account.name
        growth = len(content.octets) - self._infos[uid].size
        if same_account and growth > 0:
            # RFC 8508 section 3.4: the net quota consumption.
            self._account.quota().check(growth, 0)
        uids = target.add([(content, flags, message.internal_date)], moved=same_account)
        target.annotate_new(place.user, uids, [message.annotations])
        self.remove([uid])
        return AppendResult(target.uid_validity, uids)

    async def claim_recent(self, last: int | None = None) -> int:
        self._check()
        first, end = self._first_recent_uid, self._uid_next
        if last is not None:
            end = min(end, last + 1)
        self._first_recent_uid = max(first, end)
        return first

    # Life.

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        token = object()
        self._watchers[token] = callback

        def end() -> None:
            self._watchers.pop(token, None)

        return end

    @property
    def deleted(self) -> bool:
        """It is there no longer."""
        return self._deleted

    def set_rights(self, identifier: str, rights: Rights) -> None:
        """Give an identifier these rights, or none."""
        if rights:
            self.acl[identifier] = rights
        else:
            self.acl.pop(identifier, None)
        # Who has it open may have lost the right to.
        self._tell()

    def forget(self) -> None:
        """The mailbox is deleted; whoever holds it is told so by every method."""
        self._deleted = True
        self.acl.clear()
        self.annotations.clear()
        self._infos.clear()
        self._contents.clear()
        self.copies.clear()
        self._uids = None
        self._tell()

    @override
    def _check(self) -> None:
        if self._deleted:
            raise NoSuchMailbox

    @override
    def _changed(self, modseq: int) -> None:
        self._highest_modseq = modseq
        self._tell()

    def _tell(self) -> None:
        for callback in list(self._watchers.values()):
            try:
                callback()
            except Exception:
                # The change has happened; who made it is not to blame for the watcher.
                self.log.failure("a watcher of mailbox {name} failed", name=self.name)


def _apply(op: FlagOp, old: Flags, given: Flags) -> Flags:
    match op:
        case FlagOp.ADD:
            return old | given
        case FlagOp.REMOVE:
            return old - given
        case FlagOp.REPLACE:
            return given
