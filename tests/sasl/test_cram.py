"""CRAM-MD5 on all protocols, and APOP on POP3, for accounts whose password is kept as it is."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any, cast

from twisted.cred.portal import Portal
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.portal import make_portal
from mailkit.auth.shared_secrets import SharedSecretChecker
from mailkit.sasl import choose_mechanisms
from mailkit.sasl.cram import CramMD5Server, DigestLogin, new_challenge
from mailkit.store.memory import MemoryStore
from mailkit.wire.sasl import SASLContext, SASLError, Success
from tests.auth.fakes import ImmediateExecutor
from tests.imap.support import now
from tests.sasl.dialogues import DIALOGUES, Answer, Dialogue, POP3Dialogue

ANN, BOB = "ann@example.org", "bob@example.org"
CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
#: CRAM-MD5 is never offered unless it is named.
NAMED = ["PLAIN", "CRAM-MD5"]


class VectorTests(SynchronousTestCase):
    def test_cram_md5(self) -> None:
        """RFC 2195 section 2."""
        server = CramMD5Server(SASLContext())
        server._challenge = b"<1896.697170952@postoffice.reston.mci.net>"
        success = server.step(b"tim b913a602c7eda7a495b4e6e7334d3890")
        assert isinstance(success, Success)
        self.assertEqual(success.username, "tim")
        self.assertTrue(success.credentials.is_proved_by(b"tanstaaftanstaaf"))
        self.assertFalse(success.credentials.is_proved_by(b"tanstaaf"))

    def test_apop(self) -> None:
        """RFC 1939 section 7."""
        login = DigestLogin(
            "mrose",
            b"<1896.697170952@dbc.mtview.ca.us>",
            b"c4c9334bac560ecc979e58001b3e22fb",
            "APOP",
        )
        self.assertTrue(login.is_proved_by(b"tanstaaf"))
        self.assertFalse(login.is_proved_by(b"tanstaaftanstaaf"))


class MessageTests(SynchronousTestCase):
    def test_challenges_are_message_identifiers_and_never_the_same(self) -> None:
        made = {new_challenge() for _ in range(100)}
        self.assertEqual(len(made), 100)
        for challenge in made:
            self.assertTrue(re.fullmatch(rb"<\d+\.\d+@mailkit\.invalid>", challenge), challenge)

    def test_the_server_begins(self) -> None:
        self.assertRaises(SASLError, CramMD5Server(SASLContext()).step, b"ann " + b"0" * 32)

    def test_names_may_have_spaces_and_digests_capitals(self) -> None:
        server = CramMD5Server(SASLContext())
        server.step(None)
        success = server.step(b"ann b " + b"A" * 32)
        assert isinstance(success, Success)
        self.assertEqual(success.username, "ann b")

    def test_what_is_no_response(self) -> None:
        for response in (
            b"", b"ann", b"ann " + b"0" * 31, b"ann " + b"0" * 33, b"ann " + b"g" * 32,
            b" " + b"0" * 32, b"\xff " + b"0" * 32, b"0" * 32,
        ):  # fmt: skip
            server = CramMD5Server(SASLContext())
            server.step(None)
            self.assertRaises(SASLError, server.step, response)


class LoginCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        now(self.store.add_account(name=ANN, password_hash="{PLAIN}s\u00e9cret"))
        now(self.store.add_account(name=BOB, password_hash=hash_password("s\u00e9cret", **CHEAP)))

    def portal(self) -> Portal:
        executor: Any = ImmediateExecutor()
        hasher = PasswordHasher(executor, clock=cast(Any, Clock()), executor=executor, **CHEAP)
        return make_portal(self.store, deliveries=lambda *_: object(), hasher=hasher)  # type: ignore[arg-type,return-value]


class CramMD5Tests(LoginCase):
    def dialogues(self, **settings: Any) -> list[Dialogue]:
        settings.setdefault("mechanisms", NAMED)
        return [make(self.portal(), **settings) for make in DIALOGUES]

    def cram(self, dialogue: Dialogue, user: str, password: str = "s\u00e9cret") -> Answer:
        challenge = dialogue.begin("CRAM-MD5")
        self.assertEqual(challenge.kind, "challenge")
        digest = hmac.new(password.encode(), challenge.octets, "md5").hexdigest()
        answer = dialogue.respond(f"{user} {digest}".encode())
        return answer if answer.kind else dialogue.later()

    def test_login(self) -> None:
        # The password is not sent.
        for dialogue in self.dialogues(host="192.0.2.1"):
            self.assertEqual(dialogue.offered(), ["CRAM-MD5"])
            self.assertEqual(self.cram(dialogue, "Ann").kind, "in")
            self.assertTrue(dialogue.logged_in)

    def test_all_failures_look_alike(self) -> None:
        for make in DIALOGUES:
            answers = set()
            for user, password in ((ANN, "x"), (BOB, "s\u00e9cret"), ("eve", "s\u00e9cret")):
                answers.add(self.cram(make(self.portal(), mechanisms=NAMED), user, password))
            self.assertEqual(len(answers), 1)
            self.assertEqual(answers.pop().kind, "out")

    def test_not_offered_unless_it_is_named(self) -> None:
        self.assertNotIn(CramMD5Server, choose_mechanisms(None))
        for dialogue in self.dialogues(mechanisms=None):
            self.assertNotIn("CRAM-MD5", dialogue.offered())
            self.assertEqual(dialogue.begin("CRAM-MD5").kind, "out")

    def test_not_offered_where_other_user_bases_are_asked(self) -> None:
        portal = self.portal()
        for interface in SharedSecretChecker.credentialInterfaces:
            del portal.checkers[interface]
        for make in DIALOGUES:
            self.assertEqual(make(portal, mechanisms=NAMED).offered(), ["PLAIN"])

    def test_a_password_that_is_not_taken_alone(self) -> None:
        now(self.store.set_password_scopes(account=ANN, scopes=["web"]))
        for dialogue in self.dialogues():
            self.assertEqual(self.cram(dialogue, ANN).kind, "out")


class ApopTests(LoginCase):
    def greeted(self, **settings: Any) -> tuple[POP3Dialogue, bytes]:
        """A dialogue, and the timestamp of the greeting."""
        settings.setdefault("mechanisms", NAMED)
        dialogue = POP3Dialogue(self.portal(), **settings)
        return dialogue, cast(Any, dialogue.connection).timestamp

    def apop(self, dialogue: Dialogue, user: str, digest: str) -> bytes:
        said = dialogue.send(f"APOP {user} {digest}".encode())
        return said or dialogue.later().octets

    def digest(self, timestamp: bytes, password: str = "s\u00e9cret") -> str:
        return hashlib.md5(timestamp + password.encode()).hexdigest()

    def test_greeting(self) -> None:
        greeting = POP3Dialogue(self.portal(), mechanisms=NAMED).greeting
        self.assertRegex(greeting.decode(), r"\A\+OK POP3 server ready <\d+\.\d+@\S+>\r\n\Z")
        plain = POP3Dialogue(self.portal()).greeting
        self.assertEqual(plain, b"+OK POP3 server ready\r\n")

    def test_apop(self) -> None:
        dialogue, timestamp = self.greeted(host="192.0.2.1")
        said = self.apop(dialogue, "ann", self.digest(timestamp))
        self.assertTrue(said.startswith(b"+OK Logged in"), said)

    def test_wrong_apop(self) -> None:
        answers = set()
        for user, password in ((ANN, "x"), (BOB, "s\u00e9cret"), ("eve", "s\u00e9cret")):
            dialogue, timestamp = self.greeted()
            answers.add(self.apop(dialogue, user, self.digest(timestamp, password)))
        self.assertEqual(answers, {b"-ERR [AUTH] User name or password is not right\r\n"})
        # Of another connection.
        dialogue, timestamp = self.greeted()
        other, _ = self.greeted()
        self.assertIn(b"-ERR [AUTH]", self.apop(other, "ann", self.digest(timestamp)))

    def test_apop_that_is_none(self) -> None:
        for arguments in (b"", b" ann", b" ann x", b" " + b"0" * 32, b" \xff " + b"0" * 32):
            dialogue, _ = self.greeted()
            self.assertTrue(dialogue.send(b"APOP" + arguments).startswith(b"-ERR "), arguments)
            self.assertFalse(dialogue.logged_in)

    def test_apop_where_it_is_not_offered(self) -> None:
        dialogue, timestamp = self.greeted(mechanisms=None)
        said = self.apop(dialogue, "ann", self.digest(timestamp))
        self.assertEqual(said, b"-ERR APOP is not available here\r\n")
