"""Delivery into one mailbox."""

from __future__ import annotations

from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit.delivery.mailbox import MailboxDelivery
from mailkit.errors import NoSuchAccount, NoSuchMailbox, OverQuota, ReadOnly
from mailkit.interfaces import IMailAccount, IMessageDelivery
from mailkit.model import Outcome
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.testing import read_message
from tests.delivery.fakes import make_envelope

ANN = "ann@example.org"
LISTS = "lists@example.org"


class MailboxTests(TestCase):
    async def make(self, mailbox: str = "INBOX", **settings: frozenset[str]) -> MailboxDelivery:
        self.store = MemoryStore()
        await self.store.add_account(name=LISTS)
        return MailboxDelivery(self.store, LISTS, mailbox, **settings)

    async def deliver(self, delivery: MailboxDelivery, *addresses: str) -> None:
        envelope = make_envelope(*addresses)
        spool = Spool.from_bytes(b"Subject: x\r\n\r\nhi\r\n")
        outcomes = await delivery.deliver(envelope=envelope, message=spool)
        self.assertEqual(outcomes, [Outcome(recipient) for recipient in envelope.recipients])

    async def test_one_message_for_all_recipients(self) -> None:
        delivery = await self.make(flags=frozenset({"\\Flagged"}))
        verifyObject(IMessageDelivery, delivery)
        await self.deliver(delivery, ANN)
        await self.deliver(delivery, ANN, "bob@example.org")
        mailbox = await (await self.store.open_account(name=LISTS)).open_mailbox(name="INBOX")
        infos = await mailbox.get_messages(uids=await mailbox.list_uids())
        self.assertEqual([info.flags for info in infos], [frozenset({"\\Flagged"})] * 2)
        self.assertEqual(
            [await read_message(mailbox, info.uid) for info in infos],
            [
                b"Return-Path: <ann@example.net>\r\nDelivered-To: ann@example.org\r\n"
                b"Subject: x\r\n\r\nhi\r\n",
                b"Return-Path: <ann@example.net>\r\nSubject: x\r\n\r\nhi\r\n",
            ],
        )

    async def test_a_mailbox_that_is_missing_is_made(self) -> None:
        delivery = await self.make("lists/python")
        await self.deliver(delivery, ANN)
        await self.deliver(delivery, ANN)
        account = await self.store.open_account(name=LISTS)
        mailbox = await account.open_mailbox(name="lists/python")
        self.assertEqual(list(await mailbox.list_uids()), [1, 2])

    async def test_refusals(self) -> None:
        delivery = await self.make()
        await self.store.set_quota(account=LISTS, max_octets=10, max_messages=None)
        with self.assertRaises(OverQuota):
            await self.deliver(delivery, ANN)
        await self.store.remove_account(name=LISTS)
        with self.assertRaises(NoSuchAccount):
            await self.deliver(delivery, ANN)

    async def test_backends_that_only_read(self) -> None:
        @implementer(IMailAccount)
        class Account:
            name = LISTS

            async def list_mailboxes(self) -> list[object]:
                return []

            async def open_mailbox(self, name: str) -> object:
                if name == "INBOX":
                    return object()
                raise NoSuchMailbox

        class Store:
            async def open_account(self, name: str) -> Account:
                return Account()

        with self.assertRaises(ReadOnly):
            await self.deliver(MailboxDelivery(Store(), LISTS), ANN)  # type: ignore[arg-type]
        with self.assertRaises(NoSuchMailbox):
            await self.deliver(MailboxDelivery(Store(), LISTS, "x"), ANN)  # type: ignore[arg-type]
