"""Mail as files: directories, names, octets, what may be put there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable
from typing import Any, BinaryIO, TypeVar, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit import errors
from mailkit.files import FileEntry
from mailkit.homes.disk import FileHomes
from mailkit.homes.mail import MESSAGES_A_PIECE, MailHomes
from mailkit.homes.mounts import MountedHomes
from mailkit.interfaces import (
    IFileHome,
    IFileHomes,
    IMailbox,
    IReadableFile,
    IThreadedFile,
    IWritableFile,
)
from mailkit.model import AppendMessage
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore

_T = TypeVar("_T")

ANN = "ann@example.org"
MESSAGE = b"Subject: Hello: world\r\n\r\nA line.\r\nbare\nand \xff\r\n"


class MailCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.get(self.store.add_account(name=ANN))
        self.account = self.get(self.store.open_account(name=ANN))
        self.home = self.open()

    def get(self, waiting: Awaitable[_T]) -> _T:
        result: Deferred[_T] = Deferred.fromCoroutine(cast(Any, waiting))
        return cast(_T, self.successResultOf(result))

    def refusal(self, waiting: Awaitable[object], *kinds: type[Exception]) -> Exception:
        result: Deferred[object] = Deferred.fromCoroutine(cast(Any, waiting))
        return cast(Exception, self.failureResultOf(result, *kinds).value)

    def open(self, **settings: Any) -> Any:
        homes = MailHomes(self.store, in_thread=maybeDeferred, **settings)
        return self.get(homes.open_home(account=ANN))

    def mailbox(self, name: str = "INBOX") -> Any:
        return self.get(self.account.open_mailbox(name=name))

    def deliver(self, *messages: bytes, name: str = "INBOX", date: int | None = None) -> None:
        appended = [AppendMessage(Spool.from_bytes(each), internal_date=date) for each in messages]
        self.get(self.mailbox(name).append(messages=appended))

    def pieces(self, *path: str, home: Any = None) -> list[list[FileEntry]]:
        async def read() -> list[list[FileEntry]]:
            listing = (home or self.home).list_entries(path=path)
            return [list(piece) async for piece in listing]

        return self.get(read())

    def names(self, *path: str, home: Any = None) -> list[str]:
        return [entry.name for piece in self.pieces(*path, home=home) for entry in piece]

    def read(self, *path: str) -> bytes:
        file = self.get(self.home.open_to_read(path=path))
        verifyObject(IReadableFile, file)
        data: bytes = self.get(file.read(offset=0, count=1 << 20))
        self.assertEqual(len(data), file.size)
        file.close()
        return data

    def put(self, home: Any, *path: str, data: bytes, at_a_time: int = 1 << 20) -> str:
        file = self.get(home.open_to_write(path=path, offset=0))
        verifyObject(IWritableFile, file)
        for start in range(0, len(data), at_a_time):
            self.get(file.write(data=data[start : start + at_a_time]))
        try:
            return str(self.get(file.finish()))
        finally:
            file.close()


class ReadingTests(MailCase):
    def test_mailboxes_are_directories(self) -> None:
        self.get(self.account.create_mailbox(name="Work/2026/Grüße"))
        self.get(self.account.create_mailbox(name="100%"))
        self.assertIn("INBOX", self.names())
        self.assertIn("100%25", self.names())
        self.assertEqual(self.names("Work"), ["2026"])
        self.assertEqual(self.names("Work", "2026"), ["Grüße"])
        entry = self.get(self.home.get_entry(path=("Work", "2026")))
        self.assertEqual((entry.is_directory, entry.rights), (True, "el"))
        self.assertEqual(self.names("100%25"), [])
        for path in (("Nothing",), ("Work", ".."), ("work",), ("100%",), ("INBOX", "x")):
            self.refusal(self.home.get_entry(path=path), FileNotFoundError)
            self.refusal(anext(self.home.list_entries(path=path)), FileNotFoundError)

    def test_directories_that_are_no_mailboxes_are_told_apart(self) -> None:
        """RFC 3659 section 7.5.2: the same fact is the same directory."""
        long = "x" * 40
        for name in (f"a/{long}/b", f"c/{long}/b", "a-c/b", "a/c/b"):
            self.get(self.account.create_mailbox(name=name))
        for name in (f"a/{long}", f"c/{long}", "a-c", "a/c", "a", "c"):
            with contextlib.suppress(errors.NoSuchMailbox):
                self.get(self.account.delete_mailbox(name=name))
        paths = [("a",), ("c",), ("a", long), ("c", long), ("a-c",), ("a", "c"), ()]
        facts = [self.get(self.home.get_entry(path=path)).unique for path in paths]
        self.assertEqual(len(set(facts)), len(paths), facts)
        self.assertTrue(all(fact.isalnum() for fact in facts))

    def test_messages_are_files(self) -> None:
        self.deliver(MESSAGE, b"From: x\r\n\r\n", date=1_000_000_000)
        [entries] = self.pieces("INBOX")
        self.assertEqual([each.name for each in entries], ["1-Hello world.eml", "2.eml"])
        first = entries[0]
        self.assertEqual(
            (first.is_directory, first.size, first.modified, first.rights),
            (False, len(MESSAGE), 1_000_000_000, "r"),
        )
        self.assertNotEqual(first.unique, entries[1].unique)
        self.assertEqual(self.get(self.home.get_entry(path=("INBOX", first.name))), first)
        self.assertEqual(self.read("INBOX", first.name), MESSAGE)
        # The number is enough.
        self.assertEqual(self.read("INBOX", "1.eml"), MESSAGE)

    def test_names_stay_when_others_go(self) -> None:
        self.deliver(MESSAGE, MESSAGE, MESSAGE)
        before = self.names("INBOX")
        self.get(self.mailbox().expunge(uids=[2]))
        self.assertEqual(self.names("INBOX"), [before[0], before[2]])
        self.refusal(self.home.open_to_read(path=("INBOX", before[1])), errors.NoSuchMessage)

    def test_what_is_no_message(self) -> None:
        self.refusal(self.home.open_to_read(path=("INBOX",)), IsADirectoryError)
        self.refusal(self.home.open_to_read(path=()), IsADirectoryError)
        for name in ("x", "0.eml", "9.eml", "9999999999.eml"):
            self.refusal(
                self.home.open_to_read(path=("INBOX", name)),
                *(FileNotFoundError, errors.NoSuchMessage),
            )
        self.refusal(self.home.open_to_read(path=("No", "1.eml")), errors.NoSuchMailbox)
        self.refusal(self.home.open_to_read(path=("1.eml",)), IsADirectoryError)

    def test_a_name_that_is_too_long_is_found(self) -> None:
        long = "x" * 210
        self.get(self.account.create_mailbox(name=long))
        self.deliver(MESSAGE, name=long)
        [name] = [each for each in self.names() if each.startswith("xx")]
        self.assertEqual(self.names(name), ["1-Hello world.eml"])
        self.assertEqual(self.read(name, "1-Hello world.eml"), MESSAGE)

    def test_many_messages_come_in_pieces(self) -> None:
        self.deliver(*[MESSAGE] * (2 * MESSAGES_A_PIECE + 1))
        sizes = [len(piece) for piece in self.pieces("INBOX")]
        self.assertEqual(sizes, [MESSAGES_A_PIECE, MESSAGES_A_PIECE, 1])

    def test_any_backend_will_do(self) -> None:
        self.deliver(MESSAGE, MESSAGE)
        mailbox = self.mailbox()
        self.patch(self.account, "open_mailbox", lambda name: maybeDeferred(PlainMailbox, mailbox))
        home = self.open(append=True)
        self.assertEqual(self.names("INBOX", home=home), ["1-Hello world.eml", "2-Hello world.eml"])
        self.refusal(home.open_to_write(path=("INBOX", "x.eml"), offset=0), errors.ReadOnly)


@implementer(IMailbox)
class PlainMailbox:
    """A mailbox that can do what is required, and no more."""

    def __init__(self, mailbox: Any) -> None:
        self.name = mailbox.name
        for name in ("get_info", "list_uids", "get_messages", "get_changes"):
            setattr(self, name, getattr(mailbox, name))
        self._mailbox = mailbox

    async def open_message(self, uid: int) -> BinaryIO:
        return cast(BinaryIO, await self._mailbox.open_message(uid=uid))


class AppendingTests(MailCase):
    def setUp(self) -> None:
        super().setUp()
        self.writable = self.open(append=True, max_message_size=1000)

    def contents(self) -> list[bytes]:
        found = []
        for uid in self.get(self.mailbox().list_uids()):
            with self.get(self.mailbox().open_message(uid=uid)) as file:
                found.append(file.read())
        return found

    def test_a_file_becomes_a_message(self) -> None:
        entry = self.get(self.writable.get_entry(path=("INBOX",)))
        self.assertEqual(entry.rights, "cel")
        name = self.put(self.writable, "INBOX", "draft.EML", data=MESSAGE)
        self.assertEqual(name, "1-Hello world.eml")
        self.assertEqual(self.names("INBOX"), [name])
        self.assertEqual(self.contents(), [MESSAGE])

    def test_line_ends_of_unix_in_every_piece(self) -> None:
        unix = b"Subject: x\n\nA line\nanother\n"
        for count in (1, 2, 3, 10, 100):
            self.put(self.writable, "INBOX", "a.eml", data=unix, at_a_time=count)
            self.put(self.writable, "INBOX", "a.eml", data=MESSAGE, at_a_time=count)
        self.assertEqual(self.contents(), [unix.replace(b"\n", b"\r\n"), MESSAGE] * 5)

    def test_what_is_refused(self) -> None:
        self.deliver(MESSAGE)
        home = self.writable
        for path, kind in (
            (("INBOX", "x.txt"), errors.InvalidMailboxName),
            (("INBOX", ".DS_Store"), errors.InvalidMailboxName),
            (("x.eml",), errors.InvalidMailboxName),
            (("Nothing", "x.eml"), errors.NoSuchMailbox),
            (("INBOX", "1-Hello world.eml"), errors.PermissionDenied),
        ):
            self.refusal(home.open_to_write(path=path, offset=0), kind)
        for offset in (5, None):
            path = ("INBOX", "x.eml")
            self.refusal(home.open_to_write(path=path, offset=offset), errors.PermissionDenied)
            self.refusal(self.home.open_to_write(path=path, offset=0), errors.ReadOnly)
        name = ("INBOX", "1-Hello world.eml")
        for waiting in (
            home.remove_file(path=name),
            home.rename(old=name, new=("Sent", "1.eml")),
            home.make_directory(path=("New",)),
            home.remove_directory(path=("Trash",)),
        ):
            self.refusal(waiting, errors.PermissionDenied)
        self.assertEqual(self.contents(), [MESSAGE])

    def test_too_large_empty_and_broken_off(self) -> None:
        file = self.get(self.writable.open_to_write(path=("INBOX", "x.eml"), offset=0))
        self.refusal(file.finish(), errors.MessageRefused)
        self.get(file.write(data=b"x" * 1000))
        self.refusal(file.write(data=b"x"), errors.MessageTooLarge)
        file.close()
        self.assertEqual(self.contents(), [])

    def test_a_full_mailbox(self) -> None:
        self.get(self.store.set_quota(account=ANN, max_octets=100, max_messages=0))
        file = self.get(self.writable.open_to_write(path=("INBOX", "x.eml"), offset=0))
        self.get(file.write(data=b"x" * 200))
        self.refusal(file.finish(), errors.OverQuota)
        file.close()


class MountTests(MailCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.mktemp()
        files = FileHomes(self.root, in_thread=maybeDeferred)
        mail = MailHomes(self.store, in_thread=maybeDeferred)
        homes = MountedHomes(files, {"Mail": mail})
        for each in (files, mail, homes):
            verifyObject(IFileHomes, each)
        self.home = self.get(homes.open_home(account=ANN))
        for each in (self.home, self.get(files.open_home(account=ANN)), self.open()):
            verifyObject(IFileHome, each)
        self.deliver(MESSAGE)
        self.place = os.path.join(self.root, ANN)
        os.mkdir(os.path.join(self.place, "dir"))

    def test_both_are_seen(self) -> None:
        self.assertEqual(self.names(), ["Mail", "dir"])
        self.assertEqual(self.get(self.home.get_entry(path=("Mail",))).name, "Mail")
        self.assertEqual(self.get(self.home.get_entry(path=())).name, "/")
        self.assertEqual(self.read("Mail", "INBOX", "1.eml"), MESSAGE)
        self.put(self.home, "dir", "x", data=b"octets")
        self.assertEqual(self.read("dir", "x"), b"octets")
        file = self.get(self.home.open_to_read(path=("dir", "x")))
        verifyObject(IThreadedFile, file)
        file.close()

    def test_a_mount_hides_what_has_its_name(self) -> None:
        with open(os.path.join(self.place, "Mail"), "w"):
            self.assertEqual(self.names(), ["Mail", "dir"])
        self.assertIn("INBOX", self.names("Mail"))

    def test_mounts_stay(self) -> None:
        home = self.home
        for waiting in (
            home.make_directory(path=("Mail",)),
            home.remove_directory(path=("Mail",)),
            home.remove_file(path=("Mail",)),
            home.rename(old=("Mail",), new=("x",)),
            home.rename(old=("dir",), new=("Mail",)),
            home.rename(old=("dir",), new=("Mail", "dir")),
            home.rename(old=("Mail", "INBOX", "1.eml"), new=("dir", "1.eml")),
        ):
            self.refusal(waiting, errors.PermissionDenied)
        self.refusal(home.open_to_write(path=("Mail",), offset=0), IsADirectoryError)
        self.get(home.rename(old=("dir",), new=("other",)))
        self.assertEqual(self.names(), ["Mail", "other"])
