"""Sharing mailboxes: names, settings, limits; what the contract leaves open."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.errors import InvalidMailboxName, LimitExceeded, NoSuchMailbox, PermissionDenied
from mailkit.interfaces import IAccessControl
from mailkit.model import INBOX, OtherNamespaces
from mailkit.rights import RightsOp
from mailkit.store.memory import MemoryStore
from mailkit.store.sharing.names import SharingSettings
from mailkit.store.sqlite import SQLiteDirectory
from mailkit.testing import sample_messages
from tests.store.sqlite.helpers import StoreTestCase

ANN, BOB = "ann@example.org", "bob@example.org"


class NameTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        settings = SharingSettings()
        for owner in (ANN, "a/b@example.org", "a=2Fb@example.org", "a=3D/=@example.org", "=2F@x"):
            for public in (False, True):
                for mailbox in ("INBOX", "a", "a/b/c", "Other Users/x/y"):
                    name = settings.join(owner, public, mailbox)
                    self.assertEqual(settings.split(name), (owner, public, mailbox), name)
                    self.assertEqual(name.count("/"), 2 + mailbox.count("/"))

    def test_what_is_no_others_mailbox(self) -> None:
        settings = SharingSettings()
        for name in ("INBOX", "", "Other", "Other Users", "Other Users/", "Other Users/a",
                     "Other Users/a/", "Other Users//a", "Sharedx/a/b", "other users/a/b"):  # fmt: skip
            self.assertIsNone(settings.split(name), name)

    def test_inbox_in_any_case(self) -> None:
        self.assertEqual(SharingSettings().split("Shared/a/inbox/X"), ("a", True, "INBOX/X"))

    def test_settings(self) -> None:
        settings = SharingSettings(other_users="Team", shared="Öffentlich")
        self.assertEqual(settings.namespaces, OtherNamespaces("Team/", "Öffentlich/"))
        for wrong in ({"other_users": "a/b"}, {"shared": "inbox"}, {"shared": "Other Users"}):
            with self.assertRaises(ValueError, msg=str(wrong)):
                SharingSettings(**wrong)  # type: ignore[arg-type]
        for empty in ("", "\n"):
            with self.assertRaises(InvalidMailboxName):
                SharingSettings(shared=empty)


class MemorySharingTests(StoreTestCase):
    access = "mailkit.store.memory_access"

    async def start(self, **settings: Any) -> tuple[Any, Any]:
        """Ann, with a mailbox, and Bob."""
        self.mail_store = await self.make_sharing_store(SharingSettings(**settings))
        for name in (ANN, BOB):
            await self.mail_store.add_account(name=name)
        ann = await self.mail_store.open_account(name=ANN)
        await ann.create_mailbox(name="Plans")
        return ann, await self.mail_store.open_account(name=BOB)

    async def make_sharing_store(self, settings: SharingSettings) -> Any:
        return MemoryStore(sharing=settings)

    async def grant(self, account: Any, name: str, *identifiers: str) -> None:
        for identifier in identifiers:
            await account.set_acl(
                name=name, identifier=identifier, rights=frozenset("lr"), op=RightsOp.REPLACE
            )

    async def test_names_of_the_operators_choice(self) -> None:
        ann, bob = await self.start(other_users="Team", shared="All")
        self.assertTrue(IAccessControl.providedBy(ann))
        await self.grant(ann, "Plans", BOB)
        names = [info.name for info in await bob.list_mailboxes()]
        self.assertIn(f"Team/{ANN}/Plans", names)
        # The usual names are like any other then.
        await bob.create_mailbox(name="Other Users")

    async def test_sharing_with_everybody_where_users_may(self) -> None:
        ann, bob = await self.start(anyone=True)
        await self.grant(ann, "Plans", "anyone")
        self.assertEqual(await bob.my_rights(name=f"Other Users/{ANN}/Plans"), frozenset("lr"))
        listed = await ann.list_rights(name="Plans", identifier="@example.org")
        self.assertEqual(len(listed.optional), 12)

    async def test_entries_of_an_account(self) -> None:
        ann, _ = await self.start(anyone=True)
        with (
            mock.patch("mailkit.store.sharing.records.MAX_ACCOUNT_ENTRIES", 3),
            mock.patch(f"{self.access}.MAX_ACCOUNT_ENTRIES", 3),
        ):
            await self.grant(ann, "Plans", BOB, "anyone")
            await self.grant(ann, "Sent", BOB)
            with self.assertRaises(LimitExceeded):
                await self.grant(ann, "Drafts", BOB)
            # What is there can be changed, and goes.
            await self.grant(ann, "Sent", BOB)
            await ann.delete_acl(name="Sent", identifier=BOB)
            # A new mailbox inherits all or nothing.
            await ann.create_mailbox(name="Plans/New")
            self.assertEqual(len(await ann.get_acl(name="Plans/New")), 1)
            await ann.delete_acl(name="Plans", identifier="anyone")
            await ann.create_mailbox(name="Plans/Newer")
            self.assertEqual(len(await ann.get_acl(name="Plans/Newer")), 2)

    async def test_many_mailboxes_of_others(self) -> None:
        ann, bob = await self.start()
        await self.grant(ann, "Plans", BOB)
        await self.grant(ann, "Sent", BOB)
        with mock.patch(f"{self.access}.MAX_SEEN", 1):
            infos = await bob.list_mailboxes()
        self.assertEqual(sum(info.name.startswith("Other Users/") for info in infos), 1)

    async def test_a_mailbox_of_such_a_name_that_was_there_before(self) -> None:
        ann, bob = await self.start(other_users="Before")
        name = f"Other Users/{ANN}/Plans"
        await bob.create_mailbox(name=name)
        self.use_settings(SharingSettings())
        await self.grant(ann, "Plans", BOB)
        names = [info.name for info in await bob.list_mailboxes()]
        self.assertEqual(names.count(name), 1)
        await bob.rename_mailbox(name=name, new_name="Mine")
        self.assertEqual(await bob.my_rights(name=name), frozenset("lr"))
        await bob.delete_mailbox(name="Mine")
        with self.assertRaises(NoSuchMailbox):
            await bob.delete_mailbox(name="Mine")

    async def test_two_accounts_move_one_message_at_once(self) -> None:
        ann, bob = await self.start()
        await ann.set_acl(
            name="Plans", identifier=BOB, rights=frozenset("lrte"), op=RightsOp.REPLACE
        )
        own = await ann.open_mailbox(name="Plans")
        other = await bob.open_mailbox(name=f"Other Users/{ANN}/Plans")
        await own.append(messages=sample_messages(20))
        uids = await own.list_uids()
        moves = [
            Deferred.fromCoroutine(box.move_messages(uids=uids[start:], destination=INBOX))
            for start in range(0, 20, 4)
            for box in (own, other)
        ]
        results = await gatherResults(moves)
        gone = sorted(uid for result in results for uid in result.source_uids)
        self.assertEqual(gone, list(uids))
        inboxes = [await account.open_mailbox(name=INBOX) for account in (ann, bob)]
        self.assertEqual(sum([len(await inbox.list_uids()) for inbox in inboxes]), 20)
        self.assertEqual((await own.get_info()).messages, 0)

    async def test_a_copy_belongs_to_a_conversation_of_its_account(self) -> None:
        ann, bob = await self.start()
        await self.grant(ann, "Plans", BOB)
        own = await ann.open_mailbox(name="Plans")
        await own.append(messages=sample_messages(1))
        await own.name_threads(uids=[1])
        other = await bob.open_mailbox(name=f"Other Users/{ANN}/Plans")
        await other.copy_messages(uids=[1], destination=INBOX)
        (info,) = await (await bob.open_mailbox(name=INBOX)).get_messages(uids=[1])
        self.assertIsNone(info.thread_id)
        (seen,) = await other.get_messages(uids=[1])
        self.assertIsNotNone(seen.thread_id)
        self.assertEqual(seen.email_id, info.email_id)

    def use_settings(self, settings: SharingSettings) -> None:
        self.mail_store.sharing = settings


class SQLiteSharingTests(MemorySharingTests):
    access = "mailkit.store.sqlite.access"

    @override
    async def make_sharing_store(self, settings: SharingSettings) -> Any:
        return self.open_store(sharing=settings)

    @override
    def use_settings(self, settings: SharingSettings) -> None:
        self.mail_store._access.settings = settings

    async def test_a_change_by_an_administrators_command(self) -> None:
        ann, bob = await self.start()
        name = f"Other Users/{ANN}/Plans"
        directory = SQLiteDirectory(self.directory)
        self.addCleanup(directory.close)
        for rights in ("lrs", "l", "lr", ""):
            await directory.set_acl(
                account=ANN,
                mailbox="Plans",
                identifier=BOB,
                rights=frozenset(rights),
                op=RightsOp.REPLACE,
            )
            if rights == "lrs":
                box = await bob.open_mailbox(name=name)
            if "r" in rights:
                await box.list_uids()
            else:
                error = PermissionDenied if rights else NoSuchMailbox
                with self.assertRaises(error):
                    await box.list_uids()
        self.assertEqual(len(await ann.get_acl(name="Plans")), 1)
        self.check()
