"""The examples of programs that serve mail themselves, run as programs on loopback."""

from __future__ import annotations

import imaplib
import smtplib
import sys

import pytest

from tests.support import PATIENCE, free_ports
from tests.test_examples import EXAMPLES, MESSAGE, ExamplesCase


@pytest.mark.slow
class EmbedServerTests(ExamplesCase):
    def test_mail_is_taken_sent_and_read(self) -> None:
        ports = free_ports(3)
        endpoints = [f"tcp:{port}:interface=127.0.0.1" for port in ports]
        command = [sys.executable, str(EXAMPLES / "embed_server.py"), "mail", *endpoints]
        for first in (1, 3):
            # The second time the account is there already, and so is the mail.
            with self.running(command, ports):
                with smtplib.SMTP("127.0.0.1", ports[0], timeout=PATIENCE) as client:
                    client.sendmail("bob@example.net", ["ann@example.org"], MESSAGE)
                    with self.assertRaises(smtplib.SMTPRecipientsRefused):
                        client.sendmail("bob@example.net", ["eve@example.com"], MESSAGE)
                with smtplib.SMTP("127.0.0.1", ports[1], timeout=PATIENCE) as client:
                    client.login("ann@example.org", "secret")
                    mine = MESSAGE.replace(b"a@example.net", b"ann@example.org")
                    client.sendmail("ann@example.org", ["ann@example.org"], mine)
                with imaplib.IMAP4("127.0.0.1", ports[2], timeout=PATIENCE) as client:
                    client.login("ann@example.org", "secret")
                    self.assertEqual(client.select(), ("OK", [b"%d" % (first + 1)]))


@pytest.mark.slow
class AsyncioTests(ExamplesCase):
    def test_a_coroutine_of_asyncio_gets_every_mail(self) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "receive_asyncio.py")]
        with (
            self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]),
            smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client,
        ):
            client.sendmail("bob@example.net", ["ann@example.org"], MESSAGE)
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                client.sendmail("bob@example.net", ["ann@example.com"], MESSAGE)
        log = (self.directory / "log").read_text()
        self.assertEqual(log.splitlines()[-1], "bob@example.net Hello")
