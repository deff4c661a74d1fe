"""The outbox: rows of a program's own transaction, moved into the queue exactly once."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
from typing import Any, cast
from unittest import mock

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit import outbox
from mailkit.errors import LimitExceeded, MessageRefused, StoreUnavailable
from mailkit.model import MAX_TIME, MIN_TIME, DeliverBy, Envelope, Path, Recipient
from mailkit.smtp.client import make_envelope
from mailkit.store.memory import MemoryStore
from mailkit.tap import outbox as moving
from mailkit.tap.errors import SettingError
from mailkit.tap.outbox import OutboxMover, SQLiteSource, parse_outbox
from mailkit.tap.relay import Relay
from mailkit.tap.sending import SendingService
from mailkit.testing.queue import queue_envelope
from tests.support import until

reactor: Any = _reactor
MESSAGE = b"From: shop@example.org\r\nSubject: Thanks\r\n\r\n\xff\x00\r\n"


class TableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.addCleanup(self.connection.close)
        outbox.create_table(self.connection)
        outbox.create_table(self.connection)

    def rows(self) -> list[Any]:
        return self.connection.execute(f"SELECT * FROM {outbox.TABLE}").fetchall()

    def test_round_trip(self) -> None:
        envelope = queue_envelope("eve@example.net", "jös@example.net", account="shop", envid="Q")
        key = outbox.add(self.connection, envelope, MESSAGE)
        ((_, found, text, message, problem),) = self.rows()
        self.assertEqual((found, message, problem), (key, MESSAGE, None))
        self.assertEqual(outbox.load(text), envelope)

    def test_what_programs_write(self) -> None:
        until: Any = 1_700_000_000.25
        classes: Any = ["a.example"]
        words: tuple[Any, ...] = {"NEVER"}, ["NEVER"]
        recipients = [Recipient(Path("c", "d.example"), notify=each) for each in words]
        envelope = make_envelope("a@b.example", recipients)
        envelope.hold_until = until
        envelope.deliver_by = DeliverBy(until + 10, "R")
        envelope.solicitation = classes
        outbox.add(self.connection, envelope, MESSAGE)
        found = outbox.load(self.rows()[0][2])
        times = found.hold_until, found.deliver_by
        self.assertEqual(repr(times), repr((1_700_000_001, DeliverBy(1_700_000_011, "R"))))
        self.assertEqual(found.solicitation, ("a.example",))
        self.assertEqual([each.notify for each in found.recipients], [frozenset(("NEVER",))] * 2)
        # The envelope stays the caller's.
        self.assertEqual(envelope.hold_until, until)
        self.assertEqual([each.notify for each in envelope.recipients], list(words))

    def test_times_that_are_none(self) -> None:
        for value in (math.inf, math.nan, 1e300, MAX_TIME + 0.5, MIN_TIME - 1, "1700000000"):
            held = queue_envelope("eve@example.net", hold_until=value)
            limited = queue_envelope("eve@example.net", deliver_by=DeliverBy(cast(int, value), "R"))
            for envelope in held, limited:
                with self.assertRaises(ValueError, msg=repr(value)):
                    outbox.add(self.connection, envelope, MESSAGE)
        self.assertEqual(self.rows(), [])

    def test_it_belongs_to_the_transaction(self) -> None:
        with self.connection:
            outbox.add(self.connection, make_envelope("a@b.example", "c@d.example"), MESSAGE)
        try:
            with self.connection:
                outbox.add(self.connection, make_envelope("a@b.example", "c@d.example"), MESSAGE)
                raise RuntimeError
        except RuntimeError:
            pass
        self.assertEqual(len(self.rows()), 1)

    def test_wrong_use(self) -> None:
        self.assertRaises(TypeError, outbox.create_table, object())
        self.assertRaises(ValueError, outbox.add, self.connection, queue_envelope(), MESSAGE)
        text_message: Any = "Subject: x\r\n\r\n"
        envelope = queue_envelope("eve@example.net")
        self.assertRaises(TypeError, outbox.add, self.connection, envelope, text_message)
        for text in ("", "[]", "{}", '{"envelope": {}, "recipients": []}', "null"):
            self.assertRaises(ValueError, outbox.load, text)

    def test_envelopes_that_no_queue_can_keep(self) -> None:
        good = json.loads(outbox.dump(queue_envelope("eve@example.net", account="shop")))
        self.assertEqual(outbox.load(json.dumps(good)).account, "shop")
        for part, name, value in (
            ("recipients", "to", [1, 2]),
            ("recipients", "to", [None, None]),
            ("recipients", "to", ["", ""]),
            ("recipients", "to", ["e\ud800e", "example.net"]),
            ("recipients", "parameters", 5),
            ("recipients", "parameters", {"X": 5}),
            ("recipients", "notify", [[1]]),
            ("recipients", "notify", [1]),
            ("recipients", "orcpt", [1, 2]),
            ("recipients", "rrvs", ["x"]),
            ("envelope", "from", [1, 2]),
            ("envelope", "connection", [{}]),
            ("envelope", "account", ["shop"]),
            ("envelope", "transaction_id", {}),
            ("envelope", "hold_until", "x"),
            ("envelope", "hold_until", math.inf),
            ("envelope", "hold_until", math.nan),
            ("envelope", "hold_until", 10**30),
            ("envelope", "hold_until", 1.5),
            ("envelope", "priority", "x"),
            ("envelope", "smtputf8", "x"),
            ("envelope", "deliver_by", ["x", "R"]),
            ("envelope", "history", [[1, 2]]),
            ("envelope", "solicitation", [1]),
        ):
            bad = json.loads(json.dumps(good))
            (bad[part][0] if part == "recipients" else bad[part])[name] = value
            with self.assertRaises(ValueError, msg=f"{name} {value!r}"):
                outbox.load(json.dumps(bad))
        self.assertRaises(ValueError, outbox.load, "[" * 100_000)

    def test_size(self) -> None:
        envelope = make_envelope("a@b.example", "c@d.example")
        self.patch(outbox, "MAX_MESSAGE", 5)
        outbox.add(self.connection, envelope, b"12345")
        self.assertRaises(ValueError, outbox.add, self.connection, envelope, b"123456")
        self.patch(outbox, "MAX_ENVELOPE", len(outbox.dump(envelope)))
        outbox.add(self.connection, envelope, b"")
        longer = make_envelope("a@b.example", "ce@d.example")
        self.assertRaises(ValueError, outbox.add, self.connection, longer, b"")
        self.assertEqual(len(self.rows()), 2)

    def test_settings(self) -> None:
        parse_outbox("sqlite:shop.sqlite")
        for text in ("", "sqlite:", "mysql:x", "postgresql:x"):
            self.assertRaises(SettingError, parse_outbox, text)

    def test_missing_psycopg_names_the_extra(self) -> None:
        with mock.patch.dict(sys.modules, {"psycopg": None}):
            error = self.assertRaises(SettingError, parse_outbox, "postgres:dbname=shop")
        self.assertIn("twisted-mailkit[postgres]", str(error))


class MovingTests(TestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.connection = sqlite3.connect(self.path)
        self.addCleanup(self.connection.close)
        outbox.create_table(self.connection)
        self.submitted: list[tuple[Envelope, bytes, str]] = []
        #: What the queue says, one after the other.
        self.errors: list[Exception] = []
        self.patch(moving, "LOOK_INTERVAL", 0.02)
        self.patch(moving, "TROUBLE_INTERVAL", 0.02)

    async def submit(self, envelope: Envelope, octets: bytes, key: str) -> None:
        self.submitted.append((envelope, octets, key))
        if self.errors:
            raise self.errors.pop(0)

    def start(self) -> OutboxMover:
        mover = OutboxMover(SQLiteSource(self.path), self.submit, reactor)
        mover.start()
        self.addCleanup(mover.stop)
        return mover

    def add(self, *addresses: str) -> str:
        with self.connection:
            return outbox.add(
                self.connection, make_envelope("shop@example.org", addresses), MESSAGE
            )

    def left(self) -> list[str | None]:
        sql = f"SELECT problem FROM {outbox.TABLE} ORDER BY id"
        return [problem for (problem,) in self.connection.execute(sql)]

    async def test_rows_are_moved_in_order(self) -> None:
        keys = [self.add(f"{number}@example.net") for number in range(60)]
        self.start()
        await until(lambda: not self.left())
        late = self.add("late@example.net")
        await until(lambda: not self.left())
        self.assertEqual([key for _, _, key in self.submitted], [*keys, late])
        envelope, octets, _ = self.submitted[0]
        self.assertEqual(str(envelope.recipients[0].path), "0@example.net")
        self.assertEqual(octets, MESSAGE)

    async def test_trouble_of_the_queue_passes(self) -> None:
        self.errors = [StoreUnavailable(), StoreUnavailable()]
        key = self.add("eve@example.net")
        self.start()
        await until(lambda: not self.left())
        self.assertEqual([each[2] for each in self.submitted], [key] * 3)

    async def test_what_cannot_be_sent_is_set_aside(self) -> None:
        self.errors = [MessageRefused("no")]
        self.add("eve@example.net")
        with self.connection:
            self.connection.execute(
                f"INSERT INTO {outbox.TABLE} (key, envelope, message) VALUES ('x', 'y', x'00')"
            )
        self.add("joe@example.net")
        self.start()
        await until(lambda: len(self.submitted) == 2 and len(self.left()) == 2)
        refused, broken = self.left()
        self.assertEqual(refused, "no")
        self.assertIn("no envelope of ours", broken or "")

    async def test_a_message_that_is_text(self) -> None:
        key, other = self.add("a@example.net"), self.add("b@example.net")
        with self.connection:
            self.connection.execute(
                f"UPDATE {outbox.TABLE} SET message = 'Subject: x' WHERE key = ?", (key,)
            )
        self.start()
        await until(lambda: self.left() == ["the message is no BLOB"])
        self.assertEqual([each[2] for each in self.submitted], [other])

    async def test_rows_that_are_too_large(self) -> None:
        """Other programs put them in without our help."""
        text = outbox.dump(make_envelope("a@b.example", "c@d.example"))
        self.patch(outbox, "MAX_MESSAGE", len(MESSAGE))
        self.patch(outbox, "MAX_ENVELOPE", len(text))
        sql = f"INSERT INTO {outbox.TABLE} (key, envelope, message) VALUES (?, ?, ?)"
        with self.connection:
            self.connection.execute(sql, ("large", text, MESSAGE + b"x"))
            self.connection.execute(sql, ("long", text + " ", MESSAGE))
            # None reads that one, whose length is not that of a BLOB.
            self.connection.execute(sql, ("text", text, "x" * len(MESSAGE) * 2))
            self.connection.execute(sql, ("k" * (outbox.MAX_KEY + 1), text, MESSAGE))
            self.connection.execute(sql, ("k" * outbox.MAX_KEY, text, MESSAGE))
        self.start()
        await until(lambda: len(self.left()) == 4)
        self.assertEqual([each[2] for each in self.submitted], ["k" * outbox.MAX_KEY])
        large, long, kind, key = map(str, self.left())
        self.assertIn(f"at most {outbox.MAX_KEY} octets", key)
        self.assertIn(f"at most {len(MESSAGE)} octets", large)
        self.assertIn(f"at most {len(text)} characters", long)
        self.assertEqual(kind, "the message is no BLOB")

    async def test_rows_that_are_not_what_they_should_be(self) -> None:
        """SQLite keeps whatever it is given; programs bind as text what is not UTF-8."""
        key, text = (
            self.add("a@example.net"),
            outbox.dump(make_envelope("a@b.example", "c@d.example")),
        )
        sql = f"INSERT INTO {outbox.TABLE} (key, envelope, message) VALUES "
        latin = "caf\xe9".encode("latin-1")
        with self.connection:
            for number in range(moving.BATCH):
                self.connection.execute(
                    sql + "(?, ?, CAST(? AS TEXT))", (f"k{number}", text, latin)
                )
            self.connection.execute(sql + "(?, ?, ?)", (b"k", text, MESSAGE))
            self.connection.execute(sql + "(CAST(? AS TEXT), ?, ?)", (latin, text, MESSAGE))
            self.connection.execute(sql + "('x', CAST(? AS TEXT), ?)", (latin, MESSAGE))
        other = self.add("b@example.net")
        self.start()
        await until(lambda: len(self.submitted) == 2 and len(self.left()) == moving.BATCH + 3)
        await until(lambda: None not in self.left())
        self.assertEqual([each[2] for each in self.submitted], [key, other])
        problems = self.left()
        self.assertEqual(
            problems[: moving.BATCH + 1],
            ["the message is no BLOB"] * moving.BATCH + ["the key is no text"],
        )
        for problem in problems[moving.BATCH + 1 :]:
            self.assertIn("can't decode byte 0xe9", problem or "")

    async def test_a_limit_stops_one_row_for_a_while(self) -> None:
        """SMTP says 452 for it: it is tried again, and more of them than are listed stop no others."""
        limited = {self.add(f"{number}@example.net") for number in range(moving.BATCH + 5)}
        other = self.add("b@example.net")
        over = True

        async def submit(envelope: Envelope, octets: bytes, key: str) -> None:
            if over and key in limited:
                raise LimitExceeded
            self.submitted.append((envelope, octets, key))

        self.submit = submit  # type: ignore[method-assign]
        self.start()
        await until(lambda: bool(self.submitted))
        self.assertEqual([each[2] for each in self.submitted], [other])
        await until(lambda: len(self.left()) == len(limited))
        self.assertEqual(set(self.left()), {None})
        late = self.add("late@example.net")
        await until(lambda: len(self.submitted) == 2)
        self.assertEqual(self.submitted[1][2], late)
        over = False
        await until(lambda: not self.left())
        self.assertEqual({each[2] for each in self.submitted}, {*limited, other, late})

    async def test_a_row_is_tried_again_while_there_is_always_more(self) -> None:
        with self.connection:
            outbox.add(
                self.connection, make_envelope("shop@example.org", ["a@example.net"]), MESSAGE
            )
            self.connection.execute(f"UPDATE {outbox.TABLE} SET id = 0")
        (first,) = self.connection.execute(f"SELECT key FROM {outbox.TABLE}").fetchone()
        for number in range(2 * moving.BATCH):
            self.add(f"{number}@example.net")
        tries: list[str] = []

        async def submit(envelope: Envelope, octets: bytes, key: str) -> None:
            if key == first:
                tries.append(key)
                if len(tries) < 3:
                    raise LimitExceeded
            elif len(tries) < 3:
                self.add("another@example.net")

        self.submit = submit  # type: ignore[method-assign]
        self.start()
        await until(lambda: len(tries) == 3)
        await until(lambda: not self.left())

    async def test_one_row_stops_no_others(self) -> None:
        """It cannot be read, or what takes it fails; it is tried again."""
        self.patch(moving, "MAX_PARALLEL", 1)
        failures: list[Exception] = [sqlite3.DatabaseError("malformed"), KeyError("a bug")]
        read = SQLiteSource.read

        def failing(source: SQLiteSource, id: int) -> Any:
            if id == 1 and failures:
                raise failures.pop(0)
            return read(source, id)

        self.patch(SQLiteSource, "read", failing)
        keys = [self.add(f"{name}@example.net") for name in ("a", "b", "c")]
        self.start()
        await until(lambda: not self.left())
        self.assertEqual([each[2] for each in self.submitted], [*keys[1:], keys[0]])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    async def test_a_database_that_is_not_there_yet(self) -> None:
        self.path = os.path.join(self.mktemp(), "later", "shop.sqlite")
        self.start()
        await deferLater(reactor, 0.1)
        os.makedirs(os.path.dirname(self.path))
        # A wrong path would be a table that nobody fills, so the program itself makes the file.
        await deferLater(reactor, 0.1)
        self.assertFalse(os.path.exists(self.path))
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        outbox.create_table(connection)
        with connection:
            outbox.add(connection, make_envelope("a@b.example", "c@d.example"), MESSAGE)
        await until(lambda: bool(self.submitted))

    async def test_stopped_and_started_again(self) -> None:
        mover = self.start()
        await mover.stop()
        await mover.stop()
        self.add("eve@example.net")
        self.start()
        await until(lambda: not self.left())


class ServiceTests(TestCase):
    async def test_a_store_of_the_callers_stays_the_callers(self) -> None:
        store = MemoryStore()
        self.addCleanup(store.close)
        for name in ("eve@example.net", "joe@example.net"):
            sending = SendingService(store, Relay("127.0.0.1:1"), hostname="shop.example.org")
            sending.startService()
            await sending.submit(make_envelope("shop@example.org", name), MESSAGE)
            await sending.stopService()
        self.assertEqual(len(await store.queue.list_messages()), 2)

    async def test_a_crash_behind_the_submission_sends_nothing_twice(self) -> None:
        self.patch(moving, "LOOK_INTERVAL", 0.02)
        path = self.mktemp()
        connection = sqlite3.connect(path)
        self.addCleanup(connection.close)
        outbox.create_table(connection)
        # Nobody listens there: what is queued stays.
        relay = Relay("127.0.0.1:1", None, {"outbox": f"sqlite:{path}"})
        sending = SendingService("memory:", relay, hostname="shop.example.org")
        self.addCleanup(sending.stopService)
        envelope = make_envelope("shop@example.org", "eve@example.net")
        with connection:
            key = outbox.add(connection, envelope, MESSAGE)
        sending.startService()
        # As if the process before had died behind this.
        id = await sending.submit(envelope, MESSAGE, key=key)
        sql = f"SELECT count(*) FROM {outbox.TABLE}"
        await until(lambda: connection.execute(sql).fetchone() == (0,))
        messages = await sending.store.queue.list_messages(finished=True)
        self.assertEqual([message.id for message in messages], [id])
        self.assertEqual(messages[0].envelope.account, "shop@example.org")
