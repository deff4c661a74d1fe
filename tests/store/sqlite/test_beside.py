"""What a command beside the server changes is told to those who watch names, in each process."""

from __future__ import annotations

import sqlite3
from functools import partial
from unittest import mock

from mailkit.rights import RightsOp, parse_rights
from mailkit.store.sqlite import SQLiteDirectory
from mailkit.store.sqlite.maintenance import Maintenance

from .helpers import ANN, BOB, StoreTestCase, message


class BesideTests(StoreTestCase):
    async def begin(self) -> None:
        """An owner and a guest, each with one who watches names; and a command beside them."""
        self.owner = await self.make_store(ANN)
        guest = self.open_store()
        # When it has an answer, the owner knows it.
        await guest.add_account(name=BOB)
        self.told: list[list[str]] = []
        for store in (self.owner, guest):
            told: list[str] = []
            self.told.append(told)
            account = await store.open_account(name=BOB)
            account.watch(callback=partial(told.append, "names"))
            (await self.mailbox(store)).watch(partial(told.append, "mail"))
        self.looking = Maintenance(self.owner.core, self.owner.core.writer)  # type: ignore[arg-type]
        self.addCleanup(self.looking._db.close)
        self.command = SQLiteDirectory(self.directory)
        self.addCleanup(self.command.close)

    async def give(self, rights: str) -> None:
        await self.command.set_acl(ANN, "INBOX", BOB, parse_rights(rights), RightsOp.REPLACE)

    async def look(self) -> list[list[str]]:
        """What a look tells the two, which hear of a message behind it."""
        self.looking.look_at_directory()
        await self.deliver(self.owner, message(1))
        await self.wait_until(lambda: all("mail" in told for told in self.told))
        heard = [told[: told.index("mail")] for told in self.told]
        for told in self.told:
            told.clear()
        return heard

    async def test_rights_alone_are_told_and_once(self) -> None:
        await self.begin()
        await self.give("l")
        self.assertEqual(await self.look(), [["names"]] * 2)
        self.assertEqual(await self.look(), [[]] * 2)
        await self.command.add_account(name="eve@example.org")
        self.assertEqual(await self.look(), [[]] * 2)
        await self.give("lr")
        self.assertEqual(await self.look(), [["names"]] * 2)
        await self.command.set_public(account=ANN, public=True)
        self.assertEqual(await self.look(), [["names"]] * 2)
        await self.command.remove_account(name="eve@example.org")
        self.assertEqual(await self.look(), [[]] * 2)

    async def test_what_could_not_be_read_is_told_later(self) -> None:
        await self.begin()
        await self.give("l")
        with (
            mock.patch.object(self.owner.core, "connect", side_effect=sqlite3.OperationalError),
            mock.patch.object(self.looking, "_connection", None),
        ):
            self.assertRaises(sqlite3.OperationalError, self.looking.look_at_directory)
        self.assertEqual(await self.look(), [["names"]] * 2)
