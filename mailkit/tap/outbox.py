"""``outbox`` in ``[queue]``: moves what programs have put into their outbox tables into the queue.

A row is read, submitted under its key, and deleted when the queue has it durably. After a crash between
the last two it is submitted again, and the queue knows the key: nothing is sent twice.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailkit import outbox
from mailkit._typing import override
from mailkit.errors import MailError
from mailkit.model import Envelope
from mailkit.outbox import TABLE, Row
from mailkit.pools import DaemonThreadPool
from mailkit.tap.errors import SettingError

#: Rows that are listed at a time, and messages that are in memory at the same time.
BATCH = 50
MAX_PARALLEL = 10
#: Seconds between two looks at a table in SQLite, and for which PostgreSQL is listened to in one go.
LOOK_INTERVAL = 1.0
#: Seconds after trouble with the database or the queue.
TROUBLE_INTERVAL = 10.0

#: Queues a message under a key.
Submit = Callable[[Envelope, bytes, str], Awaitable[object]]


class Source(ABC):
    """A program's database. All methods but the constructor run in one thread."""

    @abstractmethod
    def list_ids(self) -> Sequence[int]:
        """Rows that wait, the oldest first; perhaps not all."""

    @abstractmethod
    def read(self, id: int) -> Row | None:
        """A row; None where it is gone."""

    @abstractmethod
    def remove(self, id: int) -> None:
        """The queue has it."""

    @abstractmethod
    def set_aside(self, id: int, problem: str) -> None:
        """It cannot be sent: it stays, with the reason, and is not looked at again."""

    @abstractmethod
    def wait(self) -> None:
        """Until there may be more; for a while."""

    @abstractmethod
    def close(self) -> None:
        """Let the database go; it is opened again when it is needed."""

    #: What these raise.
    errors: tuple[type[Exception], ...]
    #: For the log: where it is, without secrets.
    name: str


