"""What aliases send on: reverse-paths and ARC sets of it."""

from __future__ import annotations

import re
import time
from typing import Any

import dkim
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.errors import DNSTimeout
from mailkit.model import ConnectionInfo, Envelope, Path
from mailkit.signing.arc import MAX_KEYS, MAX_SEALED, Record, Sealer, Verifier, key_names
from mailkit.signing.dkim import Canonicalization, DKIMSigner, Unsignable, read_header
from mailkit.signing.forwarding import ForwardingTransport, Sealing
from mailkit.signing.keys import Algorithm, KeyRing, SigningKey
from mailkit.signing.srs import SRS
from mailkit.testing.queue import queue_envelope
from tests.dns.fakes import FakeResolver
from tests.signing.support import both_keys, file, key
from tests.signing.test_srs import NOW, POSTSRSD, path
from tests.signing.test_transport import Recorder, at_once

MESSAGE = b"From: ann@example.net\r\nTo: team@example.org\r\nSubject: Lunch\r\n\r\nAt noon?\r\n"
#: Keys of the servers on the way, and of the author.
KEYS = [key("example.org"), key("relay.example"), *both_keys("example.net")]
RECORDS = {each.name: Record(each.record) for each in KEYS}


def signed(message: bytes = MESSAGE) -> bytes:
    """With the author's signatures."""
    return DKIMSigner(lambda: NOW).sign(file(message), both_keys("example.net")) + message


def seal(message: bytes, made: SigningKey = KEYS[0], **records: Record) -> bytes:
    """With one more ARC set."""
    sealer = Sealer(made, f"mx.{made.domain}", lambda: NOW)
    return sealer.seal(file(message), RECORDS) + message


def chain(message: bytes) -> str | None:
    """What dkimpy finds, without any code of ours."""

    def find(name: Any, timeout: float = 0) -> bytes | None:
        record = RECORDS.get(bytes(name).decode().rstrip("."))
        return None if record is None or record.text is None else record.text.encode()

    found = dkim.ARC(message).verify(dnsfunc=find)[0]
    return None if found is None else str(found, "ascii")


def results(message: bytes) -> str:
    """What the newest ARC-Authentication-Results says, unfolded."""
    found = re.search(rb"ARC-Authentication-Results: (.*?\r\n(?: .*?\r\n)*)", message)
    assert found is not None
    return " ".join(found[1].decode().split())


