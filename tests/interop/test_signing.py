"""Signatures that OpenDKIM verifies, of mail that a real server has sent."""

from __future__ import annotations

import io
import re
import shutil
import smtplib
import socket
import subprocess
import time
from pathlib import Path
from unittest import skipIf

import dkim
import pytest
from twisted.internet.defer import DeferredQueue
from twisted.internet.threads import deferToThread
from twisted.names import dns
from twisted.trial.unittest import TestCase

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.model import Envelope
from mailkit.model import Path as MailPath
from mailkit.signing.dkim import DKIMSigner
from mailkit.signing.keys import make_key
from mailkit.signing.srs import SRS
from mailkit.smtp.protocol import SMTPFactory
from mailkit.spool import Spool
from tests.dns.zones import Zone, serve_zone
from tests.interop.support import ANN
from tests.interop.test_outbound import SendingServer, reactor
from tests.support import HOST, PATIENCE, free_ports, mailkit_command

DOMAIN = ANN.partition("@")[2]


class Sink:
    """A server that takes all mail."""

    def __init__(self, case: TestCase) -> None:
        self._got: DeferredQueue[tuple[Envelope, bytes]] = DeferredQueue()
        delivery = CallableDelivery(self._put, domains=["remote.test", "stranger.test"])
        factory = SMTPFactory(delivery_portal(delivery), hostname="sink.test")
        port = reactor.listenTCP(0, factory, interface=HOST)
        case.addCleanup(port.stopListening)
        self.address = f"{HOST}:{port.getHost().port}"

    async def _put(self, envelope: Envelope, message: Spool) -> None:
        with message.open() as file:
            self._got.put((envelope, file.read()))

    async def take(self) -> tuple[Envelope, bytes]:
        """The next message, with its envelope."""
        getting = self._got.get()
        getting.addTimeout(PATIENCE, reactor)
        return await getting


