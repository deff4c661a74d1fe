"""One mailbox of the embedded store."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, BinaryIO

from zope.interface import implementer

from mailkit._typing import override
from mailkit.annotations import Annotation, AnnotationChange
from mailkit.errors import NoSuchMailbox, StoreUnavailable
from mailkit.interfaces import (
    IAnnotatedMailbox,
    IBatchReadingMailbox,
    ICopyingMailbox,
    IDeletedCounter,
    ILabelledMailbox,
    IQuietMailbox,
    IReadyFields,
    IReadyMessages,
    IRecentMailbox,
    IReplacingMailbox,
    ISearchableMailbox,
    ISizedMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IUnendedMessages,
    IVersionedMailbox,
    IViewableMailbox,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.model import (
    AppendMessage,
    AppendResult,
    Changes,
    CopyResult,
    DeletedCount,
    FetchedMessage,
    FlagOp,
    Flags,
    MailboxInfo,
    MailboxView,
    MessageInfo,
    MessageSummary,
    StoreResult,
)
from mailkit.query import Query, SortCriterion, ThreadAlgorithm, Threads
from mailkit.quiet import QuietResult
from mailkit.rights import Rights
from mailkit.store.annotations import AnnotatedByUsers
from mailkit.store.labels import check_names
from mailkit.store.sharing.account import SharingAccount
from mailkit.store.sharing.records import Place
from mailkit.store.sqlite.annotations import StoreAnnotations, read_annotations, read_changes
from mailkit.store.sqlite.content import SpooledFile, prepare, take_spool
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.fetched import AppendFetched
from mailkit.store.sqlite.history import find_changes, read_uids
from mailkit.store.sqlite.labels import ChangeLabels, find_labelled, get_labels
from mailkit.store.sqlite.maildrops import MAX_LISTED
from mailkit.store.sqlite.making import Wanted
from mailkit.store.sqlite.opening import open_body
from mailkit.store.sqlite.operations import (
    Append,
    ClaimRecent,
    StoreFlags,
    discard_content,
)
from mailkit.store.sqlite.readahead import ReadAhead
from mailkit.store.sqlite.reader import Found
from mailkit.store.sqlite.ready import read_fields
from mailkit.store.sqlite.search import Search
from mailkit.store.sqlite.storing import StoreQuietly
from mailkit.store.sqlite.summaries import HURRIED_FROM
from mailkit.store.sqlite.transaction import Appended, Content
from mailkit.store.sqlite.transfers import Copy, Expunge, Replace

#: Seconds for which what was found with the mailbox's name holds: as long as the one who opened it
#: asks for it at once.
_FRESH = 0.01


@implementer(
    IWritableMailbox,
    ICopyingMailbox,
    IWatchableMailbox,
    ISearchableMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IRecentMailbox,
    IReplacingMailbox,
    IViewableMailbox,
    IVersionedMailbox,
    IDeletedCounter,
    IUnendedMessages,
    ISizedMailbox,
    IReadyFields,
    IReadyMessages,
    IBatchReadingMailbox,
    IAnnotatedMailbox,
    ILabelledMailbox,
    IQuietMailbox,
)
class SQLiteMailbox(AnnotatedByUsers):
    """A mailbox, known by its id: it keeps nothing but that, and for a moment what was found.

    :param account: whose session it is: knows where messages go that are put into another.
    """

    def __init__(
        self,
        core: Core,
        mailbox_id: int,
        name: str,
        account: SharingAccount,
        found: Found | None = None,
    ) -> None:
        self._core = core
        self._account = account
        self._id = mailbox_id
        self._name = name
        self._found = found
        self._opened = 0.0 if found is None else time.monotonic()
        self._reading: ReadAhead | None = None

    def _take_found(self) -> Found:
        """:raises NoSuchMailbox: it has been deleted, or there are no messages in it, ever."""
        found, self._found = self._found, None
        commits = self._core.writer.commits
        # Another process may change it, too, without our knowledge.
        if found is None or found.commits != commits or time.monotonic() - self._opened > _FRESH:
            return self._find_again()
        return self._with_recent(found)

    def _find_again(self) -> Found:
        return self._with_recent(self._core.find_again(self._id))

    def _with_recent(self, found: Found) -> Found:
        first_recent = self._core.reader.first_recent.get(self._id, 0)
        if first_recent > found.info.first_recent_uid:
            return found._replace(info=found.info._replace(first_recent_uid=first_recent))
        return found

    @property
    def name(self) -> str:
        """The name now; the last one of a mailbox that is gone."""
        try:
            self._name = self._core.reader.mailbox_info(self._id).name
        except (NoSuchMailbox, StoreUnavailable):
            # The last one will do.
            pass
        return self._name

    # Reading.

    async def get_info(self) -> MailboxInfo:
        return self._take_found().info

    async def get_view(self, claim_recent: bool) -> MailboxView:
        _, _, _, info, keywords = self._take_found()
        reader = self._core.reader
        if reader.has_many_uids(self._id, info.messages):
            await self._read_uids()
            _, _, _, info, keywords = self._find_again()
        # RFC 7162 section 3.1.2.1: the messages are those of the modification sequence. A change may
        # be in the index already that is not counted yet, or come just now.
        while (uids := reader.uids_at(self._id, info.highest_modseq)) is None:
            _, _, _, info, keywords = self._find_again()
        first_unseen = reader.first_unseen(self._id, info, uids)
        if claim_recent and info.uid_next > info.first_recent_uid:
            first = await self._claim(info.first_recent_uid, info.uid_next)
            info = info._replace(first_recent_uid=first)
        return MailboxView(info, uids, first_unseen, keywords)

    async def list_uids(self) -> Sequence[int]:
        if self._core.reader.has_many_uids(self._id):
            await self._read_uids()
        return self._core.reader.list_uids(self._id)

    async def _read_uids(self) -> None:
        """Have a thread read them; what has changed since is found quickly."""
        modseq, uids = await self._core.in_thread(self._find_uids)
        self._core.reader.keep_uids(self._id, modseq, uids)

    def _find_uids(self) -> tuple[int, array[int]]:
        """Runs in a thread."""
        with self._core.borrow() as connection:
            return read_uids(connection, self._id)

    async def get_messages(self, uids: Sequence[int]) -> Sequence[MessageInfo]:
        return self._core.reader.get_messages(self._id, uids)

    async def get_changes(self, since: int) -> Changes:
        changes = self._core.reader.get_changes(self._id, since)
        if changes is None:
            changes = await self._core.in_thread(self._find_changes, since)
        return changes

    def _find_changes(self, since: int) -> Changes:
        """Runs in a thread."""
        with self._core.borrow() as connection:
            return find_changes(connection, self._id, since)

    async def open_message(self, uid: int) -> BinaryIO:
        return await open_body(self._core, lambda: self._core.reader.body_place(self._id, uid))

    async def get_summaries(
        self, uids: Sequence[int], structure: bool = True
    ) -> Sequence[MessageSummary]:
        return await self._core.summaries.get(self._id, uids, structure)

    def read_fields(
        self, uids: Sequence[int], fields: Sequence[str]
    ) -> Sequence[Sequence[Any]] | None:
        core = self._core
        if "envelope" in fields and len(uids) >= HURRIED_FROM:
            # Who lists messages is likely to ask for their structures next.
            core.hurry(Wanted.STRUCTURES)
        return read_fields(
            core.reader, self._id, uids, fields, core.flag_columns, core.ready_columns
        )

    async def search(self, query: Query) -> Sequence[int]:
        by_flags = await self._core.flag_columns.search(self._id, query)
        if by_flags is not None:
            return by_flags
        found = await self._core.text_columns.search(self._id, query)
        if isinstance(found, Query):
            found = await Search(self._core, self._id, found).run()
        # Who looks for messages may sort them next.
        self._core.hurry(Wanted.ORDERS)
        return found

    async def sort_messages(
        self, uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> Sequence[int]:
        return await self._core.sorting.sort(self._id, uids, criteria)

    async def name_threads(self, uids: Sequence[int]) -> None:
        self._core.reader.mailbox_info(self._id)
        if len(uids):
            await self._core.conversations.name(self._id, uids[-1])

    async def thread_messages(self, uids: Sequence[int], algorithm: ThreadAlgorithm) -> Threads:
        return await self._core.sorting.thread(self._id, uids, algorithm)

    async def count_deleted(self) -> DeletedCount:
        messages = octets = 0
        last: int | None = 0
        while last is not None:
            found, last = self._core.reader.count_deleted(self._id, last)
            messages += found.messages
            octets += found.octets
            if last is not None:
                await self._core.pause()
        return DeletedCount(messages, octets)

    async def list_unended(self, uids: Sequence[int]) -> Sequence[int]:
        return self._core.reader.list_unended(self._id, uids)

    async def get_sizes(self) -> tuple[MailboxInfo, Sequence[int], Sequence[int], int] | None:
        return self.find_sizes(self._take_found())

    def find_sizes(
        self, found: Found
    ) -> tuple[MailboxInfo, Sequence[int], Sequence[int], int] | None:
        """``get_sizes``, of the mailbox as it was just found."""
        info = self._with_recent(found).info
        if info.messages > MAX_LISTED:
            return None
        return info, *self._core.reader.sizes.get(self._id, info.highest_modseq)

    def read_ready(self, uid: int) -> bytes | None:
        return (self._reading or self._read_ahead()).read(uid)

    async def read_messages(self, uids: Sequence[int], octets: int) -> Sequence[bytes]:
        return await self._read_ahead().read_several(uids, octets)

    def _read_ahead(self) -> ReadAhead:
        if self._reading is None:
            self._reading = ReadAhead(self._core, self._id)
        return self._reading

    # Changing.

    async def append(self, messages: Sequence[AppendMessage]) -> AppendResult:
        return await self._core.submit(Append(self._id, await self._take_contents(messages)))

    async def append_as(self, user: str, messages: Sequence[AppendMessage]) -> AppendResult:
        """``append`` by another user than the owner."""
        taken = await self._take_contents(messages)
        return await self._core.submit(Append(self._id, taken, user))

    async def append_fetched(self, source: str, messages: Sequence[FetchedMessage]) -> AppendResult:
        """``append`` for what was not fetched before; the account remembers it."""
        taken = await self._take_contents([message.message for message in messages])
        return await self._core.submit(AppendFetched(self._id, taken, source, messages))

    async def replace_message(
        self, uid: int, destination: str, message: AppendMessage
    ) -> AppendResult:
        return await self.replace(uid, self._account.find_place(destination), message)

    async def replace(self, uid: int, place: Place, message: AppendMessage) -> AppendResult:
        """``replace_message`` with a mailbox of any account."""
        (taken,) = await self._take_contents([message])
        return await self._core.submit(Replace(self._id, uid, place, taken))

    async def _take_contents(self, messages: Sequence[AppendMessage]) -> list[Appended]:
        """What the writer is to take; it disposes of the contents."""
        core = self._core
        core.check_open()
        # All spools are taken before anything is waited for: the caller closes them.
        contents: list[Any] = [take_spool(core, message.content) for message in messages]
        if SpooledFile in map(type, contents):
            contents = await self._prepare(contents)
        # tuple.__new__ goes around the Python function that a NamedTuple has for it.
        new = tuple.__new__
        return [
            new(Appended, (content, *message[1:]))
            for content, message in zip(contents, messages, strict=True)
        ]

    async def _prepare(self, taken: Sequence[Content | SpooledFile]) -> list[Content]:
        """What the writer is to take of contents of which some are files that nobody has read."""
        left = deque(taken)
        contents: list[Content] = []
        try:
            while left:
                item = left.popleft()
                if isinstance(item, SpooledFile):
                    item = await prepare(self._core, item)
                contents.append(item)
        except BaseException:
            for item in (*contents, *left):
                if isinstance(item, SpooledFile):
                    item.discard()
                else:
                    discard_content(item)
            raise
        return contents

    async def store_flags(
        self,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None = None,
    ) -> StoreResult:
        return await self._core.submit(StoreFlags(self._id, uids, op, flags, unchanged_since))

    async def store_quietly(
        self,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None = None,
    ) -> QuietResult:
        return await self._core.submit(StoreQuietly(self._id, uids, op, flags, unchanged_since))

    async def change_flags(
        self,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None,
        rights: Rights,
    ) -> StoreResult:
        """``store_flags`` by somebody who may not change all flags."""
        return await self._core.submit(
            StoreFlags(self._id, uids, op, flags, unchanged_since, rights)
        )

    async def expunge(self, uids: Sequence[int], only_deleted: bool = False) -> Sequence[int]:
        return await self._core.submit(Expunge(self._id, uids, only_deleted))

    async def copy_messages(self, uids: Sequence[int], destination: str) -> CopyResult:
        return await self.transfer(uids, self._account.find_place(destination), move=False)

    async def move_messages(self, uids: Sequence[int], destination: str) -> CopyResult:
        return await self.transfer(uids, self._account.find_place(destination), move=True)

    async def transfer(self, uids: Sequence[int], place: Place, move: bool) -> CopyResult:
        """Copy or move messages to a mailbox of any account."""
        return await self._core.submit(Copy(self._id, uids, place, move))

    # Annotations.

    @override
    async def read_annotations(
        self, user: str, uids: Sequence[int]
    ) -> Mapping[int, Sequence[Annotation]]:
        reader = self._core.reader
        reader.mailbox_info(self._id)
        return read_annotations(reader.connection, self._id, reader.account_id(user), uids)

    @override
    async def read_annotation_changes(self, user: str, since: int) -> Sequence[AnnotationChange]:
        reader = self._core.reader
        reader.mailbox_info(self._id)
        return read_changes(reader.connection, self._id, reader.account_id(user), since)

    @override
    async def change_annotations(
        self,
        user: str,
        uids: Sequence[int],
        annotations: Sequence[Annotation],
        unchanged_since: int | None,
    ) -> StoreResult:
        return await self._core.submit(
            StoreAnnotations(self._id, user, uids, annotations, unchanged_since)
        )

    async def claim_recent(self, last: int | None = None) -> int:
        first, uid_next = self._core.reader.claim_recent(self._id)
        end = uid_next if last is None else min(uid_next, last + 1)
        return await self._claim(first, end) if end > first else first

    async def _claim(self, first: int, end: int) -> int:
        """Take messages for a session; from where on they are its own.

        :param first: from where on they are nobody's, as far as this process knows.
        :param end: behind the last.
        """
        core = self._core
        claim = ClaimRecent(self._id, end)
        if core.is_shared:
            # A session of another process may claim them just now.
            try:
                return max(first, await core.submit(claim))
            except StoreUnavailable:
                # Not recent here, rather than in two sessions.
                return end
        reader = core.reader
        reader.first_recent[self._id] = end
        core.writer.submit_lazy(claim).addCallbacks(
            lambda _: reader.first_recent_kept(self._id, end), lambda _: None
        )
        return first

    # Labels.

    async def get_labels(self, uids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        return get_labels(self._core.reader.connection, self._id, uids)

    async def find_labelled(self, name: str) -> Sequence[int]:
        return await find_labelled(self._core, self._id, name)

    async def change_labels(
        self, uids: Sequence[int], op: FlagOp, names: Collection[str], flags: Flags
    ) -> StoreResult:
        check_names(self._account, names)
        return await self._core.submit(ChangeLabels(self._id, uids, op, names, flags))

    # Watching.

    def get_version(self) -> int:
        return self._core.version

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self._core.watch(self._id, callback)
