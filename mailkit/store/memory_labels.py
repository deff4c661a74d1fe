"""Which mailboxes of an account in memory hold copies of a message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.annotations import Annotation
from mailkit.errors import MailError, NoSuchMailbox
from mailkit.model import CopyResult, FlagOp, Flags, MessageInfo, StoreResult
from mailkit.store.labels import check_names, flag_changes, wanted_names
from mailkit.store.memory_annotations import MemoryAnnotations
from mailkit.store.naming import sort_key
from mailkit.store.sharing.records import Place

if TYPE_CHECKING:
    from mailkit.store.memory_account import MemoryAccount
    from mailkit.store.memory_mailbox import MemoryMailbox


class MemoryLabels(ABC):
    """Mixed into a mailbox: see :class:`~mailkit.interfaces.ILabelledMailbox`."""

    name: str
    #: UIDs of the messages with an ``email_id``.
    copies: dict[str, list[int]]
    annotations: MemoryAnnotations

    @property
    @abstractmethod
    def account(self) -> MemoryAccount:
        """Whose it is."""

    @abstractmethod
    async def get_messages(self, uids: Sequence[int]) -> Sequence[MessageInfo]:
        """As a mailbox does."""

    @abstractmethod
    def put_copies(self, uids: Sequence[int], place: Place) -> CopyResult:
        """Copy messages into another mailbox."""

    @abstractmethod
    def check_new(self, user: str, annotations: Sequence[Sequence[Annotation]]) -> None:
        """:raises MailError: new messages may not have these annotations."""

    @abstractmethod
    def put_flags(self, uids: Sequence[int], op: FlagOp, flags: Flags) -> StoreResult:
        """Change flags."""

    def _others(self) -> dict[str, MemoryMailbox]:
        """The other mailboxes of the account, by name in the order of names."""
        found = {
            mailbox.name: mailbox
            for mailbox in self.account.mailboxes()
            if mailbox is not self and mailbox.selectable
        }
        return {name: found[name] for name in sorted(found, key=sort_key)}

    async def get_labels(self, uids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        others = self._others()
        labels = {}
        for info in await self.get_messages(uids):
            names = [name for name, other in others.items() if info.email_id in other.copies]
            if names:
                labels[info.uid] = names
        return labels

    async def find_labelled(self, name: str) -> Sequence[int]:
        await self.get_messages(())
        try:
            other = self._other(name)
        except NoSuchMailbox:
            return ()
        if other is self:
            return ()
        return sorted(
            uid for same, uids in self.copies.items() if same in other.copies for uid in uids
        )

    async def change_labels(
        self, uids: Sequence[int], op: FlagOp, names: Collection[str], flags: Flags
    ) -> StoreResult:
        infos = await self.get_messages(uids)
        user = self.account.name
        check_names(self.account, names)
        add, remove = wanted_names(op, names, self.name, self._others())
        if not infos:
            return StoreResult(())
        made: list[str] = []
        try:
            for name in add:
                await self._make(name, made)
            plan = [(target, self._missing(infos, target)) for target in map(self._other, add)]
            self._check_room(infos, [uid for _, missing in plan for uid in missing])
            for flag_op, some in flag_changes(op, flags):
                self.put_flags([info.uid for info in infos], flag_op, some)
        except MailError:
            for name in reversed(made):
                await self.account.delete_mailbox(name=name)
            raise
        for target, missing in plan:
            if missing:
                self.put_copies(missing, Place(user, target.name, user=user))
        same = {info.email_id for info in infos if info.email_id is not None}
        for name in remove:
            other = self._other(name)
            other.remove(sorted(uid for each in same for uid in other.copies.get(each, ())))
        return StoreResult(await self.get_messages(uids))

    def _other(self, name: str) -> MemoryMailbox:
        return self.account.find_mailbox(name)

    async def _make(self, name: str, made: list[str]) -> None:
        """Make a mailbox if there is none, and the levels above it."""
        try:
            self._other(name)
        except NoSuchMailbox:
            before = {mailbox.name for mailbox in self.account.mailboxes()}
            await self.account.create_mailbox(name=name)
            after = [mailbox.name for mailbox in self.account.mailboxes()]
            made.extend(sorted(set(after) - before))

    @staticmethod
    def _missing(infos: Iterable[MessageInfo], target: MemoryMailbox) -> list[int]:
        """UIDs of the messages of which a mailbox has no copy; one of each."""
        missing: dict[str, int] = {}
        for info in infos:
            if info.email_id is not None and info.email_id not in target.copies:
                missing.setdefault(info.email_id, info.uid)
        return list(missing.values())

    def _check_room(self, infos: Sequence[MessageInfo], copied: Sequence[int]) -> None:
        """:raises MailError: there is no room for so many copies, or what is said about them."""
        if copied:
            sizes = {info.uid: info.size for info in infos}
            self.account.quota().check(sum(sizes[uid] for uid in copied), len(copied))
            said = self.annotations.read(copied, self.account.name)
            self.check_new(self.account.name, [said.get(uid, ()) for uid in copied])