@pytest.mark.interop
@skipIf(shutil.which("opendkim") is None, "opendkim is not installed")
class OpenDKIMTests(SendingServer):
    """``mailkit dkim generate``, a server with --relay, and OpenDKIM on the other side."""

    def verify(self, message: bytes, records: str) -> str:
        """What OpenDKIM says of a message, with records instead of DNS."""
        place = Path(self.mktemp()).resolve()
        place.mkdir()
        lines = re.findall(r"(\S+)\. IN TXT \( (.*) \)", records)
        keys = [f"{name} {text.replace(chr(34) + ' ' + chr(34), '')[1:-1]}" for name, text in lines]
        (place / "keys").write_text("\n".join(keys) + "\n")
        (place / "conf").write_text(f"Mode v\nSyslog no\nTestPublicKeys {place}/keys\n")
        (place / "message").write_bytes(message.replace(b"\r\n", b"\n"))
        done = subprocess.run(
            ["opendkim", "-x", str(place / "conf"), "-t", str(place / "message"), "-vv"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.stdout + done.stderr

    async def test_both_kinds_of_signatures_hold(self) -> None:
        records = "".join(
            mailkit_command(
                *("--store", self.store, "dkim", "generate", DOMAIN, "--algorithm", algorithm)
            ).stdout
            for algorithm in ("rsa", "ed25519")
        )
        sink = Sink(self)
        server = await deferToThread(self.start, sink.address, undo=0)
        await deferToThread(self.submit, "eve@remote.test", subject="signed")
        _, got = await sink.take()
        await deferToThread(server.kill)
        answer = await deferToThread(self.verify, got, records)
        self.assertIn("dkim=pass (2048-bit key) header.d=" + DOMAIN, answer)
        self.assertEqual(answer.count("dkim=pass"), 2, answer)
        answer = await deferToThread(self.verify, got.replace(b"signed", b"other"), records)
        self.assertNotIn("dkim=pass", answer)
        self.assertEqual(answer.count("dkim=fail"), 2, answer)


@pytest.mark.interop
class SendingOnTests(SendingServer):
    """An alias that leads elsewhere: what it sends on, and what comes back."""

    def send(self, sender: str, to: str, content: bytes) -> None:
        with smtplib.SMTP(HOST, self.smtp, timeout=PATIENCE) as client:
            client.sendmail(sender, [to], content)

    async def test_there_and_back(self) -> None:
        (self.smtp,) = free_ports(1)
        author = make_key("stranger.test", "s")
        records = ""
        for arguments in (
            ("alias", "add", f"team@{DOMAIN}", "eve@remote.test"),
            ("dkim", "generate", DOMAIN),
        ):
            done = await deferToThread(mailkit_command, "--store", self.store, *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            records = done.stdout
        name = author.name.encode()
        _, dns_port = serve_zone(self, Zone(b"stranger.test", {name: [text_record(author.record)]}))
        sink = Sink(self)
        server = await deferToThread(
            self.start,
            sink.address,
            f'smtp = "tcp:{self.smtp}:interface={HOST}"',
            nameservers=[f"{HOST}:{dns_port}"],
            **{"srs.domain": DOMAIN},
        )
        original = b"From: joe@stranger.test\r\nSubject: on\r\n\r\nhello\r\n"
        original = DKIMSigner(time.time).sign(io.BytesIO(original), [author]) + original
        await deferToThread(self.send, "joe@stranger.test", f"team@{DOMAIN}", original)
        envelope, message = await sink.take()
        # Who is asked, and what for, is known from here on.
        sender = str(envelope.reverse_path)
        self.assertRegex(sender, rf"\ASRS0=.{{4}}=..=stranger\.test=joe@{re.escape(DOMAIN)}\Z")
        self.assertIn(b" dkim=pass header.d=stranger.test header.s=s", message)
        ours = "".join(re.findall('"([^"]*)"', records)).encode()
        chain = dkim.ARC(message).verify(dnsfunc=lambda name, timeout=5: ours)[0]
        self.assertEqual(chain, b"pass")
        # The report about it goes to Joe.
        await deferToThread(self.send, "", sender, b"Subject: failed\r\n\r\nsorry\r\n")
        envelope, message = await sink.take()
        self.assertEqual(str(envelope.recipients[0].path), "joe@stranger.test")
        self.assertTrue(envelope.reverse_path.is_null)
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            await deferToThread(self.send, "eve@remote.test", sender, b"spam")
        await deferToThread(server.kill)


def text_record(text: str) -> dns.Record_TXT:
    """A text in strings that fit."""
    octets = text.encode()
    return dns.Record_TXT(*(octets[at : at + 255] for at in range(0, len(octets), 255)))


@pytest.mark.interop
@skipIf(shutil.which("postsrsd") is None, "postsrsd is not installed")
class PostSRSdTests(TestCase):
    """Addresses that each of both has made are understood by the other."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp()).resolve()
        self.place.mkdir(parents=True)
        (self.place / "secrets").write_text("secret\n")
        self.ports = free_ports(2)
        self.daemon = subprocess.Popen(
            [
                *("postsrsd", "-4", "-l", HOST, "-d", "example.org"),
                *("-f", str(self.ports[0]), "-r", str(self.ports[1])),
                *("-s", str(self.place / "secrets")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(self.daemon.wait)
        self.addCleanup(self.daemon.kill)

    def ask(self, port: int, address: str) -> str:
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection((HOST, port), PATIENCE) as connection:
                    connection.sendall(f"get {address}\n".encode())
                    return connection.recv(4096).decode().strip()
            except ConnectionError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)

    def test_both_ways(self) -> None:
        srs = SRS("example.org", [b"secret"], time.time)
        forward, reverse = self.ports
        for address in (
            "ann@example.net",
            "Ann.Smith+tag@Example.COM",
            "a=b@example.net",
            "SRS0=abcd=ab=example.net=ann@relay.example",
            "SRS1=abcd=other.example==xyz=ab=example.net=ann@relay.example",
        ):
            ours = str(srs.wrap(MailPath(*address.rsplit("@", 1))))
            self.assertEqual(self.ask(forward, address), f"200 {ours}")
            back = str(srs.unwrap(MailPath(*ours.rsplit("@", 1))))
            self.assertEqual(self.ask(reverse, ours), f"200 {back}")
