"""Saving what was made of bodies, and can be made of them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mailkit._typing import override
from mailkit.store.sqlite.making import Row
from mailkit.store.sqlite.transaction import RowBuffer, Transaction
from mailkit.store.sqlite.writer import Operation


class SaveRows(Operation[None]):
    """Keep rows of one table, those of bodies that are still wanted; each table has its own kind."""

    __slots__ = ("_rows",)

    table: ClassVar[str]
    #: Without the number of the body.
    columns: ClassVar[Sequence[str]]
    #: The rows that are kept.
    condition: ClassVar[str] = "SELECT 1 FROM body WHERE id = v.column1 AND refs > 0"
    #: What happens to a row that there is already.
    conflict: ClassVar[str] = " ON CONFLICT (body_id) DO NOTHING"

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    @override
    def run(self, tx: Transaction) -> None:
        tx.flush()
        names = ", ".join(("body_id", *self.columns))
        head = f"INSERT INTO {self.table} ({names}) SELECT v.* FROM (VALUES "
        tail = f") AS v WHERE EXISTS ({self.condition})"
        buffer = RowBuffer(head, 1 + len(self.columns), tail + self.conflict)
        buffer.rows = list(self._rows)
        buffer.flush(tx.connection)
