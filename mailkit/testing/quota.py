"""Contract tests of quotas, and of who may change them."""

from __future__ import annotations

from typing import Any, cast

from mailkit.errors import (
    MailError,
    NoSuchAccount,
    NoSuchQuotaRoot,
    OverQuota,
    PermissionDenied,
)
from mailkit.interfaces import (
    IAdministratorDirectory,
    ICopyingMailbox,
    IMailAccount,
    IMailbox,
    IMailboxAdmin,
    IMailStore,
    IQuotaAccount,
    IQuotaAdmin,
    IQuotaDirectory,
    IReplacingMailbox,
    IWritableMailbox,
)
from mailkit.model import (
    INBOX,
    NEW_ACCOUNT_MAILBOXES,
    AppendMessage,
    LocalDelivery,
    Quota,
)
from mailkit.testing.base import sample_message, spooled
from mailkit.testing.directory_base import ANN, BOB, DirectoryBase

#: Mailboxes of a new account.
NEW = len(NEW_ACCOUNT_MAILBOXES)


class QuotaTests(DirectoryBase):
    async def open_quotas(
        self, max_octets: int | None = None, max_messages: int | None = None
    ) -> Any:
        """A directory with quotas, and these limits for Ann."""
        directory = self.need(IQuotaDirectory, await self.open_directory())
        await directory.set_quota(account=ANN, max_octets=max_octets, max_messages=max_messages)
        return directory

    async def open_store(self, **limits: int) -> Any:
        """A directory with quotas that keeps mail too."""
        return self.need(IMailStore, await self.open_quotas(**limits))

    async def inbox(self, store: Any, name: str = INBOX) -> IMailbox:
        """A mailbox of Ann's."""
        account: IMailAccount = await store.open_account(name=ANN)
        return await account.open_mailbox(name=name)

    async def deliver(self, store: Any, content: bytes, *accounts: str) -> list[MailError | None]:
        """What became of a delivery, account by account."""
        results = await store.deliver(
            message=spooled(content), deliveries=[LocalDelivery(name) for name in accounts]
        )
        return [result.error for result in results]

    async def test_limits(self) -> None:
        directory = await self.open_quotas()
        self.assertEqual(await directory.get_quota(account=ANN), Quota(0, 0, mailboxes=NEW))
        await directory.set_quota(account="Ann@Example.ORG", max_octets=5000, max_messages=0)
        self.assertEqual(await directory.get_quota(account=ANN), Quota(0, 0, 5000, None, NEW))
        await directory.set_quota(account=None, max_octets=900, max_messages=9, max_mailboxes=99)
        self.assertEqual(await directory.get_quota(account=ANN), Quota(0, 0, 5000, None, NEW, 99))
        self.assertEqual(await directory.get_quota(account=BOB), Quota(0, 0, 900, 9, NEW, 99))
        await directory.set_quota(account=ANN, max_octets=0, max_messages=None, max_mailboxes=20)
        self.assertEqual(await directory.get_quota(account=ANN), Quota(0, 0, None, 9, NEW, 20))
        await directory.set_quota(account=None, max_octets=None, max_messages=None)
        self.assertEqual(await directory.get_quota(account=BOB), Quota(0, 0, mailboxes=NEW))

    async def test_limits_of_nobody(self) -> None:
        directory = await self.open_quotas()
        with self.assertRaises(NoSuchAccount):
            await directory.get_quota(account="eve@example.org")
        with self.assertRaises(NoSuchAccount):
            await directory.set_quota(account="eve@example.org", max_octets=1, max_messages=1)
        with self.assertRaises(NoSuchAccount):
            await directory.get_own_limits(account="eve@example.org")

    async def test_own_limits_are_those_that_were_set(self) -> None:
        directory = await self.open_quotas()
        for account in (None, ANN):
            own = await directory.get_own_limits(account=account)
            self.assertEqual(tuple(own), (None, None, None))
        await directory.set_quota(account=None, max_octets=900, max_messages=0, max_mailboxes=99)
        await directory.set_quota(account=ANN, max_octets=0, max_messages=None, max_mailboxes=20)
        for account, limits in (
            (None, (900, 0, 99)),
            (ANN, (0, None, 20)),
            ("Ann@Example.ORG", (0, None, 20)),
            (BOB, (None, None, None)),
        ):
            own = await directory.get_own_limits(account=account)
            self.assertEqual(tuple(own), limits)

    async def test_room_for_a_message(self) -> None:
        directory = await self.open_quotas()
        await directory.check_quota(account=ANN, octets=10**15)
        await directory.set_quota(account=ANN, max_octets=100, max_messages=None)
        await directory.check_quota(account=ANN, octets=100)
        with self.assertRaises(OverQuota):
            await directory.check_quota(account=ANN, octets=101)
        await directory.check_quota(account=BOB, octets=101)
        with self.assertRaises(NoSuchAccount):
            await directory.check_quota(account="eve@example.org", octets=1)

    async def test_what_there_is_counts(self) -> None:
        store = await self.open_store()
        content = sample_message(1)
        size = len(content)
        self.assertEqual(await self.deliver(store, content, ANN), [None])
        self.assertEqual(await store.get_quota(account=ANN), Quota(size, 1, mailboxes=NEW))
        self.assertEqual(await store.get_quota(account=BOB), Quota(0, 0, mailboxes=NEW))
        inbox = cast(ICopyingMailbox, self.need(ICopyingMailbox, await self.inbox(store)))
        await inbox.copy_messages(uids=[1], destination="Archive")
        self.assertEqual(await store.get_quota(account=ANN), Quota(2 * size, 2, mailboxes=NEW))
        await inbox.move_messages(uids=[1], destination="Trash")
        self.assertEqual(await store.get_quota(account=ANN), Quota(2 * size, 2, mailboxes=NEW))
        await cast(IWritableMailbox, await self.inbox(store, "Trash")).expunge(uids=[1])
        self.assertEqual(await store.get_quota(account=ANN), Quota(size, 1, mailboxes=NEW))

    async def test_delivery_beyond_the_limit_fails_for_that_account(self) -> None:
        content = sample_message(1)
        store = await self.open_store(max_octets=2 * len(content))
        for _ in range(2):
            self.assertEqual(await self.deliver(store, content, ANN, BOB), [None, None])
        for _ in range(2):
            (ann, bob) = await self.deliver(store, content, ANN, BOB)
            self.assertIsInstance(ann, OverQuota)
            self.assertIsNone(bob)
        self.assertEqual((await store.get_quota(account=ANN)).messages, 2)
        self.assertEqual((await store.get_quota(account=BOB)).messages, 4)
        await store.set_quota(account=ANN, max_octets=0, max_messages=None)
        self.assertEqual(await self.deliver(store, content, ANN), [None])

    async def test_number_of_messages(self) -> None:
        store = await self.open_store(max_messages=2)
        content = sample_message(1)
        # Two copies in one step count as two.
        errors = await self.deliver(store, content, ANN, ANN, ANN)
        self.assertEqual([type(error) for error in errors], [type(None), type(None), OverQuota])
        inbox = cast(IWritableMailbox, await self.inbox(store))
        await inbox.expunge(uids=[1])
        self.assertEqual(await self.deliver(store, content, ANN), [None])

    async def test_append_and_copy_beyond_the_limit(self) -> None:
        content = sample_message(1)
        store = await self.open_store(max_octets=3 * len(content))
        inbox: Any = await self.inbox(store)
        two = [AppendMessage(spooled(content))] * 2
        await inbox.append(messages=two)
        with self.assertRaises(OverQuota):
            await inbox.append(messages=two)
        copying = self.need(ICopyingMailbox, inbox)
        await copying.copy_messages(uids=[1], destination="Archive")
        with self.assertRaises(OverQuota):
            await copying.copy_messages(uids=[1], destination="Archive")
        # A replacement counts by what it adds (RFC 8508 section 3.4).
        replacing = self.need(IReplacingMailbox, inbox)
        same, larger = AppendMessage(spooled(content)), AppendMessage(spooled(content + b"x"))
        with self.assertRaises(OverQuota):
            await replacing.replace_message(uid=1, destination=INBOX, message=larger)
        await replacing.replace_message(uid=1, destination=INBOX, message=same)
        # What moves takes no more room than before.
        await copying.move_messages(uids=[2, 3], destination="Archive")
        self.assertEqual(list(await inbox.list_uids()), [])
        self.assertEqual(
            await store.get_quota(account=ANN),
            Quota(3 * len(content), 3, 3 * len(content), None, NEW),
        )

    async def test_a_deleted_mailbox_gives_its_room_back(self) -> None:
        content = sample_message(1)
        store = await self.open_store(max_messages=1)
        account: Any = self.need(IMailboxAdmin, await store.open_account(name=ANN))
        await account.create_mailbox(name="Full")
        await (await account.open_mailbox(name="Full")).append(
            messages=[AppendMessage(spooled(content))]
        )
        (error,) = await self.deliver(store, content, ANN)
        self.assertIsInstance(error, OverQuota)
        await account.delete_mailbox(name="Full")
        self.assertEqual((await store.get_quota(account=ANN)).messages, 0)
        self.assertEqual(await self.deliver(store, content, ANN), [None])

    async def test_number_of_mailboxes(self) -> None:
        store = await self.open_quotas()
        self.need(IMailStore, store)
        account: Any = self.need(IMailboxAdmin, await store.open_account(name=ANN))
        limits = {"account": ANN, "max_octets": None, "max_messages": None}
        await store.set_quota(**limits, max_mailboxes=NEW + 2)
        # The level above counts.
        await account.create_mailbox(name="a/b")
        self.assertEqual((await store.get_quota(account=ANN)).mailboxes, NEW + 2)
        with self.assertRaises(OverQuota):
            await account.create_mailbox(name="c")
        with self.assertRaises(OverQuota):
            await account.rename_mailbox(name="a/b", new_name="c/d")
        with self.assertRaises(OverQuota):
            await account.rename_mailbox(name=INBOX, new_name="c")
        await account.rename_mailbox(name="a/b", new_name="a/c")
        # What only stands above others is no mailbox; to make it one takes room again.
        await account.delete_mailbox(name="a")
        self.assertEqual((await store.get_quota(account=ANN)).mailboxes, NEW + 1)
        await account.create_mailbox(name="c")
        with self.assertRaises(OverQuota):
            await account.create_mailbox(name="a")
        await store.set_quota(**limits, max_mailboxes=0)
        await account.create_mailbox(name="a")
        self.assertEqual((await store.get_quota(account=ANN)).mailboxes, NEW + 3)

    async def test_administrators(self) -> None:
        directory: Any = self.need(IAdministratorDirectory, await self.open_directory())
        self.assertEqual(list(await directory.list_administrators()), [])
        await directory.set_administrator(account="Bob@Example.ORG", administrator=True)
        await directory.set_administrator(account=BOB, administrator=True)
        self.assertEqual(list(await directory.list_administrators()), [BOB])
        await directory.set_administrator(account=BOB, administrator=False)
        self.assertEqual(list(await directory.list_administrators()), [])
        with self.assertRaises(NoSuchAccount):
            await directory.set_administrator(account="eve@example.org", administrator=True)

    async def open_accounts(self) -> tuple[Any, IQuotaAdmin, IQuotaAdmin]:
        """A store, the account of a user, and that of an administrator."""
        store = self.need(IMailStore, await self.open_quotas(5000, 50))
        self.need(IAdministratorDirectory, store)
        await store.set_administrator(account=BOB, administrator=True)
        accounts = [await store.open_account(name=name) for name in (ANN, BOB)]
        for account in accounts:
            self.need(IQuotaAdmin, account)
            self.check_provides(account, [IQuotaAccount, IQuotaAdmin], [])
        return store, *accounts

    async def test_quota_roots(self) -> None:
        store, ann, bob = await self.open_accounts()
        await self.deliver(store, sample_message(1), ANN)
        (root,) = await ann.get_quota_roots(mailbox=INBOX)
        self.assertEqual(list(await ann.get_quota_roots(mailbox="Not There")), [root])
        quota = await ann.get_quota_root(root=root)
        self.assertEqual(quota[:5], (len(sample_message(1)), 1, 5000, 50, NEW))
        # There is always a limit to the number of mailboxes.
        self.assertGreater(quota.max_mailboxes or 0, NEW)
        (other,) = await bob.get_quota_roots(mailbox=INBOX)
        self.assertNotEqual(root, other)
        self.assertEqual(await bob.get_quota_root(root=root), quota)
        for name in (other, "", "no such root"):
            with self.assertRaises(NoSuchQuotaRoot):
                await ann.get_quota_root(root=name)
        with self.assertRaises(NoSuchQuotaRoot):
            await bob.get_quota_root(root="no such root")

    async def test_limits_are_changed_by_administrators(self) -> None:
        store, ann, bob = await self.open_accounts()
        (root,) = await ann.get_quota_roots(mailbox=INBOX)
        limits: dict[str, int | None] = {"max_octets": 9000, "max_mailboxes": 20}
        with self.assertRaises(PermissionDenied):
            await ann.set_quota_root(root=root, max_messages=None, **limits)
        self.assertEqual((await store.get_quota(account=ANN)).max_octets, 5000)
        await bob.set_quota_root(root=root, max_messages=None, **limits)
        quota = await ann.get_quota_root(root=root)
        self.assertEqual(quota, Quota(0, 0, 9000, None, NEW, 20))
        self.assertEqual(await store.get_quota(account=ANN), quota)
        with self.assertRaises(NoSuchQuotaRoot):
            await bob.set_quota_root(root="no such root", max_messages=None, **limits)
        await store.set_administrator(account=BOB, administrator=False)
        with self.assertRaises(PermissionDenied):
            await bob.set_quota_root(root=root, max_messages=None, **limits)
