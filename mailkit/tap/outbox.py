"""``outbox`` in ``[queue]``: moves what programs have put into their outbox tables into the queue.

A row is read, submitted under its key, and deleted when the queue has it durably. After a crash between
the last two it is submitted again, and the queue knows the key: nothing is sent twice.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from socket import SHUT_RDWR, socket
from typing import Any, NamedTuple
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailkit import outbox
from mailkit._typing import override
from mailkit.clocks import steady_seconds
from mailkit.errors import MailError, StoreUnavailable
from mailkit.model import Envelope
from mailkit.outbox import TABLE, Row
from mailkit.pools import DaemonThreadPool
from mailkit.statuscodes import codes_of
from mailkit.tap.errors import SettingError

#: Before the smallest number that a row can have.
FIRST = -(2**63)
#: Rows that are listed at a time, and messages that are in memory at the same time.
BATCH = 50
MAX_PARALLEL = 10
#: Seconds between two looks at a table in SQLite, and for which PostgreSQL is listened to in one go.
LOOK_INTERVAL = 1.0
#: Seconds after trouble with the database, the queue or a row.
TROUBLE_INTERVAL = 10.0
#: Seconds after which a database that does not answer is left when it is to be closed.
STOP_TIME = 5.0
#: Characters of a reason that are kept.
MAX_PROBLEM = 500

#: Queues a message under a key.
Submit = Callable[[Envelope, bytes, str], Awaitable[object]]


class Source(ABC):
    """A program's database. All methods but the constructor run in one thread."""

    @abstractmethod
    def list_ids(self, after: int) -> Sequence[int]:
        """Rows that wait, the oldest first, with greater numbers than this; not more than ``BATCH``."""

    @abstractmethod
    def read(self, id: int) -> Row | None:
        """A row; None where it is gone.

        :raises ValueError: it is none of ours.
        """

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

    def break_off(self) -> None:
        """End what the thread waits for, if that may take long; called in another one."""

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
            # Programs bind as text what is not UTF-8, which cannot be read as such.
            connection.text_factory = bytes
            try:
                outbox.create_table(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection.execute(sql, values).fetchall()

    @override
    def list_ids(self, after: int) -> Sequence[int]:
        sql = f"SELECT id FROM {TABLE} WHERE problem IS NULL AND id > ? ORDER BY id LIMIT {BATCH}"
        return [id for (id,) in self._execute(sql, after)]

    @override
    def read(self, id: int) -> Row | None:
        # SQLite keeps whatever it is given. It need not read a BLOB to know its length.
        rows = self._execute(
            "SELECT typeof(key) = 'text', typeof(message) = 'blob',"
            " CASE typeof(message) WHEN 'blob' THEN length(message) END,"
            " length(CAST(envelope AS BLOB)), length(CAST(key AS BLOB))"
            f" FROM {TABLE} WHERE id = ?",
            id,
        )
        if not rows:
            return None
        ((key_is_text, message_is_blob, *sizes),) = rows
        if not message_is_blob:
            raise ValueError("the message is no BLOB")
        if not key_is_text:
            # Another row may have the same octets as text.
            raise ValueError("the key is no text")
        outbox.check_size(*sizes)
        rows = self._execute(f"SELECT key, envelope, message FROM {TABLE} WHERE id = ?", id)
        if not rows:
            return None
        ((key, envelope, message),) = rows
        return Row(id, key.decode(), envelope.decode(), message)

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
        # Not yet ready for use.
        self._opening: Any = None
        self._broken_off = False
        self.errors = (psycopg.Error,)

    def _execute(self, sql: str, *values: object) -> Any:
        if self._connection is None:
            # A database without an encoding would give octets for text.
            connection = self._psycopg.connect(
                self._dsn, autocommit=True, connect_timeout=10, client_encoding="utf8"
            )
            self._opening = connection
            try:
                if self._broken_off:
                    # While there was nothing yet that could have been ended.
                    raise self._psycopg.OperationalError("the outbox is closed")
                # To make one wants a right that whoever only moves rows need not have, also where
                # there is one.
                (name,) = connection.execute("SELECT to_regclass(%s)", [TABLE]).fetchone()
                if name is None:
                    outbox.create_table(connection)
                connection.execute(f"LISTEN {TABLE}")
                self._connection = connection
            except BaseException:
                connection.close()
                raise
            finally:
                self._opening = None
        return self._connection.execute(sql, values or None)

    @override
    def list_ids(self, after: int) -> Sequence[int]:
        sql = f"SELECT id FROM {TABLE} WHERE problem IS NULL AND id > %s ORDER BY id LIMIT {BATCH}"
        return [id for (id,) in self._execute(sql, after).fetchall()]

    @override
    def read(self, id: int) -> Row | None:
        # PostgreSQL need not read them to know their lengths.
        sql = (
            "SELECT octet_length(message), octet_length(envelope), octet_length(key)"
            f" FROM {TABLE} WHERE id = %s"
        )
        sizes = self._execute(sql, id).fetchone()
        if sizes is None:
            return None
        outbox.check_size(*sizes)
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
    def break_off(self) -> None:
        # A request to the server to cancel would wait for the server, too.
        self._broken_off = True
        # In the order in which the thread does not change them: one of the two is found.
        connection = self._opening or self._connection
        if connection is not None:
            with (
                suppress(OSError, self._psycopg.Error),
                socket(fileno=os.dup(connection.fileno())) as its_socket,
            ):
                its_socket.shutdown(SHUT_RDWR)

    @override
    def close(self) -> None:
        self._broken_off = False
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


class _Failed(NamedTuple):
    """A row that is to be tried again."""

    id: int
    failure: Failure


class OutboxMover:
    """Moves rows until it is stopped. Several may work on one table for the same queue, for nothing.

    :param submit: queues a message; what it raises decides. ``StoreUnavailable`` lets all of them
        wait, an error that SMTP says with 4xx only this one, and another one sets it aside.
    """

    log = Logger()

    def __init__(self, source: Source, submit: Submit, reactor: Any) -> None:
        self._source = source
        self._submit = submit
        self._reactor = reactor
        self._seconds = steady_seconds(reactor)
        self._pool = DaemonThreadPool(0, 1, "outbox")
        self._work: Deferred[None] | None = None
        self._trigger: Any = None
        self._running = False
        #: Rows have failed, and are tried again from then on (by :attr:`_seconds`); otherwise, only
        #: what is behind the last one that was looked at.
        self._again: float | None = None
        self._after = FIRST
        # There was no more behind it; and the last look was from the beginning, so that the next is not.
        self._is_at_end = self._was_again = False

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
        break_off = self._reactor.callLater(STOP_TIME, self._source.break_off)
        try:
            await self._in_thread(self._source.close)
        finally:
            if break_off.active():
                break_off.cancel()
            self._pool.stop()

    def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)

    async def _move(self) -> None:
        while self._running:
            try:
                await self._move_some()
            except self._source.errors as error:
                self.log.error(
                    "the outbox in {name} cannot be read: {error}",
                    name=self._source.name,
                    error=_plain(error),
                )
                await self._in_thread(self._close)
                await self._pause(TROUBLE_INTERVAL)
            except StoreUnavailable as error:
                self.log.error("the queue takes nothing from the outbox: {e}", e=error.text)
                await self._pause(TROUBLE_INTERVAL)
            except CancelledError:
                raise
            except Exception:
                self.log.failure("the outbox in {name}", name=self._source.name)
                await self._pause(TROUBLE_INTERVAL)

    def _close(self) -> None:
        try:
            self._source.close()
        except self._source.errors:
            # It is gone, which is why it is closed.
            pass

    async def _move_some(self) -> None:
        """Move what is listed in one go; wait where there is no more."""
        again = not self._was_again and self._again is not None and self._seconds() >= self._again
        self._was_again = again
        after = FIRST if again else self._after
        ids: Sequence[int] = await self._in_thread(self._source.list_ids, after)
        if again:
            self._again = None
        failed: list[_Failed] = []
        for start in range(0, len(ids), MAX_PARALLEL):
            failed += await self._move_rows(ids[start : start + MAX_PARALLEL])
        if failed:
            await self._note(failed)
            await self._pause(LOOK_INTERVAL)
        elif not ids:
            await self._wait()
        if self._again is None:
            # From the beginning: of two transactions, the one with the smaller number may end last.
            self._after = FIRST
        elif self._is_at_end or not again:
            self._after, self._is_at_end = ids[-1] if ids else after, len(ids) < BATCH

    async def _wait(self) -> None:
        await self._in_thread(self._source.wait)
        if isinstance(self._source, SQLiteSource):
            await self._pause(LOOK_INTERVAL)

    async def _note(self, failed: Sequence[_Failed]) -> None:
        """Rows have failed for now, which stops none of the others."""
        if self._again is None:
            self._again = self._seconds() + TROUBLE_INTERVAL
        # Mostly they have failed for one reason.
        first = failed[0]
        self.log.error(
            "row {id} of the outbox in {name} is tried again: {problem}; so are {count} others",
            id=first.id,
            name=self._source.name,
            problem=_plain(first.failure.value),
            count=len(failed) - 1,
        )
        for id, failure in failed:
            if not failure.check(MailError, *self._source.errors):
                self.log.failure("row {id} of the outbox", failure, id=id)
        if any(failure.check(*self._source.errors) for _, failure in failed):
            await self._in_thread(self._close)

    async def _move_rows(self, ids: Sequence[int]) -> list[_Failed]:
        """Move some at the same time, so that they become durable together.

        Gives those that are to be tried again.

        :raises StoreUnavailable: the queue takes nothing.
        """
        rows = [Deferred.fromCoroutine(self._move_row(id)) for id in ids]
        # All of them, whatever becomes of one.
        results: Any = await DeferredList(rows, consumeErrors=True)
        failed: list[_Failed] = []
        for id, (done, result) in zip(ids, results, strict=True):
            if not done:
                if result.check(StoreUnavailable, CancelledError):
                    result.raiseException()
                failed.append(_Failed(id, result))
        return failed

    async def _move_row(self, id: int) -> None:
        try:
            row: Row | None = await self._in_thread(self._source.read, id)
            if row is None:
                return
            await self._submit(outbox.load(row.envelope), row.message, row.key)
        except ValueError as error:
            problem = _plain(error)
        except MailError as error:
            # Not only those that are temporary: a limit does not last (SMTP says 452).
            if error.temporary or codes_of(error)[0] < 500:
                raise
            problem = _plain(error)
        else:
            await self._in_thread(self._source.remove, id)
            return
        self.log.error("row {id} of the outbox cannot be sent: {problem}", id=id, problem=problem)
        await self._in_thread(self._source.set_aside, id, problem)

    def _pause(self, seconds: float) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._reactor.callLater(seconds, done.callback, None)
        return done


def _plain(error: object) -> str:
    """What an error says, in a line that any database keeps."""
    text = " ".join(str(error).split())
    return "".join(each if each.isprintable() else "?" for each in text)[:MAX_PROBLEM]
