"""A mailbox of somebody else: every method asks what the viewer may do now (RFC 4314 section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

from zope.interface import Interface, directlyProvides

from mailkit.annotations import Annotation, AnnotationChange
from mailkit.interfaces import (
    IAnnotatedMailbox,
    IBatchReadingMailbox,
    ICopyingMailbox,
    IReadyFields,
    IRecentMailbox,
    IReplacingMailbox,
    IRestrictedMailbox,
    ISearchableMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
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
    FlagOp,
    Flags,
    MailboxInfo,
    MailboxView,
    MessageInfo,
    MessageSummary,
    StoreResult,
)
from mailkit.query import Query, SortCriterion, ThreadAlgorithm, Threads
from mailkit.rights import WRITE_RIGHTS, Rights, changeable
from mailkit.store.annotations import check_annotations
from mailkit.store.sharing.records import Place, StoredMailbox, may_not

#: What a mailbox may be able to do besides, and this one passes on. An ability that is not named here
#: is one that others do not have.
_ABILITIES: tuple[type[Interface], ...] = (
    IAnnotatedMailbox,
    IBatchReadingMailbox,
    ICopyingMailbox,
    IReadyFields,
    IRecentMailbox,
    IReplacingMailbox,
    ISearchableMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IVersionedMailbox,
    IViewableMailbox,
    IWatchableMailbox,
)
#: What is refused without a right.
_REFUSALS = {
    "r": "You may not read this mailbox",
    "i": "You may not put messages into this mailbox",
    "e": "You may not expunge messages of this mailbox",
    "t": "You may not delete messages of this mailbox",
}


class Viewer(Protocol):
    """The account that looks at others' mailboxes."""

    name: str

    def rights_to(self, key: Any) -> Rights:
        """:raises NoSuchMailbox: it has been deleted."""

    def name_of(self, key: Any, default: str) -> str:
        """What the viewer calls a mailbox; the default for one that has been deleted."""

    def find_place(self, name: str) -> Place:
        """Where messages go that are put into a mailbox of that name."""

    def to_info(self, info: MailboxInfo, name: str) -> MailboxInfo:
        """An owner's info, as the viewer is to see it."""


