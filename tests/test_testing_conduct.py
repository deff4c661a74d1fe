"""The contract tests find what keeps others waiting, is told wrongly, or is not kept."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit._typing import override
from mailkit.hooks import MailHook, MailSession, Result
from mailkit.interfaces import IMailbox, IMailStore, IQueueingStore
from mailkit.model import AppendMessage, Envelope, Recipient
from mailkit.queue.values import QueuedRecipient, RecipientState, Report, Update
from mailkit.spool import Spool
from mailkit.store import naming
from mailkit.store.memory import MemoryAccount, MemoryStore
from mailkit.store.memory_mailbox import MemoryMailbox
from mailkit.store.memory_queue import MemoryQueue
from mailkit.testing import (
    HookContract,
    MailboxContract,
    QueueContract,
    conduct,
    fill_directory,
    restart,
)
from tests.test_testing import MemoryStoreTests, ReadOnlyMailbox, run, wrap


class ForgetfulStoreTests(MemoryStoreTests):
    """Not collected: a store that has nothing left after a restart."""

    patience = 0.05

    @override
    async def reopen_store(self, store: IMailStore) -> MemoryStore:
        return await self.make_store(accounts=["ann@example.org"])


class ForgetfulQueueTests(QueueContract):
    """Not collected either."""

    async def make_queueing_store(self, accounts: Sequence[str]) -> Any:
        store = MemoryStore()
        await fill_directory(store, dict.fromkeys(accounts), {})
        return store

    @override
    async def reopen_queueing_store(self, store: IQueueingStore) -> Any:
        return MemoryStore()


async def _turn() -> None:
    turn: Deferred[None] = Deferred()
    clock: Any = reactor
    clock.callLater(0, turn.callback, None)
    await turn


def _info(**spoilt: Callable[[Any], Any]) -> Any:
    """Details of messages, some of them spoilt."""

    def change(found: Any) -> Any:
        values = ({name: spoil(each) for name, spoil in spoilt.items()} for each in found)
        return [each._replace(**new) for each, new in zip(found, values, strict=True)]

    return wrap(MemoryMailbox.get_messages, change)


async def _sleeps(self: MemoryMailbox) -> Any:
    time.sleep(0)
    return await original_info(self)


async def _resolves(self: MemoryMailbox) -> Any:
    socket.getaddrinfo("127.0.0.1", 25)
    return await original_info(self)


async def _never(self: MemoryMailbox) -> Any:
    await Deferred()


async def _goes_on(self: MemoryMailbox) -> Any:
    while True:
        try:
            await Deferred()
        except CancelledError:
            pass


async def _half(self: MemoryMailbox, messages: Sequence[AppendMessage]) -> Any:
    found = await original_append(self, messages)
    self._contents.pop(found.uids[0])
    await _turn()
    return found


async def _same_uid(self: MemoryMailbox, messages: Sequence[AppendMessage]) -> Any:
    uid = (await original_info(self)).uid_next
    await _turn()
    result = await original_append(self, messages)
    return result._replace(uids=[uid])


def _by_thread(self: MemoryMailbox, callback: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        thread = threading.Thread(target=callback)
        thread.start()
        thread.join()

    return original_watch(self, call)


async def _told_too_early(self: MemoryMailbox, messages: Sequence[AppendMessage]) -> Any:
    for callback in list(self._watchers.values()):
        callback()
    self._watchers.clear()
    return await original_append(self, messages)


async def _all_that_is_gone(self: MemoryMailbox, since: int) -> Any:
    everything = await original_changes(self, 0)
    return (await original_changes(self, since))._replace(vanished=everything.vanished)


original_append = MemoryMailbox.append
original_changes = MemoryMailbox.get_changes
original_info = MemoryMailbox.get_info
original_watch = MemoryMailbox.watch
#: How a mailbox or an account can be wrong, the test that finds it, and what it says.
FAULTS: list[tuple[type, str, Any, str, str]] = [
    (
        MemoryMailbox,
        "list_uids",
        wrap(MemoryMailbox.list_uids, set),
        "test_sequences",
        "list_uids: a list or another sequence is wanted, not set",
    ),
    (
        MemoryMailbox,
        "get_messages",
        _info(internal_date=lambda message: float(message.internal_date)),
        "test_kinds_of_values",
        "internal_date is a whole number",
    ),
    (
        MemoryMailbox,
        "get_messages",
        _info(internal_date=lambda message: message.internal_date * 1000),
        "test_kinds_of_values",
        "internal_date, in seconds since 1970, is 1704110400000",
    ),
    (
        MemoryMailbox,
        "get_messages",
        _info(flags=lambda message: message.flags | {"not done"}),
        "test_kinds_of_values",
        "no flag has the name 'not done'",
    ),
    (
        MemoryMailbox,
        "get_messages",
        _info(flags=lambda message: message.flags | {"\\Recent"}),
        "test_kinds_of_values",
        "no flag has the name '\\\\Recent'",
    ),
    (MemoryMailbox, "get_info", _sleeps, "test_nothing_keeps_others_waiting", "time.sleep was"),
    (MemoryMailbox, "get_info", _resolves, "test_nothing_keeps_others_waiting", "getaddrinfo was"),
    (MemoryMailbox, "get_info", _never, "test_state", "still running at 0.1 sec"),
    (
        MemoryMailbox,
        "get_info",
        _goes_on,
        "test_whoever_asks_may_leave",
        "get_info does not end when it is cancelled",
    ),
    (MemoryMailbox, "append", _half, "test_whoever_appends_may_leave", "NoSuchMessage"),
    (MemoryMailbox, "append", _same_uid, "test_many_appends_at_once", "a UID of its own"),
    (MemoryMailbox, "watch", _by_thread, "test_watchers_find_the_change", "on another thread"),
    (MemoryMailbox, "append", _told_too_early, "test_watchers_find_the_change", "not called after"),
    (MemoryMailbox, "get_changes", _all_that_is_gone, "test_what_is_gone_is_told_once", "[1]"),
    (
        MemoryAccount,
        "list_mailboxes",
        wrap(MemoryAccount.list_mailboxes, lambda found: [found[0], *found[:0:-1]]),
        "test_what_is_listed_can_be_opened",
        "not sorted by name",
    ),
    (
        MemoryAccount,
        "list_mailboxes",
        wrap(
            MemoryAccount.list_mailboxes,
            # As they were made: mailbox_id is F and a number.
            lambda found: sorted(found, key=lambda info: int(info.mailbox_id[1:])),
        ),
        "test_what_is_listed_can_be_opened",
        "not sorted by name",
    ),
    (
        MemoryAccount,
        "list_mailboxes",
        wrap(
            MemoryAccount.list_mailboxes,
            lambda found: [found[0], *(info._replace(name=info.name + "/") for info in found[1:])],
        ),
        "test_what_is_listed_can_be_opened",
        "is no name",
    ),
    (
        MemoryAccount,
        "list_mailboxes",
        wrap(
            MemoryAccount.list_mailboxes,
            lambda found: [found[0], *(info._replace(name="a\x85b") for info in found[1:])],
        ),
        "test_what_is_listed_can_be_opened",
        "is no name",
    ),
    (
        MemoryAccount,
        "list_mailboxes",
        wrap(
            MemoryAccount.list_mailboxes,
            lambda found: [info._replace(special_use="Archive\r\n") for info in found],
        ),
        "test_what_is_listed_can_be_opened",
        "Regex didn't match",
    ),
]


async def _reports_alone(self: MemoryQueue, updates: Any, reports: Sequence[Report] = ()) -> None:
    await original_record(self, updates=() if reports else updates, reports=reports)


async def _first_alone(
    self: MemoryQueue, updates: Sequence[Update], reports: Sequence[Report] = ()
) -> None:
    await original_record(self, updates=updates[:1], reports=reports)


async def _gives_up_early(self: MemoryQueue, id: str) -> Any:
    message = await self.get_message(id)
    if any(each.state is RecipientState.DELIVERED for each in message.recipients):
        raise KeyError(id)
    return await original_open(self, id)


original_record = MemoryQueue.record
original_open = MemoryQueue.open_message
QUEUE_FAULTS: list[tuple[type, str, Any, str]] = [
    (MemoryQueue, "record", _reports_alone, "test_a_report_goes_with_what_it_reports"),
    (MemoryQueue, "record", _first_alone, "test_a_report_goes_with_what_it_reports"),
    (
        MemoryQueue,
        "open_message",
        _gives_up_early,
        "test_octets_are_kept_until_the_last_recipient",
    ),
    (
        QueuedRecipient,
        "domain",
        property(lambda self: self.recipient.path.domain.lower()),
        "test_international_domains_are_found_in_one_form",
    ),
]


@implementer(IMailbox)
class LineEndingMailbox(ReadOnlyMailbox):
    """Holds text alone, as an mbox does."""


class LineEndingMailboxTests(MailboxContract):
    """Not collected: says that it does not keep octets as they are."""

    keeps_octets = False

    async def make_mailbox(self, messages: Sequence[AppendMessage]) -> LineEndingMailbox:
        octets = [(message.content.data or b"").split(b"\n") for message in messages]
        texts = [[line.rstrip(b"\r") for line in lines] for lines in octets]
        return LineEndingMailbox([b"\r\n".join(lines).rstrip() + b"\r\n" for lines in texts])


class AddsRecipients(MailHook):
    """Changes the envelope by itself."""

    @override
    def rcpt(self, session: MailSession, envelope: Envelope, recipient: Recipient) -> Result:
        envelope.recipients.append(recipient)
        return None


class AddsRecipientsTests(HookContract):
    """Not collected."""

    async def make_hook(self) -> AddsRecipients:
        return AddsRecipients()


class FaultTests(SynchronousTestCase):
    def spoilt(self, owner: type, name: str, fault: Any, contract: type, test: str) -> str:
        """What the contract test says of it; nothing where it passes."""
        with_fault = self.patch(owner, name, fault)
        try:
            result = run(contract, test)
        finally:
            with_fault.restore()
        return "".join(told for _, told in [*result.failures, *result.errors])

    def test_faults_are_found_and_told(self) -> None:
        for owner, name, fault, test, says in FAULTS:
            told = self.spoilt(owner, name, fault, ForgetfulStoreTests, test)
            self.assertIn(says, told, f"{owner.__name__}.{name}: {test}")

    def test_good_ones_pass(self) -> None:
        for test in {test for _, _, _, test, _ in FAULTS}:
            result = run(MemoryStoreTests, test)
            self.assertEqual((test, result.failures, result.errors), (test, [], []))

    def test_names_in_any_script(self) -> None:
        """A wide space, a joiner, a space that does not break: none ends a line or controls anything."""

        async def elsewhere(account: Any, name: str, special_use: str | None = None) -> None:
            if name == "Work/Reports":
                await create(account, "Z\u3000b/c\u200dd/e\u00a0f")

        create = MemoryAccount.create_mailbox
        test = "test_what_is_listed_can_be_opened"
        self.assertEqual(
            self.spoilt(MemoryAccount, "create_mailbox", elsewhere, MemoryStoreTests, test), ""
        )

    def test_any_order_by_name(self) -> None:
        """Capitals before all or among the rest, levels taken one by one or not; what is below INBOX."""

        async def elsewhere(account: Any, name: str, special_use: str | None = None) -> None:
            if name == "Work/Reports":
                for each in ("a", "Drafts-old", "Drafts/x", "drafts", "INBOX/z"):
                    await create(account, each)

        create = MemoryAccount.create_mailbox
        self.addCleanup(self.patch(MemoryAccount, "create_mailbox", elsewhere).restore)
        test = "test_what_is_listed_can_be_opened"
        for key in (
            naming.sort_key,
            lambda name: name,
            lambda name: name.casefold(),
            lambda name: name.split("/"),
        ):

            def order(found: Any, key: Any = key) -> Any:
                return [found[0], *sorted(found[1:], key=lambda info: key(info.name))]

            ordered = wrap(MemoryAccount.list_mailboxes, order)
            told = self.spoilt(MemoryAccount, "list_mailboxes", ordered, MemoryStoreTests, test)
            self.assertEqual(told, "")

    def test_messages_are_closed(self) -> None:
        """:func:`spooled` leaves that to whoever calls it."""
        closed: list[int] = []
        made: list[Spool] = []

        def spooled(content: bytes) -> Spool:
            made.append(Spool.from_bytes(content))
            return made[-1]

        close = Spool.close

        def note(spool: Spool) -> None:
            closed.append(id(spool))
            close(spool)

        self.patch(Spool, "close", note)
        for module, contract, test in (
            (conduct, MemoryStoreTests, "test_many_appends_at_once"),
            (conduct, MemoryStoreTests, "test_whoever_appends_may_leave"),
            (restart, ForgetfulStoreTests, "test_mail_is_kept"),
        ):
            made.clear()
            self.patch(module, "spooled", spooled)
            run(contract, test)
            self.assertTrue(made)
            self.assertLessEqual({id(spool) for spool in made}, set(closed), test)

    def test_a_format_that_cannot_hold_any_octets(self) -> None:
        test = "test_octets_are_exact"
        result = run(LineEndingMailboxTests, test)
        self.assertEqual((result.failures, result.errors, result.skipped), ([], [], []))
        self.patch(LineEndingMailboxTests, "keeps_octets", True)
        self.assertEqual(len(run(LineEndingMailboxTests, test).failures), 1)

    def test_hooks_that_change_the_envelope_by_themselves(self) -> None:
        ((_, told),) = run(AddsRecipientsTests, "test_an_ordinary_message").failures
        self.assertIn("changed by answers, not in the step rcpt", told)

    def test_queues_that_forget_are_found(self) -> None:
        for owner, name, fault, test in QUEUE_FAULTS:
            self.assertTrue(run(ForgetfulQueueTests, test).wasSuccessful(), test)
            told = self.spoilt(owner, name, fault, ForgetfulQueueTests, test)
            self.assertTrue(told, f"{name}: {test}")

    def test_what_a_restart_loses_is_found(self) -> None:
        for test in (
            "test_mail_is_kept",
            "test_uids_of_what_is_gone_are_kept",
            "test_mailboxes_are_kept",
        ):
            self.assertEqual(len(run(ForgetfulStoreTests, test).failures), 1, test)
            self.assertEqual(len(run(MemoryStoreTests, test).skipped), 1, test)
        result = run(ForgetfulQueueTests, "test_the_queue_is_kept")
        self.assertEqual(len([*result.failures, *result.errors]), 1)
