"""Summaries: made once, kept, right for every kind of body."""

from __future__ import annotations

import os

from mailkit.mime import bodystructure_octets, envelope_octets, parse_message
from mailkit.model import SUMMARY_FIELDS, AppendMessage, MessageSummary
from mailkit.store.sqlite import StoreSettings
from mailkit.store.sqlite.bodies import BodyFiles
from mailkit.store.sqlite.mailbox import SQLiteMailbox

from .helpers import ANN, QUIET, StoreTestCase, appended, message

AHEAD = StoreSettings(maintenance_interval=0.01)


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

    async def test_summaries_of_all_kinds(self) -> None:
        inbox, contents = await self.filled()
        wanted = [expected(uid, content) for uid, content in enumerate(contents, 1)]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 9)), wanted)
        await self.wait_until(lambda: self.kept() == 5)
        self.store.core.bodies.read = None  # type: ignore[assignment, method-assign]
        self.store.core.bodies.map = None  # type: ignore[assignment, method-assign]
        self.assertEqual(await inbox.get_summaries(uids=range(1, 9)), wanted)
        self.assertEqual(await inbox.get_summaries(uids=[2, 5]), [wanted[1], wanted[4]])
        self.assertEqual(await inbox.get_summaries(uids=[]), [])

    async def test_a_body_that_was_spooled_to_a_file(self) -> None:
        self.store = await self.make_store(
            settings=StoreSettings(maintenance_interval=3600.0, large_body=1000, spool_memory=100)
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
        self.store.core.bodies.read = None  # type: ignore[assignment, method-assign]
        self.assertEqual(await inbox.get_summaries(uids=[1]), first)

    async def test_copies_share_a_summary(self) -> None:
        inbox, _ = await self.filled()
        await inbox.copy_messages(uids=[1], destination="Sent")
        await inbox.get_summaries(uids=[1])
        await self.wait_until(lambda: self.kept() == 1)
        sent = await self.mailbox(self.store, name="Sent")
        self.store.core.bodies.read = None  # type: ignore[assignment, method-assign]
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

    async def test_a_damaged_body_does_not_hide_the_others(self) -> None:
        inbox, contents = await self.filled()
        path = os.path.join(self.directory, "log", self.log_files()[0])
        with open(path, "r+b") as file:
            file.seek(file.read().index(b"line of message 5"))
            file.write(b"L")
        found = await inbox.get_summaries(uids=[4, 5])
        self.assertEqual(found, [expected(4, contents[3]), expected(5, b"")])
        self.assertEqual(self.kept(), 0)

    async def test_a_deleted_mailbox_has_none(self) -> None:
        inbox, _ = await self.filled()
        await inbox.copy_messages(uids=[1], destination="Sent")
        account = await self.store.open_account(name=ANN)
        sent = await self.mailbox(self.store, name="Sent")
        await account.delete_mailbox(name="Sent")
        from mailkit.errors import NoSuchMailbox

        with self.assertRaises(NoSuchMailbox):
            await sent.get_summaries(uids=[1])