class SealTests(SynchronousTestCase):
    def test_the_first_set(self) -> None:
        message = seal(signed())
        self.assertEqual(chain(message), "pass")
        self.assertEqual(
            re.sub('header.b="[^"]{8}"', "header.b=x", results(message)),
            "i=1; mx.example.org; arc=none;"
            " dkim=pass header.d=example.net header.s=r header.b=x;"
            " dkim=pass header.d=example.net header.s=e header.b=x",
        )
        names = [name for name, _ in read_header(file(message)).fields[:3]]
        self.assertEqual(
            names, [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"]
        )
        self.assertIn(b"cv=none", message.partition(b"ARC-Message")[0])

    def test_three_sets_by_two_servers(self) -> None:
        message = seal(signed())
        message = b"Received: from x\r\n" + seal(b"Received: from y\r\n" + message, KEYS[1])
        message = seal(message)
        self.assertEqual(chain(message), "pass")
        self.assertTrue(results(message).startswith("i=3; mx.example.org; arc=pass; dkim=pass "))
        self.assertIn(b"cv=pass", message.partition(b"ARC-Message")[0])

    def test_what_was_changed_on_the_way_is_told(self) -> None:
        message = seal(signed()).replace(b"Subject: Lunch", b"Subject: [team] Lunch")
        self.assertEqual(chain(message), "fail")
        message = seal(message, KEYS[1])
        self.assertTrue(results(message).startswith("i=2; mx.relay.example; arc=fail; dkim=fail "))
        newest = message.partition(b"ARC-Message")[0]
        self.assertIn(b"cv=fail", newest)

    def test_a_chain_that_has_failed_is_not_gone_on_with(self) -> None:
        message = seal(seal(signed()).replace(b"Lunch", b"Dinner"), KEYS[1])
        self.assertIsNone(chain(message))
        self.assertEqual(seal(message), message)

    def test_a_failed_set_is_sealed_alone(self) -> None:
        # RFC 8617 section 5.1.2: as if it was the only one.
        message = seal(seal(signed()).replace(b"Lunch", b"Dinner"), KEYS[1])
        whole = read_header(file(message)).fields
        seal_field, own = whole[0], whole[1:3]
        value = re.sub(rb"\s+", b"", bytes(seal_field[1]))
        self.assertIn(b"i=2;", value)
        verifier = dkim.ARC()
        verifier.headers = [seal_field, *own]
        tags = dkim.util.parse_tag_value(seal_field[1])
        found = verifier.verify_sig(
            tags | {b"c": b"relaxed/relaxed"},
            [b"arc-authentication-results", b"arc-message-signature"],
            seal_field,
            lambda name, timeout=0: KEYS[1].record.encode(),
        )
        self.assertTrue(found)

    def test_only_what_was_verified_here_is_told(self) -> None:
        lie = b"Authentication-Results: mx.example.org; dkim=pass header.d=bank.example\r\n"
        message = seal(lie + MESSAGE)
        self.assertEqual(results(message), "i=1; mx.example.org; arc=none; dkim=none")
        # And nobody has it in a signature who may take it out (RFC 8617 section 4.1.2).
        self.assertEqual(chain(message.replace(lie, b"")), "pass")

    def test_signatures_that_do_not_hold(self) -> None:
        records = dict(RECORDS)

        def found(message: bytes) -> list[str]:
            names = Verifier(message, records).find().results
            return [name.partition(" ")[0] for name in names]

        self.assertEqual(found(signed()), ["arc=none", "dkim=pass", "dkim=pass"])
        self.assertEqual(found(signed() + b"x\r\n"), ["arc=none", "dkim=fail", "dkim=fail"])
        records["r._domainkey.example.net"] = Record(None)
        records["e._domainkey.example.net"] = Record(None, failed=True)
        self.assertEqual(found(signed()), ["arc=none", "dkim=permerror", "dkim=temperror"])
        records["r._domainkey.example.net"] = Record("v=DKIM1; p=!")
        self.assertEqual(found(signed())[1], "dkim=fail")
        old = signed().replace(b"a=rsa-sha256", b"a=rsa-sha1")
        self.assertEqual(found(old)[1], "dkim=permerror")
        self.assertRaises(Unsignable, found, b"no header\r\n")

    def test_without_an_answer_of_dns_nothing_is_judged(self) -> None:
        message = seal(signed())
        records = {each.name: Record(None, failed=True) for each in KEYS}
        sealer = Sealer(KEYS[1], "x", lambda: NOW)
        self.assertEqual(sealer.seal(file(message), records), b"")

    def test_hostile_tags_say_nothing(self) -> None:
        message = signed().replace(b"d=example.net", b'd="a;\r\n dkim=pass header.d=b"')
        text = "; ".join(Verifier(message, RECORDS).find().results)
        self.assertNotIn("header.d=b", text)

    def test_keys_that_are_asked_for(self) -> None:
        message = seal(signed())
        self.assertEqual(
            key_names(read_header(file(message))),
            ["r._domainkey.example.org", "r._domainkey.example.net", "e._domainkey.example.net"],
        )
        many = b"".join(
            b"ARC-Seal: i=%d; d=d%d.example; s=s\r\n" % (number, number) for number in range(200)
        )
        names = key_names(read_header(file(many * 2 + MESSAGE)))
        self.assertEqual(len(names), MAX_KEYS)

    def test_forms_of_the_body(self) -> None:
        for form in "relaxed/relaxed", "simple/simple", "relaxed/simple":
            signer = DKIMSigner(lambda: NOW, Canonicalization.parse(form))
            for body in b"", b"a  b \r\n \r\n\r\n", b"\r\n\r\n":
                message = MESSAGE.partition(b"At")[0] + body
                message = signer.sign(file(message), both_keys("example.net")) + message
                self.assertEqual(results(seal(message)).count("dkim=pass"), 2, (form, body))

    def test_hostile_input_takes_no_time(self) -> None:
        # Each of them keeps dkimpy busy for minutes.
        blanks = signed(MESSAGE + b" " * 1_000_000 + b"x\r\n" + b"\r\n" * 1_000_000)
        waste = b"b=" + b" \r\n" * 20_000 + b" !"
        many = b"".join(b"ARC-Seal: i=%d;\r\n" % number for number in range(1, 400))
        names = b":".join(b"x%d" % number for number in range(15_000))
        h = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=r; bh=x; b=aaaa; h=from:" + names
        for message, result in (
            (blanks, "dkim=pass"),
            (b"DKIM-Signature: d=a.example; s=s; " + waste + b"\r\n" + MESSAGE, "dkim=permerror"),
            (b"ARC-Message-Signature: i=1; " + waste + b"\r\n" + MESSAGE, "arc=fail"),
            (many + MESSAGE, "arc=fail"),
            (h + b"\r\n" + MESSAGE, "dkim=fail"),
        ):
            began = time.process_time()
            found = Verifier(message, RECORDS).find()
            self.assertIn(result, " ".join(found.results))
            self.assertLess(time.process_time() - began, 3.0)

    def test_long_chains_of_large_messages_are_not_verified(self) -> None:
        many = b"".join(b"ARC-Seal: i=%d;\r\n" % number for number in range(1, 49))
        self.assertRaises(Unsignable, seal, many + MESSAGE + b"x" * 2_000_000 + b"\r\n")

    def test_large_messages_are_not_sealed(self) -> None:
        self.assertRaises(Unsignable, seal, MESSAGE + b"x" * MAX_SEALED)


class ForwardingTests(TestCase):
    def setUp(self) -> None:
        self.sent = Recorder()
        self.resolver = FakeResolver(texts={each.name: [each.record] for each in KEYS})
        self.ring = KeyRing(named=[key("example.org", "e", Algorithm.ED25519), KEYS[0]])

    async def send(self, envelope: Envelope, message: bytes = MESSAGE) -> bytes:
        sealing = Sealing(
            self.ring,
            "mx.example.org",
            "mx.example.org",
            self.resolver,
            lambda: NOW,
            at_once,
        )
        transport = ForwardingTransport(
            self.sent,
            sealing=sealing,
            srs=SRS("example.org", [b"secret"], lambda: NOW),
            is_own=lambda domain: succeed(domain == "example.org"),
        )
        await transport.send("example.com", envelope, file(message))
        return self.sent.messages[-1]

    def envelope(self, address: str, account: str | None = None) -> Envelope:
        envelope = queue_envelope("eve@example.com", account=account)
        envelope.reverse_path = path(address) if address else Path("", "")
        return envelope

    async def reverse_path(self, envelope: Envelope) -> str:
        await self.send(envelope)
        return str(self.sent.envelopes[-1].reverse_path)

    async def test_a_strangers_reverse_path_is_wrapped(self) -> None:
        envelope = self.envelope("ann@example.net")
        self.assertEqual(await self.reverse_path(envelope), POSTSRSD["ann@example.net"])
        # The envelope is the queue's.
        self.assertEqual(str(envelope.reverse_path), "ann@example.net")

    async def test_others_are_not(self) -> None:
        for address, account in (
            ("ann@example.org", None),
            ("", None),
            ("ann@example.net", "ann@example.org"),
        ):
            self.assertEqual(await self.reverse_path(self.envelope(address, account)), address)

    async def test_what_is_sent_on_is_sealed(self) -> None:
        message = await self.send(self.envelope("ann@example.net"), signed())
        self.assertTrue(message.endswith(signed()))
        self.assertEqual(chain(message), "pass")
        self.assertIn("dkim=pass header.d=example.net header.s=r", results(message))
        self.assertEqual(
            [name for name, _ in self.resolver.asked],
            ["r._domainkey.example.net", "e._domainkey.example.net"],
        )

    async def test_our_own_messages_are_not(self) -> None:
        report = Envelope(ConnectionInfo("report"), "x", Path("", ""))
        trusted = Envelope(ConnectionInfo("smtp"), "x", Path("", ""), trusted=True)
        for envelope in report, trusted, self.envelope("ann@example.org", "ann@example.org"):
            self.assertEqual(await self.send(envelope), MESSAGE)

    async def test_line_ends_are_settled_first(self) -> None:
        message = await self.send(self.envelope("ann@example.net"), MESSAGE.replace(b"\r\n", b"\n"))
        self.assertEqual(chain(message), "pass")

    async def test_8bit_content_stays_as_it_is(self) -> None:
        original = signed(MESSAGE + b"\xe4\r\n")
        message = await self.send(self.envelope("ann@example.net"), original)
        self.assertTrue(message.endswith(original))
        self.assertEqual(chain(message), "pass")

    async def test_dns_that_is_silent(self) -> None:
        self.resolver.trouble = {each.name: DNSTimeout() for each in KEYS}
        message = await self.send(self.envelope("ann@example.net"), signed())
        self.assertIn("dkim=temperror", results(message))
        sealed = seal(signed())
        message = await self.send(self.envelope("ann@example.net"), sealed)
        self.assertEqual(message, sealed)

    async def test_without_an_rsa_key_nothing_is_sealed(self) -> None:
        self.ring = KeyRing(named=[key("example.org", "e", Algorithm.ED25519)])
        self.assertEqual(await self.send(self.envelope("ann@example.net")), MESSAGE)
        self.assertEqual(self.resolver.asked, [])

    async def test_what_cannot_be_sealed_is_sent_all_the_same(self) -> None:
        message = b"no field\r\n\r\nx\r\n"
        self.assertEqual(await self.send(self.envelope("ann@example.net"), message), message)
