"""What a session knows, and which command is legal when."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import Path, Recipient
from mailkit.smtp.handlers import COMMANDS, OTHER_VERBS
from mailkit.smtp.state import (
    ANY,
    AUTHENTICATING,
    CONNECTED,
    CONTENT,
    GREETED,
    RECIPIENTS,
    SENDER,
    Session,
)
from tests.smtp.fakes import make_envelope


class StateTests(SynchronousTestCase):
    def test_a_transaction(self) -> None:
        session = Session()
        self.assertEqual(session.phase, CONNECTED)
        session.greet("client.example", True)
        self.assertEqual(session.phase, GREETED)
        envelope = make_envelope()
        session.begin(envelope)
        self.assertEqual(session.phase, SENDER)
        session.add(Recipient(Path("bob", "example.org")))
        self.assertEqual((session.phase, len(envelope.recipients)), (RECIPIENTS, 1))
        self.assertIs(session.end(), envelope)
        self.assertEqual((session.phase, session.envelope), (GREETED, None))

    def test_end_and_greet_at_any_time(self) -> None:
        session = Session()
        self.assertIsNone(session.end())
        self.assertEqual(session.phase, CONNECTED)
        session.greet("a", True)
        session.begin(make_envelope())
        session.greet("b", False)
        self.assertEqual((session.phase, session.envelope, session.helo), (GREETED, None, "b"))
        self.assertFalse(session.esmtp)

    def test_forgetting_keeps_the_counters(self) -> None:
        session = Session()
        session.greet("a", True)
        session.account = "ann"
        session.errors = session.messages = 3
        session.forget()
        self.assertEqual((session.phase, session.helo, session.account), (CONNECTED, "", None))
        self.assertEqual((session.errors, session.messages), (3, 3))

    def test_what_is_legal_when(self) -> None:
        legal = {
            CONNECTED: set(COMMANDS) - {b"MAIL", b"RCPT", b"DATA", b"AUTH"},
            GREETED: set(COMMANDS) - {b"RCPT", b"DATA"},
            SENDER: set(COMMANDS) - {b"MAIL", b"DATA", b"AUTH"},
            RECIPIENTS: set(COMMANDS) - {b"MAIL", b"AUTH"},
            CONTENT: set(),
            AUTHENTICATING: set(),
        }
        for phase, verbs in legal.items():
            found = {verb for verb, command in COMMANDS.items() if command.phases & phase}
            self.assertEqual(found, verbs, phase)
        self.assertTrue(all(command.phases == ANY for command in OTHER_VERBS.values()))

    def test_replies_out_of_order(self) -> None:
        session = Session()
        for verb in (b"MAIL", b"RCPT", b"DATA", b"AUTH"):
            self.assertEqual(session.out_of_order(verb)[:2], (503, "5.5.1"))
            self.assertIn("EHLO", session.out_of_order(verb).text)
        session.greet("a", True)
        self.assertIn("MAIL", session.out_of_order(b"RCPT").text)
        session.begin(make_envelope())
        self.assertIn("open", session.out_of_order(b"MAIL").text)
        self.assertEqual(session.out_of_order(b"DATA")[:2], (554, "5.5.1"))
