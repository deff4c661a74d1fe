"""Contract tests of homes: the files of an account."""

from __future__ import annotations

import unittest
from collections.abc import Awaitable, Mapping
from typing import Any

from mailkit.errors import BeyondEnd, MailError
from mailkit.files import DIRECTORY_RIGHTS, FILE_RIGHTS, FileEntry, FilePath
from mailkit.interfaces import (
    ICountedHome,
    IFileHome,
    IQuickFile,
    IReadableFile,
    IThreadedFile,
    ITimedHome,
    IWritableFile,
)
from mailkit.testing.base import Contract

#: What the homes of the tests hold.
FILES: Mapping[FilePath, bytes] = {
    ("notes.txt",): b"0123456789",
    ("Reports", "2026", "Jänner 1.csv"): b"a;b\r\nc;d\r\n",
    ("Reports", "empty"): b"",
}


class FileHomeContract(Contract):
    """Tests of what FTP serves. The hook is ``make_home``.

    A home whose entries have no rights to change anything is tested for reading alone.
    """

    async def make_home(self, files: Mapping[FilePath, bytes]) -> Any:
        """The hook: a home that holds just these files, in directories."""
        raise NotImplementedError

    async def open_home(self, *, to_change: bool = False) -> Any:
        """A home with the files of the tests.

        :param to_change: the test is skipped where the home cannot be changed.
        """
        home: Any = await self.make_home(files=FILES)
        self.check_provides(home, [IFileHome], [ITimedHome, ICountedHome])
        if to_change and "c" not in (await home.get_entry(path=())).rights:
            raise unittest.SkipTest("the home cannot be changed")
        return home

    async def read(self, home: Any, path: FilePath) -> bytes:
        """A file, in pieces of a few octets."""
        file = await home.open_to_read(path=path)
        self.check_provides(file, [IReadableFile], [IThreadedFile])
        content = b""
        while piece := await file.read(offset=len(content), count=4):
            self.assertLessEqual(len(piece), 4)
            content += piece
        self.assertEqual(file.size, len(content))
        file.close()
        return content

    async def write(self, home: Any, path: FilePath, data: bytes, offset: int | None = 0) -> str:
        """The name that the file has got."""
        file = await home.open_to_write(path=path, offset=offset)
        self.check_provides(file, [IWritableFile], [IThreadedFile, IQuickFile])
        for start in range(0, len(data), 4):
            await file.write(data=data[start : start + 4])
        name = await file.finish()
        file.close()
        self.assertIsInstance(name, str)
        return str(name)

    async def entries(self, home: Any, path: FilePath) -> dict[str, FileEntry]:
        """What is in a directory."""
        found = [entry async for piece in home.list_entries(path=path) for entry in piece]
        self.assertEqual(len({entry.name for entry in found}), len(found))
        return {entry.name: entry for entry in found}

    async def check_refused(self, waiting: Awaitable[object]) -> None:
        """What is wrong is told as clients can be told."""
        try:
            await waiting
        except MailError:
            return
        except OSError as error:
            self.assertIsNotNone(error.errno)
            return
        self.fail("nothing was refused")

    async def test_listings(self) -> None:
        home = await self.open_home()
        self.assertIsInstance(home.name, str)
        for path, names in (
            ((), {"notes.txt", "Reports"}),
            (("Reports",), {"2026", "empty"}),
            (("Reports", "2026"), {"Jänner 1.csv"}),
        ):
            entries = await self.entries(home, path)
            self.assertEqual(set(entries), names)
            for name, entry in entries.items():
                inner = (*path, name)
                self.assertEqual(await home.get_entry(path=inner), entry)
                self.assertEqual(entry.is_directory, inner not in FILES)
                if not entry.is_directory:
                    self.assertEqual(entry.size, len(FILES[inner]))
                letters = DIRECTORY_RIGHTS if entry.is_directory else FILE_RIGHTS
                self.assertLessEqual(set(entry.rights), set(letters))
                self.assertRegex(entry.unique, r"\A[^\s;]+\Z")
        self.assertTrue((await home.get_entry(path=())).is_directory)

    async def test_reading(self) -> None:
        home = await self.open_home()
        for path, content in FILES.items():
            self.assertEqual(await self.read(home, path), content)
        file = await home.open_to_read(path=("notes.txt",))
        self.assertEqual(await file.read(offset=7, count=100), b"789")
        self.assertEqual(await file.read(offset=2, count=3), b"234")
        self.assertEqual(await file.read(offset=10, count=1), b"")
        file.close()

    async def test_what_is_not_there(self) -> None:
        home = await self.open_home()
        for path in (("nothing",), ("nothing", "below"), ("notes.txt", "below"), ("NOTES.TXT",)):
            await self.check_refused(home.get_entry(path=path))
            await self.check_refused(home.open_to_read(path=path))
            await self.check_refused(anext(home.list_entries(path=path)))
        await self.check_refused(home.open_to_read(path=()))
        await self.check_refused(home.open_to_read(path=("Reports",)))
        await self.check_refused(anext(home.list_entries(path=("notes.txt",))))

    async def test_writing(self) -> None:
        home = await self.open_home(to_change=True)
        path = ("Reports", "new")
        for data, offset, content in (
            (b"the first lines", 0, b"the first lines"),
            (b"less", 0, b"less"),
            (b", or more", None, b"less, or more"),
            (b"on", 4, b"lesson"),
            (b"", 0, b""),
        ):
            self.assertEqual(await self.write(home, path, data, offset), "new")
            self.assertEqual(await self.read(home, path), content)
        await self.write(home, ("made",), b"by appending", None)
        self.assertEqual(await self.read(home, ("made",)), b"by appending")

    async def test_writing_all_at_once(self) -> None:
        home = await self.open_home(to_change=True)
        for data, offset, content in (
            (b"the first lines", 0, b"the first lines"),
            (b"", 0, b""),
            (b"or more", None, b"or more"),
        ):
            file = await home.open_to_write(path=("Reports", "new"), offset=offset)
            try:
                if not IQuickFile.providedBy(file):
                    raise unittest.SkipTest("IQuickFile is not provided")
                self.assertEqual(await file.write_all(data=data), "new")
            finally:
                file.close()
            self.assertEqual(await self.read(home, ("Reports", "new")), content)

    async def test_what_cannot_be_written(self) -> None:
        home = await self.open_home(to_change=True)
        for path in ((), ("Reports",), ("nothing", "new"), ("notes.txt", "new")):
            await self.check_refused(home.open_to_write(path=path, offset=0))
        await self.check_refused(home.open_to_write(path=("new",), offset=5))
        with self.assertRaises(BeyondEnd):
            await home.open_to_write(path=("notes.txt",), offset=11)
        self.assertEqual(await self.read(home, ("notes.txt",)), FILES["notes.txt",])

    async def test_times(self) -> None:
        home = await self.open_home(to_change=True)
        if not ITimedHome.providedBy(home):
            raise unittest.SkipTest("ITimedHome is not provided")
        for path in (("notes.txt",), ("Reports", "2026")):
            await home.set_modified(path=path, seconds=1_000_000_000)
            self.assertEqual((await home.get_entry(path=path)).modified, 1_000_000_000)
        for path in (("nothing",), ("Reports", "nothing")):
            await self.check_refused(home.set_modified(path=path, seconds=1))

    async def test_usage(self) -> None:
        home = await self.open_home()
        if not ICountedHome.providedBy(home):
            raise unittest.SkipTest("ICountedHome is not provided")
        usage = await home.get_usage()
        self.assertGreaterEqual(usage.octets, 0)
        self.assertGreaterEqual(usage.files, 0)

    async def test_directories(self) -> None:
        home = await self.open_home(to_change=True)
        await home.make_directory(path=("Reports", "2027"))
        self.assertEqual(await self.entries(home, ("Reports", "2027")), {})
        await home.remove_directory(path=("Reports", "2027"))
        self.assertEqual(set(await self.entries(home, ("Reports",))), {"2026", "empty"})
        for waiting in (
            home.make_directory(path=("Reports",)),
            home.make_directory(path=("notes.txt",)),
            home.make_directory(path=("nothing", "below")),
            home.remove_directory(path=("Reports",)),
            home.remove_directory(path=("notes.txt",)),
            home.remove_directory(path=("nothing",)),
            home.remove_directory(path=()),
            home.remove_file(path=("Reports",)),
            home.remove_file(path=("nothing",)),
        ):
            await self.check_refused(waiting)

    async def test_renaming_and_removing(self) -> None:
        home = await self.open_home(to_change=True)
        await home.rename(old=("notes.txt",), new=("Reports", "empty"))
        self.assertEqual(await self.read(home, ("Reports", "empty")), FILES["notes.txt",])
        await home.rename(old=("Reports",), new=("Moved",))
        self.assertEqual(set(await self.entries(home, ())), {"Moved"})
        await home.remove_file(path=("Moved", "empty"))
        self.assertEqual(set(await self.entries(home, ("Moved",))), {"2026"})
        for old, new in (
            (("nothing",), ("something",)),
            (("Moved",), ("Moved", "2026", "below")),
            ((), ("something",)),
            (("Moved",), ()),
        ):
            await self.check_refused(home.rename(old=old, new=new))