class RestrictedMailbox:
    """See :class:`~mailkit.interfaces.IRestrictedMailbox`."""

    def __init__(self, inner: StoredMailbox, key: Any, viewer: Viewer, name: str) -> None:
        self._inner: Any = inner
        self._key = key
        self._viewer = viewer
        self._name = name
        provided = [ability for ability in _ABILITIES if ability.providedBy(inner)]
        if self.get_rights() & WRITE_RIGHTS:
            provided.append(IWritableMailbox)
        directlyProvides(self, IRestrictedMailbox, *provided)

    @property
    def name(self) -> str:
        """What the viewer calls it now; the last one of a mailbox that is gone."""
        self._name = self._viewer.name_of(self._key, self._name)
        return self._name

    def get_rights(self) -> Rights:
        return self._viewer.rights_to(self._key)

    def check_right(self, right: str) -> None:
        self._need(right)

    def _need(self, *wanted: str) -> Rights:
        """:raises MailError: the viewer lacks one of the rights."""
        rights = self.get_rights()
        for right in wanted:
            if right not in rights:
                raise may_not(rights, _REFUSALS.get(right, ""))
        return rights

    def _info(self, info: MailboxInfo) -> MailboxInfo:
        return self._viewer.to_info(info, self.name)

    # Reading.

    async def get_info(self) -> MailboxInfo:
        self._need("r")
        return self._info(await self._inner.get_info())

    async def get_view(self, claim_recent: bool) -> MailboxView:
        self._need("r")
        view: MailboxView = await self._inner.get_view(claim_recent=claim_recent)
        return view._replace(info=self._info(view.info))

    async def list_uids(self) -> Sequence[int]:
        self._need("r")
        uids: Sequence[int] = await self._inner.list_uids()
        return uids

    async def get_messages(self, uids: Sequence[int]) -> Sequence[MessageInfo]:
        self._need("r")
        messages: Sequence[MessageInfo] = await self._inner.get_messages(uids=uids)
        return messages

    async def open_message(self, uid: int) -> BinaryIO:
        self._need("r")
        file: BinaryIO = await self._inner.open_message(uid=uid)
        return file

    async def read_messages(self, uids: Sequence[int], octets: int) -> Sequence[bytes]:
        self._need("r")
        found: Sequence[bytes] = await self._inner.read_messages(uids=uids, octets=octets)
        return found

    async def get_changes(self, since: int) -> Changes:
        self._need("r")
        changes: Changes = await self._inner.get_changes(since=since)
        return changes

    async def get_summaries(
        self, uids: Sequence[int], structure: bool = True
    ) -> Sequence[MessageSummary]:
        self._need("r")
        found: Sequence[MessageSummary] = await self._inner.get_summaries(
            uids=uids, structure=structure
        )
        return found

    def read_fields(
        self, uids: Sequence[int], fields: Sequence[str]
    ) -> Sequence[Sequence[Any]] | None:
        self._need("r")
        found: Sequence[Sequence[Any]] | None = self._inner.read_fields(uids=uids, fields=fields)
        return found

    async def search(self, query: Query) -> Sequence[int]:
        self._need("r")
        uids: Sequence[int] = await self._inner.search(query=query)
        return uids

    async def sort_messages(
        self, uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> Sequence[int]:
        self._need("r")
        found: Sequence[int] = await self._inner.sort_messages(uids=uids, criteria=criteria)
        return found

    async def thread_messages(self, uids: Sequence[int], algorithm: ThreadAlgorithm) -> Threads:
        self._need("r")
        threads: Threads = await self._inner.thread_messages(uids=uids, algorithm=algorithm)
        return threads

    async def name_threads(self, uids: Sequence[int]) -> None:
        # Names that the store gives once are no change of the mailbox.
        self._need("r")
        await self._inner.name_threads(uids=uids)

    async def claim_recent(self, last: int | None = None) -> int:
        self._need("r")
        first: int = await self._inner.claim_recent(last=last)
        return first

    def get_version(self) -> int:
        # As with a change that watchers are told of.
        version: int = self._inner.get_version()
        return version

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        # What has changed is told by get_changes, to those who may read.
        end: Callable[[], None] = self._inner.watch(callback=callback)
        return end

    # Changing.

    async def append(self, messages: Sequence[AppendMessage]) -> AppendResult:
        rights = self._need("i")
        # RFC 4314 section 4: flags without a right are left out, and that is no reason to refuse.
        allowed = [
            message._replace(flags=changeable(message.flags, rights)) for message in messages
        ]
        for message in messages:
            check_annotations(message.annotations, rights)
        result: AppendResult = await self._inner.append_as(user=self._viewer.name, messages=allowed)
        return result

    async def store_flags(
        self,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None = None,
    ) -> StoreResult:
        rights = self.get_rights()
        if not (changeable(flags, rights) if flags else rights & {"s", "w", "t"}):
            raise may_not(rights, "You may not change these flags in this mailbox")
        result: StoreResult = await self._inner.change_flags(
            uids=uids, op=op, flags=flags, unchanged_since=unchanged_since, rights=rights
        )
        return result

    async def expunge(self, uids: Sequence[int], only_deleted: bool = False) -> Sequence[int]:
        self._need("e")
        gone: Sequence[int] = await self._inner.expunge(uids=uids, only_deleted=only_deleted)
        return gone

    async def copy_messages(self, uids: Sequence[int], destination: str) -> CopyResult:
        self._need("r")
        return await self._transfer(uids, destination, move=False)

    async def move_messages(self, uids: Sequence[int], destination: str) -> CopyResult:
        # RFC 6851 section 4.2: as for STORE of \Deleted, COPY and EXPUNGE.
        self._need("r", "t", "e")
        return await self._transfer(uids, destination, move=True)

    async def replace_message(
        self, uid: int, destination: str, message: AppendMessage
    ) -> AppendResult:
        # RFC 8508 section 4.1: as for STORE of \\Deleted, APPEND and EXPUNGE.
        self._need("r", "t", "e")
        place = self._viewer.find_place(destination)
        result: AppendResult = await self._inner.replace(uid=uid, place=place, message=message)
        return result

    async def _transfer(self, uids: Sequence[int], destination: str, move: bool) -> CopyResult:
        place = self._viewer.find_place(destination)
        result: CopyResult = await self._inner.transfer(uids=uids, place=place, move=move)
        return result

    # Annotations.

    @property
    def max_annotation(self) -> int:
        size: int = self._inner.max_annotation
        return size

    @property
    def private_annotations(self) -> bool:
        private: bool = self._inner.private_annotations
        return private

    async def get_annotations(self, uids: Sequence[int]) -> Mapping[int, Sequence[Annotation]]:
        self._need("r")
        found: Mapping[int, Sequence[Annotation]] = await self._inner.read_annotations(
            user=self._viewer.name, uids=uids
        )
        return found

    async def store_annotations(
        self,
        uids: Sequence[int],
        annotations: Sequence[Annotation],
        unchanged_since: int | None = None,
    ) -> StoreResult:
        check_annotations(annotations, self._need("r"))
        result: StoreResult = await self._inner.change_annotations(
            user=self._viewer.name,
            uids=uids,
            annotations=annotations,
            unchanged_since=unchanged_since,
        )
        return result

    async def get_annotation_changes(self, since: int) -> Sequence[AnnotationChange]:
        self._need("r")
        changes: Sequence[AnnotationChange] = await self._inner.read_annotation_changes(
            user=self._viewer.name, since=since
        )
        return changes
