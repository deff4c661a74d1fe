"""Routes to other people's programs: Dovecot by LMTP, and Maildirs that mutt and Dovecot read."""

from __future__ import annotations

import imaplib
import shutil
import smtplib
import subprocess
import unittest
from pathlib import Path
from typing import cast

import pytest

from tests.interop.dovecot import MISSING, Dovecot
from tests.interop.support import ANN, ServerTestCase, message
from tests.interop.test_imap_clients import run_in_terminal
from tests.support import HOST, PATIENCE, administer, free_ports

pytestmark = pytest.mark.interop

CY, DORA, NOBODY = "cy@dovecot.test", "dora@dovecot.test", "nobody@dovecot.test"


class RouteTestCase(ServerTestCase):
    """A server of SMTP and LMTP with routes."""

    def start_server(self, *arguments: str) -> None:
        self.smtp, self.lmtp = free_ports(2)
        self.server = self.serve(
            "mailkit",
            *("--smtp", f"tcp:{self.smtp}:interface={HOST}"),
            *("--lmtp", f"tcp:{self.lmtp}:interface={HOST}"),
            *arguments,
            ports=[self.smtp, self.lmtp],
        )

    def send(
        self, subject: str, *recipients: str, content: bytes = b""
    ) -> dict[str, tuple[int, bytes]]:
        """By SMTP; who was refused at RCPT."""
        with smtplib.SMTP(HOST, self.smtp, timeout=PATIENCE) as client:
            content = content or message(subject)
            return client.sendmail("me@example.net", list(recipients), content)


