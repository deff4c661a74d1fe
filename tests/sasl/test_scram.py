"""SCRAM, server side: the RFCs' examples, messages that are wrong, and logins on the wire."""

from __future__ import annotations

import base64
from typing import Any

import scramp
from twisted.cred.portal import Portal
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.portal import make_portal
from mailkit.auth.scram import MECHANISM_SECONDS, ScramChecker, keys_of
from mailkit.interfaces import IScramLogin
from mailkit.sasl.scram import (
    MAX_NONCE,
    ScramServer,
    ScramSHA1,
    ScramSHA256,
    ScramSHA512,
    read_client_first,
)
from mailkit.store.memory import MemoryStore
from mailkit.wire.sasl import Lookup, SASLContext, SASLError, Success
from mailkit.wire.sasl_client import Credentials, ScramClient
from mailkit.wire.scram import FoundKeys, derive_keys
from tests.imap.support import now
from tests.sasl.dialogues import DIALOGUES, Dialogue

ANN, NOBODY = "ann@example.org", "eve@example.org"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"


def server(
    make: type[ScramServer], salt: bytes, nonce: bytes, password: str = "pencil"
) -> tuple[ScramServer, FoundKeys]:
    """A server with a given nonce, and the keys that it is to find."""
    found = FoundKeys("user", derive_keys(make.keys_name, password, salt=salt, iterations=4096))
    made = make(SASLContext())
    made._nonce = nonce
    return made, found


