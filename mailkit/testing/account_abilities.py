"""Contract tests of what an account may be able to do beyond mailboxes."""

from __future__ import annotations

from typing import Any, cast

from mailkit.annotations import Annotation
from mailkit.errors import NoSuchAccount, NoSuchMailbox
from mailkit.interfaces import (
    IAnnotatedMailbox,
    ICopyingMailbox,
    IFetchMemory,
    IMailAccount,
    IObjectIdentifiers,
    IURLKeys,
    IWatchableAccount,
    IWatchableMailbox,
)
from mailkit.model import INBOX, AppendMessage, FetchedMessage
from mailkit.spool import Spool
from mailkit.testing.account_base import AccountBase
from mailkit.testing.base import sample_message, spooled


class IdentifierTests(AccountBase):
    """Names that last (RFC 8474 section 4)."""

    async def test_object_identifiers(self) -> None:
        account = await self.open_account()
        self.need(IObjectIdentifiers, account)
        await self.fill(account, INBOX, 3)
        found = [info.mailbox_id for info in await account.list_mailboxes()]
        inbox = await account.open_mailbox(name=INBOX)
        messages = await inbox.get_messages(uids=await inbox.list_uids())
        for name in (*found, *(message.email_id for message in messages)):
            self.assertRegex(str(name), r"\A[A-Za-z0-9_-]{1,255}\Z")
        self.assertEqual(len({message.email_id for message in messages}), 3)
        again = await inbox.get_messages(uids=await inbox.list_uids())
        self.assertEqual([each.email_id for each in again], [each.email_id for each in messages])


class KeyTests(AccountBase):
    async def open_keys(self) -> IURLKeys:
        """A new account that keeps access keys."""
        return cast(IURLKeys, self.need(IURLKeys, await self.open_account()))

    async def test_access_key(self) -> None:
        account = await self.open_keys()
        self.assertIsNone(await account.find_access_key(mailbox=INBOX))
        key = await account.get_access_key(mailbox="inbox")
        # RFC 4467 section 10
        self.assertGreaterEqual(len(key), 16)
        self.assertEqual(await account.get_access_key(mailbox=INBOX), key)
        self.assertEqual(await account.find_access_key(mailbox=INBOX), key)

    async def test_access_key_of_no_mailbox(self) -> None:
        account = await self.open_keys()
        self.assertIsNone(await account.find_access_key(mailbox="Nowhere"))
        with self.assertRaises(NoSuchMailbox):
            await account.get_access_key(mailbox="Nowhere")
        with self.assertRaises(NoSuchMailbox):
            await account.reset_access_key(mailbox="Nowhere")

    async def test_access_key_reset(self) -> None:
        account = await self.open_keys()
        key = await account.get_access_key(mailbox=INBOX)
        await account.reset_access_key(mailbox=INBOX)
        other = await account.get_access_key(mailbox=INBOX)
        self.assertNotEqual(other, key)
        await account.remove_access_keys()
        self.assertIsNone(await account.find_access_key(mailbox=INBOX))
        self.assertNotIn(await account.get_access_key(mailbox=INBOX), (key, other))

    async def test_access_key_goes_with_its_mailbox(self) -> None:
        account = await self.open_admin()
        keys = cast(IURLKeys, self.need(IURLKeys, account))
        await account.create_mailbox(name="Work")
        key = await keys.get_access_key(mailbox="Work")
        await account.rename_mailbox(name="Work", new_name="Job")
        self.assertIsNone(await keys.find_access_key(mailbox="Work"))
        self.assertEqual(await keys.find_access_key(mailbox="Job"), key)
        await account.delete_mailbox(name="Job")
        await account.create_mailbox(name="Job")
        self.assertIsNone(await keys.find_access_key(mailbox="Job"))

    async def test_open_owner(self) -> None:
        account = await self.open_keys()
        name = cast(IMailAccount, account).name
        self.assertEqual((await account.open_owner(owner=name)).name, name)
        with self.assertRaises(NoSuchAccount):
            await account.open_owner(owner="nobody@nowhere.example")


