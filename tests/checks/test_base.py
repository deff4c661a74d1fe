"""Whom checks concern, and what follows from what they find."""

from __future__ import annotations

from mailkit.checks.base import Finding, FindingCheck, shown
from mailkit.checks.score import ScoreLimit
from mailkit.hooks import MailSession, Quarantine, Reject
from mailkit.model import Envelope
from tests.checks.support import OWN, CheckCase, make_envelope, make_recipient, make_session


class Suspicious(FindingCheck):
    """Finds the same of everybody."""

    def __init__(self, finding: Finding | None, **settings: bool) -> None:
        super().__init__(exempt=["203.0.113.0/24"], **settings)
        self.finding = finding
        self.asked = 0

    async def find(self, session: MailSession, envelope: Envelope) -> Finding | None:
        self.asked += 1
        return self.finding


REFUSAL = Finding("no", "reject")


class ConcernTests(CheckCase):
    def test_clients_from_elsewhere(self) -> None:
        for peer in ("198.51.100.7", "2001:db8::1"):
            self.assertIsInstance(self.judge(Suspicious(REFUSAL), make_session(peer)), Reject)

    def test_nobody_else(self) -> None:
        for session in (
            make_session("127.0.0.1"),
            make_session("::1"),
            make_session("::ffff:127.0.0.1"),
            make_session(""),
            make_session(OWN),
            make_session("203.0.113.9"),
            make_session(account="ann@example.org"),
            make_session(protocol="submission"),
            make_session(protocol="lmtp"),
        ):
            self.assertIsNone(self.judge(Suspicious(REFUSAL), session), session)

    def test_postmaster_is_spared(self) -> None:
        check = Suspicious(REFUSAL)
        for recipient in ("Postmaster@example.org", "postmaster@"):
            self.assertIsNone(self.judge(check, recipient=recipient))
        check = Suspicious(REFUSAL, spare_postmaster=False)
        self.assertIsInstance(self.judge(check, recipient="postmaster@example.org"), Reject)


class FindingTests(CheckCase):
    def test_actions(self) -> None:
        self.assert_refused(self.judge(Suspicious(REFUSAL)), 550, "5.7.1", "no")
        later = Suspicious(Finding("no", "defer", detail="4.3", defer_code=451))
        self.assert_refused(self.judge(later), 451, "4.4.3", "no")
        self.assertEqual(self.judge(Suspicious(Finding("no", "quarantine"))), Quarantine("no"))
        for action in ("score", "none"):
            self.assertIsNone(self.judge(Suspicious(Finding("no", action))))  # type: ignore[arg-type]
        self.assertIsNone(self.judge(Suspicious(None)))

    def test_a_transaction_is_judged_once(self) -> None:
        session = make_session()
        for finding, again in ((REFUSAL, REFUSAL.answer()), (Finding("no", "quarantine"), None)):
            check = Suspicious(finding)
            envelope = make_envelope(session)
            first, second = (
                self.ask(check.rcpt, session, envelope, make_recipient()) for _ in range(2)
            )
            self.assertEqual(first, finding.answer())
            self.assertEqual(second, again)
            self.assertEqual(check.asked, 1)
            self.ask(check.rcpt, session, make_envelope(session), make_recipient())
            self.assertEqual(check.asked, 2)

    def test_texts_from_outside(self) -> None:
        self.assertEqual(shown("one\r\n250 two\0 \x9b\u00e4"), "one 250 two? ??")
        self.assertEqual(len(shown("x" * 5000)), 200)


class ScoreTests(CheckCase):
    """Points of several checks together."""

    def points(self, *points: float, limit: ScoreLimit | None = None) -> object:
        session = make_session()
        envelope = make_envelope(session)
        for number, each in enumerate(points):
            check = Suspicious(Finding(f"reason {number}", "score", each))
            self.ask(check.rcpt, session, envelope, make_recipient())
        return self.ask((limit or ScoreLimit()).rcpt, session, envelope, make_recipient())

    def test_sums(self) -> None:
        self.assertIsNone(self.points())
        self.assertIsNone(self.points(2.0, 0.5))
        self.assertIsNone(self.points(4.0, -2.0))
        answer = self.points(2.0, 1.0)
        self.assertEqual(answer, Quarantine("Too many reasons against it: reason 0; reason 1"))
        self.assert_refused(self.points(2.0, 3.0), 550, "5.7.1", "reason 1")

    def test_limits_can_be_left_out(self) -> None:
        self.assertIsNone(self.points(100.0, limit=ScoreLimit(reject=0, quarantine=0)))

    def test_points_are_those_of_the_present_transaction(self) -> None:
        session = make_session()
        check = Suspicious(Finding("reason", "score", 9.0))
        limit = ScoreLimit()
        for finding, answer in ((check.finding, Reject), (None, type(None))):
            check.finding = finding
            envelope = make_envelope(session)
            self.ask(check.rcpt, session, envelope, make_recipient())
            said = self.ask(limit.rcpt, session, envelope, make_recipient())
            self.assertIsInstance(said, answer)
