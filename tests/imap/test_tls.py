"""STARTTLS (RFC 3501 section 6.2.1)."""

from __future__ import annotations

from twisted.internet.interfaces import ISSLTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from tests.imap.support import USER, Client, Server


class StartTLSTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(tls_context=object())
        self.client = self.server.connect("192.0.2.1")
        self.contexts: list[object] = []

        def start_tls(context: object) -> None:
            # What the client had sent in clear must be gone before.
            self.contexts.append(context)
            alsoProvides(self.client.transport, ISSLTransport)

        self.client.transport.startTLS = start_tls  # type: ignore[attr-defined]

    def capabilities(self, client: Client | None = None) -> bytes:
        return (client or self.client).command("CAPABILITY")[0]

    def test_offered_before_tls_only(self) -> None:
        self.assertIn(b" STARTTLS LOGINDISABLED ", self.capabilities())
        self.assertEqual(self.client.command("STARTTLS"), [b"OK Begin TLS negotiation now"])
        self.assertEqual(self.contexts, [self.server.factory.tls_context])
        capabilities = self.capabilities()
        self.assertNotIn(b"STARTTLS", capabilities)
        self.assertNotIn(b"LOGINDISABLED", capabilities)
        self.assertIn(b" AUTH=PLAIN ", capabilities)
        self.assertTrue(self.client.command(f"LOGIN {USER} secret")[0].startswith(b"OK "))

    def test_not_twice(self) -> None:
        self.client.command("STARTTLS")
        self.assertEqual(self.client.command("STARTTLS"), [b"BAD TLS is active already"])
        self.assertEqual(len(self.contexts), 1)

    def test_what_was_sent_in_clear_is_forgotten(self) -> None:
        data = self.client.send(b"a STARTTLS\r\nb NOOP\r\nc LOGIN {3+}\r\nann")
        self.assertEqual(data, b"a OK Begin TLS negotiation now\r\n")
        self.assertEqual(self.client.send(b"d NOOP\r\n"), b"d OK NOOP completed\r\n")

    def test_without_certificate(self) -> None:
        client = Server().connect("192.0.2.1")
        self.assertNotIn(b"STARTTLS", self.capabilities(client))
        self.assertEqual(client.command("STARTTLS"), [b"BAD This server has no TLS certificate"])

    def test_arguments(self) -> None:
        self.assertTrue(self.client.command("STARTTLS now")[0].startswith(b"BAD "))
        self.assertEqual(self.contexts, [])

    def test_not_after_login(self) -> None:
        client = self.server.login()
        self.assertNotIn(b"STARTTLS", self.capabilities(client))
        self.assertTrue(client.command("STARTTLS")[0].startswith(b"BAD "))
