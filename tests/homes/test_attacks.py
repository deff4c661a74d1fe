"""What somebody tries who wants out of a home, or to stop the server, and what programs beside it do."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SkipTest

from mailkit.errors import MailError, PermissionDenied
from mailkit.homes import files as files_module
from mailkit.homes.files import Files
from tests.ftp.support import FTPCase

REFUSALS = (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EISDIR)


class AttackCase(FTPCase):
    def setUp(self) -> None:
        super().setUp()
        self.files = Files(str(self.home), 100)
        self.outside = self.root / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(b"not yours")

    def check_outside(self) -> None:
        """Nothing has happened there."""
        self.assertEqual(os.listdir(self.outside), ["secret"])
        self.assertEqual((self.outside / "secret").read_bytes(), b"not yours")

    def check_refused(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            work(*arguments)
        except MailError:
            return
        except OSError as error:
            self.assertIn(error.errno, REFUSALS)
            return
        self.fail(f"{work} has done it")


class RaceTests(AttackCase):
    """Something else is there at the moment between a look and the deed."""

    def exchange(self, name: str, target: Path) -> Callable[..., None]:
        """A look that finds all well, after which a link is in its place."""
        look = files_module._check_is_file

        def check(directory: int, looked_at: str) -> None:
            look(directory, looked_at)
            os.unlink(self.home / name)
            (self.home / name).symlink_to(target)

        return check

    def test_a_file_becomes_a_link_after_the_look(self) -> None:
        for work in (
            lambda: self.files.open_to_read(("file",)),
            lambda: self.files.open_to_write(("file",), 0),
            lambda: self.files.open_to_write(("file",), None),
        ):
            (self.home / "file").unlink()
            (self.home / "file").write_bytes(b"mine")
            check = self.exchange("file", self.outside / "secret")
            with mock.patch.object(files_module, "_check_is_file", check):
                self.assertEqual(self.assertRaises(OSError, work).errno, errno.ELOOP)
            self.check_outside()

    def test_a_link_appears_where_a_file_is_about_to_be_made(self) -> None:
        opened = os.open

        def open_late(name: Any, flags: int, *arguments: Any, **more: Any) -> int:
            if flags & os.O_CREAT:
                (self.home / "new").symlink_to(self.outside / "new")
            return opened(name, flags, *arguments, **more)

        with mock.patch.object(files_module.os, "open", open_late):
            self.check_refused(self.files.open_to_write, ("new",), 0)
        self.check_outside()

    def test_a_directory_that_flickers_between_itself_and_a_link(self) -> None:
        """Whoever wins, nothing outside is read, written, made or removed."""
        (self.home / "flicker").mkdir()
        (self.home / "link").symlink_to(self.outside)
        stop = threading.Event()

        def flicker() -> None:
            while not stop.is_set():
                os.rename(self.home / "flicker", self.home / "away")
                os.rename(self.home / "link", self.home / "flicker")
                os.rename(self.home / "flicker", self.home / "link")
                os.rename(self.home / "away", self.home / "flicker")

        thread = threading.Thread(target=flicker)
        thread.start()
        try:
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                self.check_refused(self.files.open_to_read, ("flicker", "secret"))
                self.check_refused(self.files.remove_file, ("flicker", "secret"))
                for work in (self.files.make_directory, self.files.remove_directory):
                    try:
                        work(("flicker", "made"))
                    except OSError as error:
                        self.assertIn(error.errno, (*REFUSALS, errno.EEXIST))
        finally:
            stop.set()
            thread.join()
        self.check_outside()


class SpecialFileTests(AttackCase):
    def specials(self) -> list[str]:
        os.mkfifo(self.home / "pipe")
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        place = os.getcwd()
        # A socket's path may have some hundred octets.
        os.chdir(self.home)
        try:
            listening.bind("socket")
        finally:
            os.chdir(place)
        return ["pipe", "socket"]

    def check_special(self, names: list[str]) -> None:
        for name in names:
            with mock.patch.object(self.files, "_open") as opened:
                self.assertRaises(PermissionDenied, self.files.open_to_read, (name,))
                self.assertRaises(PermissionDenied, self.files.open_to_write, (name,), 0)
                self.assertRaises(PermissionDenied, self.files.open_to_write, (name,), None)
                # To open some devices is to do something with them.
                opened.assert_not_called()
            self.check_refused(self.files.get_entry, (name,))
            self.assertNotIn(name, [entry.name for entry in self.files.list_entries(())])

    def test_pipes_and_sockets(self) -> None:
        self.check_special(self.specials())

    def test_devices(self) -> None:
        try:
            os.mknod(self.home / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            raise SkipTest("devices need more rights") from None
        self.check_special(["null"])

    def test_another_name_of_a_file_is_the_file(self) -> None:
        """Whoever has linked it into the home wants that; FTP itself makes no such links."""
        os.link(self.outside / "secret", self.home / "shared")
        file = self.files.open_to_read(("shared",))
        self.assertEqual(file.read(0, 100), b"not yours")
        file.close()
        self.files.remove_file(("shared",))
        self.check_outside()


class NameTests(AttackCase):
    """On the wire."""

    def test_names_that_are_no_names(self) -> None:
        client = self.log_in()
        (self.home / "out").symlink_to(self.outside)
        for verb in (b"CWD", b"SIZE", b"MDTM", b"MLST", b"RETR", b"STOR", b"DELE", b"MKD", b"RNFR"):
            for name in (
                *(
                    b"a\0b",
                    b"a\rb",
                    b"\xff",
                    b"\xc0\xaf",
                    b"\xed\xa0\x80",
                    b"out/secret",
                    b"x" * 300,
                ),
                *(b"out/../../outside/secret", b"file/../../outside/secret", b"a/" * 101 + b"b"),
            ):
                client.ask(b"TYPE I")
                client.ask(b"PASV")
                code = client.code(verb + b" " + name)
                self.assertIn(code, (501, 550, 553), (verb, name))
        self.check_outside()

    def test_dots_behind_a_link_are_resolved_by_name(self) -> None:
        client = self.log_in()
        (self.home / "out").symlink_to(self.outside)
        self.assertIn(b'"/dir" ', client.ask(b"CWD out/../dir"))
        self.assertIn(b'"/" ', client.ask(b"CWD ../../.."))

    def test_long_names_and_deep_directories(self) -> None:
        client = self.log_in()
        self.assertEqual(client.code(b"MKD " + b"x" * 256), 550)
        for _ in range(100):
            self.assertEqual(client.code(b"MKD d"), 257)
            self.assertEqual(client.code(b"CWD d"), 250)
        self.assertEqual(client.code(b"MKD d"), 550)
        # Deeper by renaming, and up again the same way.
        self.assertEqual(client.code(b"CWD /"), 250)
        client.ask(b"MKD e")
        client.ask(b"RNFR d")
        self.assertEqual(client.code(b"RNTO e/d"), 250)
        self.assertEqual(client.code(b"CWD e" + b"/d" * 100), 550)
        client.ask(b"RNFR e/d/d")
        self.assertEqual(client.code(b"RNTO d"), 250)

    def test_forms_of_one_letter_are_names_of_their_own(self) -> None:
        client = self.log_in()
        for name in ("Gr\u00fcn", "Gru\u0308n", "gr\u00fcn", "\uff0e\uff0e", "Ma\u0131l"):
            self.assertEqual(client.code(b"MKD " + name.encode()), 257)
        self.assertEqual(len(os.listdir(self.home)), 7)

    def test_what_other_programs_have_named_breaks_no_reply(self) -> None:
        client = self.log_in()
        os.mkdir(os.fsencode(self.home) + b"/a\r\n226 b")
        with open(os.fsencode(self.home) + b"/\xff\n", "wb"):
            pass
        for command in (b"STAT /", b"STAT"):
            reply = client.ask(command)
            self.assertEqual([line for line in reply.splitlines() if line[:3] == b"226"], [])
        self.assertEqual(client.ask(b'MKD q"uote').count(b'""'), 1)
