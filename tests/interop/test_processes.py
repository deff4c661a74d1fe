"""Servers of several processes with one store."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import tempfile
from pathlib import Path

from mailkit._typing import override
from tests.support import HOST, PATIENCE, ServerProcess, free_ports, mailkit_command

from .support import ANN, BOB, ServerTestCase, message


class SeparateServersTests(ServerTestCase):
    """``twistd mailkit-smtp`` beside ``twistd mailkit-imap`` and others."""

    @override
    def serve(self, *arguments: str, ports: list[int]) -> ServerProcess:
        # Each has a log of its own.
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        server = ServerProcess(directory, ports, *arguments, "--store", self.store)
        self.addCleanup(server.kill)
        return server.start()

    def start(self, command: str, port: int, *arguments: str) -> ServerProcess:
        listen = f"tcp:{port}:interface={HOST}"
        return self.serve(command, "--listen", listen, *arguments, ports=[port])

    def send(self, port: int, subject: str) -> None:
        with smtplib.SMTP(HOST, port, timeout=PATIENCE) as client:
            client.sendmail(BOB, [ANN], message(subject))

    def log_in(self, port: int) -> imaplib.IMAP4:
        client = imaplib.IMAP4(HOST, port, timeout=PATIENCE)
        self.addCleanup(client.shutdown)
        client.login(ANN, f"{ANN} secret")
        client.select()
        return client

    def test_each_may_be_stopped_and_started(self) -> None:
        smtp_port, imap_port, pop3_port = free_ports(3)
        smtp = self.start("mailkit-smtp", smtp_port)
        imap = self.start("mailkit-imap", imap_port)
        # Tells at once what another process does.
        client = self.log_in(imap_port)
        client.send(b"x IDLE\r\n")
        self.assertTrue(client.readline().startswith(b"+"))
        self.send(smtp_port, "one")
        self.assertEqual(client.readline(), b"* 1 EXISTS\r\n")
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"x OK"):
            pass
        # The owner of the store ends; the other one takes its place.
        self.stop(smtp)
        client.append("INBOX", "", "", message("two"))
        imap.wait_for_log("makes the changes of the mail store now")
        smtp = self.start("mailkit-smtp", smtp_port)
        self.send(smtp_port, "three")
        pop3 = self.start("mailkit-pop3", pop3_port)
        self.check(self.pop3(poplib.POP3(HOST, pop3_port, timeout=PATIENCE)), "one", "two", "three")
        # That one is killed: what comes next may have to be tried again, and is then served.
        imap.kill()
        for _ in range(100):
            try:
                self.send(smtp_port, "four")
            except smtplib.SMTPException:
                continue
            break
        self.check(
            self.pop3(poplib.POP3(HOST, pop3_port, timeout=PATIENCE)),
            *("one", "two", "three", "four"),
        )
        self.stop(smtp)
        self.stop(pop3)
        done = mailkit_command("--store", self.store, "check")
        self.assertIn("store: whole", done.stdout, done.stderr)

    def test_a_maildrop_is_open_once(self) -> None:
        ports = free_ports(2)
        servers = [self.start("mailkit-pop3", port) for port in ports]
        clients = [poplib.POP3(HOST, port, timeout=PATIENCE) for port in ports]
        for client in clients:
            client.user(ANN)
        clients[0].pass_(f"{ANN} secret")
        with self.assertRaises(poplib.error_proto) as caught:
            clients[1].pass_(f"{ANN} secret")
        self.assertIn("[IN-USE]", str(caught.exception))
        # Its end frees it, however it ends.
        servers[0].kill()
        clients[0].close()
        clients[1].user(ANN)
        clients[1].pass_(f"{ANN} secret")
        clients[1].quit()
        self.stop(servers[1])

    def test_one_takes_mail_for_others_and_another_sends_it(self) -> None:
        sink_port, smtp_port = free_ports(2)
        here, self.store = self.store, f"sqlite:{self.directory}/far"
        address = "eve@example.net"
        self.add_account(address)
        sink = self.start("mailkit-smtp", sink_port)
        self.store = here
        server = self.start(
            "mailkit-smtp", smtp_port, "--relay", "queue", "--relay-from", f"{HOST}/32"
        )
        with smtplib.SMTP(HOST, smtp_port, timeout=PATIENCE) as client:
            client.sendmail(ANN, [address], message("before"))
        self.assertIn(address, self.queue())
        # It sends what was queued before, and is told of what comes later.
        relay = self.serve("mailkit-relay", "--relay", f"{HOST}:{sink_port}", ports=[])
        relay.wait_for_log(f"<{address}>: delivered")
        second = self.serve("mailkit-relay", "--relay", f"{HOST}:{sink_port}", ports=[])
        second.wait_for_log("another process works on the queue")
        with smtplib.SMTP(HOST, smtp_port, timeout=PATIENCE) as client:
            client.sendmail(ANN, [address], message("during"))
        relay.wait_for_log(f"<{address}>: delivered", 2)
        relay.kill()
        second.wait_for_log("this process works on the queue now")
        with smtplib.SMTP(HOST, smtp_port, timeout=PATIENCE) as client:
            client.sendmail(ANN, [address], message("after"))
        second.wait_for_log(f"<{address}>: delivered")
        self.assertNotIn("delivered", server.log)
        for each in (server, second, sink):
            self.stop(each)

    def queue(self) -> str:
        return mailkit_command("--store", self.store, "queue", "list").stdout
