"""The LMTP server with other people's clients, over TCP and UNIX sockets: Postfix, swaks, smtplib."""

from __future__ import annotations

import os
import shutil
import smtplib
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet import reactor

from mailkit.auth.portal import make_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.errors import MailError, OverQuota
from mailkit.interfaces import IMessageDelivery
from mailkit.model import Envelope, Outcome
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.spool import Spool
from tests.interop.postfix import MISSING, Postfix
from tests.interop.test_smtp_clients import ANN, BOB, SMTPCase
from tests.support import PATIENCE

CONTENT = (
    b"Subject: hi\r\nFrom: <ann@example.org>\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n"
    b"Message-ID: <1@x.example>\r\n\r\n.one\r\n..two\r\n\xe4\xff\r\n" + b"x" * 990 + b"\r\n"
)


class PickyDelivery(LocalMessageDelivery):
    """Bob's mailbox is full."""

    async def deliver(self, envelope: Envelope, message: Spool) -> list[Outcome]:
        wanted = [r for r in envelope.recipients if str(r.path) != BOB]
        outcomes = iter(())
        if wanted:
            everybody, envelope.recipients = envelope.recipients, wanted
            outcomes = iter(await super().deliver(envelope=envelope, message=message))
            envelope.recipients = everybody
        full: MailError = OverQuota()
        return [
            Outcome(r, full) if str(r.path) == BOB else next(outcomes) for r in envelope.recipients
        ]


class LMTPCase(SMTPCase):
    """An LMTP server on a TCP port and a UNIX socket."""

    full = False

    async def setUp(self) -> None:
        await super().setUp()
        # Short, and open to Postfix's user: sockets have paths of at most 107 octets.
        self.short = Path(tempfile.mkdtemp(prefix="lmtp"))
        self.addCleanup(shutil.rmtree, self.short, ignore_errors=True)
        os.chmod(self.short, 0o755)
        self.factory = LMTPFactory(
            make_portal(self.store, deliveries=self.make_delivery), hostname="mx.example.org"
        )
        self.lmtp = self.listen(self.factory)
        self.socket = str(self.short / "lmtp")
        port = cast(Any, reactor).listenUNIX(self.socket, self.factory, mode=0o666)
        self.addCleanup(port.stopListening)

    def make_delivery(self, account: str | None, _: object) -> IMessageDelivery:
        delivery = PickyDelivery if self.full else LocalMessageDelivery
        return cast(IMessageDelivery, delivery(self.store, self.store, account))


class SmtplibTests(LMTPCase):
    """``smtplib.LMTP``, whose ``sendmail`` knows one reply alone."""

    def send(self, host: str, port: int, *recipients: str) -> dict[str, tuple[int, bytes]]:
        """The refusals by recipient."""
        with smtplib.LMTP(host, port) as client:
            client.ehlo()
            client.mail(ANN, ["BODY=8BITMIME"])
            answers = {name: client.rcpt(name) for name in recipients}
            taken = [name for name, (code, _) in answers.items() if code == 250]
            answers[taken[0]] = client.data(CONTENT)
            answers.update((name, client.getreply()) for name in taken[1:])
            return {name: answer for name, answer in answers.items() if answer[0] != 250}

    async def test_tcp_and_unix(self) -> None:
        for host, port in (("127.0.0.1", self.lmtp), (self.socket, 0)):
            self.assertEqual(await self.in_thread(self.send, host, port, ANN, BOB), {})
        for name in (ANN, BOB):
            messages = await self.inbox(name)
            self.assertEqual(len(messages), 2)
            for message in messages:
                self.assertIn(b"with LMTP id", message)
                self.assertTrue(message.endswith(CONTENT))

    async def test_one_is_full(self) -> None:
        self.full = True
        refused = await self.in_thread(self.send, "127.0.0.1", self.lmtp, ANN, BOB)
        self.assertEqual({name: code for name, (code, _) in refused.items()}, {BOB: 552})
        self.assertEqual([len(await self.inbox(n)) for n in (ANN, BOB)], [1, 0])

    async def test_nothing_is_relayed(self) -> None:
        refused = await self.in_thread(
            self.send, "127.0.0.1", self.lmtp, ANN, "x@example.com", "nobody@example.org"
        )
        codes = {name: code for name, (code, _) in refused.items()}
        self.assertEqual(codes, {"x@example.com": 550, "nobody@example.org": 550})

    async def test_smtp_is_noticed(self) -> None:
        def talk() -> int:
            with smtplib.SMTP("127.0.0.1", self.lmtp, timeout=60) as client:
                return client.ehlo()[0]

        self.assertEqual(await self.in_thread(talk), 500)


