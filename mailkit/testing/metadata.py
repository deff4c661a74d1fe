"""Contract tests of entries about mailboxes and the server (RFC 5464)."""

from __future__ import annotations

from typing import Any

from mailkit.errors import (
    EntryTooLarge,
    NoSuchMailbox,
    PermissionDenied,
    TooManyEntries,
)
from mailkit.interfaces import IAdministratorDirectory, IMailStore, IMetadataAccount
from mailkit.model import INBOX, MetadataChange
from mailkit.testing.directory_base import ANN, BOB, DirectoryBase

COMMENT = "/private/comment"
SHARED = "/shared/comment"
USE = "/private/specialuse"


class MetadataTests(DirectoryBase):
    async def open_metadata(self) -> tuple[Any, Any, Any]:
        """A store, the account of a user, and that of an administrator."""
        store: Any = self.need(IMailStore, await self.open_directory())
        ann = self.need(IMetadataAccount, await store.open_account(name=ANN))
        bob = self.need(IMetadataAccount, await store.open_account(name=BOB))
        self.check_provides(ann, [IMetadataAccount], [])
        self.need(IAdministratorDirectory, store)
        await store.set_administrator(account=BOB, administrator=True)
        return store, ann, bob

    async def test_entries_of_a_mailbox(self) -> None:
        _, ann, bob = await self.open_metadata()
        self.assertEqual(dict(await ann.get_metadata(mailbox=INBOX)), {})
        wanted = {COMMENT: b"mine\r\n\0\xff", SHARED: b""}
        await ann.set_metadata(mailbox="inbox", entries=wanted)
        self.assertEqual(dict(await ann.get_metadata(mailbox=INBOX)), wanted)
        self.assertEqual(dict(await ann.get_metadata(mailbox="Sent")), {USE: b"\\Sent"})
        self.assertEqual(dict(await bob.get_metadata(mailbox=INBOX)), {})
        await ann.set_metadata(
            mailbox=INBOX, entries={COMMENT: None, SHARED: b"x", "/private/a": None}
        )
        self.assertEqual(dict(await ann.get_metadata(mailbox=INBOX)), {SHARED: b"x"})
        for call in (ann.get_metadata(mailbox="No"), ann.set_metadata(mailbox="No", entries={})):
            with self.assertRaises(NoSuchMailbox):
                await call

    async def test_entries_go_with_their_mailbox(self) -> None:
        # RFC 5464 section 4.1
        _, ann, _ = await self.open_metadata()
        wanted = {COMMENT: b"mine", SHARED: b"all"}
        await ann.create_mailbox(name="a/b")
        await ann.set_metadata(mailbox="a/b", entries=wanted)
        await ann.rename_mailbox(name="a", new_name="c")
        self.assertEqual(dict(await ann.get_metadata(mailbox="c/b")), wanted)
        await ann.delete_mailbox(name="c/b")
        await ann.create_mailbox(name="c/b")
        self.assertEqual(dict(await ann.get_metadata(mailbox="c/b")), {})
        # INBOX keeps what the new mailbox gets too.
        await ann.set_metadata(mailbox=INBOX, entries=wanted)
        await ann.rename_mailbox(name=INBOX, new_name="Old")
        self.assertEqual(dict(await ann.get_metadata(mailbox="Old")), wanted)
        await ann.set_metadata(mailbox="Old", entries={COMMENT: None})
        self.assertEqual(dict(await ann.get_metadata(mailbox=INBOX)), wanted)

    async def test_names_that_hold_only_others(self) -> None:
        _, ann, _ = await self.open_metadata()
        await ann.create_mailbox(name="a/b")
        await ann.set_metadata(mailbox="a", entries={COMMENT: b"gone"})
        await ann.delete_mailbox(name="a")
        await ann.set_metadata(mailbox="a", entries={SHARED: b"new"})
        self.assertEqual(dict(await ann.get_metadata(mailbox="a")), {SHARED: b"new"})

    async def test_entries_of_the_server(self) -> None:
        _, ann, bob = await self.open_metadata()
        await ann.set_metadata(mailbox=None, entries={COMMENT: b"mine"})
        with self.assertRaises(PermissionDenied):
            await ann.set_metadata(mailbox=None, entries={SHARED: b"all", COMMENT: b"no"})
        await bob.set_metadata(mailbox=None, entries={SHARED: b"all", COMMENT: b"Bob's"})
        wanted = {SHARED: b"all", COMMENT: b"mine"}
        self.assertEqual(dict(await ann.get_metadata(mailbox=None)), wanted)

    async def test_limits(self) -> None:
        _, ann, _ = await self.open_metadata()
        with self.assertRaises(EntryTooLarge) as caught:
            await ann.set_metadata(mailbox=INBOX, entries={COMMENT: b"x" * 10_000_000})
        limit = caught.exception.limit
        # RFC 5464 section 4.1
        self.assertGreaterEqual(limit, 1024)
        await ann.set_metadata(mailbox=INBOX, entries={COMMENT: b"x" * limit})
        many = {f"/private/x{number}": b"x" for number in range(10_000)}
        for mailbox in (INBOX, None):
            with self.assertRaises(TooManyEntries):
                await ann.set_metadata(mailbox=mailbox, entries=many)
        self.assertEqual(set(await ann.get_metadata(mailbox=INBOX)), {COMMENT})
        few = dict(list(many.items())[:9])
        await ann.set_metadata(mailbox=INBOX, entries=few)
        self.assertEqual(len(await ann.get_metadata(mailbox=INBOX)), 10)

    async def test_octets_of_all_together(self) -> None:
        _, ann, _ = await self.open_metadata()
        with self.assertRaises(TooManyEntries):
            for number in range(1000):
                name = f"m{number}"
                await ann.create_mailbox(name=name)
                large = {f"/private/x{n}": b"x" * 60_000 for n in range(20)}
                await ann.set_metadata(mailbox=name, entries=large)
        # What takes room away is always welcome.
        await ann.set_metadata(mailbox="m0", entries={"/private/x1": None})

    async def test_changes_are_told(self) -> None:
        _, ann, bob = await self.open_metadata()
        told: list[tuple[str, MetadataChange]] = []
        ends = [
            account.watch_metadata(callback=lambda change, name=name: told.append((name, change)))
            for name, account in (("ann", ann), ("bob", bob))
        ]
        token = object()
        await ann.set_metadata(mailbox=INBOX, entries={COMMENT: b"x", SHARED: b"y"}, origin=token)
        self.assertEqual(told, [("ann", MetadataChange(INBOX, [COMMENT, SHARED], token))])
        del told[:]
        await bob.set_metadata(mailbox=None, entries={COMMENT: b"x", SHARED: b"y"})
        self.assertEqual(
            told,
            [
                ("ann", MetadataChange(None, [SHARED], None)),
                ("bob", MetadataChange(None, [COMMENT, SHARED], None)),
            ],
        )
        del told[:]
        for end in ends:
            end()
            end()
        await ann.set_metadata(mailbox=INBOX, entries={COMMENT: None})
        self.assertEqual(told, [])

    async def test_special_use(self) -> None:
        # RFC 6154 sections 4, 5.4
        _, ann, _ = await self.open_metadata()
        await ann.create_mailbox(name="Work")
        told: list[MetadataChange] = []
        self.addCleanup(ann.watch_metadata(callback=told.append))
        await ann.set_metadata(mailbox="Work", entries={USE: b"\\Drafts"})
        uses = {info.name: info.special_use for info in await ann.list_mailboxes()}
        self.assertEqual((uses["Work"], uses["Drafts"]), ("\\Drafts", None))
        self.assertEqual(dict(await ann.get_metadata(mailbox="Work")), {USE: b"\\Drafts"})
        self.assertEqual(dict(await ann.get_metadata(mailbox="Drafts")), {})
        self.assertEqual([change.mailbox for change in told], ["Work", "Drafts"])
        await ann.set_metadata(mailbox="Work", entries={USE: None, COMMENT: b"x"})
        uses = {info.name: info.special_use for info in await ann.list_mailboxes()}
        self.assertIsNone(uses["Work"])
        self.assertEqual(dict(await ann.get_metadata(mailbox="Work")), {COMMENT: b"x"})

    async def test_entries_of_a_removed_account(self) -> None:
        store, ann, _ = await self.open_metadata()
        await ann.set_metadata(mailbox=INBOX, entries={COMMENT: b"x", SHARED: b"y"})
        await ann.set_metadata(mailbox=None, entries={COMMENT: b"x"})
        await store.remove_account(name=ANN)
        await store.add_account(name=ANN)
        ann = await store.open_account(name=ANN)
        self.assertEqual(dict(await ann.get_metadata(mailbox=INBOX)), {})
        self.assertEqual(dict(await ann.get_metadata(mailbox=None)), {})
