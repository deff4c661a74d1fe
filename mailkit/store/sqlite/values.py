"""Small values that are kept for a time, and may be lost without harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailkit._typing import override
from mailkit.errors import StoreUnavailable
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Values of one kind; above, those that would expire first are removed.
MAX_VALUES = 200_000
#: Values that wait to be written.
MAX_PENDING = 1000
#: Values written between two removals of what has expired or is too much.
PRUNE_EVERY = 1000


class SetValue(Operation[None]):
    """Keep a value."""

    __slots__ = ("_expires", "_key", "_kind", "_value")

    def __init__(self, kind: str, key: str, value: str, expires: int) -> None:
        self._kind = kind
        self._key = key
        self._value = value
        self._expires = expires

    @override
    def run(self, tx: Transaction) -> None:
        tx.connection.execute(
            "INSERT INTO kept_value VALUES (?, ?, ?, ?) ON CONFLICT (kind, key)"
            " DO UPDATE SET value = excluded.value, expires = excluded.expires",
            (self._kind, self._key, self._value, self._expires),
        )


class PruneValues(Operation[None]):
    """Remove what has expired and, of each kind, what is too much."""

    __slots__ = ("_most",)

    def __init__(self, most: int) -> None:
        self._most = most

    @override
    def run(self, tx: Transaction) -> None:
        run = tx.connection.execute
        run("DELETE FROM kept_value WHERE expires <= ?", (tx.now,))
        for kind, count in run("SELECT kind, count(*) FROM kept_value GROUP BY kind").fetchall():
            if count > self._most:
                run(
                    "DELETE FROM kept_value WHERE kind = ? AND key IN ("
                    "SELECT key FROM kept_value WHERE kind = ? ORDER BY expires LIMIT ?)",
                    (kind, kind, count - self._most),
                )


class Values:
    """Reads and writes them. Used by the reactor's thread alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pending = 0
        self._written = 0

    def get(self, kind: str, key: str) -> str | None:
        """The value, unless it has expired."""
        row = self._core.reader.connection.execute(
            "SELECT value FROM kept_value WHERE kind = ? AND key = ? AND expires > ?",
            (kind, key, int(self._core.clock())),
        ).fetchone()
        return None if row is None else row[0]

    async def set(self, kind: str, key: str, value: str, seconds: float) -> None:
        """Keep a value; returns when it can be read.

        :raises StoreUnavailable: too many wait to be written.
        """
        core = self._core
        core.check_open()
        if self._pending >= MAX_PENDING:
            raise StoreUnavailable("Too many values wait to be written")
        self._pending += 1
        self._written += 1
        # Together with others: none of them is worth a flush of its own.
        done = core.writer.submit_lazy(SetValue(kind, key, value, int(core.clock() + seconds)))
        done.addBoth(self._written_one)
        if self._written % PRUNE_EVERY == 0:
            core.writer.submit_lazy(PruneValues(MAX_VALUES)).addErrback(lambda _: None)
        await done

    def _written_one(self, result: object) -> object:
        self._pending -= 1
        return result
