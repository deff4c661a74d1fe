"""Servers of several processes with one store."""

from __future__ import annotations

import imaplib
import os
import poplib
import re
import shutil
import signal
import smtplib
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

from mailkit._typing import override
from mailkit.store.sqlite.lock import DirectoryLock
from mailkit.tap.tls import self_signed
from tests.support import HOST, PATIENCE, ServerProcess, free_ports, mailkit_command

from .support import ANN, BOB, ServerTestCase, message

# Passes a socket on as systemd does (sd_listen_fds).
_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="imap", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class ProcessesTestCase(ServerTestCase):
    """Servers with a log each."""

    @override
    def serve(self, *arguments: str, ports: list[int]) -> ServerProcess:
        # Each has a log of its own.
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        server = ServerProcess(directory, ports, *arguments, "--store", self.store)
        self.addCleanup(server.kill)
        return server.start()

    def send(self, port: int, subject: str) -> None:
        with smtplib.SMTP(HOST, port, timeout=PATIENCE) as client:
            client.sendmail(BOB, [ANN], message(subject))

    def log_in(self, port: int) -> imaplib.IMAP4:
        client = imaplib.IMAP4(HOST, port, timeout=PATIENCE)
        self.addCleanup(client.shutdown)
        client.login(ANN, f"{ANN} secret")
        client.select()
        return client


class SeparateServersTests(ProcessesTestCase):
    """``twistd mailkit-smtp`` beside ``twistd mailkit-imap`` and others."""

    def start(self, command: str, port: int, *arguments: str) -> ServerProcess:
        listen = f"tcp:{port}:interface={HOST}"
        return self.serve(command, "--listen", listen, *arguments, ports=[port])

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
        # An administrator's command is heard of by each.
        self.add_account(BOB)
        other = imaplib.IMAP4(HOST, imap_port, timeout=PATIENCE)
        other.login(BOB, f"{BOB} secret")
        other.logout()
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
        servers, clients = [], []
        for port in ports:
            # The first session is there before there is another server.
            servers.append(self.start("mailkit-pop3", port))
            clients.append(poplib.POP3(HOST, port, timeout=PATIENCE))
            clients[-1].user(ANN)
            if len(clients) == 1:
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

    def start_elsewhere(self, port: int, address: str) -> ServerProcess:
        """Start another site's server."""
        here, self.store = self.store, f"sqlite:{self.directory}/far"
        try:
            self.add_account(address)
            return self.start("mailkit-smtp", port)
        finally:
            self.store = here

    def test_one_takes_mail_for_others_and_another_sends_it(self) -> None:
        sink_port, smtp_port = free_ports(2)
        address = "eve@example.net"
        sink = self.start_elsewhere(sink_port, address)
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

    def test_a_process_beside_the_server_sends(self) -> None:
        sink_port, smtp_port = free_ports(2)
        address = "eve@example.net"
        sink = self.start_elsewhere(sink_port, address)
        settings = ("--relay", f"{HOST}:{sink_port}", "--relay-process", "--relay-from", HOST)
        server = self.start("mailkit-smtp", smtp_port, *settings)
        told = "the sender is process "
        senders: list[int] = []
        for count in (1, 2):
            server.wait_for_log(told, count)
            with smtplib.SMTP(HOST, smtp_port, timeout=PATIENCE) as client:
                client.sendmail(ANN, [address], message(f"message {count}"))
            # What it logs is in the server's log.
            server.wait_for_log(f"<{address}>: delivered", count)
            senders.append(int(re.findall(told + r"(\d+)", server.log)[-1]))
            if count == 1:
                os.kill(senders[0], signal.SIGKILL)
        self.assertEqual(len(set(senders)), 2)
        self.assertNotIn("another process works on the queue", server.log)
        self.stop(server)
        self.assertFalse(is_running(senders[1]))
        done = mailkit_command("--store", self.store, "check")
        self.assertIn("store: whole", done.stdout, done.stderr)
        self.stop(sink)

    def queue(self) -> str:
        return mailkit_command("--store", self.store, "queue", "list").stdout


