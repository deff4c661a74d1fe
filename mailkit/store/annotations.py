"""What stores have in common that keep annotations about messages (RFC 5257)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mailkit.annotations import Annotation, AnnotationChange
from mailkit.errors import EntryTooLarge, TooManyEntries
from mailkit.model import StoreResult
from mailkit.rights import Rights
from mailkit.store.sharing.records import may_not

#: Values about one message: so many are shared, and each user has so many.
MAX_ANNOTATIONS = 100
#: Octets of a value.
MAX_VALUE = 32 * 1024
#: Octets of a user's private values, and of the shared ones in a user's mailboxes.
MAX_OCTETS = 16 * 1024 * 1024
#: Octets as which each value counts besides its own and those of its entry's name.
VALUE_OVERHEAD = 64
#: Removed values of a message that are remembered, so that others hear of them.
MAX_REMOVED = 10

_REFUSALS = {
    "r": "You may not read this mailbox",
    "n": "You may not change the shared annotations of this mailbox",
}

#: What is to become of entries; None removes the value.
Entries = Mapping[str, "bytes | None"]


def by_scope(annotations: Iterable[Annotation]) -> dict[bool, dict[str, bytes | None]]:
    """Those that are shared, and those that are not; of two values for an entry the last counts."""
    scopes: dict[bool, dict[str, bytes | None]] = {}
    for entry, value, shared in annotations:
        scopes.setdefault(shared, {})[entry] = value
    return scopes


def check_sizes(entries: Entries) -> None:
    """:raises EntryTooLarge: a value has too many octets."""
    if any(value is not None and len(value) > MAX_VALUE for value in entries.values()):
        raise EntryTooLarge(f"A value has at most {MAX_VALUE} octets", MAX_VALUE)


def check_count(there: int, new: int) -> None:
    """Whether a message may have some more values of one scope.

    :raises TooManyEntries: they would be too many.
    """
    if new > 0 and there + new > MAX_ANNOTATIONS:
        raise TooManyEntries(f"A message has at most {MAX_ANNOTATIONS} annotations")


def check_octets(there: int, growth: int) -> None:
    """Whether there may be some more octets.

    :raises TooManyEntries: they would be too many.
    """
    if growth > 0 and there + growth > MAX_OCTETS:
        raise TooManyEntries(f"All annotations together have at most {MAX_OCTETS} octets")


def octets_of(entry: str, value: bytes | None) -> int:
    """How much a value counts."""
    return 0 if value is None else VALUE_OVERHEAD + len(entry) + len(value)


def right_for(annotation: Annotation) -> str:
    """The right that it takes to write one (RFC 5257 section 3.4)."""
    return "n" if annotation.shared else "r"


def writable(annotations: Sequence[Annotation], rights: Rights) -> list[Annotation]:
    """Those that somebody may write who has these rights."""
    return [each for each in annotations if right_for(each) in rights]


def check_annotations(annotations: Sequence[Annotation], rights: Rights) -> None:
    """:raises MailError: they may not be written with these rights."""
    for each in annotations:
        right = right_for(each)
        if right not in rights:
            raise may_not(rights, _REFUSALS[right])


class AnnotatedByUsers(ABC):
    """A mailbox's annotations, of which each user sees some; its own account is one of the users."""

    max_annotation = MAX_VALUE
    private_annotations = True

    #: Whose mailbox it is.
    _account: Any

    async def get_annotations(self, uids: Sequence[int]) -> Mapping[int, Sequence[Annotation]]:
        return await self.read_annotations(self._account.name, uids)

    @abstractmethod
    async def read_annotations(
        self, user: str, uids: Sequence[int]
    ) -> Mapping[int, Sequence[Annotation]]:
        """``get_annotations`` as a user sees them."""

    async def get_annotation_changes(self, since: int) -> Sequence[AnnotationChange]:
        return await self.read_annotation_changes(self._account.name, since)

    @abstractmethod
    async def read_annotation_changes(self, user: str, since: int) -> Sequence[AnnotationChange]:
        """``get_annotation_changes`` as a user sees them."""

    async def store_annotations(
        self,
        uids: Sequence[int],
        annotations: Sequence[Annotation],
        unchanged_since: int | None = None,
    ) -> StoreResult:
        return await self.change_annotations(self._account.name, uids, annotations, unchanged_since)

    @abstractmethod
    async def change_annotations(
        self,
        user: str,
        uids: Sequence[int],
        annotations: Sequence[Annotation],
        unchanged_since: int | None,
    ) -> StoreResult:
        """``store_annotations`` by a user."""
