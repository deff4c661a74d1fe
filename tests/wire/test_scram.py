"""SCRAM, client side: the examples of the RFCs, another library's server, servers that are wrong."""

from __future__ import annotations

import scramp
from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire import scram
from mailkit.wire.sasl import SASLError
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials, ScramClient

USER = Credentials("user", "pencil")
# RFC 7677 section 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
NONCES = NONCE.encode() + b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"r=" + NONCES + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def sha256(credentials: Credentials = USER) -> ScramClient:
    return ScramClient("SCRAM-SHA-256", credentials, NONCE)


class VectorTests(SynchronousTestCase):
    """The examples of the RFCs, octet by octet."""

    def test_sha_1(self) -> None:
        """RFC 5802 section 5."""
        client = ScramClient("SCRAM-SHA-1", USER, "fyko+d2lbbFgONRv9qkxdawL")
        self.assertEqual(client.initial_response(), b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL")
        nonce = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"
        self.assertEqual(
            client.respond(nonce + b",s=QSXCR+Q6sek8bf92,i=4096"),
            b"c=biws," + nonce + b",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        )
        self.assertEqual(client.respond(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="), b"")
        client.finish()

    def test_sha_256(self) -> None:
        """RFC 7677 section 3."""
        client = sha256()
        self.assertEqual(client.initial_response(), b"n,,n=user,r=" + NONCE.encode())
        self.assertEqual(
            client.respond(FIRST),
            b"c=biws,r=" + NONCES + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        self.assertEqual(client.respond(FINAL), b"")
        client.finish()

    def test_unknown_extensions_are_ignored(self) -> None:
        client = sha256()
        client.initial_response()
        self.assertIn(b",p=", client.respond(FIRST + b",x=1,y=2"))


class ExchangeTests(SynchronousTestCase):
    """With the server of another library."""

    def exchange(self, name: str, credentials: Credentials, password: str) -> scramp.ScramServer:
        mechanism = scramp.ScramMechanism(name)
        keys = mechanism.make_auth_info(password)
        asked: list[str] = []

        def look_up(username: str) -> tuple[bytes, bytes, bytes, int]:
            asked.append(username)
            return keys

        server = mechanism.make_server(look_up)
        client = CLIENT_MECHANISMS[name](credentials)
        self.assertEqual((client.name, client.plaintext), (name, False))
        server.set_client_first((client.initial_response() or b"").decode())
        server.set_client_final(client.respond(server.get_server_first().encode()).decode())
        client.respond(server.get_server_final().encode())
        client.finish()
        self.assertEqual(asked, [credentials.username])
        return server

    def test_all(self) -> None:
        self.assertEqual(list(scram.HASHES), list(CLIENT_MECHANISMS)[5:8])
        for name in scram.HASHES:
            self.exchange(name, USER, "pencil")
            self.exchange(name, Credentials("a=b,c@exämple.org", "Größe 1, =2C"), "Größe 1, =2C")

    def test_names_and_passwords_are_prepared(self) -> None:
        # RFC 4013 section 3: a soft hyphen, a Roman numeral.
        self.exchange("SCRAM-SHA-256", Credentials("user", "I\u00adX"), "\u2168")
        client = ScramClient("SCRAM-SHA-256", Credentials("I\u00adX", "x"), "n")
        self.assertEqual(client.initial_response(), b"n,,n=IX,r=n")

    def test_a_wrong_password(self) -> None:
        with self.assertRaises(scramp.ScramException):
            self.exchange("SCRAM-SHA-256", USER, "other")

    def test_nonces_differ(self) -> None:
        firsts = {CLIENT_MECHANISMS["SCRAM-SHA-1"](USER).initial_response() for _ in range(10)}
        self.assertEqual(len(firsts), 10)


class CredentialsTests(SynchronousTestCase):
    """What a client sends of its user."""

    def test_another_identity(self) -> None:
        for name in ("a\0b", "\u00ad"):
            self.assertRaises(SASLError, sha256(Credentials("ann", "x", name)).initial_response)
        client = sha256(Credentials("ann", "x", "b,b=b"))
        self.assertEqual(client.initial_response(), b"n,a=b=2Cb=3Db,n=ann,r=" + NONCE.encode())
        # "n,a=b=2Cb=3Db," in base64.
        self.assertTrue(client.respond(FIRST).startswith(b"c=bixhPWI9MkNiPTNEYiw=,r="))

    def test_names_that_cannot_be_sent(self) -> None:
        for name in ("", "a\0b", "\u00ad", "a\u0007"):
            self.assertRaises(SASLError, sha256(Credentials(name, "x")).initial_response)
        self.assertRaises(SASLError, sha256(Credentials("ann", "")).initial_response)

    def test_characters_that_are_newer_than_the_tables(self) -> None:
        client = sha256(Credentials("\U0001f600", "\U0001f600"))
        self.assertIn("n=\U0001f600,".encode(), client.initial_response())
        self.assertIn(b",p=", client.respond(FIRST))


class WrongServerTests(SynchronousTestCase):
    """Servers that do not follow the mechanism, or do not know the password."""

    def fails(self, message: bytes, words: str) -> None:
        client = sha256()
        client.initial_response()
        with self.assertRaisesRegex(SASLError, words):
            client.respond(message)
        self.assertRaises(SASLError, client.finish)

    def test_first_messages(self) -> None:
        for message in (
            b"",
            b"r=",
            b"r=" + NONCES,
            b"r=" + NONCES + b",s=W22Z",
            b"r=" + NONCES + b",i=4096,s=W22Z",
            b"r=" + NONCES + b"\xff,s=W22Z,i=4096",
            b"r=" + NONCES + b" ,s=W22Z,i=4096",
            b"r=" + NONCES + b",s=W22Z,i=04096",
            b"r=" + NONCES + b",s=W22Z,i=-4096",
            b"r=" + NONCES + b",s=W22Z,i=" + b"9" * 5000,
            b"\xff" * 8000,
        ):
            self.fails(message, "not SCRAM's")
        self.fails(b"m=new," + FIRST, "extension")
        for salt in (b"", b"W22", b"W22Z!", b"W2 2Z"):
            self.fails(b"r=" + NONCES + b",s=" + salt + b",i=4096", "not base64")

    def test_nonces(self) -> None:
        for nonce in (b"x" + NONCES, NONCE.encode(), NONCES[:10], NONCES.upper()):
            self.fails(b"r=" + nonce + b",s=W22Z,i=4096", "nonce")

    def test_too_little_and_too_much_work(self) -> None:
        for count in (1, scram.MIN_ITERATIONS - 1, scram.MAX_ITERATIONS + 1, 2**31):
            self.fails(b"r=%b,s=W22Z,i=%d" % (NONCES, count), f"asks for {count} iterations")

    def final(self, message: bytes) -> ScramClient:
        client = sha256()
        client.initial_response()
        client.respond(FIRST)
        client.respond(message)
        return client

    def test_last_messages(self) -> None:
        for message, words in (
            (b"", "not SCRAM's"),
            (b"x=1", "not SCRAM's"),
            (b"v=", "not base64"),
            (b"v=6rri", "signature"),
            (FINAL[:-1], "not base64"),
            (FINAL.replace(b"6", b"7"), "signature"),
        ):
            with self.assertRaisesRegex(SASLError, words):
                self.final(message)

    def test_a_refusal_is_told_in_the_end(self) -> None:
        client = self.final(b"e=invalid-proof")
        with self.assertRaisesRegex(SASLError, "refuses: invalid-proof"):
            client.finish()
        client = self.final(b"e=\r\n\x1b[31m")
        with self.assertRaisesRegex(SASLError, r"refuses: \?{4}31m"):
            client.finish()
        self.assertRaises(SASLError, client.respond, FINAL)

    def test_success_without_a_signature(self) -> None:
        client = sha256()
        self.assertRaises(SASLError, client.finish)
        client.initial_response()
        client.respond(FIRST)
        with self.assertRaisesRegex(SASLError, "not proved"):
            client.finish()

    def test_more_questions(self) -> None:
        self.assertRaises(SASLError, self.final(FINAL).respond, FINAL)
