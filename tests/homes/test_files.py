"""No path leads out of a home."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from unittest import mock

from twisted.internet.defer import Deferred, maybeDeferred

from mailkit.errors import BeyondEnd, LimitExceeded, PermissionDenied
from mailkit.homes.disk import FileHomes
from mailkit.homes.files import Files, make_directory
from tests.ftp.support import FTPCase


class HomeTests(FTPCase):
    def test_names_of_accounts_are_names_of_directories_below_the_root(self) -> None:
        homes = FileHomes(self.mktemp(), in_thread=maybeDeferred)
        names = ("ann@example.org", "..", ".", "a/../../b", "/etc", "nul\0", "Grün@x")
        for name in names:
            home = self.successResultOf(Deferred.fromCoroutine(homes.open_home(account=name)))
            self.assertEqual(home.name, name)
        made = os.listdir(homes.directory)
        self.assertEqual(len(made), len(names))
        for name in made:
            self.assertEqual(os.stat(os.path.join(homes.directory, name)).st_mode, 0o40700)
        self.assertEqual(len(os.listdir(os.path.dirname(homes.directory))), 1)


class LinkTests(FTPCase):
    """Symbolic links, which an administrator or another program has put there."""

    def setUp(self) -> None:
        super().setUp()
        self.files = Files(str(self.home), 100)
        (self.home / "out").symlink_to(self.root)
        (self.home / "leak").symlink_to(self.root / "secret")
        (self.home / "dangling").symlink_to(self.root / "made")

    def check_refused(self, work: object, *arguments: object) -> None:
        error = self.assertRaises(OSError, work, *arguments)
        self.assertIn(error.errno, (errno.ELOOP, errno.ENOTDIR, errno.ENOENT))

    def test_nothing_goes_through_a_link_to_a_directory(self) -> None:
        files = self.files
        for path in (("out",), ("out", "files")):
            self.check_refused(files.list_entries, path)
        for path in (("out", "secret"), ("out", "new")):
            self.check_refused(files.open_to_read, path)
            self.check_refused(files.open_to_write, path, 0)
            self.check_refused(files.open_to_write, path, None)
            self.check_refused(files.get_entry, path)
            self.check_refused(files.remove_file, path)
            self.check_refused(files.set_modified, path, 0)
            self.check_refused(files.make_directory, path)
            self.check_refused(files.remove_directory, path)
            self.check_refused(files.rename, path, ("here",))
            self.check_refused(files.rename, ("file",), path)
        self.assertEqual((self.root / "secret").read_bytes(), b"not yours")
        self.assertEqual(sorted(os.listdir(self.root)), ["files", "secret"])

    def test_no_link_to_a_file_is_followed(self) -> None:
        for name in ("leak", "dangling"):
            self.check_refused(self.files.open_to_read, (name,))
            self.check_refused(self.files.open_to_write, (name,), 0)
            self.check_refused(self.files.open_to_write, (name,), None)
        self.assertEqual((self.root / "secret").read_bytes(), b"not yours")
        self.assertFalse((self.root / "made").exists())

    def test_listings_show_no_links(self) -> None:
        names = [entry.name for entry in self.files.list_entries(())]
        self.assertEqual(names, ["dir", "file"])

    def test_removing_a_link_leaves_what_it_leads_to(self) -> None:
        self.files.remove_file(("leak",))
        self.assertEqual((self.root / "secret").read_bytes(), b"not yours")


class PowerFailureTests(FTPCase):
    """What is answered with success is on the disk: names are once their directory is flushed."""

    def setUp(self) -> None:
        super().setUp()
        self.files = Files(str(self.home), 100)
        self.kept: dict[str, list[str]] = {}

    def flush(self, descriptor: int) -> None:
        path = os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), self.root)
        self.kept[path] = sorted(os.listdir(descriptor))

    def check(
        self, expected: dict[str, list[str]], work: Callable[..., object], *more: object
    ) -> None:
        """What is kept of directories when that is done."""
        self.kept.clear()
        with mock.patch.object(os, "fsync", self.flush):
            work(*more)
        self.assertEqual(self.kept, expected)

    def test_directories_and_names(self) -> None:
        files, home = self.files, f"files/{self.home.name}"
        self.check({home: ["dir", "file", "new"]}, files.make_directory, ("new",))
        self.check({f"{home}/dir": ["inner", "x"]}, files.make_directory, ("dir", "x"))
        renamed = {home: ["dir", "new"], f"{home}/new": ["moved"]}
        self.check(renamed, files.rename, ("file",), ("new", "moved"))
        self.check({f"{home}/dir": ["x", "y"]}, files.rename, ("dir", "inner"), ("dir", "y"))
        self.check({f"{home}/new": []}, files.remove_file, ("new", "moved"))
        self.check({home: ["dir"]}, files.remove_directory, ("new",))

    def test_a_new_home(self) -> None:
        new = str(self.root / "a" / "b")
        kept = {".": ["a", "files", "secret"], "a": ["b"]}
        self.check(kept, make_directory, new)
        self.assertEqual(os.stat(new).st_mode, 0o40700)
        self.check({}, make_directory, new, True)
        self.assertRaises(OSError, make_directory, str(self.root / "secret"))

    def test_a_home_that_another_has_made_and_not_flushed_yet(self) -> None:
        """Or never: it was killed then."""
        (self.root / "a").mkdir()
        self.check({"a": ["b"]}, make_directory, str(self.root / "a" / "b"))
        self.check({"a": ["b"]}, make_directory, str(self.root / "a" / "b"))
        homes = FileHomes(str(self.root / "a"), in_thread=maybeDeferred)

        def open_home() -> None:
            self.successResultOf(Deferred.fromCoroutine(homes.open_home(account="b")))

        # Once.
        self.check({".": ["a", "files", "secret"], "a": ["b"]}, open_home)
        self.check({}, open_home)
        os.rmdir(self.root / "a" / "b")
        self.check({"a": ["b"]}, open_home)

    def test_two_who_make_it_at_once(self) -> None:
        new, mkdir = str(self.root / "a" / "b"), os.mkdir
        race = [new]

        def interrupted(path: str, mode: int) -> None:
            try:
                mkdir(path, mode)
            except FileNotFoundError:
                if race:
                    make_directory(race.pop())
                raise

        with mock.patch.object(os, "mkdir", interrupted):
            make_directory(new)
        self.assertTrue(os.path.isdir(new))

    def test_a_directory_above_that_cannot_be_read(self) -> None:
        """It may be written to all the same."""
        (self.root / "a").mkdir()
        opened = os.open

        def refuse(path: str, flags: int) -> int:
            if path == str(self.root / "a"):
                raise PermissionError(errno.EACCES, "not to be read")
            return opened(path, flags)

        with mock.patch.object(os, "open", refuse):
            self.check({"a/b": []}, make_directory, str(self.root / "a" / "b"))

    def test_a_directory_above_that_cannot_be_flushed(self) -> None:
        """A disk that fails is another thing."""
        new, flush = str(self.root / "a" / "b"), os.fsync
        os.makedirs(new)
        above = os.stat(self.root / "a")
        for number in (errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EIO):

            def refuse(descriptor: int, number: int = number) -> None:
                if os.path.samestat(os.fstat(descriptor), above):
                    raise OSError(number, os.strerror(number))
                flush(descriptor)

            with mock.patch.object(os, "fsync", refuse):
                if number == errno.EIO:
                    self.assertRaises(OSError, make_directory, new)
                else:
                    make_directory(new)

    def test_nothing_above(self) -> None:
        with mock.patch.object(os, "mkdir", mock.Mock(side_effect=FileNotFoundError)):
            for path in ("/", "a"):
                self.assertRaises(FileNotFoundError, make_directory, path)


class FileTests(FTPCase):
    def setUp(self) -> None:
        super().setUp()
        self.files = Files(str(self.home), 100)

    def test_a_fifo_keeps_nobody_waiting(self) -> None:
        os.mkfifo(self.home / "pipe")
        self.assertRaises(PermissionDenied, self.files.open_to_read, ("pipe",))
        self.assertRaises((PermissionDenied, OSError), self.files.open_to_write, ("pipe",), 0)

    def test_names_that_no_client_can_send_are_left_out(self) -> None:
        (self.home / "a\r\n-rw-------   1 x x 1 Jan  1 00:00 b").touch()
        with open(os.fsencode(self.home) + b"/odd\xff", "wb"):
            names = [entry.name for entry in self.files.list_entries(())]
        self.assertEqual(names, ["dir", "file"])

    def test_a_directory_that_is_too_large_is_refused(self) -> None:
        for number in range(99):
            (self.home / str(number)).touch()
        error = self.assertRaises(LimitExceeded, self.files.list_entries, ())
        self.assertIn("100 entries", error.text)

    def test_the_home_itself_stays(self) -> None:
        self.assertRaises(PermissionDenied, self.files.remove_directory, ())
        self.assertRaises(PermissionDenied, self.files.rename, (), ("dir", "x"))
        self.assertRaises(PermissionDenied, self.files.rename, ("dir",), ())

    def test_the_home_itself_is_a_directory_for_whoever_reads(self) -> None:
        self.assertRaises(IsADirectoryError, self.files.open_to_read, ())

    def test_a_restart_beyond_the_end(self) -> None:
        self.assertRaises(BeyondEnd, self.files.open_to_write, ("file",), 11)
        self.assertRaises(OSError, self.files.open_to_write, ("new",), 5)
        self.assertFalse((self.home / "new").exists())

    def test_a_file_may_be_closed_twice(self) -> None:
        file = self.files.open_to_read(("file",))
        self.assertEqual(file.read(8, 100), b"89")
        file.close()
        file.close()
        self.assertRaises(OSError, file.read, 0, 1)
