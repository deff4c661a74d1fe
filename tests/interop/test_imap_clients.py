"""The IMAP server with other people's clients, over loopback: imaplib, imapclient, curl, mutt."""

from __future__ import annotations

import imaplib
import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.trial.unittest import SkipTest

from mailkit.auth.portal import make_portal
from mailkit.imap.protocol import IMAPFactory
from mailkit.model import INBOX
from tests.interop.support import ClientCase
from tests.support import PATIENCE

try:
    import imapclient
except ImportError:  # pragma: no cover
    imapclient = None

pytestmark = pytest.mark.interop

USER, PASSWORD = "ann@example.org", 'correct "horse" \\'

PLAIN = (
    b"Subject: one\r\nFrom: Bob <bob@example.net>\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n.\r\nend\r\n"
)
EIGHT_BIT = (
    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: carl@example.com\r\nMessage-ID: <2@x>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\nViele Gr\u00fc\u00dfe\r\n"
).encode()
LARGE = (
    b"Subject: large\r\nFrom: dora@example.com\r\nMessage-ID: <3@x>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee attachment\r\n--b\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n"
    + b"0123456789abcdef\r\n" * 30_000
    + b"--b--\r\n"
)
MESSAGES = (PLAIN, EIGHT_BIT, LARGE)


class IMAPCase(ClientCase):
    """A server with three messages for one user, plain with STARTTLS and under TLS."""

    user = USER
    password = PASSWORD
    gmail = False

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(USER, self.password)
        await self.deliver(*MESSAGES)
        factory = IMAPFactory(
            make_portal(self.store), tls_context=self.tls_context, gmail_extensions=self.gmail
        )
        self.port, self.tls_port = self.listen(factory), self.listen(factory, tls=True)

    async def flags(self, mailbox: str = INBOX) -> list[set[str]]:
        box = await self.mailbox(mailbox)
        infos = await box.get_messages(uids=await box.list_uids())
        return [set(info.flags) for info in infos]


class ImaplibTests(IMAPCase):
    def plain(self) -> imaplib.IMAP4:
        return imaplib.IMAP4("127.0.0.1", self.port, timeout=60)

    def with_starttls(self) -> imaplib.IMAP4:
        client = self.plain()
        client.starttls(self.client_tls())
        return client

    def under_tls(self) -> imaplib.IMAP4:
        return imaplib.IMAP4_SSL(
            "127.0.0.1", self.tls_port, ssl_context=self.client_tls(), timeout=60
        )

    def ok(self, result: tuple[str, Any]) -> Any:
        self.assertEqual(result[0], "OK", result)
        return result[1]

    def session(self, connect: Callable[[], imaplib.IMAP4]) -> None:
        client = connect()
        self.ok(client.login(USER, PASSWORD))
        self.assertEqual(self.ok(client.select()), [b"3"])
        for number, message in enumerate(MESSAGES, 1):
            ((_, octets), _) = self.ok(client.fetch(str(number), "(BODY.PEEK[])"))
            self.assertEqual(octets, message)
        self.assertEqual(self.ok(client.search(None, "UNSEEN")), [b"1 2 3"])
        client.literal = "GRÜSSE".encode()
        self.assertEqual(self.ok(client.search("UTF-8", "SUBJECT")), [b"2"])
        self.ok(client.store("1", "+FLAGS", r"(\Seen \Flagged)"))
        self.assertEqual(self.ok(client.search(None, "FLAGGED")), [b"1"])
        self.ok(client.create("Work/&BB8-"))
        self.ok(client.append("Work/&BB8-", r"(\Seen)", imaplib.Time2Internaldate(1e9), PLAIN))
        self.ok(client.copy("1:2", "Work/&BB8-"))
        self.assertIn(b"MESSAGES 3", self.ok(client.status("Work/&BB8-", "(MESSAGES)"))[0])
        self.assertEqual(len(self.ok(client.list('""', "Work/*"))), 1)
        namespaces = b'(("" "/")) (("Other Users/" "/")) (("Shared/" "/"))'
        self.assertEqual(self.ok(client.namespace()), [namespaces])
        self.ok(client.store("2", "+FLAGS", r"\Deleted"))
        self.assertEqual(self.ok(client.expunge()), [b"2"])
        self.assertIn(b"ENVELOPE", self.ok(client.uid("FETCH", "3", "(ENVELOPE)"))[0])
        self.ok(client.check())
        self.ok(client.close())
        self.ok(client.rename("Work/&BB8-", "Done"))
        self.ok(client.delete("Done"))
        self.ok(client.enable("IMAP4rev1"))
        self.assertEqual(client.logout()[0], "BYE")

    async def check(self, connect: Callable[[], imaplib.IMAP4]) -> None:
        await self.in_thread(self.session, connect)
        self.assertEqual(await self.contents(), [PLAIN, LARGE])

    async def test_plain(self) -> None:
        await self.check(self.plain)

    async def test_starttls(self) -> None:
        await self.check(self.with_starttls)

    async def test_tls(self) -> None:
        await self.check(self.under_tls)

    async def test_authenticate(self) -> None:
        def work() -> None:
            client = self.with_starttls()
            secret = f"\0{USER}\0{PASSWORD}".encode()
            self.ok(client.authenticate("PLAIN", lambda challenge: secret))
            self.ok(client.select("Sent", readonly=True))
            client.logout()

        await self.in_thread(work)

    async def test_twenty_mebibytes(self) -> None:
        message = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 64 * 1024 * 20 + b"\r\n"

        def work() -> bytes:
            client = self.under_tls()
            self.ok(client.login(USER, PASSWORD))
            self.ok(client.append("Sent", None, None, message))
            self.ok(client.select("Sent"))
            ((_, octets), _) = self.ok(client.fetch("1", "(RFC822)"))
            client.logout()
            return cast(bytes, octets)

        self.assertEqual(len(await self.in_thread(work)), len(message))
        (stored,) = await self.contents("Sent")
        self.assertEqual(stored, message)


