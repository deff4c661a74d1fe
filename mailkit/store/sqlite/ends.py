"""How bodies end: POP3 adds a CRLF to those that lack it, and tells sizes with it.

The writer notes it when a body comes. Bodies that are older than this note are looked at by the
maintenance, the newest first; until then they pass for such as end with CRLF.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from mailkit._typing import override
from mailkit.store.sqlite.bodies import BodyFiles
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation
from mailkit.wire.dotstuff import lacks_line_end

#: Bodies that are looked at in one step.
ENDS_AT_ONCE = 1000


def ends_known_from(connection: sqlite3.Connection) -> int:
    """The number of the first body from which on it is known how they end; 0 for all."""
    row = connection.execute("SELECT value FROM setting WHERE name = 'ends_known_from'").fetchone()
    return 0 if row is None else int(row[0])


class SaveEnds(Operation[None]):
    """Keep how older bodies end.

    :param known_from: the ends of all bodies from this number on are known now; 0 for all.
    :param unended: bodies that do not end with CRLF.
    """

    __slots__ = ("_known_from", "_unended")

    def __init__(self, known_from: int, unended: Sequence[int]) -> None:
        self._known_from = known_from
        self._unended = unended

    @override
    def run(self, tx: Transaction) -> None:
        run = tx.connection.execute
        run(
            "INSERT OR IGNORE INTO unended_body SELECT id FROM body"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(self._unended),),
        )
        if self._known_from:
            run(
                "UPDATE setting SET value = ? WHERE name = 'ends_known_from'",
                (self._known_from,),
            )
        else:
            run("DELETE FROM setting WHERE name = 'ends_known_from'")
        tx.changed = True


def look_at_ends(connection: sqlite3.Connection, bodies: BodyFiles) -> SaveEnds | None:
    """Read the ends of some bodies; None when all are known."""
    known_from = ends_known_from(connection)
    if not known_from:
        return None
    rows = connection.execute(
        "SELECT id, segment, start, size FROM body WHERE id < ? ORDER BY id DESC LIMIT ?",
        (known_from, ENDS_AT_ONCE),
    ).fetchall()
    unended = []
    for body_id, segment, start, size in rows:
        end = start + size
        try:
            if lacks_line_end(bodies.read_range(segment, end - min(size, 2), end)):
                unended.append(body_id)
        except OSError:
            # Nobody will be sent it.
            continue
    return SaveEnds(rows[-1][0] if len(rows) == ENDS_AT_ONCE else 0, unended)
