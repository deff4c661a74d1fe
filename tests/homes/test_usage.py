"""Quotas of files: what is counted, what is refused."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import OverQuota
from mailkit.files import FileQuota, FileUsage
from mailkit.homes import files as files_module
from mailkit.homes import usage as usage_module
from mailkit.homes.disk import FileHomes
from mailkit.homes.files import Files, OpenFile
from mailkit.homes.usage import MAX_DEPTH, Usage, measure
from mailkit.store.memory import MemoryStore


class UsageCase(SynchronousTestCase):
    """A home of at most 100 octets and 5 files."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir(parents=True)
        self.usage = Usage(FileQuota(100, 5))
        self.files = Files(str(self.home), 100, self.usage)

    def write(self, name: str, count: int, offset: int | None = 0) -> None:
        file = self.files.open_to_write((name,), offset)
        try:
            file.run(lambda raw: raw.write(b"x" * count))
        finally:
            file.close()

    def check(self, octets: int, files: int) -> None:
        """What is counted is what is there."""
        self.assertEqual(self.usage.taken, FileQuota(octets, files))
        self.assertEqual(measure(str(self.home)), FileQuota(octets, files))


class CountingTests(UsageCase):
    def test_whatever_happens_the_count_is_right(self) -> None:
        self.write("a", 40)
        self.write("b", 10)
        self.check(50, 2)
        self.write("a", 20)
        self.check(30, 2)
        self.write("a", 5, offset=10)
        self.check(25, 2)
        self.write("a", 5, offset=None)
        self.check(30, 2)
        self.files.make_directory(("d",))
        self.files.rename(("b",), ("d", "b"))
        self.check(30, 3)
        self.files.rename(("a",), ("d", "b"))
        self.check(20, 2)
        self.files.rename(("d", "b"), ("d", "b"))
        self.check(20, 2)
        for work, arguments in (
            (self.files.make_directory, [("d",)]),
            (self.files.remove_directory, [("d",)]),
            (self.files.remove_file, [("none",)]),
            (self.files.open_to_write, [("d",), 0]),
            (self.files.open_to_write, [("none",), 5]),
        ):
            self.assertRaises(OSError, work, *arguments)
            self.check(20, 2)
        self.files.remove_file(("d", "b"))
        self.files.remove_directory(("d",))
        self.check(0, 0)

    def test_octets(self) -> None:
        self.write("a", 60)
        self.assertRaises(OverQuota, self.write, "b", 41)
        self.check(60, 1)
        self.write("b", 40)
        self.check(100, 2)
        for name, offset in (("c", 0), ("a", None), ("a", 60)):
            self.assertRaises(OverQuota, self.files.open_to_write, (name,), offset)
        self.check(100, 2)
        self.assertRaises(OverQuota, self.write, "a", 61)
        self.check(40, 1)
        self.write("a", 60)
        self.check(100, 2)

    def test_no_half_of_a_file_is_left(self) -> None:
        self.write("old", 20)

        def begin(name: str, offset: int | None, count: int) -> OpenFile:
            file = self.files.open_to_write((name,), offset)
            self.addCleanup(file.close)
            file.run(lambda raw: raw.write(b"y" * count))
            return file

        def exceed(file: OpenFile) -> None:
            self.assertRaises(OverQuota, file.run, lambda raw: raw.write(b"z" * 90))
            file.close()

        exceed(begin("new", 0, 30))
        self.check(20, 1)
        exceed(begin("new", None, 30))
        self.check(20, 1)
        exceed(begin("old", 15, 30))
        self.check(15, 1)
        exceed(begin("old", None, 30))
        self.check(15, 1)
        self.assertEqual((self.home / "old").read_bytes(), b"x" * 15)
        exceed(begin("old", 0, 30))
        self.check(0, 0)

    def test_what_others_do_with_the_file_meanwhile(self) -> None:
        def exceed(file: OpenFile) -> None:
            self.assertRaises(OverQuota, file.run, lambda raw: raw.write(b"z" * 99))
            file.close()

        one, other = (self.files.open_to_write(("log",), None) for _ in range(2))
        one.run(lambda raw: raw.write(b"one"))
        other.run(lambda raw: raw.write(b"other"))
        exceed(one)
        self.check(8, 1)
        other.close()
        file = self.files.open_to_write(("moved",), 0)
        file.run(lambda raw: raw.write(b"x"))
        self.files.rename(("moved",), ("away",))
        exceed(file)
        self.check(8, 2)
        file = self.files.open_to_write(("away",), 0)
        file.run(lambda raw: raw.write(b"x"))
        self.files.remove_file(("away",))
        self.write("away", 2)
        self.assertRaises(FileNotFoundError, file.run, lambda raw: raw.write(b"z" * 99))
        file.close()
        self.assertEqual((self.home / "away").read_bytes(), b"xx")
        self.check(10, 2)

    def test_an_upload_to_a_file_that_is_gone(self) -> None:
        """Its octets are given back once, and those that nobody will find are not taken."""

        def replace() -> None:
            self.write("b", 1)
            self.files.rename(("b",), ("a",))

        for remove, left in ((lambda: self.files.remove_file(("a",)), 0), (replace, 1)):
            self.write("other", 40)
            file = self.files.open_to_write(("a",), 0)
            file.run(lambda raw: raw.write(b"x" * 30))
            remove()
            for count in (10, 99):
                refused = self.assertRaises(
                    FileNotFoundError, file.run, lambda raw, count=count: raw.write(b"y" * count)
                )
                self.assertEqual(refused.errno, errno.ENOENT)
            file.close()
            self.check(40 + left, 1 + left)

    def test_a_file_that_goes_before_an_upload_begins(self) -> None:
        self.write("a", 30)
        self.write("other", 40)
        prepare = OpenFile.prepare

        def late(file: OpenFile, *arguments: Any) -> None:
            prepare(file, *arguments)
            self.files.remove_file(("a",))

        with mock.patch.object(OpenFile, "prepare", late):
            self.assertRaises(FileNotFoundError, self.files.open_to_write, ("a",), 0)
        self.check(40, 1)

    def test_files_and_directories(self) -> None:
        for number in range(5):
            self.write(str(number), 1)
        self.assertRaises(OverQuota, self.write, "more", 1)
        self.assertRaises(OverQuota, self.files.make_directory, ("more",))
        self.write("4", 10)
        self.files.remove_file(("0",))
        self.files.make_directory(("more",))
        self.check(13, 5)

    def test_two_who_write_at_once_share_what_is_left(self) -> None:
        refused: list[int] = []

        files = [self.files.open_to_write((str(number),), 0) for number in range(4)]

        def work(number: int) -> None:
            file = files[number]
            try:
                for _ in range(30):
                    file.run(lambda raw: raw.write(b"x"))
            except OverQuota:
                refused.append(number)
            finally:
                file.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(refused)
        self.assertEqual(len(set(refused)), len(refused))
        whole = 4 - len(refused)
        self.check(30 * whole, whole)

    def test_two_who_append_to_one_file(self) -> None:
        one, other = (self.files.open_to_write(("log",), None) for _ in range(2))
        for count, file in ((1, one), (20, other), (3, one)):
            file.run(lambda raw, count=count: raw.write(b"x" * count))
        one.close()
        other.close()
        self.check(24, 1)

    def test_a_full_disk_counts_nothing(self) -> None:
        file = self.files.open_to_write(("a",), 0)
        full = OSError(errno.ENOSPC, "full")
        with mock.patch.object(files_module.os, "pwrite", side_effect=[3, full]):
            self.assertRaises(OSError, file.run, lambda raw: raw.write(b"x" * 10))
        file.close()
        self.assertEqual(self.usage.taken, FileQuota(3, 1))

    def test_some_of_the_disk_is_for_others(self) -> None:
        files = Files(str(self.home), 100, self.usage, min_free=1 << 62)
        error = self.assertRaises(OSError, files.open_to_write, ("a",), 0)
        self.assertEqual(error.errno, errno.ENOSPC)


