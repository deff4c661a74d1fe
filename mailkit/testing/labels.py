"""Contract tests of labels: copies of messages in other mailboxes of an account."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from mailkit.errors import InvalidMailboxName, NoSuchMailbox, PermissionDenied
from mailkit.interfaces import (
    ICopyingMailbox,
    ILabelledMailbox,
    ILabellingAccount,
    IMailAccount,
    IThreadNamingMailbox,
    IWatchableMailbox,
)
from mailkit.model import FLAGGED, IMPORTANT, INBOX, SEEN, FlagOp, Flags
from mailkit.testing.account_base import AccountBase

_NO_FLAGS: Flags = frozenset()
_NUMBER = r"[1-9a-f][0-9a-f]{0,15}"


class LabelTests(AccountBase):
    async def open_labels(self, count: int = 3) -> tuple[Any, Any, Sequence[int]]:
        """A new account with Work and Play, its INBOX, and UIDs of sample messages there."""
        account: Any = await self.open_admin()
        self.need(ILabellingAccount, account)
        for name in ("Work", "Play"):
            await account.create_mailbox(name=name)
        uids = await self.fill(account, INBOX, count)
        inbox: Any = await account.open_mailbox(name=INBOX)
        self.check_provides(inbox, [ILabelledMailbox], [])
        return account, inbox, uids

    async def change(
        self,
        mailbox: Any,
        uids: Sequence[int],
        op: FlagOp,
        names: Collection[str],
        flags: Flags = _NO_FLAGS,
    ) -> list[int]:
        """UIDs of the messages that were there."""
        result = await mailbox.change_labels(uids=uids, op=op, names=names, flags=flags)
        return [info.uid for info in result.messages]

    async def sizes(self, account: IMailAccount, *names: str) -> list[int]:
        """How many messages some mailboxes hold."""
        infos = {info.name: info.messages for info in await account.list_mailboxes()}
        return [infos[name] for name in names]

    async def test_identifiers_are_numbers(self) -> None:
        _, inbox, uids = await self.open_labels()
        naming = self.need(IThreadNamingMailbox, inbox)
        await naming.name_threads(uids=uids)
        for info in await inbox.get_messages(uids=uids):
            self.assertRegex(info.email_id, re.compile(rf"\AM{_NUMBER}\Z"))
            self.assertRegex(info.thread_id, re.compile(rf"\AT{_NUMBER}\Z"))
            self.assertLess(max(int(i[1:], 16) for i in (info.email_id, info.thread_id)), 2**63)

    async def test_labels_are_the_other_mailboxes(self) -> None:
        account, inbox, (one, two, three) = await self.open_labels()
        self.need(ICopyingMailbox, inbox)
        self.assertEqual(await inbox.get_labels(uids=[one, two, three]), {})
        await inbox.copy_messages(uids=[one, two], destination="Work")
        await inbox.copy_messages(uids=[one], destination="Play")
        await inbox.copy_messages(uids=[three], destination=INBOX)
        labels = await inbox.get_labels(uids=[one, two, three])
        self.assertEqual(
            {uid: list(names) for uid, names in labels.items()},
            {one: ["Play", "Work"], two: ["Work"]},
        )
        work: Any = await account.open_mailbox(name="Work")
        labels = await work.get_labels(uids=await work.list_uids())
        self.assertEqual([list(names) for names in labels.values()], [[INBOX, "Play"], [INBOX]])
        self.assertEqual(list(await inbox.find_labelled(name="Work")), [one, two])
        self.assertEqual(list(await inbox.find_labelled(name="Play")), [one])
        self.assertEqual(list(await inbox.find_labelled(name="Nowhere")), [])
        await account.rename_mailbox(name="Play", new_name="Fun/Games")
        self.assertEqual(list((await inbox.get_labels(uids=[one]))[one]), ["Fun/Games", "Work"])
        await account.delete_mailbox(name="Work")
        self.assertEqual(list((await inbox.get_labels(uids=[one, two]))[one]), ["Fun/Games"])
        await inbox.move_messages(uids=[one], destination="Archive")
        self.assertEqual(await inbox.get_labels(uids=[one, two, three]), {})

    async def test_adding(self) -> None:
        account, inbox, (one, two, three) = await self.open_labels()
        before = await inbox.get_info()
        names = ["Work", "New/One", "inbox"]
        self.assertEqual(await self.change(inbox, [one, two, 999], FlagOp.ADD, names), [one, two])
        self.assertEqual(await self.change(inbox, [two, three], FlagOp.ADD, ["Work"]), [two, three])
        self.assertEqual(await self.sizes(account, INBOX, "Work", "New", "New/One"), [3, 3, 0, 2])
        labels = await inbox.get_labels(uids=[one, two, three])
        self.assertEqual(
            {uid: list(found) for uid, found in labels.items()},
            {one: ["New/One", "Work"], two: ["New/One", "Work"], three: ["Work"]},
        )
        self.assertEqual((await inbox.get_info()).uid_next, before.uid_next)
        work: Any = await account.open_mailbox(name="Work")
        infos = await work.get_messages(uids=await work.list_uids())
        self.assertEqual(
            [(info.flags, info.internal_date, info.email_id) for info in infos],
            [
                (info.flags, info.internal_date, info.email_id)
                for info in await inbox.get_messages(uids=[one, two, three])
            ],
        )

    async def test_removing(self) -> None:
        account, inbox, (one, two, three) = await self.open_labels()
        await self.change(inbox, [one, two, three], FlagOp.ADD, ["Work", "Play"])
        work: Any = await account.open_mailbox(name="Work")
        # Another copy in the same mailbox goes along.
        await work.copy_messages(uids=[1], destination="Work")
        names = ["Work", "Nowhere"]
        self.assertEqual(await self.change(inbox, [one, 999], FlagOp.REMOVE, names), [one])
        self.assertEqual(await self.sizes(account, INBOX, "Work", "Play"), [3, 2, 3])
        self.assertEqual(list((await inbox.get_labels(uids=[one]))[one]), ["Play"])
        with self.assertRaises(PermissionDenied):
            await self.change(inbox, [two], FlagOp.REMOVE, ["Work", "Inbox"])
        self.assertEqual(await self.sizes(account, INBOX, "Work", "Play"), [3, 2, 3])

    async def test_replacing(self) -> None:
        account, inbox, (one, two, _) = await self.open_labels()
        await self.change(inbox, [one, two], FlagOp.ADD, ["Work", "Archive"])
        await self.change(inbox, [one], FlagOp.REPLACE, ["Play", "Archive", INBOX])
        labels = await inbox.get_labels(uids=[one, two])
        self.assertEqual(
            {uid: list(names) for uid, names in labels.items()},
            {one: ["Archive", "Play"], two: ["Archive", "Work"]},
        )
        await self.change(inbox, [one, two], FlagOp.REPLACE, [])
        self.assertEqual(await inbox.get_labels(uids=[one, two]), {})
        self.assertEqual(await self.sizes(account, INBOX, "Work", "Play", "Archive"), [3, 0, 0, 0])

    async def test_a_message_that_is_there_twice_is_copied_once(self) -> None:
        account, inbox, (one, _, _) = await self.open_labels()
        result = await inbox.copy_messages(uids=[one], destination=INBOX)
        uids = [one, *result.destination_uids]
        self.assertEqual(await self.change(inbox, uids, FlagOp.ADD, ["Work"]), uids)
        self.assertEqual(await self.sizes(account, "Work"), [1])
        self.assertEqual(list(await inbox.find_labelled(name="Work")), uids)
        self.assertEqual(await self.change(inbox, uids, FlagOp.REMOVE, ["Work"]), uids)
        self.assertEqual(await self.sizes(account, INBOX, "Work"), [4, 0])

    async def test_flags_that_are_labels(self) -> None:
        account, inbox, (one, two, _) = await self.open_labels()
        await inbox.store_flags(uids=[one, two], op=FlagOp.REPLACE, flags=frozenset({SEEN}))
        both = frozenset({FLAGGED, IMPORTANT})
        await self.change(inbox, [one, two], FlagOp.ADD, ["Work"], both)
        work: Any = await account.open_mailbox(name="Work")
        self.assertEqual((await work.get_messages(uids=[1]))[0].flags, both | {SEEN})
        await self.change(inbox, [one], FlagOp.REMOVE, [], frozenset({FLAGGED}))
        await self.change(inbox, [two], FlagOp.REPLACE, [], frozenset({FLAGGED}))
        flags = [info.flags for info in await inbox.get_messages(uids=[one, two])]
        self.assertEqual(flags, [{SEEN, IMPORTANT}, {SEEN, FLAGGED}])

    async def test_all_or_nothing(self) -> None:
        account, inbox, (one, _, _) = await self.open_labels()
        before = await self.names(account), await inbox.get_messages(uids=[one])
        with self.assertRaises(InvalidMailboxName):
            await self.change(
                inbox, [one], FlagOp.ADD, ["First", "Play", "a//b"], frozenset({FLAGGED})
            )
        after = await self.names(account), await inbox.get_messages(uids=[one])
        self.assertEqual(after, before)
        self.assertEqual(await self.sizes(account, "Play"), [0])

    async def test_those_who_watch_are_told(self) -> None:
        account, inbox, (one, _, _) = await self.open_labels()
        work: Any = await account.open_mailbox(name="Work")
        self.need(IWatchableMailbox, work)
        calls: list[int] = []
        end = work.watch(callback=lambda: calls.append(1))
        self.addCleanup(lambda: end())
        before = await work.get_info()
        await self.change(inbox, [one], FlagOp.ADD, ["Work"])
        await self.wait_until(lambda: bool(calls))
        changes = await work.get_changes(since=before.highest_modseq)
        self.assertEqual(list(changes.added), [1])
        calls.clear()
        await self.change(inbox, [one], FlagOp.REMOVE, ["Work"])
        await self.wait_until(lambda: bool(calls))
        changes = await work.get_changes(since=before.highest_modseq)
        self.assertEqual(list(changes.vanished), [1])

    async def test_a_mailbox_that_is_gone(self) -> None:
        account, _, _ = await self.open_labels()
        work: Any = await account.open_mailbox(name="Work")
        await account.delete_mailbox(name="Work")
        with self.assertRaises(NoSuchMailbox):
            await work.get_labels(uids=[1])
        with self.assertRaises(NoSuchMailbox):
            await work.find_labelled(name="Play")
        with self.assertRaises(NoSuchMailbox):
            await self.change(work, [1], FlagOp.ADD, ["Play"])