class VectorTests(SynchronousTestCase):
    """The examples of the RFCs, octet by octet."""

    def check(self, made: ScramServer, found: FoundKeys, dialogue: list[bytes]) -> None:
        first, asked, last, final = dialogue
        self.assertEqual(made.step(None), b"")
        lookup = made.step(first)
        assert isinstance(lookup, Lookup)
        self.assertEqual(made.resume(found), asked)
        success = made.step(last)
        assert isinstance(success, Success)
        self.assertEqual((success.username, success.authorization_id), ("user", ""))
        self.assertTrue(success.credentials.is_proved_by(found.keys))
        self.assertEqual(success.data, final)

    def test_sha_1(self) -> None:
        """RFC 5802 section 5."""
        made, found = server(ScramSHA1, base64.b64decode("QSXCR+Q6sek8bf92"), b"3rfcNHYJY1ZVvWVs7j")
        nonce = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"
        dialogue = [
            b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            nonce + b",s=QSXCR+Q6sek8bf92,i=4096",
            b"c=biws," + nonce + b",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ]
        self.check(made, found, dialogue)

    def test_sha_256(self) -> None:
        """RFC 7677 section 3."""
        made, found = server(
            ScramSHA256,
            base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="),
            b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        )
        nonce = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        dialogue = [
            FIRST,
            nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"c=biws," + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ]
        self.check(made, found, dialogue)

    def test_clients_of_another_library(self) -> None:
        for make in (ScramSHA1, ScramSHA256, ScramSHA512):
            for password in ("pencil", "p\u00e4ss\u00adwort \u2168", "a" * 300):
                made, found = server(make, b"salt" * 4, b"xyz", password)
                client = scramp.ScramClient([make.name], "user", password)
                made.step(client.get_client_first().encode())
                asked: Any = made.resume(found)
                client.set_server_first(asked.decode())
                success = made.step(client.get_client_final().encode())
                assert isinstance(success, Success) and success.data is not None
                self.assertTrue(success.credentials.is_proved_by(found.keys))
                client.set_server_final(success.data.decode())


class MessageTests(SynchronousTestCase):
    def test_first_message(self) -> None:
        first = read_client_first(b"n,a=b=2Co=3Db,n=J\xc3\xbcr=2Cg,r=abc,x=unknown")
        self.assertEqual(first.authorization_id, "b,o=b")
        self.assertEqual((first.username, first.nonce), ("Jür,g", b"abc"))
        self.assertEqual(first.header, b"n,a=b=2Co=3Db,")
        self.assertEqual(first.bare, b"n=J\xc3\xbcr=2Cg,r=abc,x=unknown")
        # SASLprep: a soft hyphen is nothing, a Roman nine is IX.
        self.assertEqual(read_client_first("n,,n=a\u00ad\u2168,r=x".encode()).username, "aIX")

    def test_first_messages_that_are_none(self) -> None:
        for message in (
            b"", b"n", b"n,,", b"n,,n=user", b"n,,r=abc,n=user", b"x,,n=user,r=abc",
            b"n,b=x,n=user,r=abc", b"n,a=,n=user,r=abc", b"n,,n=,r=abc", b"n,,n=us=er,r=abc",
            b"n,,n=us=2cer,r=abc", b"n,,n=\xff,r=abc", b"n,,n=user,r=", b"n,,n=user,r=a b",
            b"n,,n=user,r=a\xc3\xa4", b"n,,m=x,n=user,r=abc", b"p,,n=user,r=abc",
            b"p=,,n=user,r=abc", b"p=tls unique,,n=user,r=abc", b"n,,n=a\x07b,r=abc",
            b"n,,n=\xc2\xad,r=abc", b"n,,n=us\0er,r=abc", b"F,n,,n=user,r=abc",
            b"n,,n=user,r=" + b"x" * (MAX_NONCE + 1),
        ):  # fmt: skip
            self.assertRaises(SASLError, read_client_first, message)

    def asked(self, first: bytes = FIRST, **context: Any) -> ScramServer:
        made, found = server(ScramSHA256, b"salt" * 4, b"xyz")
        made.context = SASLContext(**context)
        made.step(first)
        made.resume(found)
        return made

    def test_last_messages_that_are_wrong(self) -> None:
        nonce = b"rOprNGfwEbeRWgbNEkqOxyz"
        proof = base64.b64encode(b"x" * 32)
        good = b"c=biws,r=" + nonce + b",p=" + proof
        self.assertIsInstance(self.asked().step(good), Success)
        self.assertIsInstance(self.asked().step(good.replace(b",p=", b",x=y,p=")), Success)
        for message in (
            b"", b"c=biws", b"c=biws,r=" + nonce, b"r=" + nonce + b",c=biws,p=" + proof,
            good.replace(b"biws", b"eSws"), good.replace(b"biws", b"biw"),
            good.replace(nonce, nonce + b"x"), good.replace(nonce, nonce[:-1]),
            good.replace(nonce, b""), good.replace(b",p=", b",m=x,p="), good + b"!",
        ):  # fmt: skip
            self.assertRaises(SASLError, self.asked().step, message)

    def test_proofs_that_are_wrong(self) -> None:
        keys = derive_keys("SCRAM-SHA-256", "pencil", salt=b"salt" * 4, iterations=4096)
        for proof in (b"", b"x", b"x" * 31, b"x" * 32, b"x" * 33):
            last = b"c=biws,r=rOprNGfwEbeRWgbNEkqOxyz,p=" + base64.b64encode(proof)
            success = self.asked().step(last)
            assert isinstance(success, Success)
            self.assertFalse(success.credentials.is_proved_by(keys))

    def test_nothing_secret_is_shown(self) -> None:
        keys = derive_keys("SCRAM-SHA-256", "pencil", salt=b"salt" * 4, iterations=1)
        self.assertEqual(repr(keys), "<keys for SCRAM-SHA-256>")
        last = b"c=biws,r=rOprNGfwEbeRWgbNEkqOxyz,p=" + base64.b64encode(b"x" * 32)
        success = self.asked().step(last)
        assert isinstance(success, Success)
        self.assertNotIn("xxxx", repr(success.credentials))

    def test_keys_of_another_mechanism_prove_nothing(self) -> None:
        made, found = server(ScramSHA256, b"salt" * 4, b"xyz")
        client = ScramClient("SCRAM-SHA-256", Credentials("user", "pencil"))
        made.step(client.initial_response())
        asked: Any = made.resume(found)
        success = made.step(client.respond(asked))
        assert isinstance(success, Success)
        self.assertTrue(success.credentials.is_proved_by(found.keys))
        other = derive_keys("SCRAM-SHA-1", "pencil", salt=b"salt" * 4, iterations=4096)
        self.assertFalse(success.credentials.is_proved_by(other))

    def test_channel_binding_that_cannot_be_had(self) -> None:
        for first in (b"p=tls-unique,,n=user,r=abc", b"p=tls-exporter,a=x,n=user,r=abc"):
            self.assertRaises(SASLError, self.asked, first)

    def test_downgrade(self) -> None:
        # RFC 5802 section 6: the client believes that the server has no channel binding.
        first = b"y,,n=user,r=abc"
        self.asked(first, offered=["SCRAM-SHA-256"])
        offered = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        self.assertRaises(SASLError, self.asked, first, offered=offered)


class LoginTests(SynchronousTestCase):
    """Over IMAP, POP3 and SMTP, with our own client."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        now(self.store.add_account(name=ANN))
        self.set_password("sécret")

    def set_password(self, password: str) -> None:
        keys = keys_of(password, ["SCRAM-SHA-256", "SCRAM-SHA-1"])
        now(self.store.set_password(account=ANN, password_hash="{PLAIN}other", scram_keys=keys))

    def portal(self) -> Portal:
        return make_portal(self.store, deliveries=lambda *_: object())  # type: ignore[arg-type,return-value]

    def dialogues(self, **settings: Any) -> list[Dialogue]:
        return [make(self.portal(), **settings) for make in DIALOGUES]

    def log_in(
        self,
        dialogue: Dialogue,
        username: str,
        password: str,
        name: str = "SCRAM-SHA-256",
        identity: str = "",
    ) -> bytes:
        """Log in, and check that the server knows the password too; the last line."""
        client = ScramClient(name, Credentials(username, password, identity))
        asked = dialogue.begin(name, client.initial_response())
        self.assertEqual(asked.kind, "challenge")
        final = dialogue.respond(client.respond(asked.octets))
        if final.kind != "challenge":
            return (final if final.kind else dialogue.later()).octets
        self.assertEqual(client.respond(final.octets), b"")
        client.finish()
        done = dialogue.say(b"")
        self.assertEqual(done.kind, "in")
        return done.octets

    def test_login(self) -> None:
        # Without TLS, from another machine: the password is not sent.
        for dialogue in self.dialogues(host="192.0.2.1"):
            self.assertEqual(dialogue.offered(), ["SCRAM-SHA-256", "SCRAM-SHA-1"])
            self.log_in(dialogue, "Ann", "sécret", "SCRAM-SHA-1")
            self.assertTrue(dialogue.logged_in)

    def test_same_answer_to_a_wrong_password_and_an_unknown_user(self) -> None:
        for make in DIALOGUES:
            answers = set()
            for username, password in ((ANN, "wrong"), (NOBODY, "sécret"), ("nobody", "")):
                dialogue = make(self.portal())
                answers.add(self.log_in(dialogue, username, password or "x"))
                self.assertFalse(dialogue.logged_in)
            self.assertEqual(len(answers), 1)

    def test_question_to_an_unknown_user_is_always_the_same(self) -> None:
        asked = []
        for dialogue in self.dialogues():
            for username in (b"eve", b"EVE@Example.org", b"ann"):
                answer = dialogue.begin("SCRAM-SHA-256", b"n,,n=" + username + b",r=x")
                asked.append(answer.octets.split(b",")[1:])
                dialogue.say(b"*")
        self.assertEqual(asked[0::3] + asked[1::3], [asked[0]] * 6)
        self.assertEqual(asked[2::3], [asked[2]] * 3)
        self.assertNotEqual(asked[0], asked[2])
        self.assertEqual(asked[0][1], asked[2][1])

    def test_changed_password(self) -> None:
        for dialogue in self.dialogues():
            self.set_password("sécret")
            client = ScramClient("SCRAM-SHA-256", Credentials(ANN, "sécret"))
            asked = dialogue.begin("SCRAM-SHA-256", client.initial_response())
            self.set_password("another")
            dialogue.respond(client.respond(asked.octets))
            self.assertEqual(dialogue.later().kind, "out")

    def test_nobody_acts_for_others(self) -> None:
        for dialogue in self.dialogues():
            self.log_in(dialogue, ANN, "sécret", identity=NOBODY)
            self.assertFalse(dialogue.logged_in)

    def test_not_offered_unless_all_accounts_have_keys(self) -> None:
        clock = [0.0]
        checker = ScramChecker(self.store, seconds=lambda: clock[0])
        self.assertEqual(checker.scram_mechanisms, {"SCRAM-SHA-256", "SCRAM-SHA-1"})
        now(self.store.add_account(name=NOBODY, password_hash="hash"))
        clock[0] = MECHANISM_SECONDS - 1
        self.assertEqual(len(checker.scram_mechanisms), 2)
        clock[0] = MECHANISM_SECONDS
        self.assertEqual(len(checker.scram_mechanisms), 0)
        for dialogue in self.dialogues():
            self.assertEqual(dialogue.offered(), ["PLAIN", "LOGIN"])
            self.assertEqual(dialogue.begin("SCRAM-SHA-256", FIRST).kind, "out")

    def test_offer_of_a_running_server(self) -> None:
        clock = [0.0]
        portal = self.portal()
        portal.checkers[IScramLogin] = ScramChecker(self.store, seconds=lambda: clock[0])
        for make in DIALOGUES:
            now(self.store.set_scram_policy(mechanisms=["SCRAM-SHA-256"]))
            self.set_password("secret")
            clock[0] += MECHANISM_SECONDS
            dialogue = make(portal)
            self.assertIn("SCRAM-SHA-256", dialogue.offered())
            now(self.store.set_scram_policy(mechanisms=[]))
            clock[0] += MECHANISM_SECONDS
            self.assertNotIn("SCRAM-SHA-256", dialogue.offered())

    def test_not_offered_beside_other_user_bases(self) -> None:
        other: Any = type("Other", (), {"credentialInterfaces": make_portal(self.store).checkers})
        portal = make_portal(self.store, [other(), other()], create_accounts=False)
        for make in DIALOGUES[:2]:
            self.assertNotIn("SCRAM-SHA-256", make(portal).offered())
