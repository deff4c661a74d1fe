"""Contract tests of stores: accounts apart from each other, and delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from twisted.internet.defer import Deferred, gatherResults

from mailkit._typing import override
from mailkit.errors import NoSuchAccount
from mailkit.interfaces import (
    IKeyValueStore,
    IMailAccount,
    IMailboxAdmin,
    IMailStore,
    IProcessLocks,
    ISpooling,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.model import INBOX, SEEN, LocalDelivery
from mailkit.testing.account import AccountContract
from mailkit.testing.base import read_message, sample_message, spooled
from mailkit.testing.restart import RestartTests

ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"


class StoreContract(RestartTests, AccountContract):
    """Tests of a store, :class:`~mailkit.interfaces.IMailStore`, its accounts and mailboxes.

    The hook is ``make_store``. The store is closed when the test is over. Who keeps mail on disk
    gives ``reopen_store`` too: then it is tested what a restart leaves.
    """

    @override
    async def make_store(self, accounts: Sequence[str]) -> IMailStore:
        """The hook: a new store with just these accounts, their INBOXes empty."""
        raise NotImplementedError

    async def open_store(self, *accounts: str) -> IMailStore:
        """A new store, checked; it is closed by itself."""
        store = await self.make_store(accounts=accounts)
        self.close_later(store.close)
        self.check_provides(store, [IMailStore], [ISpooling, IKeyValueStore, IProcessLocks])
        return store

    @override
    async def make_account(self) -> IMailAccount:
        store = await self.open_store(ANN)
        return await store.open_account(name=ANN)

    async def inbox_of(self, store: IMailStore, account: str) -> list[bytes]:
        """Octets of all messages in the account's INBOX."""
        return await self.contents(await store.open_account(name=account), INBOX)

    async def test_accounts(self) -> None:
        store = await self.open_store(ANN, BOB)
        for name in (ANN, BOB):
            self.assertEqual((await store.open_account(name=name)).name, name)
        with self.assertRaises(NoSuchAccount):
            await store.open_account(name=EVE)

    async def test_accounts_are_apart(self) -> None:
        store = await self.open_store(ANN, BOB)
        ann, bob = await store.open_account(name=ANN), await store.open_account(name=BOB)
        await self.fill(ann, INBOX, 2)
        self.assertEqual(await self.inbox_of(store, BOB), [])
        if IMailboxAdmin.providedBy(ann):
            await cast(IMailboxAdmin, ann).create_mailbox(name="Only Ann's")
            self.assertNotIn("Only Ann's", await self.names(bob))

    async def test_two_openings_are_one_account(self) -> None:
        store = await self.open_store(ANN)
        one, other = await store.open_account(name=ANN), await store.open_account(name=ANN)
        await self.fill(one, INBOX, 1)
        self.assertEqual(await self.contents(other, INBOX), [sample_message(1)])

    async def test_deliver_to_many(self) -> None:
        store = await self.open_store(ANN, BOB)
        content = sample_message(1)
        results = await store.deliver(
            message=spooled(content),
            deliveries=[
                LocalDelivery(account=BOB),
                LocalDelivery(account=ANN, flags=frozenset({"\\Seen", "Junk"})),
            ],
        )
        self.assertEqual([result.error for result in results], [None, None])
        for name, result, flags in zip((BOB, ANN), results, ((), ("\\Seen", "Junk")), strict=True):
            mailbox = await (await store.open_account(name=name)).open_mailbox(name=INBOX)
            (message,) = await mailbox.get_messages(uids=await mailbox.list_uids())
            self.assertEqual(message.uid, result.uid)
            self.assertEqual(result.uid_validity, (await mailbox.get_info()).uid_validity)
            self.assertEqual(message.flags, frozenset(flags))
            self.assertEqual(await read_message(mailbox, message.uid), content)

    async def test_delivery_to_an_unknown_account_fails_alone(self) -> None:
        store = await self.open_store(ANN, BOB)
        results = await store.deliver(
            message=spooled(sample_message(1)),
            deliveries=[LocalDelivery(EVE), LocalDelivery(ANN), LocalDelivery(BOB)],
        )
        self.assertEqual([result.error is None for result in results], [False, True, True])
        self.assertIsInstance(results[0].error, NoSuchAccount)
        for name in (ANN, BOB):
            self.assertEqual(await self.inbox_of(store, name), [sample_message(1)])

    async def test_deliver_to_a_mailbox_or_else_inbox(self) -> None:
        store = await self.open_store(ANN)
        account = await store.open_account(name=ANN)
        admin = cast(IMailboxAdmin, self.need(IMailboxAdmin, account))
        await admin.create_mailbox(name="Lists/Python")
        await admin.delete_mailbox(name="Lists")
        for number, mailbox in enumerate(("Lists/Python", "Nowhere", "Lists", "inbox"), 1):
            (result,) = await store.deliver(
                message=spooled(sample_message(number)),
                deliveries=[LocalDelivery(ANN, mailbox)],
            )
            self.assertIsNone(result.error)
        self.assertEqual(await self.contents(account, "Lists/Python"), [sample_message(1)])
        in_inbox = [sample_message(number) for number in (2, 3, 4)]
        self.assertEqual(await self.contents(account, INBOX), in_inbox)

    async def test_deliver_to_a_mailbox_that_is_missing(self) -> None:
        store = await self.open_store(ANN)
        (result,) = await store.deliver(
            message=spooled(sample_message(1)), deliveries=[LocalDelivery(ANN, "Nowhere")]
        )
        self.assertIsNone(result.error)
        self.assertEqual(await self.inbox_of(store, ANN), [sample_message(1)])

    async def test_deliver_spools_of_every_kind(self) -> None:
        store = await self.open_store(ANN, BOB)
        expected = []
        for size, on_disk in ((0, False), (0, True), (3 * 1024 * 1024, True)):
            content = sample_message(1, size)
            spool = spooled(content, on_disk=on_disk)
            spool.prepend(b"Return-Path: <>\r\n")
            expected.append(b"Return-Path: <>\r\n" + content)
            try:
                results = await store.deliver(
                    message=spool, deliveries=[LocalDelivery(ANN), LocalDelivery(BOB)]
                )
            finally:
                spool.close()
            self.assertEqual([result.error for result in results], [None, None])
        for name in (ANN, BOB):
            self.assertTrue(await self.inbox_of(store, name) == expected)

    async def test_one_who_leaves_does_not_take_the_others_mail(self) -> None:
        store = await self.open_store(ANN, BOB)
        results = await store.deliver(
            message=spooled(sample_message(1)), deliveries=[LocalDelivery(ANN), LocalDelivery(BOB)]
        )
        mailbox = await (await store.open_account(name=ANN)).open_mailbox(name=INBOX)
        writable = cast(IWritableMailbox, self.need(IWritableMailbox, mailbox))
        await writable.expunge(uids=[results[0].uid])
        self.assertEqual(await self.inbox_of(store, ANN), [])
        self.assertEqual(await self.inbox_of(store, BOB), [sample_message(1)])

    async def test_mailbox_by_special_use(self) -> None:
        store = await self.open_store(ANN)
        account = cast(IMailboxAdmin, self.need(IMailboxAdmin, await store.open_account(name=ANN)))
        sent = LocalDelivery(ANN, "Sent", frozenset({SEEN}), "\\Sent")
        await account.rename_mailbox(name="Sent", new_name="Gesendet")
        await store.deliver(message=spooled(sample_message(1)), deliveries=[sent])
        await account.delete_mailbox(name="Gesendet")
        await account.create_mailbox(name="Sent")
        await store.deliver(message=spooled(sample_message(2)), deliveries=[sent])
        mailbox = await cast(IMailAccount, account).open_mailbox(name="Sent")
        (info,) = await mailbox.get_messages(uids=await mailbox.list_uids())
        self.assertEqual(info.flags, frozenset({SEEN}))
        self.assertEqual(await read_message(mailbox, info.uid), sample_message(2))
        self.assertEqual(await self.inbox_of(store, ANN), [])

    async def test_delivery_is_watched(self) -> None:
        store = await self.open_store(ANN)
        mailbox = await (await store.open_account(name=ANN)).open_mailbox(name=INBOX)
        watchable = cast(IWatchableMailbox, self.need(IWatchableMailbox, mailbox))
        calls: list[int] = []
        end = watchable.watch(callback=lambda: calls.append(1))
        # Trial asks for the name of a function, which any other callable may lack.
        self.addCleanup(lambda: end())
        before = await mailbox.get_info()
        (result,) = await store.deliver(
            message=spooled(sample_message(1)), deliveries=[LocalDelivery(ANN)]
        )
        await self.wait_until(lambda: bool(calls))
        changes = await mailbox.get_changes(since=before.highest_modseq)
        self.assertEqual(list(changes.added), [result.uid])

    async def test_many_deliveries_at_once(self) -> None:
        store = await self.open_store(ANN, BOB)
        sent = [sample_message(number) for number in range(1, 31)]

        async def deliver(content: bytes) -> None:
            results = await store.deliver(
                message=spooled(content), deliveries=[LocalDelivery(ANN), LocalDelivery(BOB)]
            )
            self.assertEqual([result.error for result in results], [None, None])

        await gatherResults([Deferred.fromCoroutine(deliver(content)) for content in sent])
        for name in (ANN, BOB):
            self.assertEqual(sorted(await self.inbox_of(store, name)), sorted(sent))

    async def test_nothing_is_lost_between_appends_and_deliveries(self) -> None:
        store = await self.open_store(ANN)
        account = await store.open_account(name=ANN)
        await self.fill(account, INBOX, 2)
        await store.deliver(message=spooled(sample_message(9)), deliveries=[LocalDelivery(ANN)])
        await self.fill(account, INBOX, 1)
        expected = [sample_message(number) for number in (1, 2, 9, 1)]
        self.assertEqual(await self.inbox_of(store, ANN), expected)

    async def test_names_of_a_process(self) -> None:
        store = cast(IProcessLocks, self.need(IProcessLocks, await self.open_store(ANN)))
        self.assertTrue(store.others_know())
        told: list[str] = []
        end = store.when_shared(callback=lambda: told.append("shared"))
        # At once where another process has it open, too; where nobody has, this waits no longer.
        at_once = list(told)
        end()
        release = store.try_lock(name="one")
        assert release is not None
        self.assertIsNone(store.try_lock(name="one"))
        self.assertIsNotNone(store.try_lock(name="other"))
        release()
        self.assertIsNotNone(store.try_lock(name="one"))
        self.assertEqual(told, at_once)

    async def test_kept_values(self) -> None:
        store = cast(IKeyValueStore, self.need(IKeyValueStore, await self.open_store(ANN)))
        self.assertIsNone(await store.get_value(kind="one", key="a"))
        await store.set_value(kind="one", key="a", value="1", seconds=3600)
        await store.set_value(kind="other", key="a", value="2", seconds=3600)
        await store.set_value(kind="one", key="b", value="3", seconds=0)
        self.assertEqual(await store.get_value(kind="one", key="a"), "1")
        self.assertEqual(await store.get_value(kind="other", key="a"), "2")
        self.assertIsNone(await store.get_value(kind="one", key="b"))
        await store.set_value(kind="one", key="a", value="\u00e4", seconds=3600)
        self.assertEqual(await store.get_value(kind="one", key="a"), "\u00e4")
