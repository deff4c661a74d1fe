"""The examples that read mail with the IMAP client."""

from __future__ import annotations

import imaplib
import sys

from tests.support import PATIENCE, free_ports
from tests.test_examples import EXAMPLES, MESSAGE, ExamplesCase

WITH_ATTACHMENT = b"""Subject: =?utf-8?q?=C3=BCber?=
MIME-Version: 1.0
Content-Type: text/plain
Content-Disposition: attachment; filename*=utf-8''..%2F%C3%BC.txt
Content-Transfer-Encoding: base64

SGVsbG8=
""".replace(b"\n", b"\r\n")


class ReadMailTests(ExamplesCase):
    def test_what_is_new(self) -> None:
        self.assert_short("read_mail.py", 30)
        self.assert_short("save_attachments.py", 35)
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "embed_imap.py")]
        with self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]):
            with imaplib.IMAP4("127.0.0.1", port, timeout=PATIENCE) as client:
                client.login("ann@example.org", "secret")
                client.append("INBOX", "", "", MESSAGE)
                client.append("INBOX", "(\\Seen)", "", MESSAGE)
                client.append("INBOX", "(\\Seen)", "", WITH_ATTACHMENT)

            def run(name: str, *more: str) -> str:
                return self.run_example(
                    name, f"127.0.0.1:{port}", "ann@example.org", "secret", *more
                )

            self.assertEqual(run("read_mail.py"), f"1 {len(MESSAGE)} Hello\n")
            saved = run("save_attachments.py", str(self.directory))
            self.assertEqual(saved, "3-1-\u00fc.txt of \u00fcber\n")
        self.assertEqual((self.directory / "3-1-\u00fc.txt").read_bytes(), b"Hello")
