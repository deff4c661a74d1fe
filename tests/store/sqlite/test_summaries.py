"""Summaries: made once, kept, right for every kind of body."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import Header, bodystructure_octets, envelope_octets, parse_message
from mailkit.model import SUMMARY_FIELDS, AppendMessage, MessageSummary
from mailkit.queue.values import NewMessage
from mailkit.spool import Spool
from mailkit.store.sqlite import StoreSettings, making
from mailkit.store.sqlite.bodies import SMALL_BODY, BodyFiles, BodyPlace, Cold
from mailkit.store.sqlite.heads import HEAD_OCTETS, MAX_GAP, SPAN_OCTETS
from mailkit.store.sqlite.mailbox import SQLiteMailbox
from mailkit.store.sqlite.making import Job, make_spans
from mailkit.store.sqlite.schema import INDEX_NAME, connect
from mailkit.testing.queue import queue_envelope

from .helpers import ANN, QUIET, StoreTestCase, appended, message

AHEAD = StoreSettings(maintenance_interval=0.01, ahead_delay=0.01)


def expected(uid: int, content: bytes) -> MessageSummary:
    root = parse_message(content)
    return MessageSummary(
        uid,
        envelope_octets(content),
        bodystructure_octets(content, root),
        root.header.raw_fields(SUMMARY_FIELDS, blank_line=False),
    )


MIXED = (
    b"From: Ann <ann@example.org>\r\nX-Left-Out: yes\r\nSubject: =?utf-8?q?=C3=A4?=\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + b"x" * 300_000 + b"\r\n--b--\r\n"
)


class SpanTests(SynchronousTestCase):
    def spans(
        self, places: list[tuple[int, int, int]], structure: bool
    ) -> list[tuple[list[int], int, int]]:
        """Spans of (segment, position, size), as body ids and offsets."""
        jobs = [
            Job(BodyPlace(number, segment, position, position + 100, size))
            for number, (segment, position, size) in enumerate(places)
        ]
        return [
            ([job.place.body_id for job in span.jobs], span.begin, span.end)
            for span in make_spans(jobs, structure)
        ]

    def test_what_lies_close_is_read_together(self) -> None:
        places = [(1, 16, 900), (1, 1016, 0), (2, 16, 50), (1, 1116, 500), (1, 200_000, 5)]
        wanted = [([0, 1, 3], 16, 1716), ([4], 200_000, 200_105), ([2], 16, 166)]
        self.assertEqual(self.spans(places, True), wanted)
        self.assertEqual(self.spans(places, False), wanted)
        self.assertEqual(self.spans([], True), [])

    def test_gaps(self) -> None:
        for gap, count in ((MAX_GAP, 1), (MAX_GAP + 1, 2)):
            self.assertEqual(len(self.spans([(1, 16, 9), (1, 125 + gap, 9)], True)), count)

    def test_heads_leave_the_rest_of_a_body_out(self) -> None:
        places = [(1, 0, HEAD_OCTETS + 10_000), (1, HEAD_OCTETS + 10_100, 70_000), (1, 90_000, 1)]
        self.assertEqual(
            self.spans(places, False),
            [([0, 1], 0, 2 * HEAD_OCTETS + 10_200), ([2], 90_000, 90_101)],
        )
        self.assertEqual(self.spans(places, True), [([0, 1, 2], 0, 90_101)])

    def test_no_span_is_too_long(self) -> None:
        places = [(1, number * 10_000, 9900) for number in range(100)]
        spans = self.spans(places, True)
        self.assertEqual(sum(len(span[0]) for span in spans), 100)
        self.assertEqual(len(spans), 4)
        self.assertLessEqual(max(end - begin for _, begin, end in spans), SPAN_OCTETS)

    def test_large_bodies_are_not_read(self) -> None:
        places = [(1, 0, 9), (1, 109, SMALL_BODY + 1), (1, 109 + SMALL_BODY + 101, SMALL_BODY)]
        spans = self.spans(places, True)
        self.assertIn(([1], 0, 0), spans)
        self.assertEqual(sorted(span[0] for span in spans), [[0], [1], [2]])


class SummaryTests(StoreTestCase):
    async def filled(self, settings: StoreSettings = QUIET) -> tuple[SQLiteMailbox, list[bytes]]:
        self.store = await self.make_store(settings=settings)
        contents = [message(1), b"", MIXED, b"no header at all", message(5)]
        inbox = await self.mailbox(self.store)
        await inbox.append(messages=appended(*contents))
        return inbox, contents

    def kept(self) -> int:
        (count,) = self.store.connection().execute("SELECT count(*) FROM summary").fetchone()
        return int(count)

    def made_ahead_to(self) -> int:
        """The first body that was not looked at; 0 for all."""
        sql = "SELECT ifnull(max(value), 0) FROM setting WHERE name = 'made_ahead_to'"
        return int(self.store.connection().execute(sql).fetchone()[0])

    def finished(self) -> int:
        """Summaries with their structure."""
        row = self.store.connection().execute("SELECT count(body_structure) FROM summary")
        return int(row.fetchone()[0])

    def forbid(self, *methods: str) -> None:
        """From here on these fail."""
        for method in methods:
            setattr(self.store.core.bodies, method, None)

    async def test_summaries_of_all_kinds(self) -> None:
        inbox, contents = await self.filled()
        wanted = [expected(uid, content) for uid, content in enumerate(contents, 1)]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 9)), wanted)
        await self.wait_until(lambda: self.kept() == 5)
        self.forbid("read", "map", "read_range")
        self.assertEqual(await inbox.get_summaries(uids=range(1, 9)), wanted)
        self.assertEqual(await inbox.get_summaries(uids=[2, 5]), [wanted[1], wanted[4]])
        self.assertEqual(await inbox.get_summaries(uids=[]), [])

    async def test_none_of_what_only_waits_to_be_sent(self) -> None:
        self.store = await self.make_store(settings=AHEAD)
        queue = self.store.queue
        envelope = queue_envelope("eve@example.net")
        new = NewMessage(envelope, 2_000_000_000, 2_000_000_001)
        await queue.enqueue(message=Spool.from_bytes(message(1)), new=[new])
        inbox = await self.mailbox(self.store)
        await inbox.append(messages=appended(message(2)))
        await self.wait_until(lambda: self.finished() == 1)
        rows = self.store.connection().execute(
            "SELECT body_id IN (SELECT body_id FROM message) FROM summary"
        )
        self.assertEqual(rows.fetchall(), [(1,)])

    async def test_headers_are_enough_without_structure(self) -> None:
        inbox, contents = await self.filled()
        self.forbid("read", "map")
        wanted = [
            expected(uid, content)._replace(body_structure=b"")
            for uid, content in enumerate(contents, 1)
        ]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 9), structure=False), wanted)
        # Still on their way, then kept.
        self.forbid("read_range")
        self.assertEqual(await inbox.get_summaries(uids=range(1, 9), structure=False), wanted)
        await self.wait_until(lambda: self.kept() == 5)
        self.assertEqual(self.finished(), 0)
        self.assertEqual(await inbox.get_summaries(uids=range(1, 9), structure=False), wanted)

    async def test_structures_are_added_to_what_is_known(self) -> None:
        inbox, contents = await self.filled()
        await inbox.get_summaries(uids=[1, 2], structure=False)
        await self.wait_until(lambda: self.kept() == 2)
        await inbox.get_summaries(uids=[3], structure=False)
        made, real = [], making.from_header

        def from_header(header: Header) -> making.Summary:
            made.append(header)
            return real(header)

        self.patch(making, "from_header", from_header)
        wanted = [expected(uid, content) for uid, content in enumerate(contents[:4], 1)]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 5)), wanted)
        # Of the fourth alone.
        self.assertEqual(len(made), 1)
        await self.wait_until(lambda: self.finished() == 4)
        self.forbid("read", "map")
        self.assertEqual(await inbox.get_summaries(uids=range(1, 5)), wanted)
        self.assertEqual(await inbox.get_summaries(uids=range(1, 5), structure=False), wanted)

    async def test_headers_of_any_length(self) -> None:
        self.store = await self.make_store()
        inbox = await self.mailbox(self.store)
        contents = []
        for length in (HEAD_OCTETS, 4 * HEAD_OCTETS, SMALL_BODY, 3 * SMALL_BODY, 1024 * 1024):
            for header_end in (length - 3, length - 2, length - 1, length, length + 1):
                line = b"Subject: x\r\nX-Fill: "
                filled = line + b"x" * (header_end - len(line) - 2) + b"\r\n"
                contents.append(filled + b"\r\nSubject: body\r\n")
                contents.append(filled)
        await inbox.append(messages=appended(*contents))
        for start in range(0, len(contents), 10):
            uids = range(start + 1, start + 11)
            wanted = [
                expected(uid, content)._replace(body_structure=b"")
                for uid, content in zip(uids, contents[start : start + 10], strict=True)
            ]
            self.assertEqual(await inbox.get_summaries(uids=uids, structure=False), wanted)

    async def test_bodies_that_are_not_in_memory(self) -> None:
        inbox, contents = await self.filled()
        cold, real = [], BodyFiles._read

        def read(files: BodyFiles, segment: int, position: int, length: int, nowait: bool) -> bytes:
            if nowait:
                cold.append(position)
                raise Cold
            return real(files, segment, position, length, nowait)

        self.patch(BodyFiles, "_read", read)
        wanted = [expected(uid, content) for uid, content in enumerate(contents, 1)]
        headers = [summary._replace(body_structure=b"") for summary in wanted]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 6), structure=False), headers)
        self.assertEqual(await inbox.get_summaries(uids=range(1, 6)), wanted)
        # Two that lie side by side are tried at once, the large one's body not at all.
        self.assertEqual(len(cold), 4)

    async def test_bodies_that_were_moved_are_found(self) -> None:
        inbox, contents = await self.filled()
        places = self.store.core.summaries._places
        rows = self.store.connection().execute("SELECT id FROM body").fetchall()
        before = places([body_id for (body_id,) in rows])
        self.assertEqual(len(before), 5)
        await inbox.expunge(uids=[3])
        await self.store.compact()
        asked: list[list[int]] = []

        def stale(body_ids: Sequence[int]) -> list[BodyPlace]:
            asked.append(list(body_ids))
            if len(asked) % 2:
                return [place for place in before if place.body_id in body_ids]
            return places(body_ids) if len(asked) == 2 else []

        self.patch(self.store.core.summaries, "_places", stale)
        wanted = [expected(uid, contents[uid - 1]) for uid in (1, 2, 4, 5)]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 5)), wanted[:3])
        self.assertEqual(asked[0], asked[1])
        # This one was even removed in the middle.
        self.assertEqual(await inbox.get_summaries(uids=range(1, 6)), wanted[:3])
        self.assertEqual(len(asked), 4)

    async def test_a_segment_that_is_gone(self) -> None:
        inbox, _ = await self.filled()
        (name,) = self.log_files()
        path = os.path.join(self.directory, "log", name)
        os.rename(path, path + ".away")
        for structure in (False, True):
            found = await inbox.get_summaries(uids=[1], structure=structure)
            self.assertEqual(found, [expected(1, b"")])
        os.rename(path + ".away", path)
        self.assertEqual(await inbox.get_summaries(uids=[1]), [expected(1, message(1))])
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    async def test_a_body_that_was_spooled_to_a_file(self) -> None:
        self.store = await self.make_store(
            settings=StoreSettings(
                maintenance_interval=3600.0, ahead_delay=3600.0, large_body=1000, spool_memory=100
            )
        )
        spool = self.store.new_spool()
        spool.write(MIXED)
        spool.prepend(b"Return-Path: <x@example.org>\r\n")
        inbox = await self.mailbox(self.store)
        await inbox.append(messages=[AppendMessage(spool)])
        wanted = expected(1, b"Return-Path: <x@example.org>\r\n" + MIXED)
        self.assertEqual(await inbox.get_summaries(uids=[1]), [wanted])
        self.assertIn(b"Return-Path", wanted.header)

    async def test_what_is_not_written_yet_is_not_made_again(self) -> None:
        inbox, _ = await self.filled()
        first = await inbox.get_summaries(uids=[1])
        self.assertEqual(self.kept(), 0)
        self.forbid("read", "read_range")
        self.assertEqual(await inbox.get_summaries(uids=[1]), first)

    async def test_copies_share_a_summary(self) -> None:
        inbox, _ = await self.filled()
        await inbox.copy_messages(uids=[1], destination="Sent")
        await inbox.get_summaries(uids=[1])
        await self.wait_until(lambda: self.kept() == 1)
        sent = await self.mailbox(self.store, name="Sent")
        self.forbid("read", "read_range")
        (summary,) = await sent.get_summaries(uids=[1])
        self.assertEqual(summary, expected(1, message(1)))

    async def test_summaries_go_with_their_messages(self) -> None:
        inbox, _ = await self.filled()
        await inbox.get_summaries(uids=[1, 2])
        await self.wait_until(lambda: self.kept() == 2)
        await inbox.expunge(uids=[1])
        await self.store.compact()
        self.assertEqual(self.kept(), 1)

    async def test_they_are_made_ahead(self) -> None:
        inbox, contents = await self.filled(AHEAD)
        await self.wait_until(lambda: self.kept() == len(contents))
        real, self.read_calls = BodyFiles.read, 0

        def count(*arguments: object, **options: object) -> bytes:
            self.read_calls += 1
            return real(*arguments, **options)  # type: ignore[arg-type]

        self.patch(BodyFiles, "read", count)
        wanted = [expected(uid, content) for uid, content in enumerate(contents, 1)]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 6)), wanted)
        self.assertEqual(self.read_calls, 0)
        await self.close_store(self.store)
        self.check()

    async def test_the_next_server_goes_on(self) -> None:
        _, contents = await self.filled()
        self.assertEqual(self.kept(), 0)
        await self.close_store(self.store)
        self.store = self.open_store(AHEAD)
        await self.wait_until(lambda: self.kept() == len(contents))
        await self.wait_until(lambda: self.made_ahead_to() > 0)
        # A removed summary is made when somebody asks, so this shows where the next one begins.
        (first,) = self.store.core.reader.connection.execute("SELECT min(id) FROM body").fetchone()
        await self.close_store(self.store)
        with closing(connect(os.path.join(self.directory, INDEX_NAME))) as index:
            index.execute("DELETE FROM summary WHERE body_id = ?", (first,))
        self.store = self.open_store(AHEAD)
        await self.deliver(self.store, message(9))
        await self.wait_until(lambda: self.kept() == len(contents))
        self.check()

    async def test_structures_are_made_ahead_too(self) -> None:
        inbox, contents = await self.filled()
        await inbox.get_summaries(uids=range(1, 6), structure=False)
        await self.close_store(self.store)
        # They are older than this process; of a sixth nothing is known.
        self.store = self.open_store(AHEAD)
        inbox = await self.mailbox(self.store)
        self.assertEqual(self.finished(), 0)
        await inbox.append(messages=appended(message(6)))
        await self.wait_until(lambda: self.finished() == 6)
        self.forbid("read", "map", "read_range")
        wanted = [expected(uid, content) for uid, content in enumerate([*contents, message(6)], 1)]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 7)), wanted)

    async def test_a_damaged_body_keeps_its_header(self) -> None:
        inbox, contents = await self.filled()
        path = os.path.join(self.directory, "log", self.log_files()[0])
        with open(path, "r+b") as file:
            file.seek(file.read().index(b"line of message 5"))
            file.write(b"L")
        header = expected(5, contents[4])._replace(body_structure=b"")
        self.assertEqual(await inbox.get_summaries(uids=[5], structure=False), [header])
        nothing = expected(5, b"").body_structure
        whole = header._replace(body_structure=nothing)
        self.assertEqual(await inbox.get_summaries(uids=[5]), [whole])
        await self.wait_until(lambda: self.kept() == 1)
        self.assertEqual(await inbox.get_summaries(uids=[5]), [whole])
        self.assertEqual(self.finished(), 0)

    async def test_a_damaged_body_does_not_hide_the_others(self) -> None:
        inbox, contents = await self.filled()
        path = os.path.join(self.directory, "log", self.log_files()[0])
        with open(path, "r+b") as file:
            file.seek(file.read().index(b"line of message 5"))
            file.write(b"L")
        found = await inbox.get_summaries(uids=[4, 5])
        self.assertEqual(found, [expected(4, contents[3]), expected(5, b"")])
        self.assertEqual(self.kept(), 0)
        # In memory neither.
        columns = self.store.core.ready_columns
        self.assertIsNone(columns.get(1, "envelope", [5]))
        self.assertEqual(columns.get(1, "envelope", [4]), [found[0].envelope])

    async def test_a_deleted_mailbox_has_none(self) -> None:
        inbox, _ = await self.filled()
        await inbox.copy_messages(uids=[1], destination="Sent")
        account = await self.store.open_account(name=ANN)
        sent = await self.mailbox(self.store, name="Sent")
        await account.delete_mailbox(name="Sent")
        from mailkit.errors import NoSuchMailbox

        with self.assertRaises(NoSuchMailbox):
            await sent.get_summaries(uids=[1])
