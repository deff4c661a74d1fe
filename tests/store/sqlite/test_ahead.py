"""What is made ahead: by the store's helper, and without it."""

from __future__ import annotations

import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import skipUnless

from mailkit.model import AppendMessage
from mailkit.query import (
    And,
    HasFlag,
    HeaderContains,
    SortCriterion,
    SortKey,
    ThreadAlgorithm,
    UIDs,
)
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore, StoreSettings, ahead, helperprocess
from mailkit.store.sqlite.ahead import Ahead
from mailkit.store.sqlite.bodies import BodyPlace
from mailkit.store.sqlite.helperprocess import HelperFailed, HelperProcess
from mailkit.store.sqlite.mailbox import SQLiteMailbox
from mailkit.store.sqlite.making import Wanted

from .helpers import StoreTestCase

HELPED = StoreSettings(maintenance_interval=3600.0, ahead_delay=0.01)
ALONE = StoreSettings(maintenance_interval=3600.0, ahead_delay=0.01, helper_process=False)
TABLES = ("summary", "field_text", "thread_value", "sort_address", "text_map")
PROC = Path("/proc")
MIXED = (
    b"From: Ann <ann@example.org>\r\nSubject: =?utf-8?q?=C3=A4?=\r\nReferences: <1@x> <2@x>\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n'
    b"Content-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\nx\r\n--b--\r\n"
)


