"""DKIM-Signature fields, verified by dkimpy and held against the examples of the RFCs."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import sys
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dkim.canonicalization import Relaxed, Simple
from twisted.trial.unittest import SynchronousTestCase

from mailkit.signing.body import BodyHash
from mailkit.signing.dkim import (
    MAX_FIELDS,
    OVERSIGNED,
    Canonicalization,
    DKIMSigner,
    Unsignable,
    make_field,
    read_header,
    signed_names,
)
from mailkit.signing.keys import SigningKey
from mailkit.signing.library import MissingLibrary, load_dkim
from tests.signing.support import NOW, both_keys, file, verify

MESSAGE = (
    b"Received: from a by b; Fri, 11 Jul 2003 21:01:54 -0700\r\n"
    b"From: Ann <ann@example.org>\r\nTo:  eve@example.net,\r\n\tbob@example.net\r\n"
    b"Subject: Lunch\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nAt  noon? \t\r\n\r\n \r\nAnn\r\n\r\n\r\n"
)

# RFC 8463 appendix A.
DOMAIN = "football.example.com"
RSA_KEY = b"""-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi
Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM
KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm
6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe
zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy
6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc
uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy
WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd
WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a
licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst
o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe
uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL
-----END RSA PRIVATE KEY-----
"""
ED25519_KEY = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
EXAMPLE = (
    b"From: Joe SixPack <joe@football.example.com>\r\n"
    b"To: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n"
    b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
)
BODY_HASH = b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
RECORD = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
SIGNATURES = {
    "brisbane": (
        b"/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    ),
    "test": (
        b"F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3"
        b"DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz"
        b"dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8="
    ),
}


def tags(field: bytes) -> dict[bytes, bytes]:
    """The tags of a signature, without blanks."""
    value = re.sub(rb"\s+", b"", field.partition(b":")[2])
    return dict(part.split(b"=", 1) for part in value.split(b";"))


class ExampleTests(SynchronousTestCase):
    """RFC 8463 appendix A: both signatures, octet by octet."""

    def test_signatures(self) -> None:
        rsa = load_pem_private_key(RSA_KEY, None)
        ed25519 = Ed25519PrivateKey.from_private_bytes(base64.b64decode(ED25519_KEY))
        body = BodyHash()
        body.feed(EXAMPLE.partition(b"\r\n\r\n")[2])
        self.assertEqual(base64.b64encode(body.digest()), BODY_HASH)
        names = b"from to subject date message-id from subject date".split()
        for selector, private in ("brisbane", ed25519), ("test", rsa):
            made = SigningKey(DOMAIN, selector, private)  # type: ignore[arg-type]
            field = make_field(
                b"DKIM-Signature",
                [
                    (b"v", b"1"),
                    (b"a", made.algorithm.signature),
                    (b"c", b"relaxed/relaxed"),
                    (b"d", DOMAIN.encode()),
                    (b"i", b"@" + DOMAIN.encode()),
                    (b"q", b"dns/txt"),
                    (b"s", selector.encode()),
                    (b"t", b"1528637909"),
                    (b"h", b" : ".join(names)),
                    (b"bh", BODY_HASH),
                ],
                read_header(file(EXAMPLE)).fields,
                names,
                made,
            )
            self.assertEqual(tags(field)[b"b"], SIGNATURES[selector], selector)

    def test_record(self) -> None:
        private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(ED25519_KEY))
        self.assertEqual(SigningKey(DOMAIN, "brisbane", private).record, RECORD)


class SignerTests(SynchronousTestCase):
    def sign(self, message: bytes = MESSAGE, c: str = "relaxed/relaxed") -> bytes:
        signer = DKIMSigner(lambda: NOW, Canonicalization.parse(c))
        return signer.sign(file(message), both_keys())

    def test_both_signatures_hold_in_all_forms(self) -> None:
        for header in "relaxed", "simple":
            for body in "relaxed", "simple":
                signed = self.sign(c=f"{header}/{body}") + MESSAGE
                self.assertEqual(verify(signed, both_keys()), [True, True], (header, body))

    def test_bodies_of_all_kinds(self) -> None:
        head = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        for body in (
            b"",
            b"\r\n",
            b" \r\n",
            b"\r\n\r\n",
            b"a\r\n",
            b" \t a\t \r\n" * 3,
            b"\xff\0\r\n",
        ):
            for c in "relaxed/relaxed", "simple/simple":
                message = head + body
                self.assertEqual(
                    verify(self.sign(message, c) + message, both_keys()), [True] * 2, body
                )

    def test_what_is_changed_does_not_hold(self) -> None:
        signed = self.sign() + MESSAGE
        for old, new in (
            (b"noon", b"one"),
            (b"Lunch", b"Dinner"),
            (b"Ann <ann@", b"Eve <ann@"),
            # What was not there cannot be added.
            (b"\r\nSubject", b"\r\nReply-To: eve@example.net\r\nSubject"),
            (b"\r\nSubject", b"\r\nCc: eve@example.net\r\nSubject"),
            (b"\r\nSubject", b"\r\nContent-Type: text/html\r\nSubject"),
        ):
            self.assertIn(old, signed)
            changed = signed.replace(old, new)
            self.assertEqual(verify(changed, both_keys()), [False, False], new)
        for name in b"From", b"To", b"Subject", b"Date":
            added = b"%b: another\r\n%b" % (name, signed)
            self.assertEqual(verify(added, both_keys()), [False, False], name)

    def test_trace_fields_may_be_added(self) -> None:
        signed = b"Received: from b by c; now\r\n" + self.sign() + MESSAGE
        self.assertEqual(verify(signed, both_keys()), [True, True])

    def test_tags(self) -> None:
        found = tags(self.sign().partition(b"\r\nDKIM")[0])
        self.assertEqual(found[b"d"], b"example.org")
        self.assertEqual(found[b"s"], b"r")
        self.assertEqual(found[b"t"], b"%d" % NOW)
        self.assertNotIn(b"l", found)
        self.assertEqual(found[b"h"].split(b":").count(b"from"), 2)
        self.assertNotIn(b"received", found[b"h"].split(b":"))

    def test_lines_are_short(self) -> None:
        self.assertLess(max(map(len, self.sign().split(b"\r\n"))), 79)

    def test_names_are_signed_as_often_as_they_are_there(self) -> None:
        names = signed_names([b"from", b"list-id", b"to", b"to", b"x-mine"])
        self.assertEqual(names.count(b"to"), 3)
        self.assertEqual(names.count(b"list-id"), 1)
        self.assertNotIn(b"x-mine", names)
        self.assertEqual(set(OVERSIGNED) - set(names), set())

    def test_headers_that_cannot_be_signed(self) -> None:
        for message in (
            b"To: eve@example.net\r\n\r\nx\r\n",
            b"From: ann@example.org\r\nno field\r\n\r\nx\r\n",
            b" folded: at once\r\n\r\nx\r\n",
            b"From: ann@example.org\r\n" + b"X: %b\r\n" % (b"x" * 900) * 200 + b"\r\nx\r\n",
            b"From: ann@example.org\r\n" + b"X: %b\r\n" % (b"x" * 900) * 200,
            b"From: ann@example.org\r\n" + b"X:\r\n" * MAX_FIELDS + b"\r\nx\r\n",
        ):
            self.assertRaises(Unsignable, self.sign, message)

    def test_forms(self) -> None:
        for text in "relaxed", "a/b", "relaxed/relaxed/simple", "":
            self.assertRaises(ValueError, Canonicalization.parse, text)
        self.assertEqual(Canonicalization.parse("Simple/RELAXED").tag, b"simple/relaxed")

    def test_a_missing_library_is_named(self) -> None:
        with mock.patch.dict(sys.modules, {"dkim": None}):
            error = self.assertRaises(MissingLibrary, load_dkim)
        self.assertIn("pip install 'twisted-mailkit[dkim]'", str(error))


class BodyHashTests(SynchronousTestCase):
    """The same hash as dkimpy's of the whole body, however it is cut."""

    def test_random_bodies_in_random_pieces(self) -> None:
        chance = random.Random(6376)
        parts = [b"\r\n", b" ", b"\t", b"a", b"\r\n\r\n", b"  ", b"word"]
        for _ in range(400):
            count = chance.randrange(0, 14)
            body = b"".join(chance.choices(parts, k=count))
            body = body + b"\r\n" if body else body
            for relaxed, other in (True, Relaxed), (False, Simple):
                wanted = hashlib.sha256(other.canonicalize_body(body)).digest()
                found = BodyHash(relaxed)
                at = 0
                while at < len(body):
                    size = chance.randrange(1, 6)
                    found.feed(body[at : at + size])
                    at += size
                self.assertEqual(found.digest(), wanted, (body, relaxed))

    def test_many_empty_lines_take_no_memory(self) -> None:
        found = BodyHash()
        for _ in range(1000):
            found.feed(b"\r\n" * 1000)
        self.assertEqual(found._tail, b"")
        found.feed(b"x\r\n")
        wanted = hashlib.sha256(b"\r\n" * 1_000_000 + b"x\r\n")
        self.assertEqual(found.digest(), wanted.digest())
