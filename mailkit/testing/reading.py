"""Contract tests of reading mailboxes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, cast

from mailkit.errors import NoSuchMessage
from mailkit.interfaces import (
    IBatchReadingMailbox,
    ICopyingMailbox,
    IDeletedCounter,
    IMailbox,
    IQuietMailbox,
    IReadyFields,
    IReadyMessages,
    IRecentMailbox,
    IReplacingMailbox,
    ISearchableMailbox,
    ISizedMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IUnendedMessages,
    IViewableMailbox,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.model import AppendMessage, FlagOp, MessageInfo, MessageSummary
from mailkit.testing.base import (
    Contract,
    read_message,
    sample_message,
    sample_messages,
    spooled,
)

OPTIONAL_INTERFACES = (
    IWritableMailbox,
    ICopyingMailbox,
    IDeletedCounter,
    IQuietMailbox,
    IWatchableMailbox,
    ISearchableMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IRecentMailbox,
    IReplacingMailbox,
    IUnendedMessages,
    IViewableMailbox,
)

#: Octets that nobody may change: NUL, 8-bit, bare CR and LF, dots, no line end at the end.
STRANGE_MESSAGES = (
    b"Subject: nul\r\n\r\na\0b\0\0",
    b"Subject: 8-bit \xff\xfe\r\n\r\n" + bytes(range(256)),
    b"Subject: bare\n\nline\nends\rof\r\rall\n\rkinds\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
    b"no header at all",
    b"\r\n",
    b"Subject: long line\r\n\r\n" + b"x" * 100_000,
)


class ReadingContract(Contract):
    """What every mailbox must do; see :class:`MailboxContract`.

    :cvar keeps_octets: False where messages come from a format that cannot hold any octets, such as
        an mbox, which ends each line, and the last one too, in one way: they are compared with what
        they were before, not with what ``make_mailbox`` was given.
    """

    keeps_octets = True

    async def make_mailbox(self, messages: Sequence[AppendMessage]) -> IMailbox:
        """The hook: a mailbox that holds just these messages, the first with the lowest UID.

        A read-only backend that has no flags or dates of its own may disregard those given.
        """
        raise NotImplementedError

    async def open_sample(self, count: int) -> IMailbox:
        """A checked mailbox with sample messages."""
        mailbox = await self.make_mailbox(messages=sample_messages(count))
        self.check_provides(mailbox, [IMailbox], OPTIONAL_INTERFACES)
        return mailbox

    async def infos(self, mailbox: IMailbox) -> list[MessageInfo]:
        """Details of all messages."""
        return list(await mailbox.get_messages(uids=await mailbox.list_uids()))

    async def test_empty_mailbox(self) -> None:
        mailbox = await self.open_sample(0)
        self.assertEqual(list(await mailbox.list_uids()), [])
        self.assertEqual(list(await mailbox.get_messages(uids=[1, 2])), [])
        info = await mailbox.get_info()
        self.assertEqual((info.messages, info.unseen, info.size), (0, 0, 0))
        changes = await mailbox.get_changes(since=0)
        self.assertEqual((list(changes.added), list(changes.changed)), ([], []))

    async def test_uids_ascend(self) -> None:
        mailbox = await self.open_sample(5)
        uids = list(await mailbox.list_uids())
        self.assertEqual(len(uids), 5)
        self.assertEqual(uids, sorted(set(uids)))
        self.assertGreater(uids[0], 0)
        self.assertLess(uids[-1], 2**32)
        for number, uid in enumerate(uids, 1):
            self.assertEqual(await read_message(mailbox, uid), sample_message(number))

    async def test_details_by_ascending_uid_without_the_missing(self) -> None:
        mailbox = await self.open_sample(4)
        uids = list(await mailbox.list_uids())
        asked = [*uids[1:3], uids[-1] + 1, uids[-1] + 1000]
        found = await mailbox.get_messages(uids=asked)
        self.assertEqual([message.uid for message in found], uids[1:3])
        self.assertEqual(list(await mailbox.get_messages(uids=[])), [])

    async def test_sizes(self) -> None:
        mailbox = await self.open_sample(3)
        messages = await self.infos(mailbox)
        for message in messages:
            self.assertEqual(message.size, len(await read_message(mailbox, message.uid)))
        self.assertEqual((await mailbox.get_info()).size, sum(m.size for m in messages))

    async def test_state(self) -> None:
        mailbox = await self.open_sample(3)
        info = await mailbox.get_info()
        messages = await self.infos(mailbox)
        self.assertEqual(info.name, mailbox.name)
        self.assertTrue(info.mailbox_id)
        self.assertTrue(info.selectable)
        self.assertEqual(info.messages, 3)
        self.assertEqual(info.unseen, sum("\\Seen" not in m.flags for m in messages))
        self.assertGreater(info.uid_next, messages[-1].uid)
        self.assertTrue(0 < info.uid_validity < 2**32)
        # RFC 7162 section 7: mod-sequence-value is 1 to 2**63 - 1.
        self.assertTrue(0 < info.highest_modseq < 2**63)
        self.assertTrue(all(0 < m.modseq <= info.highest_modseq for m in messages))

    async def test_octets_are_exact(self) -> None:
        messages = [AppendMessage(spooled(content)) for content in STRANGE_MESSAGES]
        mailbox = await self.make_mailbox(messages=messages)
        expected = list(STRANGE_MESSAGES)
        if not self.keeps_octets:
            expected = [await read_message(mailbox, uid) for uid in await mailbox.list_uids()]
        for message, content in zip(await self.infos(mailbox), expected, strict=True):
            self.assertEqual(await read_message(mailbox, message.uid), content)
            self.assertEqual(message.size, len(content), "size is that of the octets")

    async def test_messages_are_seekable_files(self) -> None:
        mailbox = await self.open_sample(1)
        (uid,) = await mailbox.list_uids()
        content = sample_message(1)
        with (
            await mailbox.open_message(uid=uid) as one,
            await mailbox.open_message(uid=uid) as other,
        ):
            self.assertEqual(one.read(10), content[:10])
            self.assertEqual(other.read(), content)
            self.assertEqual(one.seek(5), 5)
            self.assertEqual(one.read(7), content[5:12])
            self.assertEqual(one.tell(), 12)
            self.assertEqual(one.seek(0, os.SEEK_END), len(content))
            self.assertEqual(one.read(), b"")

    async def test_missing_message(self) -> None:
        mailbox = await self.open_sample(1)
        with self.assertRaises(NoSuchMessage):
            await mailbox.open_message(uid=(await mailbox.get_info()).uid_next)

    async def test_everything_is_new_since_zero(self) -> None:
        mailbox = await self.open_sample(3)
        changes = await mailbox.get_changes(since=0)
        self.assertEqual(list(changes.added), list(await mailbox.list_uids()))
        self.assertEqual(list(changes.changed), [])
        self.assertEqual(changes.highest_modseq, (await mailbox.get_info()).highest_modseq)

    async def test_nothing_is_new_since_now(self) -> None:
        mailbox = await self.open_sample(3)
        highest = (await mailbox.get_info()).highest_modseq
        changes = await mailbox.get_changes(since=highest)
        self.assertEqual(changes.highest_modseq, highest)
        self.assertEqual([*changes.added, *changes.changed, *changes.vanished], [])

    async def test_summaries(self) -> None:
        mailbox = await self.open_sample(3)
        summarizing = cast(ISummarizingMailbox, self.need(ISummarizingMailbox, mailbox))
        uids = list(await mailbox.list_uids())
        summaries = await summarizing.get_summaries(uids=[*uids[1:], uids[-1] + 1])
        self.assertEqual([summary.uid for summary in summaries], uids[1:])
        first = summaries[0]
        self.assertTrue(first.envelope.startswith(b'("Mon, 01 Jan 2024 12:00:00 +0000" "Sample 2"'))
        self.assertTrue(first.body_structure.lower().startswith(b'("text" "plain"'))
        header = sample_message(2).partition(b"\r\n\r\n")[0] + b"\r\n"
        self.assertEqual(first.header, header)

    async def test_summaries_without_structure(self) -> None:
        mailbox = await self.open_sample(3)
        summarizing = cast(ISummarizingMailbox, self.need(ISummarizingMailbox, mailbox))
        uids = list(await mailbox.list_uids())
        headers = await summarizing.get_summaries(uids=uids[1:], structure=False)
        wholes = await summarizing.get_summaries(uids=uids)
        self.assertTrue(all(whole.body_structure for whole in wholes))
        for found, whole in zip(headers, wholes[1:], strict=True):
            self.assertIn(found.body_structure, (b"", whole.body_structure))
            self.assertEqual(found._replace(body_structure=whole.body_structure), whole)
        # What is known does not get lost.
        again = await summarizing.get_summaries(uids=uids, structure=False)
        self.assertEqual([found.header for found in again], [whole.header for whole in wholes])
        self.assertEqual(list(await summarizing.get_summaries(uids=uids)), list(wholes))

    async def test_unended_messages(self) -> None:
        ends = (b"a\r\n", b"b", b"", b"\r\n", b"c\n", b"d\r", b"\n", b"e\r\n.", b"f\n\r\n")
        contents = [AppendMessage(spooled(b"Subject: x\r\n\r\n" + end)) for end in ends[:2]]
        contents += [AppendMessage(spooled(end)) for end in ends[2:]]
        # Large ones may be kept in another way.
        for end in (b"", b"x"):
            large = spooled(sample_message(1, size=3_000_000) + end, on_disk=True)
            self.addCleanup(large.close)
            contents.append(AppendMessage(large))
        mailbox = await self.make_mailbox(messages=contents)
        unended = cast(IUnendedMessages, self.need(IUnendedMessages, mailbox))
        uids = list(await mailbox.list_uids())
        expected = [uids[n] for n in (1, 4, 5, 6, 7, 10)]
        self.assertEqual(list(await unended.list_unended(uids=uids)), expected)
        self.assertEqual(list(await unended.list_unended(uids=[])), [])
        self.assertEqual(list(await unended.list_unended(uids=uids[:1])), [])
        some = [uids[1], uids[5], uids[-1], uids[-1] + 1000, uids[-1] + 10**6]
        self.assertEqual(list(await unended.list_unended(uids=some)), some[:3])

    async def test_messages_that_are_ready(self) -> None:
        contents = [sample_message(number) for number in range(1, 8)]
        mailbox = await self.make_mailbox(
            messages=[AppendMessage(spooled(octets)) for octets in contents]
        )
        ready = cast(IReadyMessages, self.need(IReadyMessages, mailbox))
        writable = cast(IWritableMailbox, self.need(IWritableMailbox, mailbox))
        uids = list(await mailbox.list_uids())

        def check(expected: dict[int, bytes]) -> None:
            # Each is there or has to be asked for; it is never another one.
            for uid in [*uids, uids[-1] + 1, 1, *reversed(uids)]:
                found = ready.read_ready(uid=uid)
                if found is not None:
                    self.assertEqual(found, expected.get(uid))

        check(dict(zip(uids, contents, strict=True)))
        self.assertTrue(any(ready.read_ready(uid=uid) for uid in uids))
        await writable.expunge(uids=uids[2:4])
        check({uids[n]: contents[n] for n in (0, 1, 4, 5, 6)})

    async def test_messages_that_are_read_together(self) -> None:
        contents = [*STRANGE_MESSAGES, *map(sample_message, range(20))]
        contents.append(sample_message(1, size=3_000_000))
        mailbox = await self.make_mailbox(
            messages=[AppendMessage(spooled(octets)) for octets in contents]
        )
        together = cast(IBatchReadingMailbox, self.need(IBatchReadingMailbox, mailbox))
        writable = cast(IWritableMailbox, self.need(IWritableMailbox, mailbox))
        uids = list(await mailbox.list_uids())
        known = dict(zip(uids, contents, strict=True))

        async def check(wanted: Sequence[int], octets: int) -> int:
            # The first ones, each as it is, or fewer, and never more than was asked for.
            found = list(await together.read_messages(uids=wanted, octets=octets))
            self.assertEqual(found, [known.get(uid) for uid in wanted[: len(found)]])
            self.assertLessEqual(sum(map(len, found)), octets)
            return len(found)

        self.assertGreater(await check(uids[:-1], 100_000), 0)
        self.assertEqual(await check([], 1000), 0)
        self.assertEqual(await check(uids[-1:], 1_000_000), 0)
        for wanted in (uids, uids[::-1], uids[::3], [uids[5], uids[4], uids[-2]], [uids[-1] + 1]):
            for octets in (0, 10, 500, 100_000):
                await check(wanted, octets)
        for uid in uids[3:6]:
            del known[uid]
        await writable.expunge(uids=uids[3:6])
        self.assertLessEqual(await check(uids, 100_000), 3)
        self.assertEqual(await check(uids[4:], 100_000), 0)
        await check(uids[6:], 100_000)

    async def test_fields_that_are_ready(self) -> None:
        mailbox = await self.open_sample(9)
        ready = cast(IReadyFields, self.need(IReadyFields, mailbox))
        writable = cast(IWritableMailbox, self.need(IWritableMailbox, mailbox))
        summarizing = cast(ISummarizingMailbox, self.need(ISummarizingMailbox, mailbox))
        told = [field for field in MessageInfo._fields if field not in ("uid", "thread_id")]
        every = [*told, *MessageSummary._fields[1:], "size"]
        kept = ["body_structure", "header subject date", "envelope"]
        uids = list(await mailbox.list_uids())

        def expect(row: object, field: str) -> Any:
            name, *chosen = field.encode().split()
            value = getattr(row, name.decode())
            if not chosen:
                return value
            fields = re.split(rb"(?<=\n)(?![ \t])", value)
            return b"".join(each for each in fields if each.split(b":")[0].lower() in chosen)

        async def check(uids: Sequence[int]) -> bool:
            infos = await mailbox.get_messages(uids=uids)
            summaries = await summarizing.get_summaries(uids=uids)
            answered = []
            some = ["size"], ["envelope"], ["header", "header"], ["flags"]
            for fields in (*some, every, ["flags", *kept]):
                found = ready.read_fields(uids=uids, fields=fields)
                answered.append(found is not None)
                expected = [
                    [expect(row, field) for row in (infos if field in told else summaries)]
                    for field in fields
                ]
                expected = [
                    [b"%d" % value for value in values] if field in ("size", "modseq") else values
                    for field, values in zip(fields, expected, strict=True)
                ]
                # Each is there or has to be asked for; it is never another one.
                if found is not None:
                    self.assertEqual([list(values) for values in found], expected)
            return any(answered)

        self.assertTrue(await check(uids))
        await writable.store_flags(
            uids=uids[1:3], op=FlagOp.ADD, flags=frozenset(("\\Flagged", "$Work"))
        )
        self.assertTrue(await check(uids))
        self.assertTrue(await check([uids[1], uids[2], uids[8]]))
        self.assertIsNone(ready.read_fields(uids=[*uids, uids[-1] + 1], fields=["size"]))
        await writable.expunge(uids=[uids[3], uids[5]])
        self.assertTrue(await check([*uids[:3], uids[4], *uids[6:]]))
        self.assertTrue(await check([uids[2], uids[8]]))
        self.assertIsNone(ready.read_fields(uids=uids, fields=["size"]))
        self.assertIsNone(ready.read_fields(uids=[uids[2], uids[3]], fields=["size"]))

    async def test_sizes_for_pop3(self) -> None:
        mailbox = await self.make_mailbox(
            messages=[AppendMessage(spooled(octets)) for octets in (b"a\r\n", b"bc", b"", b"d\n")]
        )
        sized = cast(ISizedMailbox, self.need(ISizedMailbox, mailbox))
        for _ in range(2):
            found = await sized.get_sizes()
            assert found is not None
            info, uids, sizes, octets = found
            self.assertEqual(list(uids), list(await mailbox.list_uids()))
            self.assertEqual(list(sizes), [3, 4, 0, 4])
            self.assertEqual(octets, 11)
            self.assertEqual(info.uid_validity, (await mailbox.get_info()).uid_validity)
        writable = cast(IWritableMailbox, self.need(IWritableMailbox, mailbox))
        await writable.expunge(uids=uids[:1])
        await writable.append(messages=[AppendMessage(spooled(b"efg"))])
        found = await sized.get_sizes()
        assert found is not None
        self.assertEqual(list(found[1]), list(await mailbox.list_uids()))
        self.assertEqual(list(found[2]), [4, 0, 4, 5])
        self.assertEqual(found[3], 13)

    async def test_recent_messages_are_claimed_once(self) -> None:
        mailbox = await self.open_sample(2)
        recent = cast(IRecentMailbox, self.need(IRecentMailbox, mailbox))
        uids = list(await mailbox.list_uids())
        info = await mailbox.get_info()
        self.assertLessEqual(info.first_recent_uid, uids[0])
        self.assertEqual(await recent.claim_recent(), info.first_recent_uid)
        info = await mailbox.get_info()
        self.assertGreater(info.first_recent_uid, uids[-1])
        self.assertEqual(await recent.claim_recent(), info.first_recent_uid)

    async def test_what_a_session_does_not_know_of_stays_recent(self) -> None:
        mailbox = await self.open_sample(3)
        recent = cast(IRecentMailbox, self.need(IRecentMailbox, mailbox))
        uids = list(await mailbox.list_uids())
        self.assertLessEqual(await recent.claim_recent(last=uids[1]), uids[0])
        for _ in range(2):
            # Nothing is given back.
            self.assertEqual(await recent.claim_recent(last=uids[0]), uids[1] + 1)
        self.assertEqual(await recent.claim_recent(last=uids[2] + 9), uids[1] + 1)
        self.assertEqual(await recent.claim_recent(), uids[2] + 1)

    async def test_view(self) -> None:
        mailbox = await self.open_sample(5)
        viewable = cast(IViewableMailbox, self.need(IViewableMailbox, mailbox))
        recent = cast(IRecentMailbox, self.need(IRecentMailbox, mailbox))
        uids = list(await mailbox.list_uids())
        infos = await mailbox.get_messages(uids=uids)
        unseen = [info.uid for info in infos if "\\Seen" not in info.flags]
        for _ in range(2):
            view = await viewable.get_view(claim_recent=False)
            self.assertEqual(view.info, await mailbox.get_info())
            self.assertEqual(list(view.uids), uids)
            self.assertEqual(view.first_unseen_uid, unseen[0])
        claimed = await viewable.get_view(claim_recent=True)
        self.assertEqual(claimed.info.first_recent_uid, view.info.first_recent_uid)
        view = await viewable.get_view(claim_recent=True)
        self.assertGreater(view.info.first_recent_uid, uids[-1])
        self.assertEqual(await recent.claim_recent(), view.info.first_recent_uid)
