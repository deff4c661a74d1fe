"""Sharing mailboxes: names, settings, limits; what the contract leaves open."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.errors import InvalidMailboxName, LimitExceeded, NoSuchMailbox
from mailkit.interfaces import IAccessControl
from mailkit.model import Namespaces
from mailkit.rights import RightsOp
from mailkit.store.memory import MemoryStore
from mailkit.store.sharing.names import SharingSettings
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
        self.assertEqual(settings.namespaces, Namespaces("Team/", "Öffentlich/"))
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
        self.assertEqual(len(listed.optional), 11)

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
