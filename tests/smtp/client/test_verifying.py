"""Questions about recipients, without a message."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.smtp.client import Status, make_envelope
from tests.smtp.client.fakes import LOST, MESSAGE, Server, failure_of, open_session, run

SENDER = "ann@example.net"
TWO = ["bob@example.org", "eve@example.org"]


class VerifyTests(SynchronousTestCase):
    def test_each_recipient_is_asked_about_and_nothing_is_sent(self) -> None:
        server = Server("PIPELINING", answers={"RCPT TO:<eve": "550 5.1.1 no Eve"})
        session = open_session(server)
        outcomes = run(session.verify(make_envelope(SENDER, TWO)))
        self.assertEqual([o.status for o in outcomes], [Status.ACCEPTED, Status.PERMANENT])
        self.assertEqual(outcomes[1].text, "no Eve")
        self.assertEqual(server.commands[0], "MAIL FROM:<ann@example.net>")
        self.assertEqual(server.messages, [])
        # The transaction does not reach into the next one.
        run(session.send(make_envelope(SENDER, TWO[:1]), MESSAGE))
        self.assertIn("RSET", server.commands)
        self.assertEqual(server.messages, [MESSAGE])

    def test_a_refused_sender(self) -> None:
        session = open_session(Server(answers={"MAIL": "550 5.7.1 not you"}))
        error = failure_of(session.verify(make_envelope(SENDER, TWO)))
        self.assertEqual((error.code, error.text, error.temporary), (550, "not you", False))
        self.assertFalse(session.closed)

    def test_a_lost_connection(self) -> None:
        session = open_session(Server(answers={"RCPT TO:<eve": LOST}))
        self.assertTrue(failure_of(session.verify(make_envelope(SENDER, TWO))).temporary)
        self.assertTrue(session.closed)

    def test_addresses_that_the_server_cannot_be_told(self) -> None:
        server = Server()
        outcomes = run(open_session(server).verify(make_envelope(SENDER, ["b\u00f6b@example.org"])))
        self.assertEqual([o.status for o in outcomes], [Status.PERMANENT])
        self.assertFalse([line for line in server.commands if line.startswith("RCPT")])
