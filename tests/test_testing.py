"""The contract tests find what they are for, and keep to what a backend can do."""

from __future__ import annotations

import io
import unittest
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides, implementer

from mailkit._typing import override
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.errors import NoSuchMessage
from mailkit.interfaces import IDirectory, IMailbox, IQueue, ISearchableMailbox
from mailkit.matching import Matcher
from mailkit.model import AppendMessage, Changes, FlagOp, MailboxInfo, MessageInfo, Resolution
from mailkit.query import Query
from mailkit.store.memory import MemoryAccount, MemoryStore
from mailkit.store.memory_mailbox import MemoryMailbox
from mailkit.testing import (
    AccountContract,
    DeliveryContract,
    DirectoryContract,
    MailboxContract,
    QueueContract,
    StoreContract,
    fill_directory,
    read_message,
    sample_message,
    sample_messages,
    spooled,
)


@implementer(IMailbox)
class ReadOnlyMailbox:
    """The least that a mailbox can be."""

    name = "INBOX"

    def __init__(self, messages: Sequence[bytes]) -> None:
        self.messages = dict(enumerate(messages, 1))

    async def get_info(self) -> MailboxInfo:
        count = len(self.messages)
        size = sum(map(len, self.messages.values()))
        return MailboxInfo("INBOX", "1", 1, count + 1, 1, count, count, size, 1)

    async def list_uids(self) -> Sequence[int]:
        return list(self.messages)

    async def get_messages(self, uids: Sequence[int]) -> Sequence[MessageInfo]:
        return [
            MessageInfo(uid, frozenset(), 0, len(self.messages[uid]), 1)
            for uid in uids
            if uid in self.messages
        ]

    async def open_message(self, uid: int) -> BinaryIO:
        if uid not in self.messages:
            raise NoSuchMessage
        return io.BytesIO(self.messages[uid])

    async def get_changes(self, since: int) -> Changes:
        return Changes(1, [] if since else list(self.messages), [], [])


class ReadOnlyMailboxTests(MailboxContract, TestCase):
    """Passes; what needs a writable mailbox is skipped."""

    async def make_mailbox(self, messages: Sequence[AppendMessage]) -> ReadOnlyMailbox:
        return ReadOnlyMailbox([message.content.data or b"" for message in messages])


class LocalDeliveryTests(DeliveryContract, TestCase):
    """What the delivery contract says, of our own."""

    async def make_delivery(self, accounts: Sequence[str]) -> LocalMessageDelivery:
        self.store = MemoryStore()
        await fill_directory(self.store, dict.fromkeys(accounts), {})
        return LocalMessageDelivery(self.store, self.store)

    async def delivered(self, account: str) -> Sequence[bytes]:
        inbox = await (await self.store.open_account(name=account)).open_mailbox(name="INBOX")
        return [await read_message(inbox, uid) for uid in await inbox.list_uids()]


class MemoryStoreTests(StoreContract):
    """Not collected: run by the tests below, with something broken."""

    async def make_store(self, accounts: Sequence[str]) -> MemoryStore:
        store = MemoryStore()
        for account in accounts:
            await store.add_account(name=account)
        return store


@implementer(ISearchableMailbox)
class SearchableMailbox(MemoryMailbox):
    """Searches by looking at everything."""

    async def search(self, query: Query) -> Sequence[int]:
        matcher = Matcher(query)
        infos = await self.get_messages(await self.list_uids())
        return [i.uid for i in infos if matcher.by_message(i, self._contents[i.uid].octets)]


class SearchableMailboxTests(MailboxContract, TestCase):
    """The search contract agrees with the plain scan."""

    async def make_mailbox(self, messages: Sequence[AppendMessage]) -> SearchableMailbox:
        account = MemoryAccount(MemoryStore(), "ann@example.org")
        mailbox = SearchableMailbox(account, "Work", "F1", 1)
        # Copies go to a mailbox that the account knows.
        account._mailboxes[mailbox.name] = mailbox
        await mailbox.append(messages=messages)
        return mailbox


class MemoryDirectoryTests(DirectoryContract):
    """Not collected either."""

    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> MemoryStore:
        store = MemoryStore()
        await fill_directory(store, accounts, aliases)
        return store


@implementer(IDirectory)
class Accounts:
    """The least that a directory can be: accounts, and nothing else."""

    def __init__(self, store: MemoryStore) -> None:
        self.resolve = store.resolve
        self.owns_address = store.owns_address
        self.find_account = store.find_account
        self.get_password_hash = store.get_password_hash


class AccountsTests(DirectoryContract):
    """Not collected; see :class:`SkippedTests`."""

    has_aliases = False

    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> Accounts:
        store = MemoryStore()
        await fill_directory(store, accounts, {})
        return Accounts(store)


