"""Chains of servers: what goes in comes out octet for octet, but for trace fields."""

from __future__ import annotations

import re
import smtplib

import pytest

from tests.interop import postfix
from tests.interop.support import ANN, message
from tests.interop.test_smtp_senders import SenderCase, name_of, named, survives_postfix
from tests.mime import corpus
from tests.support import HOST, PATIENCE, ServerProcess, free_ports, mailkit_command


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


@pytest.mark.interop
class PostfixChainTests(ChainCase):
    """We relay to Postfix, and Postfix to us."""

    if postfix.MISSING:
        skip = postfix.MISSING

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
        done = mailkit_command("--store", store, "domain", "add", "example.net")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = mailkit_command("--store", store, "alias", "add", "ann@example.net", ANN)
        self.assertEqual(done.returncode, 0, done.stderr)
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