class WorkersTests(ProcessesTestCase):
    """``twistd mailkit --workers``."""

    def start(self, *arguments: str) -> ServerProcess:
        self.smtp, self.imap, self.imaps = free_ports(3)
        certificate, key = self_signed(self.directory / "tls")
        self.trusted = ssl.create_default_context(cafile=certificate)
        # The path of a socket is short.
        short = tempfile.mkdtemp(prefix="mailkit-test-")
        self.addCleanup(shutil.rmtree, short)
        self.socket = os.path.join(short, "lmtp")
        config = self.directory / "mailkit.toml"
        config.write_text(
            f'smtp = "tcp:{self.smtp}:interface={HOST}"\nimap = "tcp:{self.imap}:interface={HOST}"\n'
            f'imaps = "tcp:{self.imaps}:interface={HOST}"\ntls = ["{certificate}", "{key}"]\n'
            f'lmtp = "unix:{self.socket}"\nhostname = "mx.example.test"\nworkers = 2\n'
        )
        server = self.serve("mailkit", "--config", str(config), *arguments, ports=[])
        for number in (1, 2):
            server.wait_for_log(f"worker {number} serves")
        return server

    @staticmethod
    def workers(server: ServerProcess) -> dict[str, int]:
        """Processes that were ready, the last ones by their numbers."""
        return {
            number: int(process)
            for number, process in re.findall(r"worker (\d) serves, process (\d+)", server.log)
        }

    def test_all_serve_and_are_replaced_when_they_die(self) -> None:
        server = self.start()
        self.send(self.smtp, "one")
        with smtplib.LMTP(self.socket) as lmtp:
            lmtp.sendmail(BOB, [ANN], message("two"))
        before = self.workers(server)
        self.assertEqual(len(before), 2)
        for process in before.values():
            # Whether it owns the store or not, it is missed by nobody for long.
            os.kill(process, signal.SIGKILL)
            server.wait_for_log(" serves, process", 1 + len(self.processes(server)))
            self.send_until_taken("more")
        after = self.workers(server)
        self.assertFalse(set(after.values()) & set(before.values()))
        self.assertIn("has ended: ", server.log)
        self.check_subjects({"one", "two", "more"})
        self.stop(server)
        for process in after.values():
            self.assertRaises(ProcessLookupError, os.kill, process, 0)
        self.assertFalse(os.path.exists(self.socket))
        done = mailkit_command("--store", self.store, "check")
        self.assertIn("store: whole", done.stdout, done.stderr)

    def test_who_makes_the_changes_is_replaced_when_it_dies(self) -> None:
        server = self.start()
        told = "the store's keeper is process "
        subjects = {"one"}
        server.wait_for_log(told)
        # A hangup is for those that have certificates.
        os.kill(int(re.findall(told + r"(\d+)", server.log)[-1]), signal.SIGHUP)
        self.send(self.smtp, "one")
        self.assertNotIn("keeper has ended", server.log)
        for count in (1, 2):
            server.wait_for_log(told, count)
            keeper = int(re.findall(told + r"(\d+)", server.log)[-1])
            os.kill(keeper, signal.SIGKILL)
            # It waits for the next one, and is not refused.
            self.send_until_taken(f"more{count}")
            subjects.add(f"more{count}")
        server.wait_for_log(told, 3)
        self.check_subjects(subjects)
        keeper = int(re.findall(told + r"(\d+)", server.log)[-1])
        self.stop(server)
        self.assertFalse(is_running(keeper))
        done = mailkit_command("--store", self.store, "check")
        self.assertIn("store: whole", done.stdout, done.stderr)

    def processes(self, server: ServerProcess) -> list[str]:
        return re.findall(r" serves, process (\d+)", server.log)

    def send_until_taken(self, subject: str) -> None:
        for _ in range(100):
            try:
                self.send(self.smtp, subject)
            except (smtplib.SMTPException, OSError):
                continue
            return
        self.fail("nobody takes mail")

    def check_subjects(self, subjects: set[str]) -> None:
        # Under TLS it is the same.
        client = imaplib.IMAP4_SSL(HOST, self.imaps, ssl_context=self.trusted, timeout=PATIENCE)
        client.login(ANN, f"{ANN} secret")
        client.select()
        _, data = client.fetch("1:*", "(BODY[HEADER.FIELDS (SUBJECT)])")
        found = {item[1].split()[1].decode() for item in data if isinstance(item, tuple)}
        client.logout()
        self.assertEqual(found, subjects)

    def test_workers_end_with_their_parent(self) -> None:
        server = self.start()
        processes = self.workers(server).values()
        server.kill()
        give_up = time.monotonic() + PATIENCE
        for process in processes:
            while is_running(process) and time.monotonic() < give_up:
                time.sleep(0.02)
            self.assertFalse(is_running(process))

    def test_sockets_of_systemd(self) -> None:
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        with socket.create_server((HOST, 0)) as listening:
            endpoint = "systemd:domain=INET:name=imap"
            server = ServerProcess(
                directory,
                [],
                "mailkit",
                "--imap",
                endpoint,
                "--workers",
                "2",
                "--store",
                self.store,
            )
            self.addCleanup(server.kill)
            server.launcher = (sys.executable, "-c", _SYSTEMD, str(listening.fileno()))
            server.descriptors = (listening.fileno(),)
            server.start()
            port = listening.getsockname()[1]
        for number in (1, 2):
            server.wait_for_log(f"worker {number} serves")
        self.log_in(port)
        self.stop(server)

    def test_one_that_cannot_start_ends_it(self) -> None:
        lock = DirectoryLock(self.store.removeprefix("sqlite:"))
        self.addCleanup(lock.release)
        (port,) = free_ports(1)
        endpoint = f"tcp:{port}:interface={HOST}"
        server = self.serve("mailkit", "--imap", endpoint, "--workers", "2", ports=[])
        assert server.process is not None
        self.assertEqual(server.process.wait(PATIENCE), 1)
        self.assertIn("no worker can start: mailkit: --store", server.log)
        self.assertIn("in use by process", server.log)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # Ended, and nobody has asked how.
    return ") Z " not in Path(f"/proc/{process}/stat").read_text()
