"""A disk that is full: each protocol says so, nothing acknowledged is lost, and all goes on after."""

from __future__ import annotations

import contextlib
import imaplib
import poplib
import re
import shutil
import smtplib
import subprocess
from collections.abc import Iterator

import pytest

from mailkit.store.sqlite.check import check_store
from mailkit.store.sqlite.settings import StoreSettings
from tests.interop.support import ANN, WholeServerTestCase
from tests.support import HOST, PATIENCE

#: MiB of the disk. SQLite's files and a large message must fit, and what new messages leave free.
SIZE = 12 + StoreSettings().min_free // 2**20
#: Small ones stay in memory while they come in, large ones are spooled to the disk.
SMALL, LARGE = 20_000, 2_000_000
#: More messages than there is room for.
MANY = 2000


def content(name: str, size: int) -> bytes:
    return b"Subject: %b\r\n\r\n%b" % (name.encode(), b"0123456789abcde\r\n" * (size // 17))


@pytest.mark.slow
class DiskFullTests(WholeServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.disk = self.directory / "disk"
        self.disk.mkdir()
        if shutil.which("mount") is None or not self.mount():
            self.skipTest("needs the right to mount a small tmpfs (root)")
        self.store = f"sqlite:{self.disk}/store"
        self.add_account(ANN)
        self.acknowledged: dict[str, int] = {}

    def mount(self) -> bool:
        mount = ("mount", "-t", "tmpfs", "-o", f"size={SIZE}m,mode=700", "none", str(self.disk))
        if subprocess.run(mount, capture_output=True).returncode:
            return False
        self.addCleanup(subprocess.run, ("umount", "--lazy", str(self.disk)), check=True)
        return True

    def smtp(self) -> smtplib.SMTP:
        client = smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE)
        self.addCleanup(client.close)
        client.ehlo()
        return client

    def send(self, client: smtplib.SMTP, name: str, size: int) -> tuple[int, bytes]:
        """The last reply."""
        client.mail("me@example.org")
        client.rcpt(ANN)
        code, text = client.data(content(name, size))
        if code == 250:
            self.acknowledged[name] = size
        return code, text

    def logged_in(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE)
        self.addCleanup(client.sock.close)
        client.login(ANN, f"{ANN} secret")
        client.select()
        return client

    def append(self, client: imaplib.IMAP4, name: str, size: int) -> tuple[str, bytes]:
        status, (text,) = client.append("INBOX", "", "", content(name, size))
        if status == "OK":
            self.acknowledged[name] = size
        return status, text

    def kept(self) -> dict[str, bytes]:
        """Ann's messages by subject, without the trace fields."""
        client = self.logged_in()
        messages = {}
        for item in client.fetch("1:*", "(BODY.PEEK[])")[1]:
            if isinstance(item, tuple):
                octets = re.sub(rb"\A(?:(?!Subject).*\r\n)*", b"", item[1])
                name = re.match(rb"Subject: (\S+)", octets)
                assert name is not None, octets[:200]
                messages[name[1].decode()] = octets
        client.logout()
        return messages

    def check_kept(self) -> None:
        expected = {name: content(name, size) for name, size in self.acknowledged.items()}
        kept = self.kept()
        self.assertEqual(set(kept), set(expected))
        self.assertEqual([name for name in kept if kept[name] != expected[name]], [])

    def test_it_says_so_and_goes_on_afterwards(self) -> None:
        server = self.start()
        smtp, imap = self.smtp(), self.logged_in()
        self.assertEqual(self.send(smtp, "first", SMALL)[0], 250)
        for number in range(MANY):
            code, text = self.send(smtp, f"small-{number}", SMALL)
            if code != 250:
                break
        self.assertEqual((code, text[:6]), (452, b"4.3.1 "))
        self.assertEqual(self.send(smtp, "large", LARGE)[0], 452)
        for number in range(MANY):
            status, text = self.append(imap, f"tiny-{number}", 500)
            if status != "OK":
                break
        self.assertEqual((status, text[:13]), ("NO", b"[UNAVAILABLE]"))
        self.assertEqual(self.append(imap, "spooled", LARGE)[0], "NO")
        with self.no_room_at_all():
            imap.noop()
            for verb, *arguments in (
                ("STORE", "1 +FLAGS (\\Flagged)"), ("CREATE", "Full"), ("COPY", "1 Trash"),
            ):  # fmt: skip
                status, (text,) = imap.xatom(verb, *arguments)
                self.assertEqual((status, text[:13]), ("NO", b"[UNAVAILABLE]"), verb)
            pop3 = poplib.POP3(HOST, self.ports["pop3"], timeout=PATIENCE)
            pop3.user(ANN)
            pop3.pass_(f"{ANN} secret")
            self.assertIn(b"Subject: first", pop3.retr(1)[1])
            pop3.dele(1)
            error = self.assertRaises(poplib.error_proto, pop3.quit)
            self.assertIn("-ERR [SYS/TEMP]", str(error))
            # What was acknowledged can be read all the same, by those who log in now, too.
            self.check_kept()
        # There is room again: the sessions that were refused go on.
        self.make_room()
        for name, size in (("small-again", SMALL), ("large-again", LARGE)):
            self.assertEqual(self.send(smtp, name, size)[0], 250)
            self.assertEqual(self.append(imap, f"appended-{name}", size)[0], "OK")
        self.assertEqual(imap.store("1", "+FLAGS", "(\\Flagged)")[0], "OK")
        self.assertEqual(imap.create("Full")[0], "OK")
        imap.logout()
        self.check_kept()
        self.stop(server)
        self.assertEqual(check_store(str(self.disk / "store")).problems, [])
        server = self.start()
        self.check_kept()
        self.stop(server)

    @contextlib.contextmanager
    def no_room_at_all(self) -> Iterator[None]:
        """The last octets are taken, too."""
        filler = self.disk / "filler"
        with open(filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        yield
        filler.unlink()

    def make_room(self) -> None:
        mount = ("mount", "-o", f"remount,size={2 * SIZE}m", str(self.disk))
        subprocess.run(mount, check=True)
