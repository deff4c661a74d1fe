"""The examples run as a reader would run them, each as a program of its own on loopback."""

from __future__ import annotations

import contextlib
import ftplib
import imaplib
import os
import poplib
import re
import shlex
import shutil
import smtplib
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailkit.tap.tls import self_signed
from tests.support import PATIENCE, free_ports

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
MESSAGE = b"From: a@example.net\r\nTo: ann@example.org\r\nSubject: Hello\r\n\r\nHow are you?\r\n"


def environment() -> dict[str, str]:
    """Ours, with the checkout and the examples to be imported from."""
    path = os.pathsep.join([str(ROOT), str(EXAMPLES)])
    return {**os.environ, "PYTHONPATH": path}


TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


@pytest.mark.slow
class ExamplesCase(SynchronousTestCase):
    """Starts programs and ends them."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)

    @contextlib.contextmanager
    def running(self, command: list[str], ports: list[int]) -> Iterator[subprocess.Popen[bytes]]:
        """A program that serves these ports."""
        log = self.directory / "log"
        with open(log, "wb") as output:
            program = subprocess.Popen(
                command, cwd=self.directory, env=environment(), stdout=output, stderr=output
            )
        try:
            deadline = time.monotonic() + PATIENCE
            for port in ports:
                while not self._answers(port):
                    if program.poll() is not None or time.monotonic() > deadline:
                        self.fail(f"port {port} is not served:\n{log.read_text()}")
                    time.sleep(0.05)
            yield program
        finally:
            program.terminate()
            program.wait(PATIENCE)
        self.assertNotIn("Traceback", log.read_text())

    def _answers(self, port: int) -> bool:
        # A port is bound before the store is open; only the greeting tells that all is well.
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                return bool(connection.recv(1))
        except OSError:
            return False

    def assert_short(self, name: str, lines: int) -> None:
        """The documentation promises how short it is."""
        text = (EXAMPLES / name).read_text()
        self.assertLessEqual(len(text.splitlines()), lines)
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def run_example(self, name: str, *arguments: str) -> str:
        """What an example writes that comes to an end, without an error."""
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), *arguments],
            cwd=self.directory,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def imap(self, port: int, user: str, password: str = "secret") -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", port, timeout=PATIENCE)
        self.addCleanup(client.__exit__)
        client.login(user, password)
        return client

    def run_tests(self, module: str) -> None:
        """Run an example that is a test."""
        done = subprocess.run(
            [sys.executable, "-m", "twisted.trial", module],
            cwd=self.directory,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("successes=", done.stdout)


class EmbedIMAPTests(ExamplesCase):
    def test_is_short(self) -> None:
        self.assert_short("embed_imap.py", 24)

    def test_serves_imap(self) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "embed_imap.py")]
        with self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]):
            client = self.imap(port, "ann@example.org")
            client.append("INBOX", "", "", MESSAGE)
            self.assertEqual(client.select(), ("OK", [b"1"]))
            _, [(_, content), _] = client.fetch("1", "(BODY[])")
            self.assertEqual(content, MESSAGE)
            client.logout()


class FTPReportsTests(ExamplesCase):
    def test_is_short(self) -> None:
        self.assert_short("ftp_reports.py", 74)

    def test_serves_files(self) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "ftp_reports.py")]
        serving = self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port])
        with serving, ftplib.FTP(timeout=PATIENCE) as client:
            client.connect("127.0.0.1", port)
            client.login("ann", "secret")
            self.assertEqual(client.nlst(), ["numbers.csv"])
            lines: list[bytes] = []
            client.retrbinary("RETR numbers.csv", lines.append)
            self.assertTrue(b"".join(lines).startswith(b"0;0\r\n1;1\r\n2;4\r\n"))
            with self.assertRaises(ftplib.error_perm) as refused:
                client.delete("numbers.csv")
            self.assertEqual(str(refused.exception), "550 Reports can only be read")


class BackendTests(ExamplesCase):
    def test_is_short(self) -> None:
        self.assert_short("backend.py", 60)

    def test_passes_the_contract(self) -> None:
        self.run_tests("test_backend")

    def fill(self) -> str:
        """A database with two messages; its path."""
        path = str(self.directory / "sent.db")
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE sent (id INTEGER PRIMARY KEY, at, mail)")
            for mail in (MESSAGE, b"Subject: two\r\n\r\n.dot\r\n"):
                database.execute("INSERT INTO sent (at, mail) VALUES (1700000000, ?)", (mail,))
        return path

    def serve(self, kind: str, port: int) -> list[str]:
        (self.directory / "users").write_text("ann:secret\n")
        return [
            *(*TWISTD, "-n", "--pidfile=", f"mailkit-{kind}"),
            *("--store", f"backend.SentMail:{self.fill()}", "--auth", "file:users"),
            *("--listen", f"tcp:{port}:interface=127.0.0.1"),
        ]

    def test_is_read_over_imap(self) -> None:
        (port,) = free_ports(1)
        with self.running(self.serve("imap", port), [port]):
            client = self.imap(port, "ann")
            self.assertEqual(client.select(readonly=True), ("OK", [b"2"]))
            _, [(_, content), _] = client.fetch("2", "(BODY[])")
            self.assertEqual(content, b"Subject: two\r\n\r\n.dot\r\n")
            self.assertEqual(client.search(None, "SUBJECT", "Hello"), ("OK", [b"1"]))
            self.assertEqual(client.append("INBOX", "", "", MESSAGE)[0], "NO")
            with contextlib.closing(sqlite3.connect(self.directory / "sent.db")) as database:
                database.execute("INSERT INTO sent (at, mail) VALUES (1, ?)", (MESSAGE,))
                database.commit()
            client.noop()
            self.assertEqual(client.response("EXISTS"), ("EXISTS", [b"2", b"3"]))
            client.logout()

    def test_is_read_over_pop3(self) -> None:
        (port,) = free_ports(1)
        with self.running(self.serve("pop3", port), [port]):
            client = poplib.POP3("127.0.0.1", port, timeout=PATIENCE)
            client.user("ann")
            client.pass_("secret")
            self.assertEqual(client.stat()[0], 2)
            self.assertEqual(client.retr(2)[1], [b"Subject: two", b"", b".dot"])
            client.quit()


class UserBaseTests(ExamplesCase):
    def test_members_log_in(self) -> None:
        self.assert_short("user_base.py", 30)
        digest = "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
        (self.directory / "members.csv").write_text(f"Ann,ann@example.org,{digest}\n")
        (port,) = free_ports(1)
        command = [
            *(*TWISTD, "-n", "--pidfile=", "mailkit-imap", "--store", "memory:"),
            *("--auth", "user_base.Members:members.csv"),
            *("--listen", f"tcp:{port}:interface=127.0.0.1"),
        ]
        with self.running(command, [port]):
            for user in ("ann", "Ann@Example.org"):
                self.imap(port, user).logout()
            with self.assertRaises(imaplib.IMAP4.error):
                self.imap(port, "ann", "wrong")


class ReceiveFunctionTests(ExamplesCase):
    def test_every_mail_is_a_call(self) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "receive_function.py")]
        with (
            self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]),
            smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client,
        ):
            client.sendmail("ann@example.org", ["help@support.example.org"], MESSAGE)
            for content, recipient in (
                (b"From: a@example.net\r\n", "help@support.example.org"),
                (MESSAGE, "help@example.com"),
            ):
                with self.assertRaises(smtplib.SMTPException):
                    client.sendmail("ann@example.org", [recipient], content)
        with contextlib.closing(sqlite3.connect(self.directory / "tickets.db")) as database:
            rows = database.execute("SELECT customer, subject, mail FROM tickets").fetchall()
        ((customer, subject, mail),) = rows
        self.assertEqual((customer, subject), ("ann@example.org", "Hello"))
        self.assertTrue(mail.startswith(b"Received: ") and mail.endswith(MESSAGE))


class ReceiveHTTPTests(ExamplesCase):
    def receive(self, port: int, secret: Path) -> subprocess.Popen[bytes]:
        """The example, once it listens."""
        command = [sys.executable, str(EXAMPLES / "receive_http.py"), str(port), str(secret)]
        program = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        )
        self.addCleanup(program.wait, PATIENCE)
        self.addCleanup(program.kill)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and program.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return program
            time.sleep(0.05)
        self.fail("it does not listen")

    def test_mail_is_posted_and_verified(self) -> None:
        web, port = free_ports(2)
        secret = self.directory / "secret"
        secret.write_bytes(b"between us\n")
        receiver = self.receive(web, secret)
        server = [
            *(*TWISTD, "-n", "--pidfile=", "mailkit", "--store", "memory:"),
            *("--smtp", f"tcp:{port}:interface=127.0.0.1", "--route-secret", str(secret)),
            *("--route", f"example.org=http://127.0.0.1:{web}/"),
        ]
        with (
            self.running(server, [port]),
            smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client,
        ):
            client.sendmail("a@example.net", ["ann@example.org", "bob@example.org"], MESSAGE)
        for headers in (
            {},
            {
                "Mailkit-Envelope": "{}",
                "Mailkit-Timestamp": str(int(time.time())),
                "Mailkit-Signature": "sha256=0",
            },
        ):
            request = urllib.request.Request(f"http://127.0.0.1:{web}/", b"forged", headers)
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=PATIENCE)
            self.assertEqual(caught.exception.code, 403)
            caught.exception.close()
        receiver.terminate()
        output, _ = receiver.communicate(timeout=PATIENCE)
        self.assertIn(b"a@example.net ['ann@example.org', 'bob@example.org'] Hello\n", output)
        self.assertNotIn(b"Traceback", output)


class TestServerTests(ExamplesCase):
    def test_passes(self) -> None:
        self.run_tests("test_server")


class ServiceCase(ExamplesCase):
    """Runs servers over a store on disk."""

    def add_account(self, address: str, password: str) -> None:
        command = ["--store", f"sqlite:{self.directory / 'mail'}", "account", "add", address]
        subprocess.run(
            [sys.executable, "-m", "mailkit.tap.command", *command, "--password-stdin"],
            input=password.encode() + b"\n",
            env=environment(),
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )


class ServiceTests(ServiceCase):
    """Whole servers, from their files with other ports and places."""

    def copy(self, name: str, **replaced: str) -> Path:
        text = (EXAMPLES / name).read_text()
        for old, new in replaced.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        copy = self.directory / name
        copy.write_text(text)
        return copy

    def test_tac(self) -> None:
        ports = free_ports(3)
        smtp, submission, imap = ports
        copy = self.copy(
            "service.tac",
            **{"tcp:2525": f"tcp:{smtp}", "tcp:2587": f"tcp:{submission}"},
            **{"tcp:2143": f"tcp:{imap}"},
            **{"mailkit-data": str(self.directory / "mail")},
        )
        self.add_account("ann@example.org", "secret")
        with self.running([*TWISTD, "-n", "--pidfile=", "-y", str(copy)], ports):
            with smtplib.SMTP("127.0.0.1", smtp, timeout=PATIENCE) as client:
                client.sendmail("a@example.net", ["ann@example.org"], MESSAGE)
            mailbox = self.imap(imap, "ann@example.org")
            self.assertEqual(mailbox.select(), ("OK", [b"1"]))
            mailbox.logout()

    def test_settings_file(self) -> None:
        certificate, key = self_signed(self.directory)
        names = ("25", "587", "465", "143", "993", "110", "995")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        endpoints = {
            f'"tcp:{name}"': f'"tcp:{port}:interface=127.0.0.1"' for name, port in ports.items()
        }
        copy = self.copy(
            "mailkit.toml",
            **{', "tcp6:25"': "", "/var/lib/mailkit": str(self.directory / "mail")},
            **{"/etc/mailkit/certificate.pem": certificate, "/etc/mailkit/key.pem": key},
            **endpoints,
        )
        self.add_account("ann@example.org", "secret")
        command = [*TWISTD, "-n", "--pidfile=", "mailkit", "--config", str(copy)]
        trusted = ssl.create_default_context(cafile=certificate)
        with self.running(command, [ports[name] for name in ("25", "587", "143", "110")]):
            with smtplib.SMTP_SSL("localhost", ports["465"], context=trusted) as client:
                client.login("ann@example.org", "secret")
                own = MESSAGE.replace(b"a@example.net", b"ann@example.org")
                client.sendmail("ann@example.org", ["ann@example.org"], own)
            reader = poplib.POP3("localhost", ports["110"], timeout=PATIENCE)
            reader.stls(trusted)
            reader.user("ann")
            reader.pass_("secret")
            self.assertEqual(reader.stat()[0], 1)
            reader.quit()


class HookTests(ServiceCase):
    """Hooks that twistd is told of by their names."""

    def serve(self, *hooks: str) -> tuple[list[str], int]:
        self.add_account("ann@example.org", "secret")
        (port,) = free_ports(1)
        options = [word for hook in hooks for word in ("--hook", hook)]
        return [
            *(*TWISTD, "-n", "--pidfile=", "mailkit-smtp", *options),
            *("--store", f"sqlite:{self.directory / 'mail'}"),
            *("--listen", f"tcp:{port}:interface=127.0.0.1"),
        ], port

    def test_are_short(self) -> None:
        self.assert_short("every_mail.py", 6)
        self.assert_short("hook.py", 30)

    def test_a_function_that_gets_every_mail(self) -> None:
        command, port = self.serve("every_mail.every_mail")
        with (
            self.running(command, [port]),
            smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client,
        ):
            client.sendmail("a@example.net", ["ann@example.org"], MESSAGE)
        self.assertIn("a@example.net Hello", (self.directory / "log").read_text())

    def test_a_hook(self) -> None:
        command, port = self.serve("smtp:hook.NoPrograms:.exe .com", "every_mail.every_mail")
        program = MESSAGE.replace(
            b"\r\n\r\n", b"\r\nContent-Disposition: attachment; filename=A.COM\r\n\r\n"
        )
        with (
            self.running(command, [port]),
            smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client,
        ):
            client.sendmail("a@example.net", ["ann@example.org"], MESSAGE)
            with self.assertRaises(smtplib.SMTPDataError) as raised:
                client.sendmail("a@example.net", ["ann@example.org"], program)
        self.assertEqual(raised.exception.smtp_code, 554)
        self.assertIn(b"Programs such as a.com", raised.exception.smtp_error)
        text = (self.directory / "log").read_text()
        self.assertIn("hook NoPrograms refused message of 127.0.0.1: 554 Programs such as", text)
        self.assertEqual(text.count("a@example.net Hello"), 1)


class DemonstrationTests(ExamplesCase):
    """Beside ``make run``."""

    @contextlib.contextmanager
    def demonstration(self, *arguments: str) -> Iterator[str]:
        """What it prints once it serves."""
        with self.running([sys.executable, "-u", "-m", "mailkit.tap", *arguments], []):
            log = self.directory / "log"
            deadline = time.monotonic() + PATIENCE
            while not re.search(r"^More accounts: .*\n", text := log.read_text(), re.MULTILINE):
                self.assertLess(time.monotonic(), deadline, text)
                time.sleep(0.05)
            yield text

    def run_here(self, command: list[str], input: str = "") -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**environment(), "PYTHONIOENCODING": "utf-8"},
            input=input,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def test_send_and_read(self) -> None:
        with self.demonstration() as text:
            ports = re.findall(r"(?:submission|IMAP) +127\.0\.0\.1:(\d+)  TLS", text)
            said = self.run_here([sys.executable, str(EXAMPLES / "send_and_read.py"), *ports])
        self.assertIn("Grüße -- How are you, Bob?", said)
        self.assertIn("with ESMTPSA", said)

    def test_commands_work_as_they_are_printed(self) -> None:
        with self.demonstration("a place/Ann's mail") as text:
            _, _, text = text.partition("Try, in another terminal")
            block = text.partition("\n")[2].partition("More accounts: ")[0].replace("\\\n", "")
            commands = [line for line in block.splitlines() if line.strip(" ") and "#" not in line]
            self.assertEqual(len(commands), 3)
            for program in (shlex.split(command)[0] for command in commands):
                if shutil.which(program) is None:
                    raise SkipTest(f"{program} is not installed")
            send, read_imap, read_pop3 = commands
            said = self.run_here(["sh", "-c", send])
            subject = re.findall(r"^ -> Subject: (.+)$", said, re.MULTILINE)[0]
            self.assertIn(f'"{subject}"', self.run_here(["sh", "-c", read_imap]))
            self.assertIn(f"\nSubject: {subject}\n", self.run_here(["sh", "-c", read_pop3]))
            add = re.findall(r"^More accounts: (.+)$", text, re.MULTILINE)[0]
            if os.path.exists(os.path.join(os.path.dirname(sys.executable), "mailkit")):
                said = self.run_here(["sh", "-c", f"{add} --password-stdin"], input="secret\n")
                self.assertEqual(said, "Added you@example.test.\n")


class FetchPOP3Tests(ServiceCase):
    def test_only_what_is_new_is_saved(self) -> None:
        self.assert_short("fetch_pop3.py", 30)
        smtp, port = free_ports(2)
        server = [
            *(*TWISTD, "-n", "--pidfile=", "mailkit", "--store", f"sqlite:{self.directory}/mail"),
            *("--smtp", f"tcp:{smtp}:interface=127.0.0.1"),
            *("--pop3", f"tcp:{port}:interface=127.0.0.1"),
        ]
        self.add_account("ann@example.org", "secret")
        fetch = [sys.executable, str(EXAMPLES / "fetch_pop3.py"), f"127.0.0.1:{port}"]
        saved = self.directory / "saved"
        saved.mkdir()
        with self.running(server, [smtp, port]):
            for count in (1, 2):
                with smtplib.SMTP("127.0.0.1", smtp, timeout=PATIENCE) as client:
                    client.sendmail("a@example.net", ["ann@example.org"], MESSAGE)
                done = subprocess.run(
                    [*fetch, "ann@example.org", "secret", str(saved)],
                    env=environment(),
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual(len(done.stdout.splitlines()), 1)
                self.assertEqual(len(list(saved.iterdir())), count)
        for path in saved.iterdir():
            self.assertTrue(path.read_bytes().endswith(MESSAGE))


class SendMailTests(ExamplesCase):
    """One under Twisted, one under asyncio."""

    def test_each_recipient_is_told(self) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "receive_function.py")]
        with self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]):
            for name in ("send_mail.py", "send_mail_asyncio.py"):
                self.assert_short(name, 30)
                recipients = ["help@support.example.org", "somebody@elsewhere.example"]
                written = self.run_example(
                    name, f"127.0.0.1:{port}", "ann@example.net", *recipients
                )
                first, second = written.splitlines()
                self.assertIn("help@support.example.org accepted 250", first)
                self.assertIn("somebody@elsewhere.example permanent 550", second)


class SendQueuedTests(ExamplesCase):
    def test_events_tell_what_became_of_it(self) -> None:
        (port,) = free_ports(1)
        self.assert_short("send_queued.py", 35)
        command = [sys.executable, str(EXAMPLES / "receive_function.py")]
        with self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]):
            done = subprocess.run(
                [
                    *(sys.executable, str(EXAMPLES / "send_queued.py"), f"127.0.0.1:{port}"),
                    *("help@support.example.org", "somebody@elsewhere.example"),
                ],
                cwd=self.directory,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        self.assertEqual(done.returncode, 0, done.stderr)
        delivered, failed = sorted(done.stdout.splitlines())
        self.assertIn("help@support.example.org: delivered", delivered)
        self.assertIn("somebody@elsewhere.example: failed", failed)


class OutboxTests(ExamplesCase):
    def test_mail_belongs_to_the_transaction(self) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, str(EXAMPLES / "receive_function.py")]
        with self.running([*command, f"tcp:{port}:interface=127.0.0.1"], [port]):
            done = subprocess.run(
                [
                    *(sys.executable, str(EXAMPLES / "outbox.py"), f"127.0.0.1:{port}"),
                    "help@support.example.org",
                ],
                cwd=self.directory,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            done.stdout.splitlines(),
            ["no order, no mail: we don't pay for it", "help@support.example.org: delivered"],
        )
