"""The examples of programs that serve mail themselves, run as programs on loopback."""

from __future__ import annotations

import imaplib
import smtplib
import socket
import subprocess
import sys

import pytest

from tests.support import PATIENCE, free_ports
from tests.test_examples import EXAMPLES, MESSAGE, ExamplesCase, environment


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
class BusyPortTests(ExamplesCase):
    def test_a_port_that_is_taken_ends_the_program_with_a_line(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            endpoint = f"tcp:{port}:interface=127.0.0.1"
            programs = {
                name: subprocess.Popen(
                    [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
                    cwd=self.directory,
                    env=environment(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for name, arguments in {
                    "embed_imap": [endpoint],
                    "embed_server": ["mail", *[endpoint] * 3],
                    "ftp_reports": [endpoint],
                    "receive_asyncio": [endpoint],
                    "receive_avatar": [endpoint],
                    "receive_function": [endpoint],
                    "receive_lifespan": [endpoint],
                }.items()
            }
            for name, program in programs.items():
                with self.subTest(name), program:
                    self.addCleanup(program.kill)
                    _, told = program.communicate(timeout=PATIENCE)
                    (line,) = told.splitlines()
                    self.assertIn(f"Couldn't listen on 127.0.0.1:{port}", line)
                    self.assertEqual(program.returncode, 1)


@pytest.mark.slow
class AvatarTests(ExamplesCase):
    def test_the_delivery_knows_who_has_logged_in(self) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "receive_avatar.py")]
        with (
            self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]),
            smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client,
        ):
            client.sendmail("bob@example.net", ["console@example.org"], MESSAGE)
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                client.sendmail("bob@example.net", ["ann@example.org"], MESSAGE)
            client.login("guest", "password")
            client.sendmail("bob@example.net", ["console@example.org"], MESSAGE)
        lines = (self.directory / "log").read_text().splitlines()
        users = [line.partition(" bob@example.net ")[0] for line in lines]
        self.assertEqual(users, ["()", "b'guest'"])


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

    def test_a_loop_that_somebody_else_runs(self) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "receive_lifespan.py")]
        with (
            self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]) as program,
            smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client,
        ):
            client.sendmail("bob@example.net", ["ann@example.org"], MESSAGE)
        # No thread of the reactor's keeps the program.
        self.assertEqual(program.returncode, 0)
        log = (self.directory / "log").read_text()
        self.assertRegex(log, r"\Abob@example\.net [0-9]+\n\Z")


@pytest.mark.slow
class PytestTests(ExamplesCase):
    def test_fixtures_of_pytest(self) -> None:
        example = str(EXAMPLES / "test_server_pytest.py")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:randomly",
                example,
            ],
            cwd=self.directory,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("2 passed", done.stdout)
