"""Moving users from Dovecot, as the documentation says: mbsync."""

from __future__ import annotations

import imaplib
from pathlib import Path

import pytest

from mailkit.tap.tls import self_signed
from tests.interop import dovecot
from tests.interop.support import ANN, BOB, ServerTestCase, message
from tests.support import HOST, PATIENCE, administer, free_ports

pytestmark = pytest.mark.interop
EXAMPLE = Path(__file__).parents[2] / "examples" / "move.mbsyncrc"
ARRIVAL = '"01-Feb-2020 10:11:12 +0000"'


class MovingTests(ServerTestCase):
    """Bob is the administrator, and does not know Ann's new password."""

    skip = dovecot.IMAP_MISSING or None

    def setUp(self) -> None:
        super().setUp()
        self.add_account(BOB)
        administer(self.store, "account", "administrators", "--add", BOB)
        self.old = dovecot.Dovecot(ANN, tls=self_signed(self.directory)).start()
        self.addCleanup(self.old.stop)
        (self.port,) = free_ports(1)
        self.server = self.serve(
            *("mailkit", "--imap", f"tcp:{self.port}:interface={HOST}", "--master-separator", "*"),
            ports=[self.port],
        )
        text = EXAMPLE.read_text()
        for there, here in (
            ("ann@example.org*boss@example.org", f"{ANN}*{BOB}"),
            ("User ann@example.org\n", f"User {ANN}\n"),
            ("old.example.org", f"{HOST}\nPort {self.old.imap_port}"),
            ("mail.example.org", f"{HOST}\nPort {self.port}"),
            ("SSLType IMAPS", "SSLType None"),
        ):
            self.assertIn(there, text)
            text = text.replace(there, here)
        (self.directory / "move.mbsyncrc").write_text(text)
        (self.directory / "old-password").write_text("x")
        (self.directory / "boss-password").write_text(f"{BOB} secret")
        (self.directory / "state").mkdir()

    def client(self, port: int, password: str) -> imaplib.IMAP4:
        client = imaplib.IMAP4(HOST, port, timeout=PATIENCE)
        self.addCleanup(client.__exit__)
        client.login(ANN, password)
        return client

    def move(self) -> None:
        self.run_program("mbsync", "-c", "move.mbsyncrc", "-a")

    def test_mail_comes_with_flags_and_dates(self) -> None:
        there = self.client(self.old.imap_port, "x")
        there.create("Sent")
        there.create("Work.2025")  # Dovecot's Maildirs have dots between levels
        there.append("INBOX", r"(\Seen \Flagged)", ARRIVAL, message("one"))
        there.append("INBOX", None, ARRIVAL, message("two"))
        there.append("Sent", r"(\Seen)", ARRIVAL, message("three"))
        there.append("Work.2025", r"(\Answered)", ARRIVAL, message("four"))
        self.move()
        here = self.client(self.port, f"{ANN} secret")
        self.assertEqual(here.select(), ("OK", [b"2"]))
        self.assertEqual(here.search(None, "SEEN FLAGGED SUBJECT one"), ("OK", [b"1"]))
        self.assertEqual(here.search(None, "UNSEEN UNFLAGGED SUBJECT two"), ("OK", [b"2"]))
        _, [(line, octets), _] = here.fetch("1", "(INTERNALDATE BODY.PEEK[])")
        self.assertIn(ARRIVAL.encode(), line)
        # mbsync puts a field of its own into what it copies.
        self.assertEqual(
            [line for line in octets.split(b"\r\n") if b"X-TUID" not in line],
            message("one").split(b"\r\n"),
        )
        self.assertEqual(here.select("Work/2025"), ("OK", [b"1"]))
        self.assertEqual(here.search(None, "ANSWERED"), ("OK", [b"1"]))
        self.assertEqual(here.select("Sent"), ("OK", [b"1"]))
        # Again, after the other server has gone on for a while.
        there.select()
        there.store("2", "+FLAGS", r"(\Seen)")
        there.store("1", "+FLAGS", r"(\Deleted)")
        there.expunge()
        there.append("INBOX", None, ARRIVAL, message("five"))
        self.move()
        self.assertEqual(here.select(), ("OK", [b"2"]))
        self.assertEqual(here.search(None, "SEEN SUBJECT two"), ("OK", [b"1"]))
        self.assertEqual(here.search(None, "UNSEEN SUBJECT five"), ("OK", [b"2"]))
        here.logout()
        there.logout()
        self.stop(self.server)
