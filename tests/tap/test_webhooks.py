"""``[[queue.webhooks]]``: settings, and a service that tells the example's receiver."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.errors import NoSuchRecipient
from mailkit.model import Envelope
from mailkit.smtp.client import make_envelope
from mailkit.smtp.protocol import SMTPFactory
from mailkit.spool import Spool
from mailkit.tap.errors import SettingError
from mailkit.tap.relay import Relay
from mailkit.tap.sending import SendingService
from mailkit.tap.webhooks import parse_webhooks
from tests.support import PATIENCE, free_ports, until
from tests.test_examples import EXAMPLES, environment

reactor: Any = _reactor
SECRET = "0123456789abcdef"
URL = "https://app.example.org/"


class SettingTests(SynchronousTestCase):
    def write(self, text: str) -> str:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_good(self) -> None:
        path = self.write(f"{SECRET}\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
        (webhook,) = parse_webhooks([{"url": URL, "secret-file": path, "events": ["failed"]}])
        self.assertEqual([len(secret) for secret in webhook.secrets], [16, 24])
        self.assertEqual(parse_webhooks([]), [])

    def test_bad(self) -> None:
        good = {"url": URL, "secret-file": self.write(SECRET)}
        for tables in (
            [1],
            [{}],
            [{**good, "what": 1}],
            [{**good, "url": "ftp://example.org/"}],
            [{**good, "secret-file": "/nowhere"}],
            [{**good, "secret-file": self.write("short")}],
            [{**good, "secret-file": self.write("whsec_?")}],
            [{**good, "events": "failed"}],
            [{**good, "events": ["opened"]}],
            [good, good],
            [{**good, "url": f"{URL}{number}"} for number in range(21)],
        ):
            self.assertRaises(SettingError, parse_webhooks, tables)


class ServiceTests(TestCase):
    async def test_a_program_hears(self) -> None:
        class OnlyEve(CallableDelivery):
            async def check_recipient(self, envelope: Any, recipient: Any) -> None:
                if recipient.path.local_part != "eve":
                    raise NoSuchRecipient

        async def take(envelope: Envelope, message: Spool) -> None:
            pass

        portal = delivery_portal(OnlyEve(take, domains=["example.net"]))
        remote = reactor.listenTCP(0, SMTPFactory(portal), interface="127.0.0.1")
        self.addCleanup(remote.stopListening)
        secret = self.mktemp()
        with open(secret, "w", encoding="utf-8") as file:
            file.write("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
        (port,) = free_ports(1)
        table = {"webhooks": [{"url": f"http://127.0.0.1:{port}/", "secret-file": secret}]}
        relay = Relay(f"127.0.0.1:{remote.getHost().port}", None, table)
        sending = SendingService(
            f"sqlite:{os.path.abspath(self.mktemp())}", relay, hostname="mail.example.org"
        )
        sending.startService()
        self.addCleanup(sending.stopService)
        # Nobody listens yet: it comes when somebody does.
        envelope = make_envelope("ann@example.org", ["eve@example.net", "joe@example.net"])
        await sending.submit(envelope, b"Subject: hi\r\n\r\nhi\r\n")
        output = self.mktemp()
        with open(output, "wb") as file:
            program = subprocess.Popen(
                [sys.executable, str(EXAMPLES / "webhook_receiver.py"), str(port), secret],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
        self.addCleanup(program.wait, PATIENCE)
        self.addCleanup(program.kill)

        def lines() -> list[str]:
            with open(output, encoding="utf-8") as file:
                return sorted(" ".join(line.split()[:2]) for line in file)

        await until(lambda: len(lines()) >= 4)
        self.assertEqual(
            lines(),
            [
                "message.delivered eve@example.net",
                "message.failed joe@example.net",
                "message.queued eve@example.net",
                "message.queued joe@example.net",
            ],
        )
        await self.check_forgery(port)

    async def check_forgery(self, port: int) -> None:
        import urllib.error
        import urllib.request

        def post() -> int:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", b"{}")
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        self.assertEqual(await deferToThread(post), 403)
