"""Contract tests of what a store still knows when it has been closed and opened again."""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from contextlib import closing
from typing import cast

from mailkit.interfaces import IMailbox, IMailboxAdmin, IMailStore, IWritableMailbox
from mailkit.model import DELETED, INBOX, FlagOp, LocalDelivery
from mailkit.testing.account_base import AccountBase
from mailkit.testing.base import read_message, sample_message, sample_messages, spooled

ANN = "ann@example.org"


class RestartTests(AccountBase):
    """Part of ``StoreContract``, for stores that say how they are opened again."""

    async def make_store(self, accounts: Sequence[str]) -> IMailStore:
        """See :class:`mailkit.testing.StoreContract`."""
        raise NotImplementedError

    async def reopen_store(self, store: IMailStore) -> IMailStore:
        """A hook: the same store opened once more, after it was closed."""
        raise unittest.SkipTest("there is no hook reopen_store")

    async def _inbox(self, store: IMailStore) -> IWritableMailbox:
        mailbox = await (await store.open_account(name=ANN)).open_mailbox(name=INBOX)
        return cast(IWritableMailbox, self.need(IWritableMailbox, mailbox))

    async def _restart(self, store: IMailStore) -> IMailStore:
        await store.close()
        again = await self.reopen_store(store)
        self.close_later(again.close)
        return again

    async def _check_same(self, before: IMailbox, store: IMailStore) -> IWritableMailbox:
        """All is as it was, when the store has been opened again."""
        info, messages = await before.get_info(), await self.infos(before)
        contents = [await read_message(before, message.uid) for message in messages]
        again = await self._inbox(await self._restart(store))
        new_info = await again.get_info()
        for name in ("mailbox_id", "uid_validity", "uid_next", "messages", "unseen", "size"):
            self.assertEqual(getattr(new_info, name), getattr(info, name), f"{name} is kept")
        # RFC 7162 section 3.1: clients ask by what they have seen; it never falls.
        self.assertGreaterEqual(new_info.highest_modseq, info.highest_modseq)
        self.assertEqual(await self.infos(again), messages, "what is known of messages is kept")
        found = [await read_message(again, message.uid) for message in messages]
        self.assertEqual(found, contents)
        changes = await again.get_changes(since=info.highest_modseq)
        self.assertEqual([*changes.added, *changes.changed, *changes.vanished], [])
        return again

    async def test_mail_is_kept(self) -> None:
        store = await self.make_store(accounts=[ANN])
        inbox = await self._inbox(store)
        await inbox.append(messages=sample_messages(3))
        with closing(spooled(sample_message(4))) as content:
            delivered = await store.deliver(message=content, deliveries=[LocalDelivery(ANN)])
        self.assertEqual([result.error for result in delivered], [None])
        uids = list(await inbox.list_uids())
        await inbox.store_flags(uids=uids[:2], op=FlagOp.ADD, flags=frozenset({DELETED, "Work"}))
        await inbox.expunge(uids=[uids[1]])
        await self._check_same(inbox, store)

    async def test_uids_of_what_is_gone_are_kept(self) -> None:
        """RFC 3501 section 2.3.1.1: no UID is used again, nor after a restart."""
        store = await self.make_store(accounts=[ANN])
        inbox = await self._inbox(store)
        await inbox.append(messages=sample_messages(2))
        uids = list(await inbox.list_uids())
        since = (await inbox.get_info()).highest_modseq
        await inbox.expunge(uids=uids[1:])
        again = await self._check_same(inbox, store)
        self.assertEqual(list((await again.get_changes(since=since)).vanished), uids[1:])
        (new,) = (await again.append(messages=sample_messages(1))).uids
        self.assertGreater(new, uids[1], "the UID of a message that is gone was used again")

    async def test_mailboxes_are_kept(self) -> None:
        store = await self.make_store(accounts=[ANN])
        account = await store.open_account(name=ANN)
        admin = cast(IMailboxAdmin, self.need(IMailboxAdmin, account))
        await admin.create_mailbox(name="Work/Reports")
        await admin.subscribe(name="Work/Reports")
        before = sorted(info[:4] for info in await account.list_mailboxes())
        subscribed = list(await admin.list_subscriptions())
        again = await (await self._restart(store)).open_account(name=ANN)
        self.assertEqual(sorted(info[:4] for info in await again.list_mailboxes()), before)
        kept = await cast(IMailboxAdmin, again).list_subscriptions()
        self.assertEqual(list(kept), subscribed)
