"""Administrators log in as others: by the authorization identity, and by ``account*administrator``."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.portal import make_portal
from mailkit.auth.scram import keys_of
from mailkit.login_log import DELAY
from mailkit.store.memory import MemoryStore
from mailkit.wire.sasl_client import Credentials, ScramClient
from tests.auth.fakes import ImmediateExecutor
from tests.imap.support import now
from tests.sasl.dialogues import DIALOGUES, Answer, Dialogue, IMAPDialogue, POP3Dialogue

ANN, BOSS = "ann@example.org", "boss@example.org"
NAME = "SCRAM-SHA-256"
CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


class ActingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        for name, password in ((ANN, "secret"), (BOSS, "boss's")):
            now(self.store.add_account(name=name))
            hashed, keys = "{PLAIN}" + password, keys_of(password, [NAME])
            now(self.store.set_password(account=name, password_hash=hashed, scram_keys=keys))
        now(self.store.set_administrator(account=BOSS, administrator=True))
        self.opened: list[str] = []
        open_account = self.store.open_account

        def note(name: str) -> Any:
            self.opened.append(name)
            return open_account(name=name)

        self.store.open_account = note  # type: ignore[method-assign]
        executor: Any = ImmediateExecutor()
        self.hasher = PasswordHasher(executor, clock=cast(Any, Clock()), executor=executor, **CHEAP)

    def portal(self) -> Portal:
        def deliver(account: str | None, info: Any) -> Any:
            self.opened.append(str(account))
            return object()

        return make_portal(self.store, deliveries=deliver, hasher=self.hasher)

    def dialogues(self, **settings: Any) -> list[Dialogue]:
        return [make(self.portal(), **settings) for make in DIALOGUES]

    def plain(self, dialogue: Dialogue, identity: str, user: str, password: str) -> Answer:
        answer = dialogue.begin("PLAIN", "\0".join((identity, user, password)).encode())
        return answer if answer.kind else dialogue.later()


class IdentityTests(ActingCase):
    def test_administrators_act_for_others(self) -> None:
        for dialogue in self.dialogues():
            for identity in (ANN, "Ann", "ANN@Example.org"):
                self.opened.clear()
                self.assertEqual(self.plain(dialogue, identity, "boss", "boss's").kind, "in")
                self.assertEqual(self.opened, [ANN])
                self.assertTrue(dialogue.logged_in)
                dialogue = type(dialogue)(dialogue.factory.portal)  # type: ignore[arg-type]

    def test_by_scram(self) -> None:
        for dialogue in self.dialogues():
            client = ScramClient(NAME, Credentials(BOSS, "boss's", ANN))
            asked = dialogue.begin(NAME, client.initial_response())
            final = dialogue.respond(client.respond(asked.octets))
            client.respond(final.octets)
            self.assertEqual(dialogue.say(b"").kind, "in")
            self.assertEqual(self.opened.pop(), ANN)

    def test_others_do_not(self) -> None:
        for dialogue in self.dialogues():
            answer = self.plain(dialogue, BOSS, "ann", "secret")
            self.assertEqual(answer.kind, "out")
            self.assertIn(b"You may not act for that user", answer.octets)
            self.assertFalse(dialogue.logged_in)
        self.assertEqual(self.opened, [])

    def test_nobody_is_told_who_exists(self) -> None:
        for dialogue in self.dialogues():
            answers = {
                self.plain(dialogue, identity, user, password).octets
                for identity, user, password in (
                    (BOSS, "ann", "secret"),
                    ("eve@example.org", "ann", "secret"),
                    ("eve@example.org", "boss", "boss's"),
                )
            }
            self.assertEqual(len(answers), 1)

    def test_the_password_counts_first(self) -> None:
        for dialogue in self.dialogues():
            answer = self.plain(dialogue, ANN, "boss", "secret")
            self.assertIn(b"User name or password is not right", answer.octets)
            self.assertEqual(self.opened, [])

    def test_ones_own_account_by_another_name(self) -> None:
        for dialogue in self.dialogues():
            self.assertEqual(self.plain(dialogue, "Ann@example.org", "ann", "secret").kind, "in")
            self.assertEqual(self.opened.pop(), ANN)

    def test_an_administrator_no_more(self) -> None:
        now(self.store.set_administrator(account=BOSS, administrator=False))
        for dialogue in self.dialogues():
            self.assertEqual(self.plain(dialogue, ANN, "boss", "boss's").kind, "out")

    def test_both_names_are_logged(self) -> None:
        for dialogue in self.dialogues():
            with capturedLogs() as events:
                self.plain(dialogue, ANN, "boss", "boss's")
                dialogue.clock.advance(DELAY)
            (event,) = [e for e in events if e.get("outcome")]
            self.assertEqual(
                (event["outcome"], event["account"], event["acting_for"]),
                ("succeeded", "boss", ANN),
            )
            self.assertTrue((formatEvent(event) or "").endswith(f" account=boss acting-for={ANN}"))

    def test_portals_that_do_not_know_of_it(self) -> None:
        checker: Any = InMemoryUsernamePasswordDatabaseDontUse(boss=b"boss's")
        for make in DIALOGUES:
            portal = Portal(self.portal().realm, [checker])
            answer = self.plain(make(portal), ANN, "boss", "boss's")
            self.assertIn(b"You may not act for that user", answer.octets)
        self.assertEqual(self.opened, [])


class SeparatorTests(ActingCase):
    def with_separator(self, make: type[Dialogue]) -> Dialogue:
        dialogue = make(self.portal())
        dialogue.factory.master_separator = "*"
        return dialogue

    def test_imap_and_pop3_commands(self) -> None:
        imap, pop3 = self.with_separator(IMAPDialogue), self.with_separator(POP3Dialogue)
        self.assertIn(b"a OK", imap.send(b'a LOGIN "ann@example.org*boss" "boss\'s"'))
        pop3.send(b"USER ann*boss@example.org")
        self.assertTrue(pop3.send(b"PASS boss's").startswith(b"+OK"))
        self.assertEqual(self.opened, [ANN, ANN])

    def test_imap_user_names_without_quotes(self) -> None:
        # As imaplib sends them.
        imap = self.with_separator(IMAPDialogue)
        self.assertIn(b"a OK", imap.send(b'a LOGIN ann@example.org*boss "boss\'s"'))
        self.assertEqual(self.opened, [ANN])

    def test_the_same_name_as_authorization_identity(self) -> None:
        # As mbsync sends it, and all that leave it to Cyrus SASL.
        for make in DIALOGUES:
            for identity in ("ann*boss", "ann"):
                dialogue = self.with_separator(make)
                self.assertEqual(self.plain(dialogue, identity, "ann*boss", "boss's").kind, "in")
            answer = self.plain(self.with_separator(make), "eve", "ann*boss", "boss's")
            self.assertNotEqual(answer.kind, "in")

    def test_others_do_not(self) -> None:
        for make in DIALOGUES:
            dialogue = self.with_separator(make)
            answer = self.plain(dialogue, "", "boss*ann", "secret")
            self.assertIn(b"You may not act for that user", answer.octets)

    def test_not_unless_the_operator_wants_it(self) -> None:
        for dialogue in self.dialogues():
            self.assertEqual(self.plain(dialogue, "", "ann*boss", "boss's").kind, "out")

    def test_half_a_name_is_a_name(self) -> None:
        for name in ("*boss", "boss*", "*"):
            dialogue = self.with_separator(IMAPDialogue)
            self.assertEqual(self.plain(dialogue, "", name, "boss's").kind, "out")
