"""Chains of servers: what goes in comes out octet for octet, but for trace fields."""

from __future__ import annotations

import email
import re
import smtplib
from typing import cast

import pytest

from tests.interop import postfix
from tests.interop.support import ANN, message
from tests.interop.test_smtp_senders import SenderCase, name_of, named, survives_postfix
from tests.mime import corpus
from tests.smtp.test_smuggling import BARE, OTHERS
from tests.support import HOST, PATIENCE, ServerProcess, administer, free_ports


class ChainCase(SenderCase):
    """Mail for example.net goes from us to another server, which brings it back for Ann."""

    def start_with_route(self, route: str) -> ServerProcess:
        ports = list(self.ports.values())
        arguments = ("mailkit", "--config", str(self.config), "--route", f"example.net={route}")
        return self.serve(*arguments, ports=ports)

    def send(self, mails: list[tuple[str, bytes]], *options: str) -> None:
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as client:
            for name, mail in mails:
                refused = client.sendmail("me@example.org", ["ann@example.net"], mail, options)
                self.assertEqual(refused, {}, name)

    def check_all(self, mails: list[tuple[str, bytes]], *hops: bytes) -> None:
        found = {name_of(octets): octets for octets in self.wait_for(ANN, len(mails))}
        self.assertEqual(len(found), len(mails))
        for name, mail in mails:
            whole = found[name.encode()]
            self.assertTrue(whole.endswith(mail), (name, whole[:2000], mail[:2000]))
            trace = whole[: -len(mail)]
            # Nothing but trace fields, and each server has added its own.
            fields = re.sub(rb"\r\n[ \t]", b" ", trace).split(b"\r\n")[:-1]
            names = {field.partition(b":")[0] for field in fields}
            self.assertLessEqual(names, {b"Received", b"Return-Path", b"Delivered-To"}, name)
            received = [field for field in fields if field.startswith(b"Received:")]
            self.assertEqual(len(received), len(hops), received)
            for field, hop in zip(received, hops, strict=True):
                self.assertIn(b" by %b " % hop, field)


class PostfixChainCase(ChainCase):
    """We relay to Postfix, and Postfix to us."""

    def setUp(self) -> None:
        super().setUp()
        self.postfix = postfix.Postfix(
            {
                "relayhost": f"[{HOST}]:{self.ports['smtp']}",
                "smtp_tls_security_level": "may",
                "virtual_alias_domains": "example.net",
                "virtual_alias_maps": "inline:{ {ann@example.net=ann@example.test} }",
                "relay_domains": "",
            }
        )
        self.addCleanup(self.postfix.stop)
        self.postfix.start()


@pytest.mark.interop
class PostfixChainTests(PostfixChainCase):
    """To Postfix and back."""

    if postfix.MISSING:
        skip = postfix.MISSING

    def test_the_corpus(self) -> None:
        mails = [("one", named("one", message("one")))]
        if not corpus.MISSING:
            mails += [(name, named(name, octets)) for name, octets in corpus.messages()]
        mails = [(name, octets) for name, octets in mails if survives_postfix(octets)]
        server = self.start_with_route(f"smtp:{HOST}:{self.postfix.port}")
        self.send(mails, "BODY=8BITMIME")
        own = b"mx.example.test"
        self.check_all(mails, own, b"postfix.example.test", own)
        self.stop(server)


@pytest.mark.interop
class OwnChainTests(ChainCase):
    """We relay to another of us, by SMTP and by LMTP: every octet passes, also what is no text."""

    def chain(self, protocol: str) -> None:
        ports = dict(zip(("smtp", "lmtp"), free_ports(2), strict=True))
        directory = self.directory / "second"
        directory.mkdir()
        store = f"sqlite:{directory}/store"
        administer(store, "domain", "add", "example.net")
        administer(store, "alias", "add", "ann@example.net", ANN)
        second = ServerProcess(
            *(directory, list(ports.values()), "mailkit"),
            *("--store", store, "--hostname", "second.example"),
            *("--smtp", f"tcp:{ports['smtp']}:interface={HOST}"),
            *("--lmtp", f"tcp:{ports['lmtp']}:interface={HOST}"),
            *("--route", f"example.test=smtp:{HOST}:{self.ports['smtp']}"),
        )
        self.addCleanup(second.kill)
        second.start()
        server = self.start_with_route(f"{protocol}:{HOST}:{ports[protocol]}")
        mails = [("one", named("one", message("one")))]
        if not corpus.MISSING:
            mails += [(name, named(name, octets)) for name, octets in corpus.messages()]
        self.send(mails, "BODY=8BITMIME")
        own = b"mx.example.test"
        self.check_all(mails, own, b"second.example", own)
        self.stop(server)

    def test_by_smtp(self) -> None:
        self.chain("smtp")

    def test_by_lmtp(self) -> None:
        self.chain("lmtp")


@pytest.mark.interop
class SmugglingTests(PostfixChainCase):
    """Ends of data that another server might see: what passes us stays one message for Postfix."""

    if postfix.MISSING:
        skip = postfix.MISSING

    def converse(self, port: str, login: bool, number: int, end: bytes) -> int:
        """The code of the reply to a message with another one in it."""
        sender = ANN if login else "eve@example.org"
        with smtplib.SMTP(HOST, self.ports[port], timeout=PATIENCE) as client:
            if login:
                client.login(ANN, f"{ANN} secret")
            else:
                client.ehlo()
            client.mail(sender)
            client.rcpt("ann@example.net")
            client.docmd("DATA")
            client.send(
                b"X-Name: %s%d\r\nFrom: %s\r\nSubject: x\r\n\r\nfirst" % (port.encode(), number, sender.encode())
                + end
                + b"MAIL FROM:<admin@example.org>\r\nRCPT TO:<ann@example.net>\r\nDATA\r\n"
                + b"From: admin@example.org\r\n\r\nsmuggled\r\n.\r\n"
            )  # fmt: skip
            code, _ = client.getreply()
            # It knows of one message, and waits for the next command.
            self.assertEqual(client.noop()[0], 250, end)
            return code

    def test_every_sequence(self) -> None:
        server = self.start_with_route(f"smtp:{HOST}:{self.postfix.port}")
        expected = set()
        for number, end in enumerate(BARE + OTHERS):
            for port, login in (("smtp", False), ("submission", True)):
                code = self.converse(port, login, number, end)
                # Port 25 refuses CR and LF that stand alone, submission mends them.
                self.assertEqual(code, 550 if not login and end in BARE else 250, (port, end))
                if code == 250:
                    expected.add(b"%s%d" % (port.encode(), number))
        found = self.wait_for(ANN, len(expected))
        self.assertEqual({name_of(octets) for octets in found}, expected)
        self.assertEqual(len(found), len(expected))
        for octets in found:
            # What holds NUL was encoded on its way: Postfix knows no BINARYMIME.
            body = email.message_from_bytes(octets).get_payload(decode=True)
            self.assertIn(b"MAIL FROM:<admin@example.org>", cast(bytes, body))
            self.assertNotIn(b"Return-Path: <admin@example.org>", octets)
        self.assertIn("Mail queue is empty", self.postfix.queue())
        self.stop(server)