class SkippedTests(TestCase):
    def test_a_directory_without_aliases_passes(self) -> None:
        names = unittest.TestLoader().getTestCaseNames(type("Case", (AccountsTests, TestCase), {}))
        results = {name: run(AccountsTests, name) for name in names}
        failed = [name for name, result in results.items() if not result.wasSuccessful()]
        self.assertEqual(failed, [])
        passed = {name for name, result in results.items() if not result.skipped}
        self.assertLessEqual(
            {"test_own_addresses", "test_nobody", "test_postmaster_always_gets_mail"}, passed
        )
        self.assertTrue(results["test_alias"].skipped)


class ReadOnlyAccount(MemoryAccount):
    """Has an INBOX that cannot be written."""

    @override
    async def open_mailbox(self, name: str) -> Any:
        return ReadOnlyMailbox([])


class ReadOnlyAccountTests(AccountContract):
    """Not collected: does not say how its INBOX gets messages."""

    async def make_account(self) -> ReadOnlyAccount:
        return ReadOnlyAccount(MemoryStore(), "ann@example.org")


class HintTests(SynchronousTestCase):
    def test_a_mailbox_that_cannot_be_filled(self) -> None:
        ((_, told),) = run(ReadOnlyAccountTests, "test_octets_are_exact").failures
        self.assertIn("make_mailbox must be overridden", told)


def run(contract: type, test: str) -> unittest.TestResult:
    case = type("Case", (contract, TestCase), {})(test)
    result = unittest.TestResult()
    case.run(result)
    return result


#: How a mailbox or account can be wrong, and the test that finds it.
Wrong = Callable[..., Any]


def wrap(original: Wrong, change: Callable[[Any], Any]) -> Wrong:
    """An asynchronous method whose result is spoilt."""

    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return change(await original(self, *args, **kwargs))

    return method


async def rename_only(self: MemoryAccount, name: str, new_name: str) -> None:
    if name.upper() == "INBOX":
        await self.create_mailbox(name=new_name)
        return
    mailbox = self._mailboxes.pop(name)
    mailbox.name = new_name
    self._mailboxes[new_name] = mailbox


async def copy_at_once(self: MemoryMailbox, uids: Sequence[int], destination: str) -> Any:
    self.remove(uids)
    return await MemoryMailbox.copy_messages(self, uids, destination)


async def append_one_by_one(self: MemoryMailbox, messages: Sequence[AppendMessage]) -> Any:
    results = [await original_append(self, [message]) for message in messages]
    return results[0]._replace(uids=[uid for result in results for uid in result.uids])


async def ignore_unchanged_since(
    self: MemoryMailbox,
    uids: Sequence[int],
    op: FlagOp,
    flags: frozenset[str],
    unchanged_since: int | None = None,
) -> Any:
    return await original_store(self, uids, op, flags)


original_append = MemoryMailbox.append
original_store = MemoryMailbox.store_flags
FAULTS: list[tuple[type, str, Any, str]] = [
    (
        MemoryMailbox,
        "list_uids",
        wrap(MemoryMailbox.list_uids, lambda uids: list(uids)[::-1]),
        "test_uids_ascend",
    ),
    (
        MemoryMailbox,
        "get_messages",
        wrap(MemoryMailbox.get_messages, lambda found: found[::-1]),
        "test_details_by_ascending_uid_without_the_missing",
    ),
    (
        MemoryMailbox,
        "open_message",
        wrap(
            MemoryMailbox.open_message,
            lambda file: io.BytesIO(file.read().replace(b"\n", b"\r\n")),
        ),
        "test_octets_are_exact",
    ),
    (
        MemoryMailbox,
        "get_info",
        wrap(MemoryMailbox.get_info, lambda info: info._replace(size=info.size + 1)),
        "test_sizes",
    ),
    (
        MemoryMailbox,
        "get_changes",
        wrap(MemoryMailbox.get_changes, lambda c: c._replace(vanished=[*c.vanished, *c.added])),
        "test_a_change_is_told_as_what_it_is_in_the_end",
    ),
    (MemoryMailbox, "append", append_one_by_one, "test_append_is_all_or_nothing"),
    (MemoryMailbox, "store_flags", ignore_unchanged_since, "test_unchanged_since"),
    (
        MemoryMailbox,
        "expunge",
        wrap(MemoryMailbox.expunge, lambda gone: [*gone, 99]),
        "test_expunge",
    ),
    (MemoryMailbox, "move_messages", copy_at_once, "test_missing_destination"),
    (
        MemoryMailbox,
        "claim_recent",
        wrap(MemoryMailbox.claim_recent, lambda first: first - 1),
        "test_recent_messages_are_claimed_once",
    ),
    (
        MemoryMailbox,
        "watch",
        lambda self, callback: self._watchers.setdefault(object(), callback) and (lambda: None),
        "test_watch_ends",
    ),
    (MemoryAccount, "rename_mailbox", rename_only, "test_rename"),
    (MemoryAccount, "rename_mailbox", rename_only, "test_rename_of_inbox_moves_its_messages"),
    (
        MemoryAccount,
        "list_mailboxes",
        wrap(MemoryAccount.list_mailboxes, lambda found: found[::-1]),
        "test_inbox_comes_first",
    ),
    (
        MemoryStore,
        "deliver",
        wrap(MemoryStore.deliver, lambda results: results[::-1]),
        "test_delivery_to_an_unknown_account_fails_alone",
    ),
]


