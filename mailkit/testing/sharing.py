"""Contract tests of stores whose accounts share mailboxes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mailkit.annotations import Annotation
from mailkit.errors import (
    InvalidMailboxName,
    MailboxExists,
    MailError,
    NoSuchAccount,
    NoSuchMailbox,
    PermissionDenied,
)
from mailkit.interfaces import (
    IAccessDirectory,
    ICopyingMailbox,
    IRestrictedMailbox,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.model import DELETED, FLAGGED, INBOX, SEEN, AppendMessage, FlagOp
from mailkit.rights import ALL_RIGHTS, ANYONE, NO_RIGHTS, Grant, RightsOp, parse_rights
from mailkit.testing.base import read_message, sample_message, sample_messages, spooled
from mailkit.testing.sharing_annotations import AnnotationSharingTests
from mailkit.testing.sharing_base import ANN, BOB, EVE, FLAGS, PLANS

_Step = Callable[[Any], Awaitable[object]]


class SharingContract(AnnotationSharingTests):
    """Tests of :class:`~mailkit.interfaces.IAccessControl` and what belongs to it.

    The hook is ``make_store``; everybody may not be shared with. The store is closed by itself.
    """

    # Lists.

    async def test_a_list(self) -> None:
        ann, _ = await self.open_pair()
        owner = Grant(ANN, ALL_RIGHTS)
        self.assertEqual(await ann.get_acl(name=PLANS), [owner])
        await self.grant(ann, "lr")
        await ann.set_acl(name=PLANS, identifier=BOB, rights=parse_rights("sd"), op=RightsOp.ADD)
        await ann.set_acl(name=PLANS, identifier=BOB, rights=parse_rights("t"), op=RightsOp.REMOVE)
        await self.grant(ann, "w", "-" + EVE)
        self.assertEqual(
            await ann.get_acl(name=PLANS),
            [owner, Grant(BOB, frozenset("lrse")), Grant("-" + EVE, frozenset("w"))],
        )
        await ann.delete_acl(name=PLANS, identifier="-" + EVE)
        await ann.delete_acl(name=PLANS, identifier=EVE)
        await self.grant(ann, "")
        self.assertEqual(await ann.get_acl(name=PLANS), [owner])
        await self.refused(NoSuchMailbox, ann.get_acl(name="Nothing"))

    async def test_identifiers(self) -> None:
        ann, _ = await self.open_pair()
        await self.grant(ann, "lr", "Bob@Example.ORG")
        self.assertIn(Grant(BOB, frozenset("lr")), await ann.get_acl(name=PLANS))
        await ann.delete_acl(name=PLANS, identifier="BOB@example.org")
        self.assertEqual(len(await ann.get_acl(name=PLANS)), 1)
        await self.refused(NoSuchAccount, self.grant(ann, "lr", "nobody@example.org"))
        for many in (ANYONE, "@example.org"):
            await self.refused(PermissionDenied, self.grant(ann, "lr", many))
            await self.grant(ann, "w", "-" + many)
        await self.refused(MailError, self.grant(ann, "lr", "x" * 500 + "@example.org"))

    async def test_the_owner_keeps_all_rights(self) -> None:
        ann, _ = await self.open_pair()
        await self.refused(PermissionDenied, self.grant(ann, "lr", ANN))
        await self.refused(PermissionDenied, self.grant(ann, "r", "-" + ANN))
        await self.refused(PermissionDenied, ann.delete_acl(name=PLANS, identifier=ANN))
        await self.grant(ann, "lrswipkxtean", ANN)
        self.assertEqual(await ann.my_rights(name=PLANS), ALL_RIGHTS)
        listed = await ann.list_rights(name=PLANS, identifier=ANN)
        self.assertEqual(listed, (ALL_RIGHTS, NO_RIGHTS))

    async def test_what_can_be_granted(self) -> None:
        ann, bob = await self.open_pair()
        for identifier, optional in (
            (BOB, ALL_RIGHTS),
            ("-" + BOB, ALL_RIGHTS),
            (ANYONE, NO_RIGHTS),
            ("nobody@example.org", NO_RIGHTS),
        ):
            listed = await ann.list_rights(name=PLANS, identifier=identifier)
            self.assertEqual(listed, (NO_RIGHTS, optional), identifier)
        await self.grant(ann, "lr")
        await self.refused(PermissionDenied, bob.list_rights(name=self.plans, identifier=BOB))

    async def test_another_administers(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lr")
        for step in (
            bob.get_acl(name=self.plans),
            bob.set_acl(name=self.plans, identifier=EVE, rights=frozenset("l"), op=RightsOp.ADD),
            bob.delete_acl(name=self.plans, identifier=BOB),
        ):
            await self.refused(PermissionDenied, step)
        await self.grant(ann, "la")
        await bob.set_acl(
            name=self.plans, identifier=EVE, rights=frozenset("lr"), op=RightsOp.REPLACE
        )
        self.assertEqual(
            [grant.identifier for grant in await bob.get_acl(name=self.plans)], [ANN, BOB, EVE]
        )

    async def test_too_many_entries(self) -> None:
        _ann, _ = await self.open_pair()
        self.need(IAccessDirectory, self.store)
        with self.assertRaises(MailError):
            for number in range(1001):
                await self.store.set_acl(
                    account=ANN,
                    mailbox=PLANS,
                    identifier=f"@d{number}.example",
                    rights=frozenset("l"),
                    op=RightsOp.REPLACE,
                )

    # What others see.

    async def test_nothing_is_seen_without_a_right(self) -> None:
        ann, bob = await self.open_pair()
        for rights in ("", "swtep"):
            await self.grant(ann, rights)
            self.assertNotIn(self.plans, await self.names(bob))
            for step in (
                bob.open_mailbox(name=self.plans),
                bob.my_rights(name=self.plans),
                bob.get_acl(name=self.plans),
                bob.delete_mailbox(name=self.plans),
                bob.rename_mailbox(name=self.plans, new_name=self.plans + "2"),
            ):
                await self.refused(NoSuchMailbox, step)

    async def test_listed_with_l(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lr")
        (info,) = [info for info in await bob.list_mailboxes() if info.name == self.plans]
        own = await (await ann.open_mailbox(name=PLANS)).get_info()
        self.assertEqual(info, own._replace(name=self.plans, subscribed=False))
        await bob.subscribe(name=self.plans)
        mailbox = await bob.open_mailbox(name=self.plans)
        self.assertEqual(await mailbox.get_info(), info._replace(subscribed=True))
        self.assertEqual(mailbox.name, self.plans)
        self.assertNotIn(self.plans, await self.names(ann))
        await self.grant(ann, "l")
        (info,) = [info for info in await bob.list_mailboxes() if info.name == self.plans]
        self.assertEqual((info.selectable, info.messages), (False, 0))
        await self.grant(ann, "r")
        self.assertNotIn(self.plans, await self.names(bob))
        self.assertEqual(await bob.my_rights(name=self.plans), {"r"})

    async def test_special_uses_are_their_owners(self) -> None:
        ann, bob = await self.open_pair()
        await ann.set_acl(name="Sent", identifier=BOB, rights=frozenset("lr"), op=RightsOp.REPLACE)
        uses = [info.special_use for info in await bob.list_mailboxes()]
        self.assertEqual(uses.count("\\Sent"), 1)

    async def test_inbox_of_another(self) -> None:
        ann, bob = await self.open_pair()
        await ann.set_acl(
            name="inbox", identifier=BOB, rights=frozenset("lri"), op=RightsOp.REPLACE
        )
        inbox = bob.namespaces.other_users + f"{ANN}/{INBOX}"
        self.assertIn(inbox, await self.names(bob))
        mailbox = await bob.open_mailbox(name=inbox)
        await mailbox.append(messages=sample_messages(1))
        self.assertEqual(len(await (await ann.open_mailbox(name=INBOX)).list_uids()), 1)
        self.assertEqual(len(await (await bob.open_mailbox(name=INBOX)).list_uids()), 0)

    async def test_rights_are_added_up_and_taken_away(self) -> None:
        _ann, bob = await self.open_pair()
        self.need(IAccessDirectory, self.store)
        for identifier, rights in (
            (ANYONE, "lr"),
            ("@example.org", "s"),
            (BOB, "wi"),
            ("-" + BOB, "i"),
            ("-@example.net", "r"),
        ):
            await self.store.set_acl(
                account=ANN,
                mailbox=PLANS,
                identifier=identifier,
                rights=parse_rights(rights),
                op=RightsOp.REPLACE,
            )
        eve = await self.store.open_account(name=EVE)
        self.assertEqual(await bob.my_rights(name=self.plans), frozenset("lrsw"))
        self.assertEqual(await eve.my_rights(name=self.plans), frozenset("l"))
        self.assertIn(self.plans, await self.names(eve))

    async def test_a_new_account_has_no_old_rights(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lr")
        await self.grant(ann, "w", "-" + BOB)
        await self.store.remove_account(name=BOB)
        await self.store.add_account(name=BOB)
        bob = await self.store.open_account(name=BOB)
        self.assertNotIn(self.plans, await self.names(bob))
        self.assertEqual(len(await ann.get_acl(name=PLANS)), 1)

    async def test_public_accounts(self) -> None:
        ann, bob = await self.open_pair()
        self.need(IAccessDirectory, self.store)
        self.assertEqual(await self.store.list_public(), [])
        await self.store.set_public(account=ANN, public=True)
        self.assertEqual(await self.store.list_public(), [ANN])
        await self.grant(ann, "lr", ANYONE)
        shared = bob.namespaces.shared + f"{ANN}/{PLANS}"
        self.assertIn(shared, await self.names(bob))
        self.assertEqual(len(await (await bob.open_mailbox(name=shared)).list_uids()), 2)
        await self.refused(NoSuchMailbox, bob.open_mailbox(name=self.plans))
        await self.store.set_public(account=ANN, public=False)
        await self.refused(NoSuchMailbox, bob.open_mailbox(name=shared))
        self.assertIn(self.plans, await self.names(bob))

    async def test_an_administrators_lists(self) -> None:
        _ann, bob = await self.open_pair()
        store = self.need(IAccessDirectory, self.store)
        await store.set_acl(
            account="Ann@example.org",
            mailbox=PLANS,
            identifier="bob@example.ORG",
            rights=frozenset("lr"),
            op=RightsOp.REPLACE,
        )
        self.assertEqual(
            await store.get_acl(account=ANN, mailbox=PLANS), [Grant(BOB, frozenset("lr"))]
        )
        self.assertEqual(await bob.my_rights(name=self.plans), frozenset("lr"))
        for account, mailbox, identifier, error in (
            ("nobody@example.org", PLANS, BOB, NoSuchAccount),
            (ANN, "Nothing", BOB, NoSuchMailbox),
            (ANN, PLANS, "nobody@example.org", NoSuchAccount),
        ):
            step = store.set_acl(
                account=account,
                mailbox=mailbox,
                identifier=identifier,
                rights=frozenset("l"),
                op=RightsOp.ADD,
            )
            await self.refused(error, step)

    # What others may do.

    async def test_each_right(self) -> None:
        ann, bob = await self.open_pair()

        def store_flags(flag: str, op: FlagOp = FlagOp.REMOVE) -> _Step:
            return lambda box: box.store_flags(uids=[1], op=op, flags=frozenset({flag}))

        def store_annotation(shared: bool) -> _Step:
            note = Annotation("/comment", b"x", shared)
            return lambda box: box.store_annotations(uids=[1], annotations=[note])

        steps: list[tuple[str, _Step]] = [
            ("r", lambda box: box.get_info()),
            ("r", lambda box: box.list_uids()),
            ("r", lambda box: box.get_messages(uids=[1])),
            ("r", lambda box: read_message(box, 1)),
            ("r", lambda box: box.get_changes(since=0)),
            ("r", lambda box: box.copy_messages(uids=[1], destination=INBOX)),
            ("s", store_flags(SEEN)),
            ("s", store_flags(SEEN, FlagOp.ADD)),
            ("t", store_flags(DELETED)),
            ("w", store_flags(FLAGGED)),
            ("w", store_flags("Mine")),
            ("i", lambda box: box.append(messages=sample_messages(1))),
            ("rte", lambda box: box.move_messages(uids=[2], destination=INBOX)),
            (
                "rte",
                lambda box: box.replace_message(
                    uid=3, destination=INBOX, message=sample_messages(1)[0]
                ),
            ),
            ("e", lambda box: box.expunge(uids=[1])),
            ("r", lambda box: box.get_annotations(uids=[1])),
            ("r", lambda box: box.get_annotation_changes(since=0)),
            ("r", store_annotation(False)),
            ("rn", store_annotation(True)),
        ]
        await self.grant(ann, "lrswite")
        box = await bob.open_mailbox(name=self.plans)
        self.check_provides(box, [IRestrictedMailbox, IWritableMailbox, ICopyingMailbox], [])
        for needed, step in steps:
            for right in needed:
                await self.grant(ann, "lrswipkxtean")
                await ann.set_acl(
                    name=PLANS, identifier=BOB, rights=frozenset(right), op=RightsOp.REMOVE
                )
                await self.refused(PermissionDenied, step(box))
                await ann.set_acl(
                    name=PLANS, identifier=BOB, rights=frozenset("l"), op=RightsOp.REMOVE
                )
                await self.refused(NoSuchMailbox, step(box))
            await self.grant(ann, needed + "l")
            await step(box)
            self.assertEqual(box.get_rights(), frozenset(needed + "l"))

    async def test_read_only(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lrkxap")
        box = await bob.open_mailbox(name=self.plans)
        self.assertFalse(IWritableMailbox.providedBy(box))
        for right in "switen":
            await self.grant(ann, "l" + right + "r")
            box = await bob.open_mailbox(name=self.plans)
            self.assertTrue(IWritableMailbox.providedBy(box), right)

    async def test_flags_that_may_not_be_changed_stay(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lrs")
        box = await bob.open_mailbox(name=self.plans)
        for op, flags, after in (
            (FlagOp.REMOVE, {SEEN, FLAGGED}, FLAGS - {SEEN}),
            (FlagOp.ADD, {SEEN, "New"}, FLAGS),
            (FlagOp.REPLACE, set(), FLAGS - {SEEN}),
            (FlagOp.REPLACE, {SEEN, "New"}, FLAGS),
        ):
            result = await box.store_flags(uids=[1], op=op, flags=frozenset(flags))
            self.assertEqual([info.flags for info in result.messages], [after])
        self.assertEqual(await self.flags(ann, PLANS), [FLAGS, FLAGS])
        await self.grant(ann, "lrw")
        result = await box.store_flags(
            uids=[1, 2], op=FlagOp.REPLACE, flags=frozenset({"New", DELETED})
        )
        after = frozenset({SEEN, DELETED, "New"})
        self.assertEqual([info.flags for info in result.messages], [after, after])

    async def test_flags_of_new_messages(self) -> None:
        ann, bob = await self.open_pair()
        for rights, kept in (
            ("lri", set()),
            ("lris", {SEEN}),
            ("lrit", {DELETED}),
            ("lriw", {FLAGGED, "Mine"}),
        ):
            await self.grant(ann, rights)
            box = await bob.open_mailbox(name=self.plans)
            message = AppendMessage(spooled(sample_message(3)), FLAGS)
            result = await box.append(messages=[message])
            (info,) = await box.get_messages(uids=result.uids)
            self.assertEqual(info.flags, kept)
            inbox = await bob.open_mailbox(name=INBOX)
            (uid,) = (await inbox.append(messages=[message])).uids
            copied = await inbox.copy_messages(uids=[uid], destination=self.plans)
            (info,) = await box.get_messages(uids=copied.destination_uids)
            self.assertEqual(info.flags, kept)

    async def test_copies_between_accounts(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lriswte")
        source = await bob.open_mailbox(name=self.plans)
        # Keywords of each account are its own.
        inbox = await bob.open_mailbox(name=INBOX)
        await inbox.append(
            messages=[AppendMessage(spooled(sample_message(9)), frozenset({"Other"}))]
        )
        copied = await source.copy_messages(uids=[1, 2, 77], destination=INBOX)
        self.assertEqual(list(copied.source_uids), [1, 2])
        self.assertEqual(await self.flags(bob, INBOX), [frozenset({"Other"}), FLAGS, FLAGS])
        self.assertEqual(await read_message(inbox, copied.destination_uids[1]), sample_message(2))
        moved = await inbox.move_messages(uids=[1], destination=self.plans)
        self.assertEqual(list(moved.source_uids), [1])
        self.assertEqual(await self.flags(ann, PLANS), [FLAGS, FLAGS, frozenset({"Other"})])
        self.assertEqual(len(await inbox.list_uids()), 2)
        plans: Any = await ann.open_mailbox(name=PLANS)
        info = await plans.get_info()
        self.assertEqual((info.messages, info.unseen), (3, 1))
        self.assertEqual(moved.uid_validity, info.uid_validity)
        # Within somebody else's mailboxes.
        back = await source.move_messages(uids=[1], destination=self.plans)
        self.assertEqual(list(back.destination_uids), [4])
        await self.refused(
            NoSuchMailbox, inbox.copy_messages(uids=[2], destination=self.plans + "/None")
        )
        await self.grant(ann, "lr")
        await self.refused(PermissionDenied, inbox.copy_messages(uids=[2], destination=self.plans))

    async def test_two_move_one_message(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lrte")
        own, other = await ann.open_mailbox(name=PLANS), await bob.open_mailbox(name=self.plans)
        one = await own.move_messages(uids=[1], destination=INBOX)
        two = await other.move_messages(uids=[1], destination=INBOX)
        self.assertEqual((list(one.source_uids), list(two.source_uids)), ([1], []))

    async def test_changes_by_others_are_told(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lrs")
        box = await bob.open_mailbox(name=self.plans)
        self.need(IWatchableMailbox, box)
        calls: list[None] = []
        end = box.watch(callback=lambda: calls.append(None))
        self.addCleanup(lambda: end())
        plans: Any = await ann.open_mailbox(name=PLANS)
        before = (await box.get_info()).highest_modseq
        await plans.store_flags(uids=[1], op=FlagOp.REMOVE, flags=frozenset({FLAGGED}))
        await self.wait_until(lambda: len(calls) == 1)
        changes = await box.get_changes(since=before)
        self.assertEqual(list(changes.changed), [1])
        # So that a session that may not read any more can be ended.
        await self.grant(ann, "")
        await self.wait_until(lambda: len(calls) >= 2)
        await self.refused(NoSuchMailbox, box.get_changes(since=before))

    # Mailboxes of others made, renamed and deleted.

    async def test_names_are_watched(self) -> None:
        ann, bob = await self.open_pair()
        told: list[str] = []
        end = bob.watch(callback=lambda: told.append("bob"))

        async def share(name: str, identifier: str, rights: str) -> None:
            given = parse_rights(rights)
            await ann.set_acl(name=name, identifier=identifier, rights=given, op=RightsOp.REPLACE)

        async def check(step: Awaitable[object]) -> None:
            await step
            await self.wait_until(lambda: bool(told))
            told.clear()

        # Of what he may not see he is not told: the one call is for the next change.
        await ann.create_mailbox(name="Private")
        await share(PLANS, BOB, "lrk")
        await self.wait_until(lambda: bool(told))
        self.assertEqual(told, ["bob"])
        told.clear()
        # RFC 5465 section 5.4: who gets or loses "l" has one more mailbox, or one less.
        await check(ann.create_mailbox(name=PLANS + "/below"))
        await check(ann.rename_mailbox(name=PLANS, new_name="Moved"))
        await check(ann.delete_mailbox(name="Moved/below"))
        await check(share("Moved", "-" + ANYONE, "w"))
        await check(ann.delete_acl(name="Moved", identifier=BOB))
        end()
        await share("Moved", BOB, "lr")
        self.assertEqual(told, [])

    async def test_create(self) -> None:
        ann, bob = await self.open_pair()
        for rights in ("", "lrswixtea"):
            await self.grant(ann, rights)
            await self.refused(PermissionDenied, bob.create_mailbox(name=self.plans + "/New"))
        await self.grant(ann, "lk")
        info = await bob.create_mailbox(name=self.plans + "/New")
        self.assertEqual(info.name, self.plans + "/New")
        self.assertIn(f"{PLANS}/New", await self.names(ann))
        # It has the list of the mailbox above it.
        self.assertIn(self.plans + "/New", await self.names(bob))
        await self.refused(MailboxExists, bob.create_mailbox(name=self.plans + "/New"))
        root = bob.namespaces.other_users
        for name in (root + "x", f"{root}{ANN}/x", f"{root}nobody@example.org/x/y", root[:-1],
                     f"{root}{BOB}/x", f"{bob.namespaces.shared}x/y"):  # fmt: skip
            await self.refused(PermissionDenied, bob.create_mailbox(name=name))
        # The nearest mailbox above counts, be it hidden.
        await ann.delete_acl(name=f"{PLANS}/New", identifier=BOB)
        await self.refused(PermissionDenied, bob.create_mailbox(name=self.plans + "/New/Deeper"))

    async def test_delete(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lrswiktea")
        await self.refused(PermissionDenied, bob.delete_mailbox(name=self.plans))
        await self.grant(ann, "lx")
        await bob.delete_mailbox(name=self.plans)
        self.assertNotIn(PLANS, await self.names(ann))
        # One that is made later is not shared.
        await ann.create_mailbox(name=PLANS)
        self.assertNotIn(self.plans, await self.names(bob))

    async def test_rename(self) -> None:
        ann, bob = await self.open_pair()
        await ann.create_mailbox(name="Old")
        await ann.set_acl(name="Old", identifier=BOB, rights=frozenset("lk"), op=RightsOp.REPLACE)
        new_name = bob.namespaces.other_users + f"{ANN}/Old/{PLANS}"
        await self.grant(ann, "lrk")
        await self.refused(PermissionDenied, bob.rename_mailbox(name=self.plans, new_name=new_name))
        await self.grant(ann, "lrx")
        box = await bob.open_mailbox(name=self.plans)
        await self.refused(InvalidMailboxName, bob.rename_mailbox(name=self.plans, new_name="Mine"))
        await self.refused(
            MailError, bob.rename_mailbox(name="Drafts", new_name=self.plans + "/Drafts")
        )
        await bob.rename_mailbox(name=self.plans, new_name=new_name)
        # Rights go with the mailbox.
        self.assertIn(new_name, await self.names(bob))
        self.assertEqual(box.name, new_name)
        self.assertEqual(len(await box.list_uids()), 2)

    async def test_a_mailbox_below_a_shared_one_is_shared(self) -> None:
        ann, bob = await self.open_pair()
        await self.grant(ann, "lr")
        await ann.create_mailbox(name=f"{PLANS}/a/b")
        names = await self.names(bob)
        self.assertIn(self.plans + "/a", names)
        self.assertIn(self.plans + "/a/b", names)
        self.assertEqual(await bob.my_rights(name=self.plans + "/a/b"), frozenset("lr"))
