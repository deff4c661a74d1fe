"""What the log tells of logins, and what it never does."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import AuthorizationFailed, PasswordExpired, StoreUnavailable
from mailkit.imap.protocol import IMAPFactory
from mailkit.login_log import (
    DELAY,
    MAX_WAITING,
    LoginFacts,
    LoginLog,
    log_login,
    reason_of,
)
from tests.line_protocol import ConnectionTestCase

ROOT = Path(__file__).resolve().parent.parent
FACTS = LoginFacts("192.0.2.1", 54321, "imap", "PLAIN", "TLSv1.3", "TLS_AES_256_GCM_SHA384")
ANN = "ann@example.org"
CANARY = "correct horse battery staple"


class EventTests(SynchronousTestCase):
    def event(self, *arguments: Any, facts: LoginFacts = FACTS) -> Any:
        with capturedLogs() as events:
            log_login(facts, *arguments)
        (event,) = events
        return event

    def test_text(self) -> None:
        # Programs read it: docs/security.md says that it stays.
        self.assertEqual(
            formatEvent(self.event("failed", ANN, "wrong-password")),
            "login failed: address=192.0.2.1 port=54321 protocol=imap mechanism=PLAIN tls=TLSv1.3"
            " cipher=TLS_AES_256_GCM_SHA384 reason=wrong-password account=ann@example.org",
        )

    def test_what_is_not_known_is_a_dash(self) -> None:
        facts = LoginFacts("", 0, "pop3", "password", "", "")
        self.assertEqual(
            formatEvent(self.event("blocked", facts=facts)),
            "login blocked: address=- port=0 protocol=pop3 mechanism=password tls=- cipher=-"
            " reason=- account=-",
        )

    def test_fields(self) -> None:
        event = self.event("succeeded", ANN)
        wanted = {
            **FACTS._asdict(),
            "outcome": "succeeded",
            "reason": "-",
            "account": ANN,
            "log_namespace": "mailkit.login",
        }
        self.assertEqual({key: event[key] for key in wanted}, wanted)
        self.assertEqual(event["log_level"].name, "info")
        self.assertEqual(self.event("failed")["log_level"].name, "warn")

    def test_names_are_one_word(self) -> None:
        name = 'a b\n2026-11-21T12:00:00+0000 [mailkit.login#warn] login failed: address=1"\u2028'
        line = formatEvent(self.event("succeeded", name))
        self.assertEqual(len(line.splitlines()), 1)
        self.assertTrue(line.split("account=")[1].startswith("a\\x20b\\x0a2026"), line)
        self.assertNotIn(" ", line.split("account=")[1])
        self.assertLess(len(formatEvent(self.event("succeeded", "x" * 10_000))), 1000)

    def test_reasons(self) -> None:
        for error, reason in (
            (PasswordExpired(), "password-expired"),
            (AuthorizationFailed(), "not-authorized"),
            (ValueError(), "refused"),
        ):
            self.assertEqual(reason_of(error), reason)

    def test_every_field_is_documented(self) -> None:
        page = (ROOT / "docs" / "security.md").read_text("utf-8")
        for field in re.findall(r"(\w+)=", formatEvent(self.event("failed"))):
            self.assertIn(f"| `{field}` |", page)


class LoginLogTests(SynchronousTestCase):
    """Successful logins are written together."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = LoginLog()

    def told(self, *outcomes: str) -> list[str]:
        """What is written at once."""
        with capturedLogs() as events:
            for number, outcome in enumerate(outcomes):
                self.log.tell(self.clock, FACTS, outcome, f"{number}@example.org")
        return [f"{event['outcome']} {event['account'][0]}" for event in events]

    def test_they_wait_a_moment(self) -> None:
        self.assertEqual(self.told("succeeded", "succeeded"), [])
        with capturedLogs() as events:
            self.clock.advance(DELAY)
        self.assertEqual([event["account"] for event in events], ["0@example.org", "1@example.org"])
        self.assertLess(time.time() - events[0]["log_time"], 60)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_several_connections_of_a_client(self) -> None:
        for port in range(5):
            facts = FACTS._replace(port=1000 + port)
            self.log.tell(self.clock, facts, "succeeded", "ann@example.org")
        self.log.tell(self.clock, FACTS._replace(protocol="pop3"), "succeeded", "ann@example.org")
        self.log.tell(self.clock, FACTS, "succeeded", "ann@example.org", acting_for="bob")
        with capturedLogs() as events:
            self.clock.advance(DELAY)
        self.assertEqual([event["count"] for event in events], [5, 1, 1])
        several, one = (str(formatEvent(event)) for event in events[:2])
        self.assertIn(" port=1000 ", several)
        self.assertTrue(several.endswith(" account=ann@example.org count=5"), several)
        self.assertTrue(one.endswith(" account=ann@example.org"), one)

    def test_order_stays(self) -> None:
        told = self.told("succeeded", "failed", "blocked", "succeeded")
        self.assertEqual(told, ["succeeded 0", "failed 1", "blocked 2"])

    def test_not_too_many(self) -> None:
        self.assertEqual(len(self.told(*["succeeded"] * (MAX_WAITING + 1))), MAX_WAITING)

    def test_none_is_left_behind(self) -> None:
        factory = IMAPFactory(clock=self.clock)
        self.log = factory.login_log
        self.assertEqual(self.told("succeeded"), [])
        with capturedLogs() as events:
            factory.stopFactory()
        self.assertEqual(len(events), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ConnectionTests(ConnectionTestCase):
    """One line for each login."""

    def lines(self, *commands: bytes) -> list[str]:
        with capturedLogs() as events:
            connection, _ = self.talk()
            for command in commands:
                connection.dataReceived(command + b"\n")
                self.clock.advance(8)
        return [str(formatEvent(event)).split(" tls=")[0] for event in events]

    def test_success_and_failure(self) -> None:
        where = "address=192.0.2.1 port=54321 protocol=lines mechanism=password"
        self.assertEqual(
            self.lines(b"LOGIN ann guess", b"LOGIN ann secret"),
            [f"login failed: {where}", f"login succeeded: {where}"],
        )

    def test_a_login_that_is_not_judged(self) -> None:
        for number in range(7):
            connection, _ = self.talk()
            connection.dataReceived(b"LOGIN ann guess%d\n" % number)
            self.lose(connection)
            self.clock.advance(0.01)
        self.factory.realm.events.clear()
        for _ in range(7):
            lines = self.lines(b"LOGIN ann secret")
        self.assertTrue(lines[-1].startswith("login "), lines)

    def test_a_user_base_that_does_not_answer(self) -> None:
        self.factory.realm.gate = Deferred()
        with capturedLogs() as events:
            connection, _ = self.talk()
            connection.dataReceived(b"LOGIN ann secret\n")
            self.factory.realm.gate.errback(StoreUnavailable())
        (line,) = [str(formatEvent(event)) for event in events if "outcome" in event]
        self.assertTrue(line.startswith("login blocked: "), line)
        self.assertIn("reason=temporary-failure", line)
        # The line protocol of the tests has no reply for it.
        self.flushLoggedErrors(StoreUnavailable)