class FetchedTests(AccountBase):
    async def open_memory(self) -> Any:
        """A new account that remembers what was fetched."""
        return self.need(IFetchMemory, await self.open_account())

    def messages(self, *unique_ids: str, digest: str = "d") -> list[FetchedMessage]:
        return [
            FetchedMessage(
                unique_id, AppendMessage(self.spool(sample_message(int(unique_id)))), digest
            )
            for unique_id in unique_ids
        ]

    def spool(self, octets: bytes) -> Spool:
        spool = spooled(octets)
        self.addCleanup(spool.close)
        return spool

    async def test_fetched_messages_are_taken_once(self) -> None:
        account = await self.open_memory()
        append = account.append_fetched
        first = await append(mailbox="inbox", source="s", messages=self.messages("1", "2"))
        again = await append(mailbox="INBOX", source="s", messages=self.messages("2", "3", "3"))
        other = await append(mailbox=INBOX, source="t", messages=self.messages("2"))
        self.assertEqual([len(each.uids) for each in (first, again, other)], [2, 1, 1])
        self.assertEqual(again.uid_validity, first.uid_validity)
        self.assertEqual(
            await self.contents(account, INBOX), [sample_message(int(each)) for each in "1232"]
        )
        found = await account.list_fetched(source="s")
        self.assertEqual(sorted(found), ["1", "2", "3"])
        self.assertGreater(min(each.time for each in found.values()), 0)
        self.assertFalse(any(each.gone for each in found.values()))
        self.assertEqual(await account.list_fetched(source="unknown"), {})

    async def test_removed_messages_are_remembered_until_they_are_forgotten(self) -> None:
        account = await self.open_memory()
        messages = self.messages("1", "2")
        result = await account.append_fetched(mailbox=INBOX, source="s", messages=messages)
        mailbox: Any = await account.open_mailbox(name=INBOX)
        await mailbox.expunge(uids=result.uids)
        await account.forget_fetched(source="s", unique_ids=["1", "unknown"])
        await account.forget_fetched(source="unknown", unique_ids=["2"])
        again = await account.append_fetched(
            mailbox=INBOX, source="s", messages=self.messages("1", "2")
        )
        self.assertEqual(len(again.uids), 1)
        self.assertEqual(await self.contents(account, INBOX), [sample_message(1)])

    async def test_another_message_takes_the_place_of_one_that_is_gone(self) -> None:
        account = await self.open_memory()

        async def append(digest: str) -> int:
            messages = self.messages("1", "2", digest=digest)
            result = await account.append_fetched(mailbox=INBOX, source="s", messages=messages)
            return len(result.uids)

        async def gone() -> list[str]:
            known = await account.list_fetched(source="s")
            return sorted(unique_id for unique_id, before in known.items() if before.gone)

        self.assertEqual(await append("d"), 2)
        # Not gone, whatever it looks like.
        self.assertEqual(await append("e"), 0)
        await account.mark_gone(source="s", unique_ids=["1", "unknown"])
        await account.mark_gone(source="unknown", unique_ids=["2"])
        self.assertEqual(await gone(), ["1"])
        # The same: it has not gone.
        self.assertEqual(await append("d"), 0)
        self.assertEqual(await gone(), [])
        await account.mark_gone(source="s", unique_ids=["2"])
        self.assertEqual(await append("e"), 1)
        self.assertEqual(await gone(), [])
        self.assertEqual(await append("f"), 0)
        self.assertEqual(sorted(await account.list_fetched(source="s")), ["1", "2"])

    async def test_a_message_comes_back_under_another_unique_id(self) -> None:
        """Of messages with the same one at the source, what is left is listed as the first."""
        account = await self.open_memory()

        async def append(*messages: tuple[str, str, list[str]]) -> int:
            fetched = [
                FetchedMessage(
                    unique_id, AppendMessage(self.spool(sample_message(1))), digest, others
                )
                for unique_id, digest, others in messages
            ]
            result = await account.append_fetched(mailbox=INBOX, source="s", messages=fetched)
            return len(result.uids)

        async def gone() -> dict[str, bool]:
            known = await account.list_fetched(source="s")
            return {unique_id: before.gone for unique_id, before in known.items()}

        both = ["a", "a 2"]
        self.assertEqual(await append(("a", "d", []), ("a 2", "e", [])), 2)
        await account.mark_gone(source="s", unique_ids=both)
        self.assertEqual(await append(("a", "e", both)), 0)
        self.assertEqual(await gone(), {"a": False, "a 2": True})
        # They have changed places.
        await account.mark_gone(source="s", unique_ids=both)
        self.assertEqual(await append(("a", "e", []), ("a 2", "d", [])), 0)
        self.assertEqual(await gone(), {"a": False, "a 2": False})
        # Or it has moved to one that was free.
        await account.mark_gone(source="s", unique_ids=["a 2"])
        self.assertEqual(await append(("a 3", "d", both)), 0)
        self.assertEqual(await gone(), {"a": False, "a 3": False})
        # One that has not gone is another message, though an equal one.
        self.assertEqual(await append(("a 2", "e", both)), 1)

    async def test_nothing_is_remembered_that_was_not_taken(self) -> None:
        account = await self.open_memory()
        with self.assertRaises(NoSuchMailbox):
            await account.append_fetched(mailbox="Nowhere", source="s", messages=self.messages("1"))
        self.assertEqual(await account.list_fetched(source="s"), {})
        result = await account.append_fetched(mailbox=INBOX, source="s", messages=[])
        self.assertEqual(list(result.uids), [])