def message(number: int) -> bytes:
    return b"From: ann%d@example.org\r\nSubject: %d\r\n\r\ntext %d\r\n" % (number, number, number)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class AheadTestCase(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(ahead, "WORTH_A_HELPER", 1)

    async def fill(self, store: SQLiteStore, *contents: bytes) -> SQLiteMailbox:
        mailbox = await self.mailbox(store)
        await mailbox.append(
            messages=[AppendMessage(Spool.from_bytes(content)) for content in contents]
        )
        return mailbox

    def rows(self, store: SQLiteStore) -> dict[str, list[Any]]:
        """What was made, by table, without the numbers of the bodies."""
        connection = store.core.reader.connection
        return {
            table: [row[1:] for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")]
            for table in TABLES
        }

    def counts(self, store: SQLiteStore) -> set[int]:
        """Of messages that something was made of, of each kind."""
        rows = self.rows(store)
        rows["structures"] = [row for row in rows.pop("summary") if row[1] is not None]
        return {len(each) for each in rows.values()}

    async def made(self, store: SQLiteStore, count: int) -> None:
        await self.wait_until(lambda: self.counts(store) == {count})

    def helper(self, store: SQLiteStore) -> HelperProcess | None:
        owner = store.core._owner
        assert owner is not None
        assert owner.ahead is not None
        return owner.ahead._helper

    def pid(self, store: SQLiteStore) -> int:
        helper = self.helper(store)
        assert helper is not None
        return helper.pid


class AheadTests(AheadTestCase):
    async def test_the_helper_makes_the_same(self) -> None:
        dice = random.Random(3)
        contents = [*map(message, range(70)), MIXED, b"", b"x", dice.randbytes(400_000)]
        store = await self.make_store(settings=ALONE)
        await self.fill(store, *contents)
        await self.made(store, len(contents))
        self.assertIsNone(self.helper(store))
        wanted = self.rows(store)
        await self.close_store(store)
        self.directory = self.mktemp()
        store = await self.make_store(settings=HELPED)
        await self.fill(store, *contents)
        await self.made(store, len(contents))
        self.assertIsNotNone(self.helper(store))
        self.assertEqual(self.rows(store), wanted)

    async def test_of_a_few_messages_it_is_made_without_a_helper(self) -> None:
        self.patch(ahead, "WORTH_A_HELPER", 4)
        store = await self.make_store(settings=HELPED)
        await self.fill(store, *map(message, range(3)))
        await self.made(store, 3)
        self.assertIsNone(self.helper(store))

    async def test_no_more_is_made_at_a_time_than_fits(self) -> None:
        self.patch(ahead, "OCTETS_AT_ONCE", 100)
        self.patch(ahead, "MESSAGES_AT_ONCE", 3)
        self.patch(ahead, "HURRIED_AT_ONCE", 3)
        asked = []
        send = HelperProcess.send

        def note(process: HelperProcess, wanted: Wanted, places: list[BodyPlace]) -> None:
            asked.append([place.size for place in places])
            send(process, wanted, places)

        self.patch(HelperProcess, "send", note)
        store = await self.make_store(settings=HELPED)
        await self.fill(store, *map(message, range(8)), b"x" * 1000)
        await self.made(store, 9)
        self.assertLessEqual(max(map(len, asked)), 3)
        self.assertTrue(all(len(sizes) == 1 or sum(sizes) <= 100 for sizes in asked))

    async def test_where_a_helper_cannot_begin_it_is_made_here(self) -> None:
        self.patch(helperprocess, "_MODULE", "mailkit.there_is_none")
        store = await self.make_store(settings=HELPED)
        await self.fill(store, *map(message, range(5)))
        await self.made(store, 5)
        self.assertIsNone(self.helper(store))

    def wait(self) -> tuple[Ahead, Any]:
        """One that is alone, and the counts of logins and changes that it looks at."""
        counts: Any = SimpleNamespace(settings=ALONE, accounts_opened=0, asked=0)
        return Ahead(counts, counts), counts

    def test_clients_come_first(self) -> None:
        waiting, counts = self.wait()
        self.patch(ahead, "_SCHEDULED", "/there/is/none")
        worked = iter([0.0, 0.0, 0.0, 1000.0])
        self.patch(time, "process_time", lambda: next(worked))
        self.assertTrue(waiting._is_calm(0.01))
        self.assertFalse(waiting._is_calm(0.01))
        self.patch(time, "process_time", float)
        self.patch(waiting._called, "wait", lambda seconds: setattr(counts, "asked", 1))
        self.assertFalse(waiting._is_calm(0.01))
        answers = iter([False, False, True, False])
        self.patch(waiting, "_is_calm", lambda look: next(answers))
        waiting._wait_for_calm(60.0, 0.01)
        self.assertEqual(list(answers), [False])
        # But not for ever.
        self.patch(waiting, "_is_calm", lambda look: False)
        waiting._wait_for_calm(0.01, 0.01)
        # Nor when somebody begins to wait for what is made.
        waiting.hurry(Wanted.ORDERS)
        waiting._wait_for_calm(math.inf, 0.01)

    def waited(self, patience: float, asked: int, opened: int = 0) -> float:
        """Seconds for which it waits while there are so many changes and logins in each second."""
        now = 0.0
        waiting, counts = self.wait()

        def look(seconds: float) -> bool:
            nonlocal now
            now += seconds
            counts.asked += int(asked * seconds)
            counts.accounts_opened += int(opened * seconds)
            return False

        self.patch(waiting, "_is_calm", look)
        self.patch(time, "monotonic", lambda: now)
        waiting._wait_for_calm(patience, 0.25)
        return now

    def test_much_new_mail_comes_first_for_longer(self) -> None:
        much, little = int(ahead.BURST), int(ahead.BURST) // 2
        self.assertEqual([self.waited(0.0, little), self.waited(1.0, little)], [0.25, 1.0])
        longest = ahead.MAX_BURST
        self.assertEqual([self.waited(0.0, much), self.waited(1.0, much)], [longest, longest])
        # Nor while many clients come and go.
        self.assertEqual([self.waited(1.0, 0, n) for n in (little, much)], [1.0, longest])

    def test_who_waits_for_a_processor_is_busy(self) -> None:
        waiting, _ = self.wait()
        self.patch(time, "process_time", float)
        scheduled = Path(self.mktemp())
        self.patch(ahead, "_SCHEDULED", str(scheduled))
        for after, is_calm in ((b"5 7 1\n", True), (b"5 99000000000 1\n", False), (b"", True)):
            scheduled.write_bytes(b"5 7 1\n" if after else b"")

            def wait(seconds: float, after: bytes = after) -> None:
                scheduled.write_bytes(after)

            self.patch(waiting._called, "wait", wait)
            self.assertIs(waiting._is_calm(0.01), is_calm)

    def test_a_look_at_headers_gives_way_to_much_new_mail_alone(self) -> None:
        now = 100.0
        self.patch(time, "monotonic", lambda: now)
        waiting, counts = self.wait()
        heads = ahead._Task(Wanted.HEADS, [], patience=0.0)
        bodies, hurried = heads._replace(patience=0.25), heads._replace(patience=None)
        much, little = int(ahead.BURST) + 1, int(ahead.BURST) - 1
        for asked, is_burst in ((0, False), (little, False), (much, True), (0, False)):
            now += 1.0
            counts.asked += asked
            for _ in range(2):
                self.assertIs(waiting._gives_way(heads), is_burst)
                self.assertTrue(waiting._gives_way(bodies))
                self.assertFalse(waiting._gives_way(hurried))
                # Too short a time to tell by.
                now += ahead.LOOK / 4

    async def test_what_was_left_is_made_without_a_wait_for_calm(self) -> None:
        settings = StoreSettings(maintenance_interval=3600.0, summarize_ahead=False)
        store = await self.make_store(settings=settings)
        await self.fill(store, *map(message, range(3)))
        await self.close_store(store)
        waits: list[float] = []
        self.patch(Ahead, "_wait_for_calm", lambda self, patience, look: waits.append(patience))
        store = self.open_store(HELPED)
        await self.made(store, 3)
        self.assertNotIn(ahead.MAX_WAIT, waits)

    async def test_clients_come_before_the_beginning_of_a_helper(self) -> None:
        alone: list[bool] = []
        self.patch(Ahead, "_gives_way", lambda self, task: alone.append(self._helper is None))
        await self.fill(await self.make_store(settings=HELPED), *map(message, range(3)))
        await self.wait_until(lambda: len(alone) > 1)
        self.assertEqual(alone[:2], [True, False])

    async def test_only_what_others_ask_for_counts_as_asked(self) -> None:
        store = await self.make_store(settings=ALONE)
        writer = store.core.writer
        before = writer.asked
        await self.fill(store, message(1))
        asked = writer.asked
        self.assertGreater(asked, before)
        await self.made(store, 1)
        self.assertEqual(writer.asked, asked)

    async def asked(self, count: int, *hurries: Wanted) -> list[object]:
        """What a helper is asked for, and the seconds for which it gives way to clients.

        :param hurries: what is lacked before it begins.
        """
        begin = threading.Event()
        seen: list[object] = []
        send = HelperProcess.send

        def note(process: HelperProcess, wanted: Wanted, places: list[BodyPlace]) -> None:
            seen.append(wanted)
            send(process, wanted, places)

        def wait(self: Ahead, patience: float, look: float) -> None:
            if patience != ahead.MAX_WAIT:
                seen.append(patience)

        def work(self: Ahead, index: sqlite3.Connection) -> None:
            begin.wait()
            whole(self, index)

        whole = Ahead._work
        self.patch(HelperProcess, "send", note)
        self.patch(Ahead, "_wait_for_calm", wait)
        self.patch(Ahead, "_work", work)
        store = await self.make_store(settings=HELPED)
        await self.fill(store, *map(message, range(count)))
        for wanted in hurries:
            store.core.hurry(wanted)
        begin.set()
        await self.made(store, count)
        return seen

    async def test_what_needs_more_than_a_look_at_headers_gives_way_to_whatever_clients_do(
        self,
    ) -> None:
        way = ahead.GIVING_WAY
        asked = await self.asked(3)
        self.assertEqual(asked[:4], [Wanted.HEADS, way, Wanted.ORDERS, way])
        # Whether the summaries are there already.
        self.assertIn(asked[4], (Wanted.MESSAGES, Wanted.BODIES))

    async def test_what_is_lacked_comes_first_and_does_not_give_way(self) -> None:
        self.patch(ahead, "HURRY", dict.fromkeys(ahead.HURRY, math.inf))
        wanted = [Wanted.SUMMARIES, Wanted.ORDERS, Wanted.HEADS]
        asked = await self.asked(3, Wanted.ORDERS, Wanted.SUMMARIES)
        self.assertEqual(asked[:4], [*wanted, ahead.GIVING_WAY])
        self.assertIn(asked[4], (Wanted.MESSAGES, Wanted.BODIES))
        # Who searches waits for texts alone.
        self.directory = self.mktemp()
        self.assertEqual((await self.asked(3, Wanted.TEXTS))[0], Wanted.TEXTS)

    async def test_maps_come_last_where_there_is_a_hurry(self) -> None:
        self.patch(ahead, "HURRY", dict.fromkeys(ahead.HURRY, math.inf))
        asked = await self.asked(3, Wanted.STRUCTURES)
        self.assertEqual(asked[0], Wanted.SUMMARIES | Wanted.STRUCTURES)
        self.assertEqual(asked[-1], Wanted.MAPS)
        self.assertEqual(asked.count(Wanted.MAPS), 1)

    async def test_maps_left_out_by_the_server_before_are_made(self) -> None:
        settings = StoreSettings(maintenance_interval=3600.0, summarize_ahead=False)
        store = await self.make_store(settings=settings)
        mailbox = await self.fill(store, *map(message, range(3)), MIXED)
        await mailbox.get_summaries(uids=await mailbox.list_uids())
        await self.close_store(store)
        store = self.open_store(ALONE)
        await self.made(store, 4)

    async def test_where_much_is_left_a_helper_begins_with_the_store(self) -> None:
        self.patch(ahead, "WORTH_A_HELPER", 3)
        helped: list[bool] = []
        self.patch(Ahead, "_work", lambda self, _: helped.append(self._helper is not None))
        settings = StoreSettings(maintenance_interval=3600.0, summarize_ahead=False)
        for count in 2, 3:
            self.directory = self.mktemp()
            store = await self.make_store(settings=settings)
            await self.fill(store, *map(message, range(count)))
            await self.close_store(store)
            helped.clear()
            store = self.open_store(HELPED)
            await self.wait_until(lambda: bool(helped))
            self.assertEqual(helped[0], count == 3)

    async def test_of_what_was_fetched_only_the_rest_is_made(self) -> None:
        settings = StoreSettings(maintenance_interval=3600.0, summarize_ahead=False)
        store = await self.make_store(settings=settings)
        mailbox = await self.fill(store, *map(message, range(3)), MIXED)
        uids = await mailbox.list_uids()
        wanted = await mailbox.get_summaries(uids=uids)
        await self.close_store(store)
        self.directory = self.mktemp()
        store = await self.make_store(settings=settings)
        mailbox = await self.fill(store, *map(message, range(3)), MIXED)
        await mailbox.get_summaries(uids=uids[1:], structure=False)
        await self.close_store(store)
        asked = []
        send = HelperProcess.send

        def note(process: HelperProcess, wanted: Wanted, places: list[BodyPlace]) -> None:
            asked.append((wanted, len(places)))
            send(process, wanted, places)

        self.patch(HelperProcess, "send", note)
        store = self.open_store(HELPED)
        await self.made(store, 4)
        self.assertEqual(asked[:2], [(Wanted.HEADS, 4), (Wanted.ORDERS, 4)])
        self.assertEqual(asked[-1][0], Wanted.BODIES)
        mailbox = await self.mailbox(store)
        self.assertEqual(await mailbox.get_summaries(uids=uids), wanted)

    async def test_there_is_no_hurry_for_long(self) -> None:
        self.patch(ahead, "HURRY", dict.fromkeys(ahead.HURRY, 0.0))
        self.assertIn(ahead.GIVING_WAY, await self.asked(3, *ahead.HURRY))

    async def test_who_lacks_much_says_so(self) -> None:
        settings = StoreSettings(maintenance_interval=3600.0, summarize_ahead=False)
        store = await self.make_store(settings=settings)
        mailbox = await self.fill(store, *map(message, range(40)))
        lacked: list[Wanted] = []
        self.patch(store.core, "hurry", lacked.append)
        uids = await mailbox.list_uids()
        for structure, kind in (False, Wanted.SUMMARIES), (True, Wanted.STRUCTURES):
            await mailbox.get_summaries(uids=uids[:2], structure=structure)
            self.assertEqual(lacked, [])
            for _ in range(2):
                await mailbox.get_summaries(uids=uids, structure=structure)
            self.assertEqual(lacked, [kind])
            lacked.clear()
        for count, wanted in (31, []), (32, [Wanted.STRUCTURES]):
            mailbox.read_fields(uids=uids[:count], fields=["envelope"])
            mailbox.read_fields(uids=uids[:count], fields=["flags"])
            self.assertEqual(lacked, wanted)
        lacked.clear()
        await mailbox.search(query=HasFlag(r"\Seen"))
        self.assertEqual(lacked, [])
        # One look at the headers takes less than to make their texts.
        await mailbox.search(query=HeaderContains("From", "ann"))
        self.assertEqual(lacked, [Wanted.ORDERS])
        lacked.clear()
        await mailbox.search(query=And([UIDs([(1, 2)]), HeaderContains("Subject", "ann")]))
        self.assertEqual(lacked, [Wanted.TEXTS, Wanted.ORDERS])
        lacked.clear()
        await mailbox.sort_messages(uids=uids, criteria=[SortCriterion(SortKey.DATE, False)])
        await mailbox.thread_messages(uids=uids, algorithm=ThreadAlgorithm.REFERENCES)
        self.assertEqual(lacked, [Wanted.ORDERS] * 2)

    async def test_the_newest_come_first(self) -> None:
        self.patch(ahead, "HURRIED_AT_ONCE", 2)
        asked = []
        send = HelperProcess.send

        def note(process: HelperProcess, wanted: Wanted, places: list[BodyPlace]) -> None:
            if wanted is Wanted.HEADS:
                asked.extend([place.body_id for place in places])
            send(process, wanted, places)

        self.patch(HelperProcess, "send", note)
        store = await self.make_store(settings=ALONE)
        await self.close_store(store)
        settings = StoreSettings(maintenance_interval=3600.0, summarize_ahead=False)
        store = self.open_store(settings)
        await self.fill(store, *map(message, range(5)))
        await self.close_store(store)
        store = self.open_store(HELPED)
        await self.made(store, 5)
        self.assertEqual(len(asked), 5)
        self.assertEqual(asked, sorted(asked, reverse=True))

    async def test_a_helper_without_work_ends(self) -> None:
        self.patch(ahead, "IDLE", 0.0)
        store = await self.make_store(settings=HELPED)
        await self.fill(store, message(1))
        await self.made(store, 1)
        await self.wait_until(lambda: self.helper(store) is None)
        await self.fill(store, message(2))
        await self.made(store, 2)

    async def test_a_helper_ends_with_the_store(self) -> None:
        store = await self.make_store(settings=HELPED)
        await self.fill(store, message(1))
        await self.made(store, 1)
        pid = self.pid(store)
        await self.close_store(store)
        self.assertFalse(is_alive(pid))

    async def test_after_a_helper_was_killed_another_one_goes_on(self) -> None:
        store = await self.make_store(settings=HELPED)
        await self.fill(store, message(1))
        await self.made(store, 1)
        os.kill(self.pid(store), signal.SIGKILL)
        await self.fill(store, *map(message, range(5)))
        await self.made(store, 6)

    @skipUnless(PROC.is_dir(), "needs /proc")
    async def test_a_helper_has_no_files_of_the_server(self) -> None:
        store = await self.make_store(settings=HELPED)
        await self.fill(store, message(1))
        await self.made(store, 1)
        files = [os.readlink(each) for each in (PROC / str(self.pid(store)) / "fd").iterdir()]
        own = [name for name in files if not name.startswith(("pipe:", os.devnull))]
        log = os.path.realpath(os.path.join(self.directory, "log"))
        self.assertEqual([os.path.dirname(name) for name in own], [log])
        self.assertEqual(len([name for name in files if name.startswith("pipe:")]), 2)

    @skipUnless(PROC.is_dir(), "needs /proc")
    async def test_a_helper_ends_with_a_server_that_is_killed(self) -> None:
        program = (
            "import sys, time; from mailkit.store.sqlite.helperprocess import HelperProcess\n"
            "print(HelperProcess(sys.argv[1]).pid, flush=True); time.sleep(600)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, self.mktemp()], stdout=subprocess.PIPE
        ) as server:
            assert server.stdout is not None
            pid = int(server.stdout.readline())
            self.assertTrue(is_alive(pid))
            server.kill()
        # Somebody else waits for it, perhaps nobody: then something of it stays.
        status = PROC / str(pid) / "stat"
        await self.wait_until(lambda: not status.exists() or ") Z " in status.read_text())


class LargeHeaderTests(AheadTestCase):
    async def check_made(self, settings: StoreSettings) -> None:
        """A header whose envelope and texts are too long to be kept has all else made of it."""
        store = await self.make_store(settings=settings)
        to = b"To: " + b",\r\n ".join(b"user%d@example.org" % each for each in range(6000))
        await self.fill(store, message(1), to + b"\r\nSubject: x\r\n\r\nx\r\n", message(2))

        def counts() -> list[int]:
            rows = self.rows(store)
            return [len(rows[table]) for table in TABLES]

        await self.wait_until(lambda: counts() == [2, 2, 3, 3, 3])

    async def test_by_the_helper(self) -> None:
        await self.check_made(HELPED)

    async def test_here(self) -> None:
        await self.check_made(ALONE)


class DeadlyTests(AheadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(helperprocess, "_ROOT", os.path.dirname(__file__))
        self.patch(helperprocess, "_MODULE", "deadly_helper")

    async def leave_out(self, word: bytes) -> None:
        store = await self.make_store(settings=HELPED)
        await self.fill(store, message(1), b"Subject: x\r\n\r\n" + word, message(2))
        await self.made(store, 2)
        owner = store.core._owner
        assert owner is not None
        assert owner.ahead is not None
        await self.wait_until(lambda: len(owner.ahead._unfit) == 1)  # type: ignore[union-attr]
        failures = len(owner.ahead._failures)
        # It is not tried again.
        await self.fill(store, message(3))
        await self.made(store, 3)
        self.assertEqual(len(owner.ahead._failures), failures)

    async def test_a_message_that_kills_the_helper_is_left_out(self) -> None:
        await self.leave_out(b"deadly")

    async def test_a_message_that_it_never_comes_to_an_end_of_is_left_out(self) -> None:
        await self.leave_out(b"endless")

    async def test_a_message_that_it_cannot_read_is_left_out(self) -> None:
        await self.leave_out(b"broken")

    async def test_where_helpers_die_again_and_again_nothing_is_made(self) -> None:
        self.patch(ahead, "MAX_FAILURES", 2)
        store = await self.make_store(settings=HELPED)
        owner = store.core._owner
        assert owner is not None
        assert owner.ahead is not None
        await self.fill(store, b"deadly", b"deadly as well")
        await self.wait_until(lambda: owner.ahead._has_given_up)  # type: ignore[union-attr]
        await self.fill(store, message(1))
        self.assertEqual(self.counts(store), {0})
        # Later it is tried again.
        self.patch(ahead, "FAILURES_WITHIN", 0.0)
        await self.fill(store, message(2))
        await self.made(store, 2)


class ProcessTests(AheadTestCase):
    def begin(self, text: str) -> HelperProcess:
        """A helper that is a Python program of one line."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "strange_helper.py").write_text(text)
        self.patch(helperprocess, "_ROOT", str(directory))
        self.patch(helperprocess, "_MODULE", "strange_helper")
        return HelperProcess(str(directory))

    def test_what_is_no_helper(self) -> None:
        for text in (
            "",
            "print('what?' * 99)",
            "import sys, marshal; sys.stdout.buffer.write(b'\\0\\0\\0\\1?')",
            "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\5z\\2ab')",
            "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\3z\\1a')",
        ):
            with self.assertRaises(HelperFailed):
                self.begin(text)

    def test_a_helper_that_says_nothing(self) -> None:
        self.patch(helperprocess, "BEGINNING_PATIENCE", 0.0)
        with self.assertRaises(HelperFailed):
            self.begin("import time; time.sleep(600)")

    def test_no_python_to_run(self) -> None:
        for executable in ("", "/there/is/none"):
            self.patch(sys, "executable", executable)
            with self.assertRaises(HelperFailed):
                HelperProcess(self.mktemp())

    def test_an_answer_that_makes_no_sense(self) -> None:
        answers = [5, [], [1] * 7, [[], [], [], [(1, 2)], [], [], []]]
        for answer in answers:
            process = self.begin(
                "import sys, marshal\n"
                "def say(value):\n"
                "    data = marshal.dumps(value)\n"
                "    sys.stdout.buffer.write(len(data).to_bytes(4, 'big') + data)\n"
                "    sys.stdout.buffer.flush()\n"
                f"say({helperprocess.mailkit.__version__!r})\n"
                f"say({answer!r})\n"
                "sys.stdin.read()"
            )
            with self.assertRaises(HelperFailed):
                process.receive()
            process.close()
