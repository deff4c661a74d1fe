"""Maps of texts in the index: made when a search has taken a message apart, and kept."""

from __future__ import annotations

from collections.abc import Sequence

from mailkit._typing import override
from mailkit.store.sqlite.transaction import RowBuffer, Transaction
from mailkit.store.sqlite.writer import Operation

_SAVE = "INSERT OR IGNORE INTO text_map (body_id, map) SELECT v.column1, v.column2 FROM (VALUES "
_SAVE_TAIL = ") AS v WHERE EXISTS (SELECT 1 FROM body WHERE id = v.column1 AND refs > 0)"


class SaveTextMaps(Operation[None]):
    """Keep maps by body id."""

    __slots__ = ("_maps",)

    def __init__(self, maps: Sequence[tuple[int, str]]) -> None:
        self._maps = maps

    @override
    def run(self, tx: Transaction) -> None:
        tx.flush()
        buffer = RowBuffer(_SAVE, 2, _SAVE_TAIL)
        buffer.rows = list(self._maps)
        buffer.flush(tx.connection)
