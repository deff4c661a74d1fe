"""Our own homes keep the contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from mailkit.homes.disk import FileHomes
from mailkit.homes.mail import MailHomes
from mailkit.homes.mounts import MountedHome
from mailkit.model import FilePath
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


class EmptyMailTests(TestCase):
    async def test_mail_of_nobody_is_refused_when_it_is_asked_for(self) -> None:
        home = await MailHomes(MemoryStore()).open_home(account="nobody@example.org")
        await FileHomeContract.check_refused(self, home.get_entry(path=()))  # type: ignore[arg-type]
