"""Contract tests of annotations in mailboxes that are shared (RFC 5257 sections 3.3, 3.4)."""

from __future__ import annotations

from typing import Any

from mailkit.annotations import Annotation
from mailkit.errors import PermissionDenied
from mailkit.interfaces import IAnnotatedMailbox
from mailkit.model import INBOX, AppendMessage
from mailkit.testing.base import sample_message, spooled
from mailkit.testing.sharing_base import BOB, PLANS, SharingBase


class AnnotationSharingTests(SharingBase):
    async def notes(self, account: Any, name: str) -> list[set[Annotation]]:
        """What an account sees of all messages in a mailbox."""
        mailbox = await account.open_mailbox(name=name)
        self.need(IAnnotatedMailbox, mailbox)
        uids = await mailbox.list_uids()
        found = await mailbox.get_annotations(uids=uids)
        return [set(found.get(uid, ())) for uid in uids]

    async def test_private_and_shared_annotations(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lrn")
        own, other = await ann.open_mailbox(name=PLANS), await bob.open_mailbox(name=self.plans)
        self.check_provides(other, [IAnnotatedMailbox], [])
        mine, his, ours = _note(b"Ann's"), _note(b"Bob's"), _note(b"all", True)
        since = (await own.get_info()).highest_modseq
        await own.store_annotations(uids=[1], annotations=[mine])
        await other.store_annotations(uids=[1, 2], annotations=[his, ours])
        self.assertEqual(await self.notes(ann, PLANS), [{mine, ours}, {ours}])
        self.assertEqual(await self.notes(bob, self.plans), [{his, ours}, {his, ours}])
        for box, count in ((own, 3), (other, 4)):
            self.assertEqual(len(await box.get_annotation_changes(since=since)), count)
        # Without the right "n", nothing of a command is done (RFC 5257 section 3.4).
        await self.grant(ann, "lr")
        both = [_note(None), _note(None, True)]
        await self.refused(PermissionDenied, other.store_annotations(uids=[1], annotations=both))
        await other.store_annotations(uids=[1], annotations=both[:1])
        self.assertEqual(await self.notes(bob, self.plans), [{ours}, {his, ours}])
        self.assertEqual(await self.notes(ann, PLANS), [{mine, ours}, {ours}])

    async def test_annotations_of_copies(self) -> None:
        # RFC 5257 section 4.6
        ann, bob = await self.open_pair()
        await self.grant(ann, "lrswipten")
        own, other = await ann.open_mailbox(name=PLANS), await bob.open_mailbox(name=self.plans)
        mine, his, ours = _note(b"Ann's"), _note(b"Bob's"), _note(b"all", True)
        await own.store_annotations(uids=[1], annotations=[mine])
        await other.store_annotations(uids=[1], annotations=[his, ours])
        await other.copy_messages(uids=[1], destination=INBOX)
        self.assertEqual(await self.notes(bob, INBOX), [{his, ours}])
        await own.copy_messages(uids=[1], destination="Sent")
        self.assertEqual(await self.notes(ann, "Sent"), [{mine, ours}])
        # Into Ann's mailbox, with all rights, without "n", and without "r".
        inbox = await bob.open_mailbox(name=INBOX)
        for rights in ("lrin", "lri", "lin"):
            await self.grant(ann, rights)
            await inbox.copy_messages(uids=[1], destination=self.plans)
        self.assertEqual((await self.notes(ann, PLANS))[2:], [{ours}, set(), {ours}])
        await self.grant(ann, "lrswipten")
        seen = await self.notes(bob, self.plans)
        self.assertEqual(seen[2:], [{his, ours}, {his}, {ours}])
        # A move is a copy, whoever's values stay behind.
        await other.move_messages(uids=[1], destination=self.plans)
        self.assertEqual((await self.notes(bob, self.plans))[-1], {his, ours})
        self.assertEqual((await self.notes(ann, PLANS))[-1], {ours})

    async def test_annotations_of_new_messages(self) -> None:
        ann, bob = await self.open_pair()
        his, ours = _note(b"Bob's"), _note(b"all", True)
        message = AppendMessage(spooled(sample_message(3)), annotations=[his, ours])
        await self.grant(ann, "lri")
        inbox, other = await bob.open_mailbox(name=INBOX), await bob.open_mailbox(name=self.plans)
        (uid,) = (await inbox.append(messages=[message])).uids
        await self.refused(PermissionDenied, other.append(messages=[message]))
        await self.refused(
            PermissionDenied,
            inbox.replace_message(uid=uid, destination=self.plans, message=message),
        )
        self.assertEqual(len(await self.flags(ann, PLANS)), 2)
        await self.grant(ann, "lrin")
        await other.append(messages=[message])
        await inbox.replace_message(uid=uid, destination=self.plans, message=message)
        self.assertEqual((await self.notes(ann, PLANS))[2:], [{ours}, {ours}])
        self.assertEqual((await self.notes(bob, self.plans))[2:], [{his, ours}, {his, ours}])

    async def test_annotations_of_a_removed_account(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lrn")
        other = await bob.open_mailbox(name=self.plans)
        await other.store_annotations(uids=[1], annotations=[_note(b"1"), _note(b"2", True)])
        await self.store.remove_account(name=BOB)
        await self.store.add_account(name=BOB)
        await self.grant(ann, "lrn")
        bob = await self.store.open_account(name=BOB)
        self.assertEqual(await self.notes(bob, self.plans), [{_note(b"2", True)}, set()])


def _note(value: bytes | None, shared: bool = False) -> Annotation:
    return Annotation("/comment", value, shared)