@pytest.mark.interop
@unittest.skipIf(shutil.which("swaks") is None, "swaks is not installed")
class SwaksTests(LMTPCase):
    async def test_swaks(self) -> None:
        def work() -> str:
            done = subprocess.run(
                [
                    *("swaks", "--protocol", "LMTP", "--server", "127.0.0.1"),
                    *(
                        "--port",
                        str(self.lmtp),
                        "--from",
                        ANN,
                        "--to",
                        f"{ANN},{BOB}",
                        "--pipeline",
                    ),
                ],
                capture_output=True,
                timeout=60,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return done.stdout

        output = await self.in_thread(work)
        for name in (ANN, BOB):
            self.assertIn(f"250 2.0.0 <{name}> OK, stored as", output)
            self.assertEqual(len(await self.inbox(name)), 1)


@pytest.mark.interop
@unittest.skipIf(MISSING, MISSING)
class PostfixTests(LMTPCase):
    """Postfix hands over what it has queued."""

    async def deliver(self, nexthop: str, *expected: str, recipients: list[str]) -> str:
        """Its log, once these texts stand in it."""
        settings = {
            "virtual_mailbox_domains": "example.org",
            "virtual_mailbox_maps": "",
            "virtual_transport": f"lmtp:{nexthop}",
        }

        def work() -> str:
            postfix = Postfix(settings).start()
            try:
                with smtplib.SMTP("127.0.0.1", postfix.port, timeout=PATIENCE) as client:
                    client.sendmail("me@example.net", recipients, CONTENT, ["BODY=8BITMIME"])
                give_up = time.monotonic() + PATIENCE
                while not all(text in postfix.log for text in expected):
                    assert time.monotonic() < give_up, postfix.log
                    time.sleep(0.05)
                return postfix.log
            finally:
                postfix.stop()

        return await self.in_thread(work)

    async def check(self, nexthop: str) -> None:
        await self.deliver(nexthop, "to=<ann@", "to=<bob@", "removed", recipients=[ANN, BOB])
        for name in (ANN, BOB):
            (message,) = await self.inbox(name)
            self.assertTrue(message.endswith(CONTENT), message)
            self.assertTrue(message.startswith(b"Return-Path: <me@example.net>\r\n"))

    async def test_unix(self) -> None:
        await self.check(f"unix:{self.socket}")

    async def test_tcp(self) -> None:
        await self.check(f"inet:127.0.0.1:{self.lmtp}")

    async def test_each_recipient_for_itself(self) -> None:
        self.full = True
        log = await self.deliver(
            f"unix:{self.socket}",
            *("to=<ann@", "to=<bob@", "to=<nobody@"),
            recipients=[ANN, BOB, "nobody@example.org"],
        )
        for name, result in (
            ("ann", "dsn=2.0.0, status=sent"),
            ("bob", "dsn=5.2.2, status=bounced"),
            ("nobody", "dsn=5.1.1, status=bounced"),
        ):
            lines = [line for line in log.splitlines() if f"to=<{name}@example.org>" in line]
            self.assertEqual([result in line for line in lines], [True], lines)
        self.assertEqual([len(await self.inbox(n)) for n in (ANN, BOB)], [1, 0])
