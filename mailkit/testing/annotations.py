"""Contract tests of annotations about messages (RFC 5257)."""

from __future__ import annotations

from typing import Any

from mailkit.annotations import Annotation, AnnotationChange
from mailkit.errors import EntryTooLarge, TooManyEntries
from mailkit.interfaces import IAnnotatedMailbox, IReplacingMailbox, IWritableMailbox
from mailkit.model import AppendMessage, FlagOp
from mailkit.testing.base import sample_message, sample_messages, spooled
from mailkit.testing.reading import ReadingContract

COMMENT, SUBJECT = "/comment", "/altsubject"


class AnnotationContract(ReadingContract):
    """What a mailbox must do that provides IAnnotatedMailbox; see :class:`MailboxContract`."""

    async def open_annotated(self, count: int) -> Any:
        """A mailbox with sample messages that can be annotated."""
        mailbox: Any = await self.open_sample(count)
        self.need(IAnnotatedMailbox, mailbox)
        self.check_provides(mailbox, [IAnnotatedMailbox, IWritableMailbox], [])
        if not mailbox.private_annotations:
            self.skipTest("there are no private annotations")
        return mailbox

    async def test_annotations(self) -> None:
        mailbox = await self.open_annotated(3)
        uids = list(await mailbox.list_uids())
        self.assertEqual(dict(await mailbox.get_annotations(uids=uids)), {})
        mine, ours = Annotation(COMMENT, b"mine\0\xff"), Annotation(COMMENT, b"", True)
        other = Annotation("/Comment", b"letter case counts")
        await mailbox.store_annotations(uids=uids[:2], annotations=[ours, mine])
        await mailbox.store_annotations(uids=uids[1:2], annotations=[other])
        found = await mailbox.get_annotations(uids=uids)
        self.assertEqual(
            {uid: list(some) for uid, some in found.items()},
            {uids[0]: [mine, ours], uids[1]: [other, mine, ours]},
        )
        self.assertEqual(list(await mailbox.get_annotations(uids=uids[2:])), [])
        self.assertEqual(list(await mailbox.get_annotations(uids=[uids[1], 4_000_000])), uids[1:2])
        # NIL takes away one of the two, and what is not there.
        await mailbox.store_annotations(
            uids=uids, annotations=[mine._replace(value=None), Annotation("/no", None)]
        )
        found = await mailbox.get_annotations(uids=uids)
        self.assertEqual(
            {uid: list(some) for uid, some in found.items()},
            {uids[0]: [ours], uids[1]: [other, ours]},
        )

    async def test_annotations_of_scattered_messages(self) -> None:
        mailbox = await self.open_annotated(40)
        uids = list(await mailbox.list_uids())
        chosen = [uids[0], uids[20], uids[39]]
        await mailbox.store_annotations(
            uids=uids, annotations=[Annotation(COMMENT, b"x"), Annotation(SUBJECT, b"y", True)]
        )
        self.assertEqual(list(await mailbox.get_annotations(uids=chosen)), chosen)
        await mailbox.store_annotations(uids=chosen, annotations=[Annotation(COMMENT, b"z")])
        found = await mailbox.get_annotations(uids=uids)
        self.assertEqual([uid for uid in uids if found[uid][1].value == b"z"], chosen)

    async def test_annotations_raise_modification_sequences(self) -> None:
        mailbox = await self.open_annotated(3)
        one, two, three = uids = list(await mailbox.list_uids())
        before = (await mailbox.get_info()).highest_modseq
        note = Annotation(COMMENT, b"x")
        result = await mailbox.store_annotations(uids=[one, two, 4_000_000], annotations=[note])
        self.assertEqual([info.uid for info in result.messages], [one, two])
        self.assertEqual(list(result.messages), list(await mailbox.get_messages(uids=[one, two])))
        changes = await mailbox.get_changes(since=before)
        self.assertEqual((list(changes.changed), list(changes.added)), ([one, two], []))
        now = (await mailbox.get_info()).highest_modseq
        self.assertTrue(all(before < info.modseq <= now for info in result.messages))
        # What is so already is no change.
        same = await mailbox.store_annotations(uids=[one], annotations=[note])
        self.assertEqual(list(same.messages), list(result.messages[:1]))
        self.assertEqual((await mailbox.get_info()).highest_modseq, now)
        # RFC 7162 section 3.1.3
        partly = await mailbox.store_annotations(
            uids=uids, annotations=[Annotation(SUBJECT, b"y")], unchanged_since=before
        )
        self.assertEqual([info.uid for info in partly.messages], [three])
        self.assertEqual(list(partly.modified), [one, two])
        self.assertEqual(list(await mailbox.get_annotations(uids=[three])), [three])
        flags = frozenset({"\\Draft"})
        later = await mailbox.store_flags(
            uids=[one], op=FlagOp.ADD, flags=flags, unchanged_since=before
        )
        self.assertEqual(list(later.modified), [one])

    async def test_changes_of_annotations(self) -> None:
        mailbox = await self.open_annotated(2)
        one, two = await mailbox.list_uids()
        await mailbox.store_annotations(
            uids=[one, two], annotations=[Annotation(COMMENT, b"old"), Annotation(SUBJECT, b"x")]
        )
        since = (await mailbox.get_info()).highest_modseq
        self.assertEqual(list(await mailbox.get_annotation_changes(since=since)), [])
        await mailbox.store_annotations(
            uids=[one, two], annotations=[Annotation(SUBJECT, b"y"), Annotation("/b", b"1", True)]
        )
        first = (await mailbox.get_info()).highest_modseq
        await mailbox.store_annotations(uids=[two], annotations=[Annotation(COMMENT, None)])
        second = (await mailbox.get_info()).highest_modseq
        self.assertEqual(
            list(await mailbox.get_annotation_changes(since=since)),
            sorted(
                [
                    AnnotationChange(one, SUBJECT, first),
                    AnnotationChange(one, "/b", first),
                    AnnotationChange(two, SUBJECT, first),
                    AnnotationChange(two, "/b", first),
                    AnnotationChange(two, COMMENT, second),
                ]
            ),
        )
        self.assertEqual(
            list(await mailbox.get_annotation_changes(since=first)),
            [AnnotationChange(two, COMMENT, second)],
        )

    async def test_annotations_that_are_written_and_removed_again_and_again(self) -> None:
        mailbox = await self.open_annotated(1)
        uids = list(await mailbox.list_uids())
        for number in range(150):
            entry = f"/vendor/x/{number}"
            for value in (b"x", None):
                await mailbox.store_annotations(uids=uids, annotations=[Annotation(entry, value)])
        self.assertEqual(dict(await mailbox.get_annotations(uids=uids)), {})
        # Some are still known as removed, but not all.
        changes = await mailbox.get_annotation_changes(since=0)
        self.assertIn("/vendor/x/149", [change.entry for change in changes])
        self.assertLess(len(changes), 100)

    async def test_limits_of_annotations(self) -> None:
        mailbox = await self.open_annotated(2)
        uids = list(await mailbox.list_uids())
        # RFC 5257 section 4.1
        limit = mailbox.max_annotation
        self.assertGreaterEqual(limit, 1024)
        large = [Annotation(COMMENT, b"x" * (limit + 1)), Annotation(SUBJECT, b"x", True)]
        with self.assertRaises(EntryTooLarge) as caught:
            await mailbox.store_annotations(uids=uids, annotations=large)
        self.assertEqual(caught.exception.limit, limit)
        self.assertEqual(dict(await mailbox.get_annotations(uids=uids)), {})
        await mailbox.store_annotations(uids=uids[:1], annotations=[Annotation("/c", b"x" * limit)])
        few = [Annotation(f"/vendor/x/{number}", b"x") for number in range(9)]
        await mailbox.store_annotations(uids=uids[:1], annotations=few)
        many = [Annotation(f"/vendor/y/{number}", b"x") for number in range(10_000)]
        before = (await mailbox.get_info()).highest_modseq
        with self.assertRaises(TooManyEntries):
            await mailbox.store_annotations(uids=uids, annotations=many)
        self.assertEqual((await mailbox.get_info()).highest_modseq, before)
        self.assertEqual(list(await mailbox.get_annotations(uids=uids)), uids[:1])
        message = AppendMessage(spooled(sample_message(9)))
        for some, error in ((many, TooManyEntries), (large, EntryTooLarge)):
            with self.assertRaises(error):
                await mailbox.append(messages=[message._replace(annotations=some)])
        self.assertEqual(list(await mailbox.list_uids()), uids)

    async def test_room_for_annotations_is_given_back(self) -> None:
        mailbox = await self.open_annotated(1)
        (uid,) = await mailbox.list_uids()
        value = b"x" * mailbox.max_annotation
        notes = [Annotation(f"/vendor/x/{number}", value, True) for number in range(40)]

        async def fill() -> tuple[int, int]:
            """Appends messages with annotations until there is no room; counts those that fit."""
            count = last = 0
            message = AppendMessage(spooled(b"Subject: x\r\n\r\n"), annotations=notes)
            while count < 50:
                try:
                    (last,) = (await mailbox.append(messages=[message])).uids
                except TooManyEntries:
                    break
                count += 1
            self.assertLess(count, 50)
            return count, last

        count, last = await fill()
        # To take some away, or to change what there is, is always allowed.
        await mailbox.store_annotations(
            uids=[last], annotations=[Annotation("/vendor/x/1", b"y" * len(value), True)]
        )
        with self.assertRaises(TooManyEntries):
            await mailbox.store_annotations(uids=[uid], annotations=notes)
        everything = list(await mailbox.list_uids())
        await mailbox.expunge(uids=everything[1:])
        self.assertEqual((await fill())[0], count)
        self.assertEqual(list(await mailbox.get_annotations(uids=[uid])), [])

    async def test_annotations_come_with_a_message(self) -> None:
        mailbox = await self.open_annotated(1)
        notes = [Annotation(COMMENT, b"Don't send until I say so"), Annotation(SUBJECT, b"x", True)]
        messages = [
            sample._replace(annotations=notes[: 2 - number])
            for number, sample in enumerate(sample_messages(3))
        ]
        since = (await mailbox.get_info()).highest_modseq
        uids = list((await mailbox.append(messages=messages)).uids)
        found = await mailbox.get_annotations(uids=uids)
        self.assertEqual(
            {uid: sorted(some) for uid, some in found.items()},
            {uids[0]: sorted(notes), uids[1]: notes[:1]},
        )
        changes = await mailbox.get_changes(since=since)
        self.assertEqual((list(changes.added), list(changes.changed)), (uids, []))

    async def test_annotations_go_with_their_message(self) -> None:
        mailbox = await self.open_annotated(3)
        uids = list(await mailbox.list_uids())
        notes = [Annotation(COMMENT, b"x"), Annotation(COMMENT, b"y", True)]
        await mailbox.store_annotations(uids=uids, annotations=notes)
        await mailbox.expunge(uids=uids[1:2])
        self.assertEqual(list(await mailbox.get_annotations(uids=uids)), [uids[0], uids[2]])
        changes = await mailbox.get_annotation_changes(since=0)
        self.assertEqual({change.uid for change in changes}, {uids[0], uids[2]})

    async def test_a_message_that_replaces_another_has_annotations_of_its_own(self) -> None:
        mailbox = await self.open_annotated(2)
        uids = list(await mailbox.list_uids())
        replacing: Any = self.need(IReplacingMailbox, mailbox)
        await mailbox.store_annotations(uids=uids, annotations=[Annotation(COMMENT, b"old")])
        new = Annotation(SUBJECT, b"new")
        message = AppendMessage(spooled(sample_message(9)), annotations=[new])
        result = await replacing.replace_message(
            uid=uids[0], destination=mailbox.name, message=message
        )
        found = await mailbox.get_annotations(uids=[*uids, *result.uids])
        self.assertEqual(
            {uid: list(some) for uid, some in found.items()},
            {uids[1]: [Annotation(COMMENT, b"old")], result.uids[0]: [new]},
        )