class WatchTests(AccountBase):
    async def test_names_that_change_are_told(self) -> None:
        account: Any = self.need(IWatchableAccount, await self.open_admin())
        calls: list[int] = []
        end = account.watch(callback=lambda: calls.append(1))
        for change in (
            account.create_mailbox(name="a"),
            account.rename_mailbox(name="a", new_name="b"),
            account.subscribe(name="b"),
            account.unsubscribe(name="b"),
            account.delete_mailbox(name="b"),
        ):
            calls.clear()
            await change
            await self.wait_until(lambda: bool(calls))
        others: list[int] = []
        end_others = account.watch(callback=lambda: others.append(1))
        end()
        end()
        calls.clear()
        await account.create_mailbox(name="c")
        await self.wait_until(lambda: bool(others))
        end_others()
        self.assertEqual(calls, [])

    async def test_mailboxes_of_a_watchable_account(self) -> None:
        account: Any = self.need(IWatchableAccount, await self.open_account())
        infos = await account.list_mailboxes()
        for info in infos:
            if info.selectable:
                mailbox = await account.open_mailbox(name=info.name)
                self.assertTrue(IWatchableMailbox.providedBy(mailbox))
        identifiers = [info.mailbox_id for info in infos]
        self.assertEqual(len(set(identifiers)), len(infos))
        self.assertTrue(all(identifiers))


class AnnotationTests(AccountBase):
    """Annotations where messages are copied (RFC 5257 section 4.6)."""

    async def open_two(self) -> tuple[Any, Any, Any]:
        """A new account, its INBOX, and another mailbox."""
        account = await self.open_admin()
        await account.create_mailbox(name="Work")
        inbox, work = [await account.open_mailbox(name=name) for name in (INBOX, "Work")]
        self.need(IAnnotatedMailbox, inbox)
        self.need(ICopyingMailbox, inbox)
        await self.fill(account, INBOX, 3)
        return account, inbox, work

    async def test_annotations_go_along(self) -> None:
        _, inbox, work = await self.open_two()
        one, two, three = await inbox.list_uids()
        notes = [Annotation("/comment", b"x"), Annotation("/comment", b"y", True)]
        await inbox.store_annotations(uids=[one, three], annotations=notes)
        for step, left in ((inbox.copy_messages, 2), (inbox.move_messages, 0)):
            result = await step(uids=[one, two, three], destination="Work")
            found = await work.get_annotations(uids=result.destination_uids)
            first, _, third = result.destination_uids
            self.assertEqual(
                {uid: list(some) for uid, some in found.items()}, {first: notes, third: notes}
            )
            self.assertEqual(len(await inbox.get_annotations(uids=[one, two, three])), left)

    async def test_annotations_of_a_renamed_inbox(self) -> None:
        account, inbox, _ = await self.open_two()
        uids = await inbox.list_uids()
        note = Annotation("/comment", b"x")
        await inbox.store_annotations(uids=uids[:1], annotations=[note])
        await account.rename_mailbox(name=INBOX, new_name="Old")
        old = await account.open_mailbox(name="Old")
        found = await old.get_annotations(uids=await old.list_uids())
        self.assertEqual([list(some) for some in found.values()], [[note]])

    async def test_annotations_of_a_deleted_mailbox(self) -> None:
        account, inbox, work = await self.open_two()
        note = Annotation("/comment", b"x")
        result = await inbox.copy_messages(uids=await inbox.list_uids(), destination="Work")
        uids = result.destination_uids
        await work.store_annotations(uids=uids, annotations=[note])
        await account.delete_mailbox(name="Work")
        with self.assertRaises(NoSuchMailbox):
            await work.get_annotations(uids=uids)
        with self.assertRaises(NoSuchMailbox):
            await work.get_annotation_changes(since=0)
        with self.assertRaises(NoSuchMailbox):
            await work.store_annotations(uids=uids, annotations=[note])
