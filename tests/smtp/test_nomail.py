"""A host that accepts no mail (RFC 7504)."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import DomainAcceptsNoMail, SenderAcceptsNoMail
from mailkit.smtp import replies
from mailkit.smtp.nomail import NoMailFactory
from tests.smtp.fakes import Transport


class NoMailTests(SynchronousTestCase):
    def connect(self, **settings: Any) -> tuple[Any, Transport, Clock]:
        clock = Clock()
        factory = NoMailFactory(hostname="www.example.org", clock=cast(Any, clock), **settings)
        connection, transport = factory.buildProtocol(None), Transport()
        connection.makeConnection(transport)
        return connection, transport, clock

    def test_dialogue(self) -> None:
        connection, transport, _ = self.connect()
        no = b"521 5.3.2 www.example.org does not accept mail\r\n"
        self.assertEqual(transport.value(), no)
        transport.clear()
        connection.dataReceived(b"EHLO a\r\nMAIL FROM:<a@b>\r\n" + b"x" * 5000 + b"\r\nquit\r\n")
        self.assertEqual(
            transport.value(), no * 3 + b"221 2.0.0 www.example.org closing connection\r\n"
        )
        self.assertTrue(transport.disconnecting)

    def test_limits(self) -> None:
        connection, transport, _ = self.connect()
        connection.dataReceived(b"NOOP\r\n" * 21)
        self.assertIn(b"421 4.7.0 ", transport.value())
        self.assertTrue(transport.disconnecting)
        _, transport, clock = self.connect()
        clock.pump([10.0] * 4)
        self.assertIn(b"421 4.4.2 ", transport.value())
        self.connect(max_connections=1)
        _, transport, _ = self.connect(max_connections=0)
        self.assertEqual(transport.value()[:10], b"421 4.7.0 ")

    def test_errors(self) -> None:
        self.assertEqual(replies.for_error(DomainAcceptsNoMail())[:2], (556, "5.1.10"))
        self.assertEqual(replies.for_error(SenderAcceptsNoMail())[:2], (550, "5.7.27"))
