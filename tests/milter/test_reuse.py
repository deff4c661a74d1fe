"""SMFIC_QUIT_NC: one connection to a milter for several clients."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.milter.connection import IDLE_TIMEOUT, MAX_IDLE, MilterSettings
from tests.milter.fakes import FakeMilter, MilterServer


class ReuseTests(SynchronousTestCase):
    """SMFIC_QUIT_NC: the next client comes over the same connection."""

    def serve(self, milter: FakeMilter, **settings: Any) -> MilterServer:
        chosen = MilterSettings(**{"reuse": True, **settings})
        return MilterServer(milter, settings=chosen)

    def next(self, server: MilterServer) -> None:
        """A client goes, and another one sends a message."""
        server.lose()
        server.connect()
        self.assertEqual(server.begin().send(b"\r\nx\r\n.\r\n")[:3], b"250")

    def test_next_client(self) -> None:
        milter = FakeMilter()
        server = self.serve(milter)
        self.next(server)
        self.next(server)
        self.assertEqual(len(milter.transports), 1)
        self.assertEqual(milter.codes.count(b"K"), 2)
        # The options hold.
        self.assertEqual(milter.codes.count(b"O"), 1)
        self.assertEqual(milter.codes.count(b"C"), 3)
        self.assertNotIn(b"Q", milter.codes)

    def test_not_unless_it_is_said(self) -> None:
        for milter, settings in (
            (FakeMilter(), {"reuse": False}),
            (FakeMilter(version=5), {}),
        ):
            self.next(self.serve(milter, **settings))
            self.assertEqual(len(milter.transports), 2)
            self.assertNotIn(b"K", milter.codes)

    def test_clients_at_the_same_time(self) -> None:
        milter = FakeMilter()
        server = self.serve(milter)
        server.connect()
        self.assertEqual(len(milter.transports), 2)

    def test_it_hangs_up_while_it_waits(self) -> None:
        milter = FakeMilter()
        server = self.serve(milter)
        server.lose()
        milter.drop()
        server.connect()
        self.assertEqual(server.begin().send(b"\r\nx\r\n.\r\n")[:3], b"250")
        self.assertEqual(len(milter.transports), 2)

    def test_it_hangs_up_when_it_is_asked(self) -> None:
        milter = FakeMilter()
        server = self.serve(milter)
        server.lose()

        def hang_up(fake: FakeMilter) -> bytes:
            del milter.answers[b"C"]
            fake.drop()
            return b""

        milter.answers[b"C"] = hang_up
        server.connect()
        self.assertEqual(server.begin().send(b"\r\nx\r\n.\r\n")[:3], b"250")
        self.assertEqual(len(milter.transports), 2)

    def test_nobody_comes(self) -> None:
        milter = FakeMilter()
        server = self.serve(milter)
        server.lose()
        server.clock.advance(IDLE_TIMEOUT)
        self.assertEqual(milter.codes[-2:], b"KQ")
        self.assertTrue(milter.transports[0].gone)

    def test_not_too_many(self) -> None:
        milter = FakeMilter()
        server = self.serve(milter)
        protocols = [server.protocol]
        for _ in range(MAX_IDLE + 2):
            server.connect()
            protocols.append(server.protocol)
        for protocol in protocols:
            server.protocol = protocol
            server.lose()
        self.assertEqual(milter.codes.count(b"K"), MAX_IDLE)
        self.assertEqual(milter.codes.count(b"Q"), 3)

    def test_close(self) -> None:
        milter = FakeMilter()
        server = self.serve(milter)
        server.lose()
        server.hook.close()
        self.assertTrue(milter.transports[0].gone)
        self.assertEqual([c for c in server.clock.getDelayedCalls() if c.active()], [])
