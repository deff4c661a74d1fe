"""Our own homes keep the contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailkit.auth.residents import open_resident_home
from mailkit.errors import NoSuchAccount
from mailkit.files import FilePath
from mailkit.homes.disk import FileHomes
from mailkit.homes.mail import MailHomes
from mailkit.homes.mounts import MountedHome
from mailkit.store.memory import MemoryStore
from mailkit.testing import FileHomeContract


class DiskTests(FileHomeContract, TestCase):
    async def make_home(self, files: Mapping[FilePath, bytes]) -> Any:
        homes = FileHomes(self.mktemp())
        for path, content in files.items():
            place = Path(homes.directory, "ann", *path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return await homes.open_home(account="ann")


class MountedTests(DiskTests):
    """The one home below another."""

    async def make_home(self, files: Mapping[FilePath, bytes]) -> Any:
        inner = {path[1:]: content for path, content in files.items() if path[0] == "Reports"}
        outer = {path: content for path, content in files.items() if path[0] != "Reports"}
        mounts = {"Reports": await super().make_home(inner)}
        return MountedHome(await super().make_home(outer), mounts)

    async def test_renaming_and_removing(self) -> None:
        """A mount cannot be renamed: see ``test_mail.MountTests``."""


class ResidentTests(DiskTests):
    """The home of an account that is in a directory."""

    async def make_home(self, files: Mapping[FilePath, bytes]) -> Any:
        self.clock = Clock()
        self.store = MemoryStore(clock=self.clock)
        await self.store.add_account(name="ann@example.org")
        # Homes may call themselves what they like: this one is "ann".
        home = await super().make_home(files)
        return await open_resident_home(self.store, "ann@example.org", home)

    async def test_nothing_is_left_of_it_with_the_account(self) -> None:
        home = await self.open_home(to_change=True)

        async def list_all() -> None:
            async for _ in home.list_entries(path=()):
                pass

        await self.store.remove_account(name="ann@example.org")
        for again in range(2):
            for work in (
                list_all(),
                home.get_entry(path=()),
                home.open_to_read(path=("notes.txt",)),
                home.open_to_write(path=("new",), offset=0),
                home.make_directory(path=("new",)),
                home.remove_directory(path=("new",)),
                home.remove_file(path=("notes.txt",)),
                home.rename(old=("notes.txt",), new=("b.txt",)),
                home.set_modified(path=("notes.txt",), seconds=0.0),
                home.get_usage(),
            ):
                try:
                    await work
                except NoSuchAccount:
                    continue
                self.fail("it was done")
            if not again:
                # Somebody else has the address now.
                self.clock.advance(60)
                await self.store.add_account(name="ann@example.org")


class EmptyMailTests(TestCase):
    async def test_mail_of_nobody_is_refused_when_it_is_asked_for(self) -> None:
        home = await MailHomes(MemoryStore()).open_home(account="nobody@example.org")
        await FileHomeContract.check_refused(self, home.get_entry(path=()))  # type: ignore[arg-type]