class MeasuringTests(UsageCase):
    def test_links_devices_and_second_names(self) -> None:
        (self.home / "dir").mkdir()
        (self.home / "dir" / "file").write_bytes(b"12345")
        os.link(self.home / "dir" / "file", self.home / "again")
        (self.home / "up").symlink_to("..")
        os.mkfifo(self.home / "pipe")
        self.assertEqual(measure(str(self.home)), FileQuota(5, 2))

    def test_who_hides_files_deep_down_has_too_many(self) -> None:
        place = os.open(self.home, os.O_RDONLY)
        for _ in range(MAX_DEPTH + 1):
            os.mkdir("d", dir_fd=place)
            inner = os.open("d", os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = inner
        os.close(place)
        self.usage.measure(str(self.home))
        self.assertRaises(OverQuota, self.write, "a", 1)

    def test_what_happens_meanwhile_is_not_forgotten(self) -> None:
        def change(home: str) -> FileQuota:
            self.write("a", 10)
            return FileQuota(0, 0)

        with mock.patch.object(usage_module, "measure", change):
            self.usage.measure(str(self.home))
        self.check(10, 1)

    def get(self, waiting: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(waiting))

    def open_homes(self, quotas: Any, account: str, quota: FileQuota) -> Any:
        homes = FileHomes(self.mktemp(), quota=quota, quotas=quotas, in_thread=maybeDeferred)
        return self.get(homes.open_home(account=account)), homes

    def test_accounts_have_limits_of_their_own(self) -> None:
        store = MemoryStore()
        for name in ("ann@example.org", "bob@example.org"):
            self.get(store.add_account(name=name))
        ann = "ann@example.org"
        self.get(store.set_file_quota(account=ann, max_octets=50, max_files=None))
        for account, usage in (
            (ann, FileUsage(0, 0, 50, 7)),
            ("bob@example.org", FileUsage(0, 0, 100, 7)),
            # Of another user base.
            ("eve@example.org", FileUsage(0, 0, 100, 7)),
        ):
            home, _ = self.open_homes(store, account, FileQuota(100, 7))
            self.assertEqual(self.get(home.get_usage()), usage)
        self.get(store.set_file_quota(account=ann, max_octets=0, max_files=0))
        home, homes = self.open_homes(store, ann, FileQuota(100, 7))
        self.assertEqual(self.get(home.get_usage()), FileUsage(0, 0))
        # From the next login on, for those who are there as well.
        self.get(store.set_file_quota(account=ann, max_octets=1, max_files=2))
        self.get(homes.open_home(account=ann))
        self.assertEqual(self.get(home.get_usage()), FileUsage(0, 0, 1, 2))
        file = self.get(home.open_to_write(path=("a",), offset=0))
        self.addCleanup(file.close)
        failure = self.failureResultOf(Deferred.fromCoroutine(file.write(data=b"xx")))
        failure.trap(OverQuota)
        self.assertEqual(self.get(home.get_usage()), FileUsage(0, 0, 1, 2))

    def test_usage_is_told_without_a_limit(self) -> None:
        home, homes = self.open_homes(None, "ann", FileQuota())
        Path(homes.directory, "ann", "old").write_bytes(b"12345")
        self.assertEqual(self.get(home.get_usage()), FileUsage(5, 1))

    def test_all_sessions_of_an_account_count_together(self) -> None:
        homes = FileHomes(self.mktemp(), quota=FileQuota(100, 0), in_thread=maybeDeferred)
        homes.min_free = 0
        get = self.get
        place = Path(homes.directory) / "ann"
        place.mkdir(parents=True)
        (place / "old").write_bytes(b"x" * 30)
        one, other = (get(homes.open_home(account="ann")) for _ in range(2))
        somebody = get(homes.open_home(account="bob"))
        files = [get(each.open_to_write(path=("f",), offset=None)) for each in (one, somebody)]
        for file in files:
            get(file.write(data=b"x" * 60))
        file = get(other.open_to_write(path=("g",), offset=0))
        failure = self.failureResultOf(Deferred.fromCoroutine(file.write(data=b"x" * 11)))
        failure.trap(OverQuota)
        for each in (*files, file):
            each.close()
