"""HAProxy in front of every protocol; XCLIENT by swaks, XFORWARD by Postfix."""

from __future__ import annotations

import imaplib
import os
import poplib
import shutil
import smtplib
import subprocess
import time
import unittest
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory

from mailkit.auth.portal import make_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.imap.protocol import IMAPFactory
from mailkit.pop3.protocol import POP3Factory
from mailkit.proxy import ProxyFactory
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.smtp.protocol import SMTPFactory
from mailkit.smtp.submission import SubmissionFactory
from mailkit.wire.networks import Networks
from tests.interop.postfix import MISSING, Postfix
from tests.interop.test_smtp_clients import ANN, BOB, PASSWORD, SMTPCase
from tests.support import HOST, PATIENCE, free_ports, listens

#: Where clients come from: not the address of the proxy.
CLIENT = "127.0.0.2"
_CONFIG = """\
defaults
  mode tcp
  timeout connect 20s
  timeout client 60s
  timeout server 60s
"""


@pytest.mark.interop
@unittest.skipIf(shutil.which("haproxy") is None, "haproxy is not installed")
class HAProxyTests(SMTPCase):
    async def setUp(self) -> None:
        await super().setUp()
        portal = make_portal(
            self.store,
            deliveries=lambda account, _: LocalMessageDelivery(self.store, self.store, account),
        )
        tls = {"tls_context": self.tls_context}
        imap = IMAPFactory(portal, **tls)
        self.factories: dict[str, Any] = {
            "smtp": SMTPFactory(portal, hostname="mx.example.org", **tls),
            "lmtp": LMTPFactory(portal, hostname="mx.example.org"),
            "submission": SubmissionFactory(portal, hostname="mx.example.org", **tls),
            "pop3": POP3Factory(portal, **tls),
            "imap": imap,
            "imaps": TLSMemoryBIOFactory(self.tls_context, False, imap),
        }

    async def start(self, option: str, *names: str, bind: str = "", server: str = "") -> list[int]:
        """HAProxy in front of some servers; its ports."""
        proxies = Networks([HOST])
        clock: Any = reactor
        ports = free_ports(len(names))
        text = _CONFIG
        for name, port in zip(names, ports, strict=True):
            behind = self.listen(ProxyFactory(self.factories[name], proxies, clock))
            text += f"listen {name}\n  bind {HOST}:{port} {bind}\n"
            text += f"  server one {HOST}:{behind} {option} {server}\n"
        path = os.path.join(self.directory, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(text)
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

        def stop() -> None:
            process.terminate()
            process.communicate(timeout=PATIENCE)

        def wait() -> None:
            give_up = time.monotonic() + PATIENCE
            while not all(map(listens, ports)):
                if process.poll() is not None or time.monotonic() > give_up:
                    assert process.stderr is not None
                    raise AssertionError(process.stderr.read().decode())
                time.sleep(0.05)

        self.addCleanup(stop)
        await self.in_thread(wait)
        return ports

    async def check(self, option: str) -> None:
        smtp, lmtp, pop3, imap, imaps = await self.start(
            option, "smtp", "lmtp", "pop3", "imap", "imaps"
        )

        def talk() -> None:
            source = (CLIENT, 0)
            with smtplib.SMTP(HOST, smtp, timeout=PATIENCE, source_address=source) as client:
                client.starttls(context=self.client_tls())
                client.sendmail(ANN, BOB, b"Subject: 1\r\n\r\nx\r\n")
            with smtplib.LMTP(HOST, lmtp, source_address=source) as client:
                client.sendmail(ANN, BOB, b"Subject: 2\r\n\r\nx\r\n")
            pop = poplib.POP3(HOST, pop3, timeout=PATIENCE)
            pop.stls(self.client_tls())
            pop.user(BOB)
            pop.pass_(PASSWORD)
            self.assertEqual(pop.stat()[0], 2)
            pop.quit()
            for reader in (
                imaplib.IMAP4(HOST, imap, timeout=PATIENCE),
                imaplib.IMAP4_SSL(HOST, imaps, ssl_context=self.client_tls(), timeout=PATIENCE),
            ):
                reader.login(BOB, PASSWORD)
                self.assertEqual(reader.select()[1], [b"2"])
                reader.logout()

        await self.in_thread(talk)
        for message in await self.inbox(BOB):
            self.assertIn(f"([{CLIENT}])".encode(), message)

    async def test_version_1(self) -> None:
        await self.check("send-proxy")

    async def test_version_2(self) -> None:
        await self.check("send-proxy-v2")

    async def test_tls_that_ends_at_the_proxy(self) -> None:
        pem = os.path.join(self.directory, "both.pem")
        with open(pem, "wb") as both:
            for name in ("key.pem", "certificate.pem"):
                with open(os.path.join(self.directory, name), "rb") as part:
                    both.write(part.read())
        (port,) = await self.start(
            "send-proxy-v2-ssl-cn", "submission", bind=f"ssl crt {pem} alpn smtp"
        )

        def talk() -> None:
            with smtplib.SMTP_SSL(
                HOST, port, timeout=PATIENCE, context=self.client_tls(), source_address=(CLIENT, 0)
            ) as client:
                client.ehlo()
                self.assertNotIn("starttls", client.esmtp_features)
                client.login(ANN, PASSWORD)
                client.sendmail(ANN, BOB, f"From: {ANN}\r\n\r\nx\r\n".encode())

        await self.in_thread(talk)
        trace, _ = await self.only_message(BOB)
        self.assertIn(f"([{CLIENT}])", trace)
        self.assertIn("with ESMTPSA id", trace)

    async def test_health_checks(self) -> None:
        # They come with LOCAL; a server that failed them would get no client.
        (port,) = await self.start(
            "send-proxy-v2",
            "smtp",
            # However slow the machine is: else the interval is the time-out.
            bind="\n  option smtpchk EHLO check.example\n  timeout check 60s",
            server="check check-send-proxy inter 100ms rise 1 fall 1",
        )

        def talk() -> None:
            for _ in range(5):
                time.sleep(0.2)
                with smtplib.SMTP(
                    HOST, port, timeout=PATIENCE, source_address=(CLIENT, 0)
                ) as client:
                    self.assertEqual(client.noop()[0], 250)

        await self.in_thread(talk)


class TellingCase(SMTPCase):
    """An SMTP server that believes this machine."""

    async def setUp(self) -> None:
        await super().setUp()
        portal = make_portal(
            self.store,
            deliveries=lambda account, _: LocalMessageDelivery(self.store, self.store, account),
        )
        extensions = ExtensionSettings(xclient_from=[HOST])
        factory = SMTPFactory(portal, hostname="mx.example.org", extensions=extensions)
        self.smtp = self.listen(factory)


@pytest.mark.interop
class XCLIENTTests(TellingCase):
    async def test_swaks(self) -> None:
        await self.run_program(
            *("swaks", "--server", HOST, "--port", str(self.smtp), "--from", ANN, "--to", BOB),
            *("--xclient", "NAME=mail.example ADDR=198.51.100.9 PORT=1234 HELO=x.example"),
            *("--xclient", "PROTO=ESMTP", "--helo", "x.example"),
        )
        trace, _ = await self.only_message(BOB)
        self.assertIn("from x.example ([198.51.100.9])", trace)

    async def test_login(self) -> None:
        await self.run_program(
            *("swaks", "--server", HOST, "--port", str(self.smtp), "--from", ANN, "--to", BOB),
            *("--xclient-addr", "198.51.100.9", "--xclient-login", ANN, "--helo", "x.example"),
        )
        trace, _ = await self.only_message(BOB)
        self.assertIn("with ESMTPA ", trace)


@pytest.mark.interop
@unittest.skipIf(MISSING, MISSING)
class XFORWARDTests(TellingCase):
    async def test_postfix(self) -> None:
        settings = {"relayhost": f"[{HOST}]:{self.smtp}", "relay_domains": "example.org"}
        settings["smtp_send_xforward_command"] = "yes"

        def work() -> None:
            postfix = Postfix(settings).start()
            try:
                with smtplib.SMTP(HOST, postfix.port, timeout=PATIENCE) as client:
                    client.sendmail(ANN, BOB, b"Subject: x\r\n\r\nx\r\n")
                give_up = time.monotonic() + PATIENCE
                while "status=" not in postfix.log:
                    assert time.monotonic() < give_up, postfix.log
                    time.sleep(0.05)
                self.assertIn("status=sent", postfix.log)
            finally:
                postfix.stop()

        with capturedLogs() as events:
            await self.in_thread(work)
        lines = [line for e in events if "passed on" in (line := formatEvent(e) or "")]
        self.assertEqual(len(lines), 1)
        self.assertIn(f"ADDR={HOST}", lines[0])
        self.assertEqual(len(await self.inbox(BOB)), 1)
