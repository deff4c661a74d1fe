"""What was told of messages and never changes, kept in memory: a field of a mailbox at a time.

Clients ask for the same fields of the same messages again: web mail with each page that it shows,
others whenever they open a mailbox anew. None of them need then be read from the index, or looked for
in a header, once more. Whether the messages are still there is for the index to say.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import compress
from operator import not_

#: Octets that are kept, with :data:`PER_VALUE` for each value.
MAX_KEPT = 8 * 1024 * 1024
#: The same of one field of a mailbox: with more, it begins anew.
MAX_COLUMN = 8 * 1024 * 1024
#: Fields of mailboxes of which something is kept.
MAX_COLUMNS = 2000
#: Octets that a value takes besides its own: as an object, and its place beside a UID.
PER_VALUE = 130


class _Column:
    """One field of a mailbox's messages, by UID."""

    __slots__ = ("octets", "values")

    def __init__(self) -> None:
        self.values: dict[int, bytes] = {}
        self.octets = 0


class ReadyColumns:
    """Used by the reactor's thread alone.

    No UID, nor id of a mailbox, ever stands for another one; what is gone is forgotten in time.
    """

    def __init__(self) -> None:
        # What was asked for last stands at the end.
        self._columns: OrderedDict[tuple[int, str], _Column] = OrderedDict()
        self._octets = 0

    def get(self, mailbox_id: int, field: str, uids: Sequence[int]) -> list[bytes] | None:
        """The field's values for all of these messages, some of which may be gone, or None."""
        column = self._columns.get((mailbox_id, field))
        if column is None:
            return None
        self._columns.move_to_end((mailbox_id, field))
        try:
            return list(map(column.values.__getitem__, uids))
        except KeyError:
            return None

    def keep(
        self, mailbox_id: int, field: str, uids: Sequence[int], values: Sequence[bytes]
    ) -> None:
        """Remember a field's values."""
        key = mailbox_id, field
        column = self._columns.setdefault(key, _Column())
        self._columns.move_to_end(key)
        new = values
        # Most often they are all new.
        if not column.values.keys().isdisjoint(uids):
            known = map(column.values.__contains__, uids)
            new = list(compress(values, map(not_, known)))
        octets = _octets_of(new)
        if column.octets + octets > MAX_COLUMN:
            self._octets -= column.octets
            column = self._columns[key] = _Column()
            octets = _octets_of(values)
        column.values.update(zip(uids, values, strict=True))
        column.octets += octets
        self._octets += octets
        while len(self._columns) > 1 and (
            self._octets > MAX_KEPT or len(self._columns) > MAX_COLUMNS
        ):
            _, oldest = self._columns.popitem(last=False)
            self._octets -= oldest.octets


def _octets_of(values: Sequence[bytes]) -> int:
    return sum(map(len, values)) + PER_VALUE * len(values)
