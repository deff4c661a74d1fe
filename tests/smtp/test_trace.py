"""The Received field."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import ConnectionInfo, Envelope, Path, Recipient
from mailkit.smtp.trace import address_literal, protocol_keyword, received_field
from tests.smtp.fakes import Server, make_envelope
from tests.smtp.hooked import encrypt


class TraceTests(SynchronousTestCase):
    DATE = "Fri, 21 Nov 1997 09:55:06 -0600"

    def field(self, envelope: Envelope) -> bytes:
        return received_field(envelope, "mx.example.org", "ESMTP", self.DATE)

    def test_one_recipient_is_named(self) -> None:
        self.assertEqual(
            self.field(make_envelope("bob")),
            b"Received: from client.example ([192.0.2.7])\r\n"
            b"\tby mx.example.org with ESMTP id t1\r\n"
            b"\tfor <bob@example.org>;\r\n"
            b"\tFri, 21 Nov 1997 09:55:06 -0600\r\n",
        )

    def test_several_are_not(self) -> None:
        # RFC 5321 section 7.2
        field = self.field(make_envelope("bob", "eve"))
        self.assertNotIn(b"for", field)
        self.assertIn(b"id t1;\r\n\tFri", field)

    def test_peers(self) -> None:
        for peer, expected in (
            ("2001:db8::1", b"client.example ([IPv6:2001:db8::1])\r\n"),
            ("fe80::1%eth0", b"client.example ([IPv6:fe80::1])\r\n"),
            ("", b"client.example\r\n"),
        ):
            field = self.field(make_envelope(connection=ConnectionInfo("smtp", peer)))
            self.assertTrue(field.startswith(b"Received: from " + expected), field)
        self.assertEqual(address_literal("192.0.2.1"), "[192.0.2.1]")

    def test_a_name_known_from_elsewhere(self) -> None:
        for name, expected in (
            ("mx.example.net", b"client.example (mx.example.net [192.0.2.7])\r\n\tby"),
            ("a)\r\nb\\(" + "x" * 500, b"client.example (a???b??" + b"x" * 248 + b" [192."),
        ):
            field = received_field(make_envelope("bob"), "mx", "ESMTP", self.DATE, name)
            self.assertTrue(field.startswith(b"Received: from " + expected), field)

    def test_utf8_recipient_does_not_make_the_header_utf8(self) -> None:
        # It would not go on to a server without SMTPUTF8, though the domain has A-labels.
        for path in (Path("jürgen", "bücher.example"), Path("ann", "bücher.example")):
            envelope = make_envelope()
            envelope.recipients = [Recipient(path)]
            field = self.field(envelope)
            self.assertTrue(field.isascii(), field)
            self.assertIn(b"id t1;\r\n\tFri", field)

    def test_the_cipher_suite(self) -> None:
        # RFC 8314 section 4.3: by its registered name.
        envelope = make_envelope("bob", connection=ConnectionInfo("smtp", "192.0.2.7", tls=True))
        for cipher, expected in (
            ("TLS_AES_256_GCM_SHA384", b"TLS_AES_256_GCM_SHA384"),
            ("ECDHE-RSA-AES128-GCM-SHA256", b"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            ("ECDHE-ECDSA-CHACHA20-POLY1305", b"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
            ("DHE-RSA-AES256-SHA256", b"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
            ("AES128-SHA", b"TLS_RSA_WITH_AES_128_CBC_SHA"),
        ):
            field = received_field(envelope, "mx", "ESMTPS", self.DATE, "", cipher)
            self.assertIn(b"for <bob@example.org>\r\n\ttls " + expected + b";\r\n\tFri", field)
        for cipher in ("", "PSK-AES128-CCM8", "TLS_X) y;"):
            field = received_field(envelope, "mx", "ESMTPS", self.DATE, "", cipher)
            self.assertNotIn(b"tls ", field)

    def test_a_client_that_comes_by_tls(self) -> None:
        server = Server(tls_context=object()).greet()
        encrypt(server)
        server.begin().send(b".\r\n")
        self.assertIn(
            b" with ESMTPS id %b\r\n\tfor <bob@example.org>\r\n\ttls TLS_AES_256_GCM_SHA384;"
            % server.delivery.received[0][0].transaction_id.encode(),
            server.delivery.received[0][1],
        )

    def test_protocol_keywords(self) -> None:
        # RFC 3848, and RFC 6531 section 4.3.
        for tls, account, utf8, expected in (
            (False, None, False, "ESMTP"),
            (True, None, False, "ESMTPS"),
            (False, "ann", False, "ESMTPA"),
            (True, "ann", False, "ESMTPSA"),
            (False, None, True, "UTF8SMTP"),
            (True, None, True, "UTF8SMTPS"),
            (False, "ann", True, "UTF8SMTPA"),
            (True, "ann", True, "UTF8SMTPSA"),
        ):
            envelope = make_envelope(
                connection=ConnectionInfo("smtp", tls=tls),
                account=account,
                smtputf8=utf8,
            )
            self.assertEqual(protocol_keyword(envelope, esmtp=True), expected)
            self.assertEqual(protocol_keyword(envelope, esmtp=False), "SMTP")
            lmtp = expected.removeprefix("E").replace("SMTP", "LMTP")
            self.assertEqual(protocol_keyword(envelope, esmtp=True, base="LMTP"), lmtp)