@unittest.skipIf(bool(MISSING), MISSING)
class DovecotTests(RouteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.dovecot = Dovecot(CY, DORA)
        self.addCleanup(self.dovecot.stop)
        self.dovecot.start()
        self.start_server("--route", f"dovecot.test=lmtp:unix:{self.dovecot.socket}")

    def test_messages_arrive(self) -> None:
        for number in range(3):
            self.assertEqual(self.send(f"{number}", CY, ANN), {})
        with smtplib.LMTP(HOST, self.lmtp) as client:
            client.sendmail("me@example.net", [CY], message("3"))
        self.stop(self.server)
        found = self.dovecot.messages(CY)
        self.assertEqual(len(found), 4)
        found.sort(key=lambda octets: octets.partition(b"\nSubject: ")[2])
        for number, octets in enumerate(found):
            head, _, rest = octets.partition(b"\nSubject: ")
            self.assertTrue(head.startswith(b"Return-Path: <me@example.net>\nDelivered-To: "))
            wanted = message(f"{number}").replace(b"\r\n", b"\n")
            self.assertEqual(b"Subject: " + rest, wanted)

    def test_each_recipient_hears_dovecots_reply(self) -> None:
        # Nearly all that she may have.
        filler = b"x" * 70 + b"\r\n"
        self.send("filler", DORA, content=message("filler") + filler * 1350)
        with smtplib.LMTP(HOST, self.lmtp, timeout=PATIENCE) as client:
            client.ehlo_or_helo_if_needed()
            client.mail("me@example.net")
            for recipient in (CY, NOBODY, ANN, DORA):
                self.assertEqual(client.rcpt(recipient)[0], 250)
            client.putcmd("data")
            self.assertEqual(client.getreply()[0], 354)
            client.send(message("hi").replace(b"\r\n.", b"\r\n..") + filler * 200 + b".\r\n")
            replies = [client.getreply() for _ in range(4)]
        codes = [(code, text.split()[0]) for code, text in replies]
        self.assertEqual(codes[0], (250, b"2.0.0"))
        self.assertEqual(codes[1], (550, b"5.1.1"))
        self.assertIn(b"User doesn't exist", replies[1][1])
        self.assertEqual(codes[2], (250, b"2.0.0"))
        self.assertEqual(codes[3], (552, b"5.2.2"))
        self.assertIn(b"Quota exceeded", replies[3][1])
        self.assertEqual(len(self.dovecot.messages(CY)), 1)
        self.assertEqual(len(self.dovecot.messages(DORA)), 1)

    def test_a_dovecot_that_is_gone(self) -> None:
        self.dovecot.stop()
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            self.send("hi", CY)
        self.assertEqual(caught.exception.smtp_code, 451)


class MaildirTests(RouteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.directory / "maildirs"
        self.root.mkdir()
        self.start_server("--route", f"mutt.test=maildir:{self.root}/%d/%u:create")
        for subject in ("one", "two", "three"):
            self.assertEqual(self.send(subject, "eve@mutt.test"), {})
        self.stop(self.server)
        self.maildir = self.root / "mutt.test" / "eve"

    def test_mutt(self) -> None:
        program = shutil.which("mutt")
        if program is None:
            raise unittest.SkipTest("mutt is not installed")
        settings = self.directory / "muttrc"
        settings.write_text(
            "set mbox_type=Maildir\nset confirmappend=no\nset confirmcreate=no\nset delete=yes\n"
            "set quit=yes\nset move=no\nset mark_old=no\nset wait_key=no\nset sleep_time=0\n"
            "set sort=date-received\n"
            f'set folder="{self.root}"\nset spoolfile="{self.maildir}"\n'
            'push "<first-entry><flag-message><next-entry><delete-message>'
            f'<last-entry><copy-message>{self.directory}/copy<enter><quit>"\n'
        )
        status = run_in_terminal([program, "-n", "-F", str(settings)], str(self.directory))
        self.assertEqual(status, 0)
        left = [path for folder in ("new", "cur") for path in (self.maildir / folder).iterdir()]
        self.assertEqual(len(left), 2)
        # S and W stand before the flags, where mutt keeps them.
        self.assertEqual(sum(",W=" in path.name and path.name.endswith("F") for path in left), 1)
        copies = [path for path in (self.directory / "copy").rglob("*") if path.is_file()]
        (octets,) = [path.read_bytes() for path in copies]
        self.assertNotIn(b"\r", octets)
        wanted = message("three").replace(b"\r\n", b"\n")
        self.assertTrue(octets.endswith(wanted.partition(b"\n\n")[2]), octets)

    @unittest.skipIf(bool(MISSING), MISSING)
    def test_dovecot(self) -> None:
        dovecot = Dovecot("eve@mutt.test")
        self.addCleanup(dovecot.stop)
        home = dovecot.directory / "home" / "eve@mutt.test"
        home.mkdir()
        shutil.copytree(self.maildir, home / "Maildir")
        for path in (home, *home.rglob("*")):
            shutil.chown(path, 65534, 65534)
        dovecot.start()
        done = subprocess.run(
            [
                *("doveadm", "-f", "tab", "-c", str(dovecot.directory / "dovecot.conf")),
                *("fetch", "-u", "eve@mutt.test", "size.virtual size.physical hdr.subject", "all"),
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        head, *lines = [line.split("\t") for line in done.stdout.splitlines()]
        rows = [dict(zip(head, line, strict=True)) for line in lines]
        self.assertEqual({row["hdr.subject"] for row in rows}, {"one", "two", "three"})
        for path in cast(Path, home / "Maildir").glob("*/1*"):
            octets = path.read_bytes()
            sizes = str(len(octets.replace(b"\n", b"\r\n"))), str(len(octets))
            self.assertIn(sizes, [(row["size.virtual"], row["size.physical"]) for row in rows])


class AccountTests(ServerTestCase):
    """Quotas, delegates and copies of sent mail, on the wire and beside a running server."""

    BOSS = "boss@example.test"

    def setUp(self) -> None:
        super().setUp()
        self.smtp, self.submission, self.imap_port = free_ports(3)
        self.add_account(self.BOSS)
        self.server = self.serve(
            "mailkit",
            *("--smtp", f"tcp:{self.smtp}:interface={HOST}"),
            *("--submission", f"tcp:{self.submission}:interface={HOST}"),
            *("--imap", f"tcp:{self.imap_port}:interface={HOST}"),
            "--sent-copy",
            ports=[self.smtp, self.submission, self.imap_port],
        )

    def administer(self, *arguments: str) -> str:
        return administer(self.store, *arguments)

    def send_from(self, sender: str, recipient: str, subject: str) -> None:
        """By submission, as Ann."""
        with smtplib.SMTP(HOST, self.submission, timeout=PATIENCE) as client:
            client.login(ANN, f"{ANN} secret")
            content = message(subject).replace(
                b"From: " + ANN.encode(), b"From: " + sender.encode()
            )
            client.sendmail(sender, [recipient], content)

    def mailbox(self, user: str, name: str) -> list[bytes]:
        """Flags and octets of all messages."""
        with imaplib.IMAP4(HOST, self.imap_port, timeout=PATIENCE) as client:
            client.login(user, f"{user} secret")
            _, (count,) = client.select(name, readonly=True)
            if count == b"0":
                return []
            _, data = client.fetch("1:*", "(FLAGS BODY.PEEK[])")
            return [b" ".join(item) for item in data if isinstance(item, tuple)]

    def test_quotas(self) -> None:
        self.administer("account", "quota", ANN, "--storage", "3k")
        with smtplib.SMTP(HOST, self.smtp, timeout=PATIENCE) as client:
            client.sendmail("me@example.net", [ANN], message("one"))
            client.ehlo()
            client.docmd("MAIL FROM:<me@example.net> SIZE=9000")
            code, text = client.rcpt(ANN)
            self.assertEqual((code, text[:5]), (552, b"5.2.2"))
            self.assertEqual(client.rcpt(self.BOSS)[0], 250)
            client.rset()
            # Without SIZE it shows at the end.
            client.docmd("MAIL FROM:<me@example.net>")
            self.assertEqual(client.rcpt(ANN)[0], 250)
            code, text = client.data(message("two") + b"x" * 3000 + b"\r\n")
            self.assertEqual((code, text[:5]), (552, b"5.2.2"))
        with imaplib.IMAP4(HOST, self.imap_port, timeout=PATIENCE) as imap:
            imap.login(ANN, f"{ANN} secret")
            status, (line,) = imap.append("INBOX", "", "", message("three") + b"x" * 3000 + b"\r\n")
            self.assertEqual((status, line.split()[0]), ("NO", b"[OVERQUOTA]"))
            imap.select()
            self.assertEqual(imap.copy("1", "Archive")[0], "OK")
            status, (line,) = imap.copy("1", "Archive")
            self.assertEqual((status, line.split()[0]), ("NO", b"[OVERQUOTA]"))
        shown = self.administer("account", "quota", ANN)
        self.assertRegex(shown, r"storage: 2\d{3} octets of 3072\nmessages: 2 of no limit\n")

    def test_delegates_and_copies(self) -> None:
        with self.assertRaises(smtplib.SMTPException):
            self.send_from(self.BOSS, ANN, "refused")
        self.administer("account", "delegate", "add", ANN, self.BOSS)
        self.send_from(self.BOSS, self.BOSS, "sent")
        self.assertEqual(len(self.mailbox(self.BOSS, "INBOX")), 1)
        self.assertEqual(self.mailbox(self.BOSS, "Sent"), [])
        (copy,) = self.mailbox(ANN, "Sent")
        self.assertIn(b"\\Seen", copy.partition(b"\r\n")[0])
        self.assertIn(b"Subject: sent\r\nFrom: boss@example.test\r\n", copy)
        self.stop(self.server)