class IMAPClientTests(IMAPCase):
    if imapclient is None:
        skip = "imapclient is not installed"

    def connect(self, starttls: bool = False) -> Any:
        if starttls:
            client = imapclient.IMAPClient("127.0.0.1", self.port, ssl=False, timeout=60)
            client.starttls(self.client_tls())
        else:
            client = imapclient.IMAPClient(
                "127.0.0.1", self.tls_port, ssl_context=self.client_tls(), timeout=60
            )
        client.login(USER, PASSWORD)
        return client

    async def test_session(self) -> None:
        def work() -> None:
            client = self.connect()
            self.assertEqual(client.find_special_folder(b"\\Sent"), "Sent")
            self.assertIn("mailkit", str(client.id_({"name": "tests"})))
            info = client.select_folder("INBOX")
            self.assertEqual((info[b"EXISTS"], info[b"READ-WRITE"]), (3, True))
            uids = client.search(["SUBJECT", "grüße"], "UTF-8")
            self.assertEqual(uids, [2])
            data = client.fetch([1, 2, 3], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE"])
            self.assertEqual(data[1][b"ENVELOPE"].subject, b"one")
            self.assertEqual(str(data[1][b"ENVELOPE"].from_[0]), "Bob <bob@example.net>")
            self.assertTrue(data[3][b"BODYSTRUCTURE"].is_multipart)
            self.assertEqual(data[3][b"RFC822.SIZE"], len(LARGE))
            self.assertEqual(client.fetch(2, [b"RFC822"])[2][b"RFC822"], EIGHT_BIT)
            self.assertEqual(client.add_flags(1, ["$Forwarded"])[1], (b"\\Recent", b"$Forwarded"))
            client.create_folder("Ωμέγα/&")
            self.assertIn("Ωμέγα/&", [name for _, _, name in client.list_folders()])
            client.move([1], "Ωμέγα/&")
            self.assertEqual(client.search(), [2, 3])
            client.delete_messages([2])
            client.uid_expunge([2])
            self.assertEqual(client.search(), [3])
            client.unselect_folder()
            client.subscribe_folder("Ωμέγα/&")
            self.assertEqual(len(client.list_sub_folders("", "Ω*")), 1)
            client.logout()

        await self.in_thread(work)
        self.assertEqual(await self.contents("Ωμέγα/&"), [PLAIN])

    async def test_idle_sees_a_new_message(self) -> None:
        def begin() -> Any:
            client = self.connect(starttls=True)
            client.select_folder("INBOX")
            client.idle()
            return client

        def wait(client: Any) -> list[Any]:
            told: list[Any] = []
            deadline = time.monotonic() + PATIENCE
            while len(told) < 2 and time.monotonic() < deadline:
                told.extend(client.idle_check(timeout=1))
            client.idle_done()
            client.logout()
            return told

        client = await self.in_thread(begin)
        await self.deliver(PLAIN)
        told = await self.in_thread(wait, client)
        self.assertEqual(told, [(4, b"EXISTS"), (4, b"RECENT")])


class GmailLabelTests(IMAPClientTests):
    """What imapclient knows of Gmail, and all else beside it."""

    gmail = True

    async def test_labels(self) -> None:
        def work() -> None:
            client = self.connect()
            self.assertIn(b"X-GM-EXT-1", client.capabilities())
            client.select_folder("INBOX")
            new = ("Work", "Ωμέγα/&", "two words", 'a "b"', "NIL", "12")
            told = client.add_gmail_labels([1, 2], [*new, r"\Sent", r"\Starred"])
            self.assertEqual(set(told), {1, 2})
            labels = {r"\Starred", r"\Sent", *new}
            self.assertEqual([set(each) for each in told.values()], [labels, labels])
            self.assertIsNone(client.remove_gmail_labels([2], [*new, r"\Sent"], silent=True))
            client.set_gmail_labels([3], [r"\Important", "Work"])
            self.assertEqual(
                {uid: set(found) for uid, found in client.get_gmail_labels([1, 2, 3]).items()},
                {1: labels, 2: {r"\Starred"}, 3: {r"\Important", "Work"}},
            )
            self.assertEqual(client.search(["X-GM-LABELS", "Work"]), [1, 3])
            self.assertEqual(client.gmail_search("has:attachment in:unread"), [3])
            self.assertEqual(client.gmail_search("subject:grüße OR label:two-words"), [1, 2])
            numbers = client.fetch([1, 2, 3], ["X-GM-MSGID", "X-GM-THRID"])
            self.assertEqual(len({each[b"X-GM-MSGID"] for each in numbers.values()}), 3)
            one = numbers[1][b"X-GM-MSGID"]
            self.assertEqual(client.search(["X-GM-MSGID", str(one)]), [1])
            client.select_folder("Ωμέγα/&")
            self.assertEqual(client.fetch([1], ["X-GM-MSGID"])[1][b"X-GM-MSGID"], one)
            others = labels - {"Ωμέγα/&"} | {r"\Inbox"}
            self.assertEqual(set(client.get_gmail_labels([1])[1]), others)
            client.logout()

        await self.in_thread(work)
        self.assertEqual(await self.contents("Ωμέγα/&"), [PLAIN])
        self.assertEqual(await self.contents("Work"), [PLAIN, LARGE])
        self.assertEqual(len(await self.contents()), 3)


class CurlTests(IMAPCase):
    async def curl(self, path: str, *options: str, tls: bool = True) -> bytes:
        scheme, port = ("imaps", self.tls_port) if tls else ("imap", self.port)
        done = await self.run_program(
            "curl", "--silent", "--show-error", "--max-time", "30", "--cacert", self.certificate,
            "--user", f"{USER}:{PASSWORD}", *options, f"{scheme}://127.0.0.1:{port}/{path}",
        )  # fmt: skip
        return done.stdout

    async def test_fetch(self) -> None:
        for number, message in enumerate(MESSAGES, 1):
            self.assertEqual(await self.curl(f"INBOX;UID={number}"), message)

    async def test_section_over_starttls(self) -> None:
        data = await self.curl("INBOX;UID=3;SECTION=1", "--ssl-reqd", tls=False)
        self.assertEqual(data, b"see attachment")

    async def test_list_and_search(self) -> None:
        self.assertIn(b'\\Sent) "/" "Sent"', await self.curl(""))
        self.assertEqual(await self.curl("INBOX?SUBJECT%20large"), b"* SEARCH 3\r\n")

    async def test_upload(self) -> None:
        file = Path(self.directory, "message")
        file.write_bytes(PLAIN)
        await self.curl("Drafts", "--upload-file", str(file), "--ssl-reqd", tls=False)
        self.assertEqual(await self.contents("Drafts"), [PLAIN])

    async def test_any_command(self) -> None:
        await self.curl("INBOX", "--request", "STORE 1 +Flags \\Deleted")
        await self.curl("INBOX", "--request", "EXPUNGE")
        self.assertEqual(len(await self.contents()), 2)


class MuttTests(IMAPCase):
    async def test_read_flag_and_save(self) -> None:
        program = shutil.which("mutt")
        if program is None:
            raise SkipTest("mutt is not installed")
        settings = Path(self.directory, "muttrc")
        password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        settings.write_text(
            f'set imap_user="{USER}"\nset imap_pass="{password}"\n'
            f'set folder="imaps://127.0.0.1:{self.tls_port}/"\n'
            f'set spoolfile="imaps://127.0.0.1:{self.tls_port}/INBOX"\n'
            f'set certificate_file="{self.certificate}"\n'
            "set ssl_verify_host=no\nset confirmappend=no\nset confirmcreate=no\nset delete=yes\nset quit=yes\n"
            "set move=no\nset mark_old=no\nset wait_key=no\nset sleep_time=0\nset timeout=1\n"
            # Flag the first, move the second to Archive, write the third to a file, and quit.
            'push "<first-entry><flag-message>2<enter><save-message>=Archive<enter>'
            f'3<enter><copy-message>{self.directory}/copy<enter><quit>"\n'
        )
        status = await self.in_thread(
            run_in_terminal, [program, "-n", "-F", str(settings)], self.directory
        )
        self.assertEqual(status, 0)
        self.assertEqual(await self.contents(), [PLAIN, LARGE])
        self.assertEqual(await self.contents("Archive"), [EIGHT_BIT])
        self.assertIn("\\Flagged", (await self.flags())[0])
        self.assertIn(b"Subject: large\n", Path(self.directory, "copy").read_bytes())


def run_in_terminal(arguments: list[str], directory: str) -> int:
    """Run a program that wants a terminal; what it shows is thrown away."""
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            arguments,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=directory,
            env={**os.environ, "HOME": directory, "TERM": "vt100"},
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([leader], [], [], 0.1)[0]:
                os.read(leader, 65536)
        if process.poll() is None:
            process.kill()
        return process.wait()
    finally:
        os.close(leader)
        os.close(follower)
