"""``twistd mailkit`` as a process of its own, spoken to with the standard library's clients."""

from __future__ import annotations

import imaplib
import poplib
import smtplib

from mailkit.store.sqlite.lock import DirectoryLock
from tests.interop.support import ANN, BOB, ServerTestCase, WholeServerTestCase, message
from tests.support import HOST, PATIENCE, free_ports, mailkit_command


class WholeServerTests(WholeServerTestCase):
    """Everything over one store, plain and under TLS, before and after a restart."""

    def send_every_way(self) -> list[str]:
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            client.sendmail("me@example.org", [ANN], message("plain"))
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            client.starttls(context=self.trusted)
            client.sendmail("me@example.org", [ANN], message("starttls"))
        with smtplib.SMTP(HOST, self.ports["submission"], timeout=PATIENCE) as client:
            client.starttls(context=self.trusted)
            client.login(ANN, f"{ANN} secret")
            client.sendmail(ANN, [ANN], message("submission"))
        port = self.ports["submissions"]
        with smtplib.SMTP_SSL(HOST, port, context=self.trusted, timeout=PATIENCE) as client:
            client.login("ann", f"{ANN} secret")
            client.sendmail(ANN, [ANN], message("submissions"))
        return ["plain", "starttls", "submission", "submissions"]

    def read_every_way(self, *subjects: str) -> None:
        ports, trusted = self.ports, self.trusted
        plain = poplib.POP3(HOST, ports["pop3"], timeout=PATIENCE)
        upgraded = poplib.POP3(HOST, ports["pop3"], timeout=PATIENCE)
        upgraded.stls(trusted)
        implicit = poplib.POP3_SSL(HOST, ports["pop3s"], context=trusted, timeout=PATIENCE)
        for pop3 in (plain, upgraded, implicit):
            self.check(self.pop3(pop3), *subjects)
        plain_imap = imaplib.IMAP4(HOST, ports["imap"], timeout=PATIENCE)
        upgraded_imap = imaplib.IMAP4(HOST, ports["imap"], timeout=PATIENCE)
        upgraded_imap.starttls(trusted)
        implicit_imap = imaplib.IMAP4_SSL(
            HOST, ports["imaps"], ssl_context=trusted, timeout=PATIENCE
        )
        for imap in (plain_imap, upgraded_imap, implicit_imap):
            self.check(self.imap(imap), *subjects)

    def test_send_and_read_every_way_and_again_after_a_restart(self) -> None:
        server = self.start()
        subjects = self.send_every_way()
        self.read_every_way(*subjects)
        self.stop(server)
        server = self.start()
        self.read_every_way(*subjects)
        self.stop(server)

    def test_an_account_that_is_added_while_it_runs(self) -> None:
        server = self.start()
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            client.ehlo()
            client.mail("me@example.org")
            self.assertEqual(client.rcpt(BOB)[0], 550)
        self.add_account(BOB)
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            client.sendmail("me@example.org", [BOB, ANN], message("both"))
        for user in (ANN, BOB):
            client = imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE)
            self.check(self.imap(client, user), "both")
        done = mailkit_command("--store", self.store, "check")
        self.assertIn("store: whole", done.stdout, done.stderr)
        done = mailkit_command("--store", self.store, "compact")
        # The server does it.
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("octets before", done.stdout)
        done = mailkit_command("--store", self.store, "account", "remove", BOB, "--yes")
        self.assertEqual(done.returncode, 0, done.stderr)
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as smtp:
            smtp.ehlo()
            smtp.mail("me@example.org")
            self.assertEqual(smtp.rcpt(BOB)[0], 550)
        self.stop(server)

    def test_clients_hear_goodbye(self) -> None:
        server = self.start()
        client = imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE)
        client.login(ANN, f"{ANN} secret")
        self.stop(server)
        self.assertTrue(client.readline().startswith(b"* BYE "))
        client.shutdown()


class OneProtocolTests(ServerTestCase):
    """``twistd mailkit-pop3`` and errors at the start."""

    def test_a_command_for_one_protocol(self) -> None:
        (port,) = free_ports(1)
        server = self.serve(
            "mailkit-pop3", "--listen", f"tcp:{port}:interface={HOST}", ports=[port]
        )
        client = poplib.POP3(HOST, port, timeout=PATIENCE)
        self.assertEqual(self.pop3(client), set())
        self.stop(server)

    def test_who_has_forgotten_to_make_an_account_is_told(self) -> None:
        hint = (
            f"no accounts yet: make one with `mailkit --store {self.store}-2 account add ADDRESS`"
        )
        arguments = ("mailkit-imap", "--listen", f"tcp:0:interface={HOST}")
        server = self.serve(*arguments, ports=[])
        server.wait_for_log("starting on")
        self.stop(server)
        self.assertNotIn("no accounts", server.log)
        self.store += "-2"
        server = self.serve(*arguments, ports=[])
        server.wait_for_log(hint)
        self.stop(server)

    def fail_to_start(self, *arguments: str) -> str:
        error = self.assertRaises(AssertionError, self.serve, *arguments, ports=free_ports(1))
        self.assertNotIn("Traceback", str(error))
        return str(error)

    def test_a_port_that_is_taken_ends_it_with_one_line(self) -> None:
        (port,) = free_ports(1)
        listen = f"tcp:{port}:interface={HOST}"
        server = self.serve("mailkit-imap", "--listen", listen, ports=[port])
        error = self.fail_to_start("mailkit-imap", "--listen", listen)
        self.assertIn(f"mailkit: --listen {listen}: Address already in use", error)
        self.stop(server)

    def test_a_store_that_is_in_use_ends_it_with_one_line(self) -> None:
        (port,) = free_ports(1)
        lock = DirectoryLock(self.store.removeprefix("sqlite:"))
        self.addCleanup(lock.release)
        error = self.fail_to_start("mailkit", "--imap", f"tcp:{port}:interface={HOST}")
        self.assertIn(f"mailkit: --store {self.store}: ", error)
        self.assertIn("in use by process", error)
