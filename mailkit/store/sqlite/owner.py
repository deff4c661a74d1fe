"""What only that process of a store has that makes its changes: lock, end of the log, writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorUNIX
from twisted.logger import Logger

from mailkit.store.sqlite.ahead import Ahead
from mailkit.store.sqlite.door import Door
from mailkit.store.sqlite.journal import Journal
from mailkit.store.sqlite.lock import DirectoryLock
from mailkit.store.sqlite.log import SegmentLog
from mailkit.store.sqlite.maintenance import Maintenance
from mailkit.store.sqlite.recovery import recover, refuse_missing_index
from mailkit.store.sqlite.schema import open_index
from mailkit.store.sqlite.spools import sweep_spools
from mailkit.store.sqlite.states import States
from mailkit.store.sqlite.transaction import Touched, Transaction
from mailkit.store.sqlite.writer import Writer

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Seconds until guests are cut off that do not take their last answers.
GOODBYE_PATIENCE = 2.0


class Owner:
    """Owns a store's directory from :meth:`start` to :meth:`close`.

    :param lock: is released by us, also when this fails.
    :param flush: makes a file of the log durable, given its descriptor.
    :raises StoreUnavailable: the directory can't be written.
    :raises StoreCorrupt: index and log do not fit together.
    """

    log = Logger()

    def __init__(self, core: Core, lock: DirectoryLock, flush: Callable[[int], None]) -> None:
        self._core = core
        self._lock = lock
        self._connection: sqlite3.Connection | None = None
        settings = core.settings
        self._segments = SegmentLog(
            core.log_directory,
            limit=settings.segment_size,
            large=settings.large_body,
            min_free=settings.min_free,
            room=settings.room_ahead,
            flush=flush,
        )
        self._journal = Journal(core.log_directory)
        try:
            refuse_missing_index(core.directory)
            sweep_spools(core.spools_directory)
            connection = self._connection = open_index(core.directory)
            recover(connection, core.log_directory, self._segments, self._journal)
        except BaseException:
            self.release()
            raise
        states = States(connection)
        tx = Transaction(connection, self._segments, self._journal, states)
        self.writer = Writer(tx, core.reactor, core.clock, self._announce)
        self.maintenance = Maintenance(core, self.writer)
        #: Makes what will be asked for, if that is wanted.
        self.ahead = Ahead(core, self.writer) if settings.summarize_ahead else None
        self._door: Door | None = None

    def start(self) -> None:
        """Begin to work.

        :raises StoreUnavailable: guests cannot be let in.
        """
        core = self._core
        if IReactorUNIX.providedBy(core.reactor):
            door = Door(
                core.directory,
                core.codec,
                self.writer,
                core.channel,
                core.compact,
                core.guest_entered,
                self._swept,
            )
            try:
                door.open(core.reactor)
            except BaseException:
                self.release()
                raise
            self._door = door
        self.writer.start()
        self.maintenance.start()
        if self.ahead is not None:
            self.ahead.start()

    def _announce(self, touched: set[Touched]) -> None:
        if touched:
            if self.ahead is not None:
                self.ahead.wake()
            self._core.announce(touched)
        if self._door is not None:
            self._door.tell(touched)

    @property
    def has_guests(self) -> bool:
        """Other processes have come in, and not gone yet."""
        return self._door is not None and self._door.has_visitors

    def _swept(self) -> None:
        """A guest has gone: what it was receiving is nobody's."""
        sweep_spools(self._core.spools_directory)

    def send_message(self, topic: str, text: str) -> None:
        """Give a message to the other processes."""
        if self._door is not None:
            self._door.forward(topic, text)

    async def close(self) -> None:
        """Finish what was submitted and release everything."""
        core = self._core
        if self._door is not None:
            self._door.stop()
        self.maintenance.stop()
        if self.ahead is not None:
            self.ahead.stop()
            await core.in_thread(self.ahead.join)
        await core.in_thread(self.maintenance.join)
        await self.writer.stop()
        await core.in_thread(self._checkpoint)
        if self._door is not None:
            await self._door.close(core.reactor, GOODBYE_PATIENCE)
        self.release()

    def _checkpoint(self) -> None:
        connection = self._connection
        assert connection is not None
        try:
            # All that was begun is durable: nothing has to be verified when it is opened again.
            connection.execute("UPDATE log_state SET closed = 1")
            connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self.log.warn("the index is not checkpointed: {error}", error=error)

    def release(self) -> None:
        """Give back what is not a thread's; again does no harm."""
        self._segments.trim()
        self._segments.close()
        self._journal.close()
        if self._connection is not None:
            self._connection.close()
        self._lock.release()
