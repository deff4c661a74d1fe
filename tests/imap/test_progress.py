"""INPROGRESS (RFC 9585)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from mailkit.imap.handlers.progress import INTERVAL
from mailkit.interfaces import ISearchableMailbox

from .support import Client, Server


class ProgressTests(SynchronousTestCase):
    def begin(self, **settings: Any) -> tuple[Client, Deferred[Sequence[int]]]:
        """A session whose search takes as long as the test wants."""
        server = Server(**settings)
        server.add(b"a: b\r\n\r\nc\r\n")
        mailbox = server.mailbox()
        result: Deferred[Sequence[int]] = Deferred()
        mailbox.search = lambda query: result
        alsoProvides(mailbox, ISearchableMailbox)
        client = server.login("SELECT INBOX")
        self.assertEqual(client.send(b"a SEARCH TEXT x\r\n"), b"")
        return client, result

    def test_a_long_search(self) -> None:
        client, result = self.begin()
        for _ in range(3):
            client.server.clock.advance(INTERVAL - 1)
            self.assertEqual(client.take(), b"")
            client.server.clock.advance(1)
            self.assertEqual(client.take(), b'* OK [INPROGRESS ("a" NIL NIL)] Still at work\r\n')
        result.callback([1])
        told = b"".join(client.read() for _ in range(5))
        self.assertEqual(told, b"* SEARCH 1\r\na OK SEARCH completed\r\n")
        client.server.clock.advance(100)
        self.assertEqual(client.take(), b"")

    def test_a_connection_that_goes_meanwhile(self) -> None:
        client, _ = self.begin()
        client.lose()
        self.assertEqual(client.server.clock.getDelayedCalls(), [])

    def test_off(self) -> None:
        client, result = self.begin(without=["INPROGRESS"])
        client.server.clock.advance(10 * INTERVAL)
        self.assertEqual(client.take(), b"")
        result.callback([])
        told = b"".join(client.read() for _ in range(5))
        self.assertEqual(told, b"* SEARCH\r\na OK SEARCH completed\r\n")
