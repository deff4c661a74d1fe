"""Servers that answer anything: every recipient still has an outcome, and nothing raises."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from mailkit.smtp.client import ClientError, ClientSettings, Status, TLSPolicy, make_envelope
from tests.smtp.client.fakes import EVERYTHING, MESSAGE, Server, make_session, run

LINES = (
    "250 ok",
    "250-ok",
    "354 go",
    "334 ",
    "220 go",
    "421 4.3.2 going",
    "450 4.2.0 not now",
    "550 5.1.1 who?",
    "554",
    "999 what",
    "",
    "\xff\x00",
    "250 " + "x" * 3000,
    "LOST",
    "SILENCE",
)


class RandomServer(Server):
    """Answers each command with none, one or some lines that need not make sense."""

    def __init__(self, seed: int, keywords: tuple[str, ...], lmtp: bool) -> None:
        self._random = random.Random(seed)
        super().__init__(*keywords, lmtp=lmtp)

    def _find(self, line: str, default: str) -> str:
        if line[:4] in ("EHLO", "LHLO") or self._random.random() < 0.75:
            return default
        count = self._random.choice((0, 1, 1, 1, 2, 5))
        lines = [self._random.choice(LINES) for _ in range(count)]
        return "\r\n".join(lines) if count != 1 else lines[0]


class RandomTests(SynchronousTestCase):
    def test_answers_that_make_no_sense(self) -> None:
        accepted = 0
        for seed in range(1500):
            keywords = EVERYTHING if seed % 2 else ()
            lmtp = seed % 3 == 0
            server = RandomServer(seed, keywords, lmtp)
            settings = ClientSettings(
                helo="client.example", lmtp=lmtp, tls=TLSPolicy.none(), chunk_size=20
            )
            session, _ = make_session(server, settings, piece=seed % 50 + 1)
            run(session.open())
            for _ in range(3):
                recipients = ["bob@example.org", "cat@example.org", "dan@example.org"]
                envelope = make_envelope("ann@example.net", recipients)
                result = run(session.send(envelope, MESSAGE))
                self.assertEqual([o.recipient for o in result.outcomes], envelope.recipients, seed)
                for outcome in result.outcomes:
                    self.assertIn(outcome.status, Status)
                    self.assertEqual(outcome.enhanced[0] == "2", outcome.accepted)
                    self.assertTrue(outcome.code or not outcome.accepted)
                    accepted += outcome.accepted
                if result.accepted and not lmtp:
                    # What the server has taken it had been given whole.
                    self.assertIn(MESSAGE, server.messages)
            run(session.check())
            run(session.quit())
            self.assertTrue(session.closed)
        self.assertGreater(accepted, 300)

    def test_openings_that_make_no_sense(self) -> None:
        for seed in range(300):
            choose = random.Random(seed)
            answers = {
                verb: [choose.choice(LINES) for _ in range(3)] for verb in ("EHLO", "HELO", "START")
            }
            server = Server(
                answers=answers, greeting=choose.choice(("220 hi", choose.choice(LINES)))
            )
            session, channel = make_session(server)
            try:
                run(session.open())
            except ClientError as error:
                self.assertTrue(error.text and error.enhanced and error.command, repr(error))
                self.assertTrue(channel.aborted and session.closed)
