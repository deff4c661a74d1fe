"""Annotations about the messages of a mailbox in memory (RFC 5257)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from mailkit._typing import override
from mailkit.annotations import Annotation, AnnotationChange
from mailkit.model import MessageInfo, StoreResult
from mailkit.store.annotations import (
    MAX_REMOVED,
    AnnotatedByUsers,
    by_scope,
    check_count,
    check_octets,
    check_sizes,
    octets_of,
)

if TYPE_CHECKING:
    from mailkit.store.memory_account import MemoryAccount

#: Whose a value is, None for everybody's, and its entry.
_Key: TypeAlias = "tuple[str | None, str]"


class _Row(NamedTuple):
    #: None for one that was removed.
    value: bytes | None
    modseq: int


#: What is to become of values of one message.
Changes: TypeAlias = "dict[_Key, bytes | None]"


class MemoryAnnotations:
    """Values by message; of those that were removed, the last ones are remembered."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[_Key, _Row]] = {}

    def read(self, uids: Iterable[int], user: str) -> dict[int, list[Annotation]]:
        """What a user sees."""
        found: dict[int, list[Annotation]] = {}
        for uid in uids:
            seen = [
                Annotation(entry, row.value, owner is None)
                for (owner, entry), row in self._rows.get(uid, {}).items()
                if row.value is not None and owner in (None, user)
            ]
            if seen:
                found[uid] = sorted(seen, key=lambda each: (each.entry, each.shared))
        return found

    def changes_since(self, since: int, user: str) -> list[AnnotationChange]:
        return sorted(
            AnnotationChange(uid, entry, row.modseq)
            for uid, rows in self._rows.items()
            for (owner, entry), row in rows.items()
            if row.modseq > since and owner in (None, user)
        )

    def differences(self, uid: int, annotations: Sequence[Annotation], user: str) -> Changes:
        """What of some annotations is not so yet.

        :raises MailError: there may not be so much.
        """
        rows = self._rows.get(uid, {})
        changes: Changes = {}
        for shared, entries in by_scope(annotations).items():
            check_sizes(entries)
            owner = None if shared else user
            there = {e for (who, e), row in rows.items() if who == owner and row.value is not None}
            new = sum(value is not None for entry, value in entries.items() if entry not in there)
            removed = sum(value is None for entry, value in entries.items() if entry in there)
            check_count(len(there), new - removed)
            for entry, value in entries.items():
                old = rows.get((owner, entry))
                if value != (None if old is None else old.value):
                    changes[owner, entry] = value
        return changes

    def growth(self, uid: int, changes: Changes) -> Mapping[str | None, int]:
        """By how many octets the values of each user, and those that are shared, become more."""
        rows = self._rows.get(uid, {})
        grown: dict[str | None, int] = {}
        for (owner, entry), value in changes.items():
            old = rows.get((owner, entry))
            before = 0 if old is None else octets_of(entry, old.value)
            grown[owner] = grown.get(owner, 0) + octets_of(entry, value) - before
        return grown

    def write(self, uid: int, changes: Changes, modseq: int) -> None:
        rows = self._rows.setdefault(uid, {})
        for key, value in changes.items():
            # Taken out and put in again: the order is that of the changes.
            rows.pop(key, None)
            rows[key] = _Row(value, modseq)
        for owner in {owner for owner, _ in changes}:
            removed = [key for key, row in rows.items() if key[0] == owner and row.value is None]
            for key in removed[:-MAX_REMOVED]:
                del rows[key]

    def octets(self, owner: str | None) -> int:
        """Of all values of a user, or of those that are shared."""
        return sum(
            octets_of(entry, row.value)
            for rows in self._rows.values()
            for (who, entry), row in rows.items()
            if who == owner
        )

    def drop(self, uid: int) -> None:
        """The message is gone."""
        self._rows.pop(uid, None)

    def forget(self, user: str) -> None:
        """The account is removed."""
        for rows in self._rows.values():
            for key in [key for key in rows if key[0] == user]:
                del rows[key]

    def clear(self) -> None:
        self._rows.clear()


class AnnotatedMailbox(AnnotatedByUsers):
    """The part of a mailbox that is about annotations."""

    _account: MemoryAccount
    _infos: dict[int, MessageInfo]
    _touched: dict[int, int]

    def __init__(self) -> None:
        self.annotations = MemoryAnnotations()

    @abstractmethod
    def _check(self) -> None:
        """:raises NoSuchMailbox: it has been deleted."""

    @abstractmethod
    def _changed(self, modseq: int) -> None:
        """Something has, and who watches is to know."""

    @override
    async def read_annotations(
        self, user: str, uids: Sequence[int]
    ) -> Mapping[int, Sequence[Annotation]]:
        self._check()
        return self.annotations.read(uids, user)

    @override
    async def read_annotation_changes(self, user: str, since: int) -> Sequence[AnnotationChange]:
        self._check()
        return self.annotations.changes_since(since, user)

    @override
    async def change_annotations(
        self,
        user: str,
        uids: Sequence[int],
        annotations: Sequence[Annotation],
        unchanged_since: int | None,
    ) -> StoreResult:
        self._check()
        found = [uid for uid in uids if uid in self._infos]
        modified: list[int] = []
        if unchanged_since is not None:
            modified = [uid for uid in found if self._infos[uid].modseq > unchanged_since]
            found = [uid for uid in found if self._infos[uid].modseq <= unchanged_since]
        differences = {uid: self.annotations.differences(uid, annotations, user) for uid in found}
        self._check_growth(differences)
        changed = {uid: changes for uid, changes in differences.items() if changes}
        if changed:
            modseq = self._account.next_modseq()
            for uid, changes in changed.items():
                self.annotations.write(uid, changes, modseq)
                self._infos[uid] = self._infos[uid]._replace(modseq=modseq)
                del self._touched[uid]
                self._touched[uid] = modseq
            self._changed(modseq)
        return StoreResult([self._infos[uid] for uid in found], modified)

    def check_new(self, user: str, annotations: Sequence[Sequence[Annotation]]) -> None:
        """:raises MailError: new messages may not have these."""
        self._check()
        # No message has a number below 1.
        numbered = enumerate(annotations)
        differences = {-n: self.annotations.differences(-n, some, user) for n, some in numbered}
        self._check_growth(differences)

    def _check_growth(self, differences: Mapping[int, Changes]) -> None:
        grown: dict[str | None, int] = {}
        for uid, changes in differences.items():
            for owner, octets in self.annotations.growth(uid, changes).items():
                grown[owner] = grown.get(owner, 0) + octets
        for owner, octets in grown.items():
            if octets > 0:
                check_octets(self._account.count_annotations(owner), octets)

    def annotate_new(
        self, user: str, uids: Sequence[int], annotations: Sequence[Sequence[Annotation]]
    ) -> None:
        """Give new messages theirs."""
        for uid, some in zip(uids, annotations, strict=True):
            if some:
                changes = self.annotations.differences(uid, some, user)
                self.annotations.write(uid, changes, self._infos[uid].modseq)