class PlainQueue:
    """A queue that can do no more than IQueue asks for."""

    def __init__(self, inner: Any) -> None:
        for name in IQueue:
            setattr(self, name, getattr(inner, name))
        directlyProvides(self, IQueue)


class PlainQueueTests(QueueContract, TestCase):
    """Passes; what needs more abilities is skipped."""

    async def make_queueing_store(self, accounts: Sequence[str]) -> Any:
        store = MemoryStore()
        await fill_directory(store, dict.fromkeys(accounts), {})
        self.patch(store, "queue", PlainQueue(store.queue))
        return store


class FaultTests(SynchronousTestCase):
    def test_a_good_store_passes(self) -> None:
        for name in unittest.TestLoader().getTestCaseNames(MemoryStoreTests):
            result = run(MemoryStoreTests, name)
            self.assertEqual((name, result.failures, result.errors), (name, [], []))

    def test_faults_are_found(self) -> None:
        for owner, name, fault, test in FAULTS:
            self.assertTrue(run(MemoryStoreTests, test).wasSuccessful(), test)
            original = getattr(owner, name)
            setattr(owner, name, fault)
            try:
                result = run(MemoryStoreTests, test)
            finally:
                setattr(owner, name, original)
            self.assertFalse(result.wasSuccessful(), f"{owner.__name__}.{name}: {test}")

    def test_missing_method_is_found(self) -> None:
        self.patch(ReadOnlyMailbox, "get_changes", None)
        result = run(ReadOnlyMailboxTests, "test_empty_mailbox")
        self.assertEqual(len(result.errors), 1)

    def test_plain_value_is_an_error(self) -> None:
        self.patch(ReadOnlyMailbox, "list_uids", lambda self: [])
        result = run(ReadOnlyMailboxTests, "test_uids_ascend")
        self.assertEqual(len(result.errors), 1)

    def test_search_that_misses_or_finds_too_much_is_found(self) -> None:
        search = SearchableMailbox.search
        for fault in (lambda found: found[1:], lambda found: [*found, 99]):
            self.patch(SearchableMailbox, "search", wrap(search, fault))
            for test in ("content", "state", "uid"):
                result = run(SearchableMailboxTests, f"test_search_by_{test}")
                self.assertEqual(len(result.failures), 1)

    def test_open_relay_is_found(self) -> None:
        async def accept(self: Any, path: Any) -> Any:
            return Resolution(("ann@example.org",))

        self.patch(MemoryStore, "resolve", accept)
        result = run(MemoryDirectoryTests, "test_other_peoples_domains")
        self.assertEqual(len(result.failures), 1)

    def test_plain_queue_is_spared_what_it_cannot_do(self) -> None:
        result = run(PlainQueueTests, "test_events")
        self.assertEqual([reason for _, reason in result.skipped], ["IQueueEvents is not provided"])

    def test_read_only_mailbox_is_spared_what_it_cannot_do(self) -> None:
        result = run(ReadOnlyMailboxTests, "test_append")
        self.assertEqual(
            [reason for _, reason in result.skipped], ["IWritableMailbox is not provided"]
        )


class SampleTests(SynchronousTestCase):
    def test_sample_message_has_the_size_asked_for(self) -> None:
        self.assertTrue(10_000 <= len(sample_message(3, 10_000)) < 10_100)
        self.assertTrue(sample_message(3, 10_000).startswith(sample_message(3)))

    def test_sample_messages_differ(self) -> None:
        contents = {message.content.data for message in sample_messages(7)}
        self.assertEqual(len(contents), 7)

    def test_spool_on_disk(self) -> None:
        spool = spooled(b"abc", on_disk=True)
        self.addCleanup(spool.close)
        self.assertIsNone(spool.data)
        with spool.open() as file:
            self.assertEqual(file.read(), b"abc")
