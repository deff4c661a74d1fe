"""Contract tests of accounts, and of what needs two mailboxes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

from mailkit.errors import (
    InvalidMailboxName,
    MailboxExists,
    MailError,
    NoSuchMailbox,
    NoSuchMessage,
)
from mailkit.interfaces import (
    ICopyingMailbox,
    IMailbox,
    IMailboxAdmin,
    IReplacingMailbox,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.model import INBOX, AppendMessage, FlagOp
from mailkit.testing.account_abilities import (
    AnnotationTests,
    FetchedTests,
    IdentifierTests,
    KeyTests,
    WatchTests,
)
from mailkit.testing.account_base import AccountBase, AdminAccount
from mailkit.testing.base import read_message, sample_message, sample_messages, spooled
from mailkit.testing.labels import LabelTests

# RFC 6855 section 3: no mailbox name has them. And no halves of surrogate pairs, which are no text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# What "by name" may mean: with or without regard to letter case, at once or level by level.
_ORDERS: Sequence[Callable[[str], Any]] = (
    str,
    str.casefold,
    lambda name: name.split("/"),
    lambda name: [(level.casefold(), level) for level in name.split("/")],
)


class _CopyingMailbox(IWritableMailbox, ICopyingMailbox):
    """Both interfaces, for annotations."""


class _ReplacingMailbox(IWritableMailbox, IReplacingMailbox):
    """Both interfaces, for annotations."""


class _ListingTests(AccountBase):
    async def test_inbox_comes_first(self) -> None:
        account = await self.open_account()
        mailboxes = await account.list_mailboxes()
        self.assertEqual(mailboxes[0].name, INBOX)
        self.assertTrue(mailboxes[0].selectable)
        self.assertEqual(len({info.name for info in mailboxes}), len(mailboxes))
        self.assertEqual(len({info.mailbox_id for info in mailboxes}), len(mailboxes))

    async def test_what_is_listed_can_be_opened(self) -> None:
        account = await self.open_account()
        if IMailboxAdmin.providedBy(account):
            for name in ("Work/Reports", "Letters", "notes"):
                await cast(AdminAccount, account).create_mailbox(name=name)
        mailboxes = await account.list_mailboxes()
        self.check_sequence("list_mailboxes", mailboxes)
        # Names below INBOX may follow it, or have their place among the others.
        names = [info.name for info in mailboxes if not info.name.startswith("INBOX/")][1:]
        if all(names != sorted(names, key=key) for key in _ORDERS):
            self.fail(f"{names} are not sorted by name, behind INBOX")
        for info in mailboxes:
            self.assertIsInstance(info.name, str)
            if _CONTROLS.search(info.name) or "" in info.name.split("/"):
                self.fail(f"{info.name!r} is no name: text, levels parted by / alone")
            if info.special_use is not None:
                # RFC 6154 section 6
                self.assertRegex(info.special_use, r"\A\\[A-Za-z]+\Z", info.name)
            if info.selectable:
                mailbox = await account.open_mailbox(name=info.name)
                self.assertEqual(mailbox.name, info.name)
                self.assertEqual(await mailbox.get_info(), info)

    async def test_inbox_in_any_case(self) -> None:
        account = await self.open_account()
        for name in ("INBOX", "inbox", "Inbox"):
            mailbox = await account.open_mailbox(name=name)
            self.assertEqual(mailbox.name, INBOX)
            self.assertEqual((await mailbox.get_info()).name, INBOX)

    async def test_missing_mailbox(self) -> None:
        account = await self.open_account()
        for name in ("No Such Mailbox", "", "INBOX/", "/"):
            with self.assertRaises(NoSuchMailbox):
                await account.open_mailbox(name=name)

    async def test_listed_state_is_the_mailboxes_own(self) -> None:
        account = await self.open_account()
        await self.fill(account, INBOX, 2)
        mailbox = await account.open_mailbox(name=INBOX)
        self.assertEqual(await self.find(account, INBOX), await mailbox.get_info())

    async def test_one_caller_sees_what_another_does(self) -> None:
        account = await self.open_account()
        one = await account.open_mailbox(name=INBOX)
        other = await account.open_mailbox(name=INBOX)
        writable = cast(IWritableMailbox, self.need(IWritableMailbox, other))
        calls: list[int] = []
        if IWatchableMailbox.providedBy(one):
            end = cast(IWatchableMailbox, one).watch(callback=lambda: calls.append(1))
            self.addCleanup(lambda: end())
        before = list(await one.list_uids())
        result = await writable.append(messages=sample_messages(1))
        self.assertEqual(list(await one.list_uids()), [*before, *result.uids])
        if IWatchableMailbox.providedBy(one):
            await self.wait_until(lambda: bool(calls))


class _CopyTests(AccountBase):
    async def open_pair(self, count: int) -> tuple[_CopyingMailbox, IMailbox]:
        """INBOX with sample messages, and another mailbox with one, in one account."""
        account = await self.open_account()
        name = await self.other_mailbox(account)
        await self.fill(account, INBOX, count)
        await self.fill(account, name, 1)
        inbox = await account.open_mailbox(name=INBOX)
        copying = cast(_CopyingMailbox, self.need(ICopyingMailbox, inbox))
        return copying, await account.open_mailbox(name=name)

    async def test_copy(self) -> None:
        inbox, other = await self.open_pair(3)
        uids = list(await inbox.list_uids())
        before = await other.get_info()
        missing = (await inbox.get_info()).uid_next
        result = await inbox.copy_messages(uids=[*uids[1:], missing], destination=other.name)
        self.assertEqual(list(result.source_uids), uids[1:])
        self.assertEqual(result.uid_validity, before.uid_validity)
        new = list(result.destination_uids)
        self.assertEqual(list(await other.list_uids())[1:], new)
        self.assertGreaterEqual(new[0], before.uid_next)
        sources = await inbox.get_messages(uids=uids[1:])
        copies = await other.get_messages(uids=new)
        for number, source, copy in zip((2, 3), sources, copies, strict=True):
            self.assertEqual(
                (copy.flags, copy.internal_date, copy.size, copy.email_id),
                (source.flags, source.internal_date, source.size, source.email_id),
            )
            self.assertEqual(await read_message(other, copy.uid), sample_message(number))
        self.assertEqual(list(await inbox.list_uids()), uids)
        after = await other.get_info()
        self.assertEqual(after.messages, 3)
        self.assertEqual(after.size, before.size + sum(message.size for message in sources))
        changes = await other.get_changes(since=before.highest_modseq)
        self.assertEqual(list(changes.added), new)

    async def test_copies_lead_lives_of_their_own(self) -> None:
        inbox, other = await self.open_pair(1)
        uids = list(await inbox.list_uids())
        result = await inbox.copy_messages(uids=uids, destination=other.name)
        await inbox.store_flags(uids=uids, op=FlagOp.REPLACE, flags=frozenset({"\\Deleted"}))
        await inbox.expunge(uids=uids)
        (copy,) = await other.get_messages(uids=result.destination_uids)
        self.assertEqual(copy.flags, sample_messages(1)[0].flags)
        self.assertEqual(await read_message(other, copy.uid), sample_message(1))

    async def test_copy_into_the_same_mailbox(self) -> None:
        inbox, _ = await self.open_pair(2)
        uids = list(await inbox.list_uids())
        result = await inbox.copy_messages(uids=uids, destination="inbox")
        self.assertEqual(list(await inbox.list_uids()), [*uids, *result.destination_uids])
        self.assertEqual(len(result.destination_uids), 2)

    async def test_copy_of_nothing(self) -> None:
        inbox, other = await self.open_pair(1)
        before = await other.get_info()
        result = await inbox.copy_messages(
            uids=[(await inbox.get_info()).uid_next], destination=other.name
        )
        self.assertEqual((list(result.source_uids), list(result.destination_uids)), ([], []))
        self.assertEqual((await other.get_info()).messages, before.messages)

    async def test_move(self) -> None:
        inbox, other = await self.open_pair(3)
        uids = list(await inbox.list_uids())
        before, other_before = await inbox.get_info(), await other.get_info()
        sources = await inbox.get_messages(uids=uids)
        result = await inbox.move_messages(uids=[uids[0], uids[2]], destination=other.name)
        self.assertEqual(list(result.source_uids), [uids[0], uids[2]])
        self.assertEqual(list(await inbox.list_uids()), [uids[1]])
        new = await other.get_messages(uids=result.destination_uids)
        self.assertEqual(
            [(message.flags, message.internal_date) for message in new],
            [(message.flags, message.internal_date) for message in (sources[0], sources[2])],
        )
        self.assertEqual(await read_message(other, new[1].uid), sample_message(3))
        changes = await inbox.get_changes(since=before.highest_modseq)
        self.assertEqual(list(changes.vanished), [uids[0], uids[2]])
        self.assertEqual((await inbox.get_info()).messages, 1)
        changes = await other.get_changes(since=other_before.highest_modseq)
        self.assertEqual(list(changes.added), list(result.destination_uids))

    async def test_missing_destination(self) -> None:
        # RFC 3501 section 6.4.7, RFC 6851 section 3.3: nothing has happened then.
        inbox, _ = await self.open_pair(2)
        uids = list(await inbox.list_uids())
        before = await inbox.get_info()
        with self.assertRaises(NoSuchMailbox):
            await inbox.copy_messages(uids=uids, destination="Nowhere")
        with self.assertRaises(NoSuchMailbox):
            await inbox.move_messages(uids=uids, destination="Nowhere")
        self.assertEqual(list(await inbox.list_uids()), uids)
        self.assertEqual(await inbox.get_info(), before)


class _ReplaceTests(AccountBase):
    NEW = b"Subject: new\r\n\r\nin the place of another\r\n"

    async def open_replacing(self) -> tuple[_ReplacingMailbox, IMailbox]:
        """INBOX with three messages, and an empty mailbox."""
        account = await self.open_account()
        name = await self.other_mailbox(account)
        await self.fill(account, INBOX, 3)
        inbox = await account.open_mailbox(name=INBOX)
        replacing = cast(_ReplacingMailbox, self.need(IReplacingMailbox, inbox))
        return replacing, await account.open_mailbox(name=name)

    def new_message(self) -> AppendMessage:
        spool = spooled(self.NEW)
        self.addCleanup(spool.close)
        return AppendMessage(spool, frozenset(("\\Draft", "Mine")), 86400)

    async def test_replace_in_the_same_mailbox(self) -> None:
        inbox, _ = await self.open_replacing()
        uids = list(await inbox.list_uids())
        before = await inbox.get_info()
        result = await inbox.replace_message(
            uid=uids[1], destination=INBOX, message=self.new_message()
        )
        self.assertEqual(result.uid_validity, before.uid_validity)
        (new,) = result.uids
        self.assertGreaterEqual(new, before.uid_next)
        self.assertEqual(list(await inbox.list_uids()), [uids[0], uids[2], new])
        (info,) = await inbox.get_messages(uids=[new])
        # RFC 8508 section 1: nothing is inherited.
        self.assertEqual((info.flags, info.internal_date), ({"\\Draft", "Mine"}, 86400))
        self.assertEqual(await read_message(inbox, new), self.NEW)
        changes = await inbox.get_changes(since=before.highest_modseq)
        self.assertEqual((list(changes.added), list(changes.vanished)), ([new], [uids[1]]))
        self.assertEqual((await inbox.get_info()).messages, 3)

    async def test_replace_by_a_message_elsewhere(self) -> None:
        inbox, other = await self.open_replacing()
        uids = list(await inbox.list_uids())
        result = await inbox.replace_message(
            uid=uids[0], destination=other.name, message=self.new_message()
        )
        self.assertEqual(list(await inbox.list_uids()), uids[1:])
        self.assertEqual(list(await other.list_uids()), list(result.uids))
        self.assertEqual(result.uid_validity, (await other.get_info()).uid_validity)

    async def test_replace_that_fails_changes_nothing(self) -> None:
        inbox, other = await self.open_replacing()
        uids = list(await inbox.list_uids())
        before, other_before = await inbox.get_info(), await other.get_info()
        missing = before.uid_next
        with self.assertRaises(NoSuchMessage):
            await inbox.replace_message(
                uid=missing, destination=other.name, message=self.new_message()
            )
        with self.assertRaises(NoSuchMailbox):
            await inbox.replace_message(
                uid=uids[0], destination="Nowhere", message=self.new_message()
            )
        self.assertEqual(await inbox.get_info(), before)
        self.assertEqual(await other.get_info(), other_before)


class _AdminTests(AccountBase):
    async def test_create(self) -> None:
        account = await self.open_admin()
        info = await account.create_mailbox(name="Work", special_use="\\Archive")
        self.assertEqual(await self.find(account, "Work"), info)
        self.assertEqual((info.messages, info.special_use), (0, "\\Archive"))
        # RFC 6154 section 4: what the entry of a mailbox does is the same as what this does.
        uses = [info.special_use for info in await account.list_mailboxes()]
        self.assertEqual(uses.count("\\Archive"), 1)
        self.assertTrue(info.selectable)
        mailbox = await account.open_mailbox(name="Work")
        self.assertEqual(mailbox.name, "Work")
        self.check_provides(mailbox, [IMailbox], [])

    async def test_create_what_exists(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="Work")
        for name in ("Work", "INBOX", "inbox"):
            with self.assertRaises(MailboxExists):
                await account.create_mailbox(name=name)

    async def test_create_makes_the_levels_above(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="a/b/c")
        self.assertTrue({"a", "a/b", "a/b/c"} <= set(await self.names(account)))

    async def test_create_below_inbox(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="inbox/Work")
        self.assertIn("INBOX/Work", await self.names(account))
        mailbox = await account.open_mailbox(name="Inbox/Work")
        self.assertEqual(mailbox.name, "INBOX/Work")

    async def test_names_are_kept_in_net_unicode(self) -> None:
        account = await self.open_admin()
        composed, decomposed = "Caf\u00e9", "Cafe\u0301"
        info = await account.create_mailbox(name=decomposed)
        self.assertEqual(info.name, composed)
        with self.assertRaises(MailboxExists):
            await account.create_mailbox(name=composed)
        self.assertEqual((await account.open_mailbox(name=decomposed)).name, composed)
        await account.subscribe(name=decomposed)
        self.assertIn(composed, await account.list_subscriptions())
        await account.rename_mailbox(name=decomposed, new_name="x/" + decomposed)
        self.assertIn("x/" + composed, await self.names(account))

    async def test_names_that_cannot_be(self) -> None:
        account = await self.open_admin()
        before = await self.names(account)
        too_long, too_deep = "x" * 10_000, "/".join("x" * 1000)
        for name in ("", "/", "a/", "/a", "a//b", "a\0b", "a\r\nb", "a\x7f", too_long, too_deep):
            with self.assertRaises(InvalidMailboxName):
                await account.create_mailbox(name=name)
            with self.assertRaises(MailError):
                await account.rename_mailbox(name="INBOX", new_name=name)
        self.assertEqual(await self.names(account), before)

    async def test_names_of_many_kinds(self) -> None:
        account = await self.open_admin()
        names = ["Entwürfe", "日本語", "50% off*", 'a "quoted" \\ name', "&-", "x.y", "🙂"]
        for name in names:
            await account.create_mailbox(name=name)
            self.assertEqual((await account.open_mailbox(name=name)).name, name)
        self.assertTrue(set(names) <= set(await self.names(account)))

    async def test_delete(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="Work")
        await self.fill(account, "Work", 1)
        mailbox = await account.open_mailbox(name="Work")
        await account.delete_mailbox(name="Work")
        self.assertNotIn("Work", await self.names(account))
        with self.assertRaises(NoSuchMailbox):
            await account.open_mailbox(name="Work")
        with self.assertRaises(NoSuchMailbox):
            await mailbox.get_info()

    async def test_delete_what_cannot_be(self) -> None:
        account = await self.open_admin()
        with self.assertRaises(NoSuchMailbox):
            await account.delete_mailbox(name="Nowhere")
        for name in ("INBOX", "inbox"):
            with self.assertRaises(InvalidMailboxName):
                await account.delete_mailbox(name=name)

    async def test_made_again_has_a_higher_uid_validity(self) -> None:
        account = await self.open_admin()
        last = (await account.create_mailbox(name="Work")).uid_validity
        for _ in range(3):
            await self.fill(account, "Work", 1)
            await account.delete_mailbox(name="Work")
            info = await account.create_mailbox(name="Work")
            self.assertGreater(info.uid_validity, last)
            self.assertEqual(info.messages, 0)
            last = info.uid_validity

    async def test_deleted_name_with_mailboxes_below(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="a/b")
        await self.fill(account, "a", 1)
        before = await self.find(account, "a")
        await account.delete_mailbox(name="a")
        info = await self.find(account, "a")
        assert info is not None and before is not None
        self.assertFalse(info.selectable)
        self.assertIn("a/b", await self.names(account))
        with self.assertRaises(NoSuchMailbox):
            await account.open_mailbox(name="a")
        with self.assertRaises(NoSuchMailbox):
            await account.delete_mailbox(name="a")
        again = await account.create_mailbox(name="a")
        self.assertTrue(again.selectable)
        self.assertEqual(again.messages, 0)
        self.assertGreater(again.uid_validity, before.uid_validity)

    async def test_deleted_name_goes_when_nothing_is_below(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="a/b")
        await account.delete_mailbox(name="a")
        await account.delete_mailbox(name="a/b")
        if "a" in await self.names(account):
            await account.delete_mailbox(name="a")
        self.assertNotIn("a", await self.names(account))

    async def test_rename(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="old/below")
        await account.create_mailbox(name="older")
        await self.fill(account, "old", 2)
        await self.fill(account, "old/below", 1)
        before = await self.find(account, "old")
        assert before is not None
        await account.rename_mailbox(name="old", new_name="new/place")
        names = await self.names(account)
        self.assertTrue({"new", "new/place", "new/place/below", "older"} <= set(names))
        self.assertFalse({"old", "old/below"} & set(names))
        samples = [sample_message(1), sample_message(2)]
        self.assertEqual(await self.contents(account, "new/place"), samples)
        self.assertEqual(await self.contents(account, "new/place/below"), samples[:1])
        after = await self.find(account, "new/place")
        assert after is not None
        # RFC 8474 section 4.1: MAILBOXID stays.
        self.assertEqual(after.mailbox_id, before.mailbox_id)
        self.assertGreaterEqual(after.uid_validity, before.uid_validity)

    async def test_renamed_mailbox_knows_its_name(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="old")
        await account.rename_mailbox(name="old", new_name="new")
        mailbox = await account.open_mailbox(name="new")
        self.assertEqual((mailbox.name, (await mailbox.get_info()).name), ("new", "new"))
        with self.assertRaises(NoSuchMailbox):
            await account.open_mailbox(name="old")

    async def test_old_name_made_again_after_rename(self) -> None:
        # RFC 3501 section 2.3.1.1: name, UIDVALIDITY and UID never mean two messages.
        account = await self.open_admin()
        before = await account.create_mailbox(name="old")
        await account.rename_mailbox(name="old", new_name="new")
        again = await account.create_mailbox(name="old")
        self.assertGreater(again.uid_validity, before.uid_validity)

    async def test_rename_what_cannot_be(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="a")
        await account.create_mailbox(name="b")
        before = await self.names(account)
        with self.assertRaises(NoSuchMailbox):
            await account.rename_mailbox(name="Nowhere", new_name="c")
        for name in ("b", "a", "inbox"):
            with self.assertRaises(MailboxExists):
                await account.rename_mailbox(name="a", new_name=name)
        with self.assertRaises(MailError):
            await account.rename_mailbox(name="a", new_name="a/below")
        self.assertEqual(await self.names(account), before)

    async def test_rename_of_inbox_moves_its_messages(self) -> None:
        # RFC 3501 section 6.3.5
        account = await self.open_admin()
        await account.create_mailbox(name="INBOX/below")
        await self.fill(account, INBOX, 2)
        await account.rename_mailbox(name="inbox", new_name="Old Mail")
        self.assertEqual(await self.contents(account, INBOX), [])
        samples = [sample_message(1), sample_message(2)]
        self.assertEqual(await self.contents(account, "Old Mail"), samples)
        names = await self.names(account)
        self.assertIn("INBOX/below", names)
        self.assertNotIn("Old Mail/below", names)

    async def test_mailboxes_are_listed_in_order(self) -> None:
        account = await self.open_admin()
        for name in ("zoo", "Zebra/x", "alpha", "zebra-crossing"):
            await account.create_mailbox(name=name)
        names = await self.names(account)
        self.assertEqual(names[0], INBOX)
        self.assertLess(names.index("alpha"), names.index("Zebra"))
        self.assertLess(names.index("Zebra"), names.index("Zebra/x"))
        self.assertLess(names.index("Zebra/x"), names.index("zoo"))

    async def test_subscriptions(self) -> None:
        account = await self.open_admin()
        await account.create_mailbox(name="Work")
        await account.subscribe(name="Work")
        await account.subscribe(name="Not There")
        await account.subscribe(name="Work")
        names = list(await account.list_subscriptions())
        self.assertEqual(names.count("Work"), 1)
        self.assertIn("Not There", names)
        work = await self.find(account, "Work")
        assert work is not None
        self.assertTrue(work.subscribed)
        await account.unsubscribe(name="Work")
        work = await self.find(account, "Work")
        assert work is not None
        self.assertFalse(work.subscribed)
        self.assertNotIn("Work", await account.list_subscriptions())
        await account.unsubscribe(name="Work")

    async def test_subscription_outlives_its_mailbox(self) -> None:
        # RFC 3501 section 6.3.6
        account = await self.open_admin()
        await account.create_mailbox(name="Work")
        await account.subscribe(name="Work")
        await account.delete_mailbox(name="Work")
        self.assertIn("Work", await account.list_subscriptions())

    async def test_inbox_is_subscribed_in_any_case(self) -> None:
        account = await self.open_admin()
        await account.subscribe(name="inbox")
        self.assertIn(INBOX, await account.list_subscriptions())
        await account.unsubscribe(name="Inbox")
        self.assertNotIn(INBOX, await account.list_subscriptions())


class AccountContract(
    _ListingTests,
    _CopyTests,
    _ReplaceTests,
    IdentifierTests,
    KeyTests,
    _AdminTests,
    FetchedTests,
    WatchTests,
    AnnotationTests,
    LabelTests,
):
    """Tests of an account, :class:`~mailkit.interfaces.IMailAccount`, and of its mailboxes.

    The hook is ``make_account``.
    """