class SQLiteSource(Source):
    """A table in a file of SQLite, which must be there."""

    errors = (sqlite3.Error,)

    def __init__(self, path: str) -> None:
        self.name = f"sqlite:{path}"
        self._path = os.path.expanduser(path)
        self._connection: sqlite3.Connection | None = None

    def _execute(self, sql: str, *values: object) -> list[Any]:
        if self._connection is None:
            # Never made here: a wrong path would be a new table, which nobody fills. Autocommit: each
            # statement is a transaction of its own.
            uri = f"file:{quote(self._path)}?mode=rw"
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False
            )
            try:
                outbox.create_table(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection.execute(sql, values).fetchall()

    @override
    def list_ids(self) -> Sequence[int]:
        sql = f"SELECT id FROM {TABLE} WHERE problem IS NULL ORDER BY id LIMIT {BATCH}"
        return [id for (id,) in self._execute(sql)]

    @override
    def read(self, id: int) -> Row | None:
        rows = self._execute(f"SELECT id, key, envelope, message FROM {TABLE} WHERE id = ?", id)
        return Row(*rows[0]) if rows else None

    @override
    def remove(self, id: int) -> None:
        self._execute(f"DELETE FROM {TABLE} WHERE id = ?", id)

    @override
    def set_aside(self, id: int, problem: str) -> None:
        self._execute(f"UPDATE {TABLE} SET problem = ? WHERE id = ?", problem, id)

    @override
    def wait(self) -> None:
        """The reactor waits."""

    @override
    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class PostgresSource(Source):
    """A table in PostgreSQL.

    :param dsn: what psycopg connects to.
    :raises SettingError: psycopg is missing.
    """

    name = "PostgreSQL"

    def __init__(self, dsn: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise SettingError(
                "an outbox in PostgreSQL needs psycopg: pip install 'twisted-mailkit[postgres]'"
            ) from error
        self._dsn = dsn
        self._psycopg: Any = psycopg
        self._connection: Any = None
        self.errors = (psycopg.Error,)

    def _execute(self, sql: str, *values: object) -> Any:
        if self._connection is None:
            connection = self._psycopg.connect(self._dsn, autocommit=True, connect_timeout=10)
            try:
                outbox.create_table(connection)
                connection.execute(f"LISTEN {TABLE}")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection.execute(sql, values or None)

    @override
    def list_ids(self) -> Sequence[int]:
        sql = f"SELECT id FROM {TABLE} WHERE problem IS NULL ORDER BY id LIMIT {BATCH}"
        return [id for (id,) in self._execute(sql).fetchall()]

    @override
    def read(self, id: int) -> Row | None:
        sql = f"SELECT id, key, envelope, message FROM {TABLE} WHERE id = %s"
        row = self._execute(sql, id).fetchone()
        return Row(row[0], row[1], row[2], bytes(row[3])) if row is not None else None

    @override
    def remove(self, id: int) -> None:
        self._execute(f"DELETE FROM {TABLE} WHERE id = %s", id)

    @override
    def set_aside(self, id: int, problem: str) -> None:
        self._execute(f"UPDATE {TABLE} SET problem = %s WHERE id = %s", problem, id)

    @override
    def wait(self) -> None:
        if self._connection is not None:
            for _ in self._connection.notifies(timeout=LOOK_INTERVAL, stop_after=1):
                pass

    @override
    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def parse_outbox(text: str) -> Source:
    """The database of ``sqlite:PATH`` or ``postgres:DSN``.

    :raises SettingError: it is neither, or psycopg is missing.
    """
    scheme, colon, rest = text.partition(":")
    if scheme == "sqlite" and rest:
        return SQLiteSource(rest)
    if scheme == "postgres" and colon:
        return PostgresSource(rest)
    if scheme == "postgresql" and rest.startswith("//"):
        return PostgresSource(text)
    raise SettingError(f"outbox: {text!r} is neither sqlite:PATH nor postgres:DSN")


class OutboxMover:
    """Moves rows until it is stopped. Several may work on one table for the same queue, for nothing.

    :param submit: queues a message; what it raises decides: a temporary error is tried again.
    """

    log = Logger()

    def __init__(self, source: Source, submit: Submit, reactor: Any) -> None:
        self._source = source
        self._submit = submit
        self._reactor = reactor
        self._pool = DaemonThreadPool(0, 1, "outbox")
        self._work: Deferred[None] | None = None
        self._trigger: Any = None
        self._running = False

    def start(self) -> None:
        """Begin to move."""
        self._running = True
        self._pool.start()
        # Its thread would keep a program alive that ends without stopping us.
        self._trigger = self._reactor.addSystemEventTrigger("during", "shutdown", self._pool.stop)
        self._work = Deferred.fromCoroutine(self._move())
        self._work.addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.log.failure("the outbox failed", failure)

    async def stop(self) -> None:
        """Move nothing more."""
        if not self._running:
            return
        self._running = False
        self._reactor.removeSystemEventTrigger(self._trigger)
        if self._work is not None:
            self._work.cancel()
        try:
            await self._in_thread(self._source.close)
        finally:
            self._pool.stop()

    def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)

    async def _move(self) -> None:
        while self._running:
            try:
                ids: Sequence[int] = await self._in_thread(self._source.list_ids)
                trouble: Exception | None = None
                for start in range(0, len(ids), MAX_PARALLEL):
                    found = await self._move_rows(ids[start : start + MAX_PARALLEL])
                    trouble = trouble or found
                if trouble is not None:
                    raise trouble
                if not ids:
                    await self._in_thread(self._source.wait)
            except self._source.errors as error:
                self.log.error(
                    "the outbox in {name} cannot be read: {error}",
                    name=self._source.name,
                    error=str(error).strip(),
                )
                await self._in_thread(self._close)
                await self._pause(TROUBLE_INTERVAL)
            except MailError as error:
                self.log.error("the queue takes nothing from the outbox: {e}", e=error.text)
                await self._pause(TROUBLE_INTERVAL)
            except CancelledError:
                raise
            except Exception:
                self.log.failure("a row of the outbox in {name}", name=self._source.name)
                await self._pause(TROUBLE_INTERVAL)
            else:
                if not ids and isinstance(self._source, SQLiteSource):
                    await self._pause(LOOK_INTERVAL)

    def _close(self) -> None:
        try:
            self._source.close()
        except self._source.errors:
            # It is gone, which is why it is closed.
            pass

    async def _move_rows(self, ids: Sequence[int]) -> Exception | None:
        """Move some at the same time, so that they become durable together.

        Gives what is the matter with one of them, which stops none of the others.

        :raises MailError: the queue takes nothing.
        """
        rows = [Deferred.fromCoroutine(self._move_row(id)) for id in ids]
        # All of them, whatever becomes of one.
        results: Any = await DeferredList(rows, consumeErrors=True)
        trouble: Exception | None = None
        for done, result in results:
            if not done:
                if result.check(MailError, CancelledError):
                    result.raiseException()
                trouble = result.value
        return trouble

    async def _move_row(self, id: int) -> None:
        row: Row | None = await self._in_thread(self._source.read, id)
        if row is None:
            return
        try:
            if not isinstance(row.message, bytes):
                # SQLite keeps whatever it is given.
                raise ValueError("the message is no BLOB")
            await self._submit(outbox.load(row.envelope), row.message, row.key)
        except ValueError as error:
            problem = str(error)
        except MailError as error:
            if error.temporary:
                raise
            problem = error.text
        else:
            await self._in_thread(self._source.remove, id)
            return
        self.log.error("row {id} of the outbox cannot be sent: {problem}", id=id, problem=problem)
        await self._in_thread(self._source.set_aside, id, problem)

    def _pause(self, seconds: float) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._reactor.callLater(seconds, done.callback, None)
        return done
