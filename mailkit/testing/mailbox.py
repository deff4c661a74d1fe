"""Contract tests of mailboxes."""

from __future__ import annotations

import os
import time
from typing import cast

from mailkit.errors import MailError, NoSuchMessage
from mailkit.interfaces import (
    IDeletedCounter,
    IRecentMailbox,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.model import DELETED, AppendMessage, DeletedCount, FlagOp
from mailkit.testing.annotations import AnnotationContract
from mailkit.testing.base import (
    DAY,
    FIRST_DATE,
    read_message,
    sample_message,
    sample_messages,
    spooled,
)
from mailkit.testing.conduct import ConductContract
from mailkit.testing.reading import ReadingContract
from mailkit.testing.search import SearchContract
from mailkit.testing.sorting import SortContract, ThreadContract, ThreadNamingContract
from mailkit.testing.storing import QuietContract


class WritingContract(ReadingContract):
    """What a mailbox must do that provides IWritableMailbox; see :class:`MailboxContract`."""

    async def open_writable(self, count: int) -> IWritableMailbox:
        """A mailbox with sample messages that can be changed."""
        mailbox = await self.open_sample(count)
        return cast(IWritableMailbox, self.need(IWritableMailbox, mailbox))

    async def test_flags_and_dates_are_kept(self) -> None:
        mailbox = await self.open_writable(3)
        for sample, message in zip(sample_messages(3), await self.infos(mailbox), strict=True):
            self.assertEqual(message.flags, sample.flags)
            self.assertEqual(message.internal_date, sample.internal_date)

    async def test_append(self) -> None:
        mailbox = await self.open_writable(1)
        before = await mailbox.get_info()
        result = await mailbox.append(
            messages=[AppendMessage(spooled(sample_message(n))) for n in (7, 8)]
        )
        after = await mailbox.get_info()
        self.assertEqual(result.uid_validity, after.uid_validity)
        self.assertEqual(after.uid_validity, before.uid_validity)
        first, second = result.uids
        self.assertTrue(before.uid_next <= first < second < after.uid_next)
        self.assertEqual(list(await mailbox.list_uids())[1:], [first, second])
        self.assertEqual(await read_message(mailbox, second), sample_message(8))
        self.assertEqual((after.messages, after.unseen - before.unseen), (3, 2))
        self.assertGreater(
            after.highest_modseq, before.highest_modseq, "append gave no new highest_modseq"
        )
        changes = await mailbox.get_changes(since=before.highest_modseq)
        self.assertEqual(
            list(changes.added), [first, second], "get_changes tells other new messages than append"
        )

    async def test_append_takes_spools_of_every_kind(self) -> None:
        mailbox = await self.open_writable(0)
        large = sample_message(1, size=3 * 1024 * 1024)
        for content, on_disk, prefix in (
            (b"Subject: x\r\n\r\nsmall", False, b"Received: y\r\n"),
            (b"Subject: x\r\n\r\nsmall", True, b"Received: y\r\n"),
            (large, True, b""),
            (large, True, b"Received: y\r\n"),
        ):
            spool = spooled(content, on_disk=on_disk)
            spool.prepend(prefix)
            try:
                result = await mailbox.append(messages=[AppendMessage(spool)])
            finally:
                spool.close()
            (message,) = await mailbox.get_messages(uids=result.uids)
            self.assertEqual(
                message.size,
                len(prefix + content),
                "size is not that of the spool's octets, with what was put before them",
            )
            self.assertTrue(await read_message(mailbox, message.uid) == prefix + content)

    async def test_append_is_all_or_nothing(self) -> None:
        mailbox = await self.open_writable(1)
        before = await mailbox.get_info()
        broken = spooled(sample_message(2), on_disk=True)
        assert broken.path is not None
        os.unlink(broken.path)
        with self.assertRaises((MailError, OSError)):
            await mailbox.append(
                messages=[AppendMessage(spooled(sample_message(3))), AppendMessage(broken)]
            )
        broken.close()
        after = await mailbox.get_info()
        self.assertEqual(
            (after.messages, after.size),
            (before.messages, before.size),
            "an append that failed has left messages, or their size, behind",
        )
        self.assertEqual(len(await mailbox.list_uids()), 1)
        changes = await mailbox.get_changes(since=before.highest_modseq)
        self.assertEqual([*changes.added, *changes.changed], [])

    async def test_append_keeps_flags_and_date(self) -> None:
        mailbox = await self.open_writable(0)
        flags = frozenset({"\\Answered", "$Forwarded"})
        await mailbox.append(
            messages=[AppendMessage(spooled(sample_message()), flags, FIRST_DATE + 1)]
        )
        (message,) = await self.infos(mailbox)
        self.assertEqual(
            (message.flags, message.internal_date),
            (flags, FIRST_DATE + 1),
            "flags or internal_date are not as they were given to append",
        )
        # Others compare them, and put them into sets.
        self.assertIsInstance(message.flags, frozenset)

    async def test_append_without_date_is_now(self) -> None:
        mailbox = await self.open_writable(0)
        await mailbox.append(messages=[AppendMessage(spooled(sample_message()))])
        (message,) = await self.infos(mailbox)
        self.assertIsInstance(message.internal_date, int)
        self.assertLess(
            abs(message.internal_date - time.time()),
            DAY,
            "internal_date is not now, in seconds since 1970 (UTC), though append got none",
        )

    async def test_flag_operations(self) -> None:
        mailbox = await self.open_writable(1)
        uids = list(await mailbox.list_uids())
        for op, given, expected in (
            (FlagOp.REPLACE, {"\\Seen", "Junk"}, {"\\Seen", "Junk"}),
            (FlagOp.ADD, {"\\Answered", "\\Seen"}, {"\\Seen", "\\Answered", "Junk"}),
            (FlagOp.REMOVE, {"\\Seen", "\\Draft"}, {"\\Answered", "Junk"}),
            (FlagOp.REMOVE, {"NeverSeen"}, {"\\Answered", "Junk"}),
            (FlagOp.REPLACE, {"\\Deleted"}, {"\\Deleted"}),
            (FlagOp.REPLACE, set(), set()),
        ):
            result = await mailbox.store_flags(uids=uids, op=op, flags=frozenset(given))
            (message,) = await self.infos(mailbox)
            self.assertEqual(message.flags, frozenset(expected), f"after {op} of {given}")
            self.assertEqual(
                list(result.messages), [message], "store_flags tells it otherwise than get_messages"
            )
            self.assertEqual(
                list(result.modified),
                [],
                "modified without unchanged_since: nothing may be left out",
            )
            unseen = (await mailbox.get_info()).unseen
            self.assertEqual(unseen, int("\\Seen" not in expected), "unseen of get_info is wrong")

    async def test_keywords_keep_their_first_spelling(self) -> None:
        mailbox = await self.open_writable(2)
        one, two = await mailbox.list_uids()
        await mailbox.store_flags(uids=[one], op=FlagOp.REPLACE, flags=frozenset({"Urgent"}))
        await mailbox.store_flags(
            uids=[one, two], op=FlagOp.ADD, flags=frozenset({"URGENT", "\\Seen"})
        )
        for message in await self.infos(mailbox):
            self.assertEqual({f for f in message.flags if f.lower() == "urgent"}, {"Urgent"})
        await mailbox.store_flags(uids=[one], op=FlagOp.REMOVE, flags=frozenset({"urgent"}))
        (message,) = await mailbox.get_messages(uids=[one])
        self.assertEqual(message.flags, frozenset({"\\Seen"}))

    async def test_only_what_changes_gets_a_new_modification_sequence(self) -> None:
        mailbox = await self.open_writable(3)
        one, two, three = await mailbox.list_uids()
        seen = frozenset({"\\Seen"})
        await mailbox.store_flags(uids=[one], op=FlagOp.REPLACE, flags=seen)
        await mailbox.store_flags(uids=[two, three], op=FlagOp.REPLACE, flags=frozenset())
        before = {message.uid: message for message in await self.infos(mailbox)}
        highest = (await mailbox.get_info()).highest_modseq
        result = await mailbox.store_flags(uids=[one, two], op=FlagOp.ADD, flags=seen)
        self.assertEqual([message.uid for message in result.messages], [one, two])
        after = {message.uid: message for message in await self.infos(mailbox)}
        self.assertEqual(
            (after[one], after[three]),
            (before[one], before[three]),
            "a message whose flags stay as they are keeps its modseq",
        )
        self.assertGreater(after[two].modseq, highest, "a new flag gave no new modseq")
        changes = await mailbox.get_changes(since=highest)
        self.assertEqual(([two], []), (list(changes.changed), list(changes.added)))
        self.assertEqual(changes.highest_modseq, after[two].modseq)

    async def test_unchanged_since(self) -> None:
        # RFC 7162 section 3.1.3
        mailbox = await self.open_writable(2)
        one, two = await mailbox.list_uids()
        await mailbox.store_flags(uids=[one, two], op=FlagOp.REPLACE, flags=frozenset())
        known = (await mailbox.get_info()).highest_modseq
        await mailbox.store_flags(uids=[two], op=FlagOp.ADD, flags=frozenset({"\\Flagged"}))
        result = await mailbox.store_flags(
            uids=[one, two], op=FlagOp.ADD, flags=frozenset({"\\Seen"}), unchanged_since=known
        )
        self.assertEqual(
            list(result.modified), [two], "modified names what has changed after unchanged_since"
        )
        self.assertIn(one, [message.uid for message in result.messages])
        messages = await self.infos(mailbox)
        self.assertEqual([set(each.flags) for each in messages], [{"\\Seen"}, {"\\Flagged"}])
        # Whoever knows the last change may make the next.
        result = await mailbox.store_flags(
            uids=[two],
            op=FlagOp.ADD,
            flags=frozenset({"\\Seen"}),
            unchanged_since=messages[1].modseq,
        )
        self.assertEqual((len(result.messages), list(result.modified)), (1, []))

    async def test_flags_of_missing_messages(self) -> None:
        mailbox = await self.open_writable(1)
        before = await mailbox.get_info()
        result = await mailbox.store_flags(
            uids=[before.uid_next + 5], op=FlagOp.ADD, flags=frozenset({"\\Seen"})
        )
        self.assertEqual((list(result.messages), list(result.modified)), ([], []))
        self.assertEqual(await mailbox.get_info(), before)

    async def test_expunge(self) -> None:
        mailbox = await self.open_writable(4)
        uids = list(await mailbox.list_uids())
        before = await mailbox.get_info()
        gone = await mailbox.expunge(uids=[uids[1], uids[3], before.uid_next + 1])
        self.assertEqual(
            list(gone),
            [uids[1], uids[3]],
            "expunge gives the UIDs that it has removed, and no other",
        )
        self.assertEqual(list(await mailbox.list_uids()), [uids[0], uids[2]])
        self.assertEqual([m.uid for m in await mailbox.get_messages(uids=uids)], uids[0:3:2])
        with self.assertRaises(NoSuchMessage):
            await mailbox.open_message(uid=uids[1])
        self.assertEqual(list(await mailbox.expunge(uids=[uids[1]])), [])
        messages = await self.infos(mailbox)
        after = await mailbox.get_info()
        self.assertEqual(after.messages, 2)
        self.assertEqual(after.size, sum(message.size for message in messages))
        self.assertEqual(after.unseen, sum("\\Seen" not in m.flags for m in messages))
        changes = await mailbox.get_changes(since=before.highest_modseq)
        self.assertEqual(
            list(changes.vanished),
            [uids[1], uids[3]],
            "get_changes does not tell what was expunged",
        )
        self.assertEqual((list(changes.added), list(changes.changed)), ([], []))
        self.assertGreater(changes.highest_modseq, before.highest_modseq)
        self.assertEqual(changes.highest_modseq, after.highest_modseq)

    async def test_expunge_what_is_deleted(self) -> None:
        mailbox = await self.open_writable(12)
        uids = list(await mailbox.list_uids())
        await mailbox.store_flags(uids=uids[:9], op=FlagOp.ADD, flags=frozenset({"\\Deleted"}))
        await mailbox.store_flags(uids=uids[4:6], op=FlagOp.REPLACE, flags=frozenset({"x"}))
        before = await mailbox.get_info()
        missing = before.uid_next + 1
        for wanted, removed in (
            (uids[9:], []),
            ([uids[0], uids[11], missing], [uids[0]]),
            (uids[1:3], uids[1:3]),
            (uids[3:8], [uids[3], *uids[6:8]]),
            (uids, [uids[8]]),
            ([missing], []),
            ([], []),
        ):
            gone = await mailbox.expunge(uids=wanted, only_deleted=True)
            self.assertEqual(list(gone), removed)
        left = [*uids[4:6], *uids[9:]]
        self.assertEqual(list(await mailbox.list_uids()), left)
        self.assertEqual([m.uid for m in await mailbox.get_messages(uids=uids)], left)
        self.assertEqual((await mailbox.get_info()).messages, 5)

    async def test_uids_are_never_used_again(self) -> None:
        mailbox = await self.open_writable(2)
        uids = list(await mailbox.list_uids())
        before = await mailbox.get_info()
        await mailbox.expunge(uids=uids)
        self.assertEqual(
            (await mailbox.get_info()).uid_next, before.uid_next, "expunge changes no uid_next"
        )
        result = await mailbox.append(messages=sample_messages(1))
        self.assertGreater(
            result.uids[0], uids[-1], "the UID of a message that was expunged was given again"
        )

    async def test_a_change_is_told_as_what_it_is_in_the_end(self) -> None:
        mailbox = await self.open_writable(3)
        one, two, three = await mailbox.list_uids()
        since = (await mailbox.get_info()).highest_modseq
        new = list((await mailbox.append(messages=sample_messages(2))).uids)
        await mailbox.store_flags(
            uids=[one, two, *new], op=FlagOp.ADD, flags=frozenset({"\\Answered"})
        )
        await mailbox.expunge(uids=[two, new[1]])
        changes = await mailbox.get_changes(since=since)
        self.assertEqual(list(changes.added), [new[0]])
        self.assertEqual(list(changes.changed), [one])
        self.assertIn(two, changes.vanished)
        self.assertTrue(set(changes.vanished) <= {two, new[1]})
        everything = await mailbox.get_changes(since=0)
        self.assertEqual(list(everything.added), [one, three, new[0]])
        self.assertFalse({one, three, new[0]} & set(everything.vanished))

    async def test_modification_sequences_grow(self) -> None:
        mailbox = await self.open_writable(1)
        (uid,) = await mailbox.list_uids()
        seen = [(await mailbox.get_info()).highest_modseq]
        for op in (FlagOp.REPLACE, FlagOp.ADD, FlagOp.REMOVE):
            flags = frozenset({"\\Draft"} if op is not FlagOp.REPLACE else ())
            await mailbox.store_flags(uids=[uid], op=FlagOp.ADD, flags=frozenset({"Other"}))
            await mailbox.store_flags(uids=[uid], op=op, flags=flags)
            seen.append((await mailbox.get_info()).highest_modseq)
        await mailbox.append(messages=sample_messages(1))
        seen.append((await mailbox.get_info()).highest_modseq)
        await mailbox.expunge(uids=[uid])
        seen.append((await mailbox.get_info()).highest_modseq)
        self.assertEqual(
            seen, sorted(set(seen)), "highest_modseq does not grow with each change of the mailbox"
        )

    async def test_new_messages_are_recent(self) -> None:
        mailbox = await self.open_writable(1)
        recent = cast(IRecentMailbox, self.need(IRecentMailbox, mailbox))
        await recent.claim_recent()
        (uid,) = (await mailbox.append(messages=sample_messages(1))).uids
        self.assertLessEqual((await mailbox.get_info()).first_recent_uid, uid)
        self.assertLessEqual(await recent.claim_recent(), uid)
        self.assertGreater(await recent.claim_recent(), uid)

    async def test_watch(self) -> None:
        mailbox = await self.open_writable(1)
        watchable = cast(IWatchableMailbox, self.need(IWatchableMailbox, mailbox))
        (uid,) = await mailbox.list_uids()
        calls: list[int] = []
        end = watchable.watch(callback=lambda: calls.append(1))
        await mailbox.append(messages=sample_messages(1))
        await self.wait_until(lambda: bool(calls))
        calls.clear()
        await mailbox.store_flags(uids=[uid], op=FlagOp.ADD, flags=frozenset({"\\Draft"}))
        await self.wait_until(lambda: bool(calls))
        calls.clear()
        await mailbox.expunge(uids=[uid])
        await self.wait_until(lambda: bool(calls))
        end()
        end()

    async def test_watch_ends(self) -> None:
        mailbox = await self.open_writable(0)
        watchable = cast(IWatchableMailbox, self.need(IWatchableMailbox, mailbox))
        ended: list[int] = []
        watching: list[int] = []
        end = watchable.watch(callback=lambda: ended.append(1))
        end_other = watchable.watch(callback=lambda: watching.append(1))
        end()
        end()
        await mailbox.append(messages=sample_messages(1))
        await self.wait_until(lambda: bool(watching))
        end_other()
        self.assertEqual(ended, [])

    async def test_deleted_messages_are_counted(self) -> None:
        mailbox = await self.open_writable(4)
        counter = self.need(IDeletedCounter, mailbox)
        self.assertEqual(await counter.count_deleted(), DeletedCount(0, 0))
        uids = list(await mailbox.list_uids())
        infos = await mailbox.get_messages(uids=uids)
        deleted = frozenset({DELETED})
        await mailbox.store_flags(uids=uids[1:3], op=FlagOp.ADD, flags=deleted)
        found = await counter.count_deleted()
        self.assertEqual(found, DeletedCount(2, infos[1].size + infos[2].size))
        await mailbox.store_flags(uids=uids[1:2], op=FlagOp.REMOVE, flags=deleted)
        self.assertEqual(await counter.count_deleted(), DeletedCount(1, infos[2].size))
        await mailbox.expunge(uids=uids[2:3])
        self.assertEqual(await counter.count_deleted(), DeletedCount(0, 0))


class MailboxContract(
    ConductContract,
    QuietContract,
    WritingContract,
    SearchContract,
    SortContract,
    ThreadContract,
    ThreadNamingContract,
    AnnotationContract,
):
    """Tests of one mailbox: :class:`~mailkit.interfaces.IMailbox` and its optional abilities.

    A read-only mailbox runs the reading tests alone.
    """
