"""A real server that sends: to Postfix, found by DNS; and through ``kill -9`` without a loss."""

from __future__ import annotations

import imaplib
import re
import smtplib
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread
from twisted.names import dns
from twisted.trial.unittest import TestCase

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.model import Envelope
from mailkit.smtp.protocol import SMTPFactory
from mailkit.spool import Spool
from tests.dns.zones import Zone, serve_zone
from tests.interop.postfix import MISSING as NO_POSTFIX
from tests.interop.postfix import Postfix
from tests.interop.support import ANN, message
from tests.support import HOST, PATIENCE, ServerProcess, administer, free_ports, mailkit_command

reactor: Any = _reactor


class SendingServer(TestCase):
    """A server whose mail goes to ``remote.test``."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)
        self.store = f"sqlite:{self.directory}/store"
        self.submission, self.imap = free_ports(2)
        administer(
            self.store,
            *("account", "add", ANN, "--password-stdin", "--scheme", "plain"),
            input=f"{ANN} secret\n",
        )

    def start(self, relay: str, *more: str, **queue: Any) -> ServerProcess:
        config = self.directory / "mailkit.toml"
        lines = [
            f'submission = "tcp:{self.submission}:interface={HOST}"',
            f'imap = "tcp:{self.imap}:interface={HOST}"',
            f'relay = "{relay}"',
            'hostname = "mx.example.test"',
            *more,
            "[queue]",
            *(f"{name.replace('_', '-')} = {value!r}" for name, value in queue.items()),
        ]
        config.write_text("\n".join(lines))
        server = ServerProcess(
            self.directory,
            [self.submission, self.imap],
            *("mailkit", "--config", str(config), "--store", self.store),
        )
        self.addCleanup(server.kill)
        return server.start()

    def submit(self, *to: str, subject: str = "hi", options: tuple[str, ...] = ()) -> None:
        with smtplib.SMTP(HOST, self.submission, timeout=PATIENCE) as client:
            client.login(ANN, f"{ANN} secret")
            client.sendmail(
                ANN,
                list(to),
                message(subject),
                mail_options=["BODY=8BITMIME"],
                rcpt_options=options,
            )

    def queue(self, *arguments: str) -> str:
        done = mailkit_command("--store", self.store, "queue", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def wait_for(self, condition: Any) -> None:
        give_up = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), give_up, "it did not happen in time")
            time.sleep(0.05)

    def inbox(self) -> list[bytes]:
        client = imaplib.IMAP4(HOST, self.imap, timeout=PATIENCE)
        client.login(ANN, f"{ANN} secret")
        client.select(readonly=True)
        _, data = client.uid("FETCH", "1:*", "(BODY[])")
        client.logout()
        return [item[1] for item in data if isinstance(item, tuple)]


class PartialTests(SendingServer):
    """Some recipients get it, and of the others the user gets a report."""

    def test_report_of_a_full_mailbox(self) -> Any:
        return deferToThread(self.run_report_of_a_full_mailbox)

    def run_report_of_a_full_mailbox(self) -> None:
        bob = "bob@example.test"
        for arguments in (("add", bob, "--password-stdin"), ("quota", bob, "--storage", "1k")):
            command = ("--store", self.store, "account", *arguments)
            done = mailkit_command(*command, input="long enough secret\n")
            self.assertEqual(done.returncode, 0, done.stderr)
        self.start(f"{HOST}:1")
        with smtplib.SMTP(HOST, self.submission, timeout=PATIENCE) as client:
            client.login(ANN, f"{ANN} secret")
            # Without SIZE, which would be judged at RCPT.
            for command in (f"MAIL FROM:<{ANN}>", f"RCPT TO:<{ANN}>", f"RCPT TO:<{bob}>"):
                self.assertEqual(client.docmd(command)[0], 250)
            content = message("large") + b"x" * 900 + b"\r\n" + b"y" * 900 + b"\r\n"
            self.assertEqual(client.data(content)[0], 250)
        self.wait_for(lambda: len(self.inbox()) == 2)
        (report,) = [each for each in self.inbox() if b"Action: failed" in each]
        self.assertIn(b"Final-Recipient: rfc822; bob@example.test", report)
        self.assertIn(b"y" * 900, report)


@pytest.mark.interop
class PostfixTests(SendingServer):
    skip = NO_POSTFIX or None
    timeout = 600

    def setUp(self) -> None:
        super().setUp()
        self.postfix = Postfix(
            {
                "relay_domains": "remote.test",
                "relay_transport": "discard:",
                "relay_recipient_maps": "inline:{eve@remote.test=ok, joe@remote.test=ok}",
            }
        ).start()
        self.addCleanup(self.postfix.stop)
        # Nobody listens at the better one.
        zone = Zone(
            b"remote.test",
            {
                b"remote.test": [
                    dns.Record_MX(10, b"dead.remote.test"),
                    dns.Record_MX(20, b"mx.remote.test"),
                ],
                b"dead.remote.test": [dns.Record_A("127.0.0.77")],
                b"mx.remote.test": [dns.Record_A(HOST)],
            },
        )
        host, port = serve_zone(self, zone)
        self.settings = {"nameservers": [f"{host}:{port}"], "port": self.postfix.port}

    def test_delivered_and_refused(self) -> Any:
        return deferToThread(self.run_delivered_and_refused)

    def run_delivered_and_refused(self) -> None:
        server = self.start("mx", **self.settings)
        self.submit("eve@remote.test", "joe@remote.test")
        self.wait_for(lambda: self.postfix.log.count("status=sent") == 2)
        self.assertIn("client=", self.postfix.log)
        self.assertEqual(self.queue("list"), "The queue is empty.\n")
        self.assertIn("mx.remote.test", self.queue("show", "1"))
        self.submit("nobody@remote.test")
        self.wait_for(self.inbox)
        (report,) = self.inbox()
        self.assertIn(b"Final-Recipient: rfc822; nobody@remote.test", report)
        self.assertIn(b"Remote-MTA: dns; mx.remote.test", report)
        self.assertRegex(report, rb"Diagnostic-Code: smtp; 550 5\.1\.1 ")
        server.stop()
        self.assertNotIn("Traceback", server.log)

    def test_held_and_released(self) -> Any:
        return deferToThread(self.run_held_and_released)

    def run_held_and_released(self) -> None:
        # Long enough to be held before it leaves.
        server = self.start("mx", **self.settings, undo=3600)
        self.submit("eve@remote.test")
        self.assertIn("scheduled until", self.queue("list"))
        self.assertIn("1 recipient is held", self.queue("hold", "1"))
        self.assertIn("1 recipient is released", self.queue("release", "--all"))
        self.wait_for(lambda: "status=sent" in self.postfix.log)
        server.stop()


@pytest.mark.slow
class KillTests(SendingServer):
    timeout = 600
    messages = 150

    def setUp(self) -> None:
        super().setUp()
        self.got: Counter[bytes] = Counter()
        portal = delivery_portal(CallableDelivery(self.take, domains=["remote.test"]))
        self.sink = reactor.listenTCP(0, SMTPFactory(portal), interface=HOST)
        self.addCleanup(self.sink.stopListening)

    async def take(self, envelope: Envelope, message: Spool) -> None:
        assert message.data is not None
        found = re.search(rb"^Subject: (\S+)", message.data, re.M)
        assert found is not None
        self.got[found[1]] += len(envelope.recipients)

    def test_nothing_is_lost(self) -> Any:
        return deferToThread(self.run_nothing_is_lost)

    def run_nothing_is_lost(self) -> None:
        relay = f"{HOST}:{self.sink.getHost().port}"
        acknowledged: list[bytes] = []
        for round_ in range(3):
            server = self.start(relay, intervals=[1])
            loading = threading.Thread(target=self.load, args=(round_, acknowledged))
            loading.start()
            target = len(acknowledged) + self.messages // 3
            self.wait_for(lambda target=target: len(acknowledged) >= target)
            server.kill()
            loading.join()
        server = self.start(relay, intervals=[1])
        self.wait_for(lambda: self.queue("list") == "The queue is empty.\n")
        server.stop()
        missing = [each for each in acknowledged if not self.got[each]]
        self.assertEqual(missing, [])
        # Twice is only what was under way at a kill, at most three for each of 20 connections.
        twice = [each for each, count in self.got.items() if count > 1]
        self.assertLessEqual(len(twice), 3 * 60)

    def load(self, round_: int, acknowledged: list[bytes]) -> None:
        try:
            for number in range(10_000):
                subject = f"r{round_}-{number}"
                self.submit("eve@remote.test", subject=subject)
                acknowledged.append(subject.encode())
        except (OSError, EOFError, smtplib.SMTPException):
            return
