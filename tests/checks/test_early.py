"""Clients that talk first."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from mailkit.checks.early import EarlyTalkers
from mailkit.hooks import Quarantine
from tests.checks.support import CheckCase, make_envelope, make_recipient, make_session


class EarlyTalkerTests(CheckCase):
    def setUp(self) -> None:
        super().setUp()
        self.input = False
        self.session = make_session(has_input=lambda: self.input)

    def check(self, **settings: object) -> EarlyTalkers:
        return EarlyTalkers(clock=self.reactor, **settings)  # type: ignore[arg-type]

    def connect(self, check: EarlyTalkers) -> Deferred[object]:
        return self.begin(check.connect, self.session)

    def test_who_waits_is_greeted(self) -> None:
        waiting = self.connect(self.check(delay=2.0))
        self.clock.advance(1.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        self.assertIsNone(self.successResultOf(waiting))

    def test_who_talks_is_refused(self) -> None:
        waiting = self.connect(self.check())
        self.input = True
        self.clock.advance(2.0)
        self.assert_refused(self.successResultOf(waiting), 554, "5.5.1", "wait for the greeting")

    def test_who_has_talked_already_is_not_waited_for(self) -> None:
        self.input = True
        self.assert_refused(self.successResultOf(self.connect(self.check())), 554, "5.5.1")

    def test_those_who_need_not_wait(self) -> None:
        self.session = make_session("127.0.0.1", has_input=lambda: True)
        self.assertIsNone(self.successResultOf(self.connect(self.check())))
        self.session = make_session("198.51.100.7", has_input=lambda: True)
        check = self.check(exempt=["198.51.100.0/24"])
        self.assertIsNone(self.successResultOf(self.connect(check)))

    def test_other_actions_are_taken_at_rcpt(self) -> None:
        self.input = True
        check = self.check(action="quarantine")
        self.assertIsNone(self.successResultOf(self.connect(check)))
        envelope = make_envelope(self.session)
        answer = self.ask(check.rcpt, self.session, envelope, make_recipient())
        self.assertEqual(answer, Quarantine("You must wait for the greeting"))

    def test_an_action_that_is_none(self) -> None:
        self.assertRaises(ValueError, self.check, action="shoot")
