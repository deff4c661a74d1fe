"""The client's commands, with a server that says what it should and with our own."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.security import TLSPolicy
from mailkit.pop3.client import (
    AuthFailed,
    ClientSettings,
    Credentials,
    Farewell,
    Language,
    NotOffered,
    Refused,
    Retrieved,
    ServiceRefused,
    Stat,
    TLSFailed,
)
from tests.pop3.client.support import CAPA, LOGIN, NOBODY, SETTINGS, Script, Wire, scripted, served
from tests.pop3.fakes import FakeMailbox, FakeWritableMailbox, Server

ONE = b"Subject: one\r\n\r\n.dot\r\n..two\r\n"
TWO = b"Subject: two\r\n\r\n"


class OurServerTests(SynchronousTestCase):
    """Every command against the server."""

    def setUp(self) -> None:
        self.mailbox = FakeWritableMailbox(ONE, TWO)
        self.server = Server(self.mailbox)

    def test_what_is_there(self) -> None:
        for piece in (None, 1, 7):
            wire = served(self.server, piece=piece)
            session = wire.session
            self.assertEqual(wire.run(session.stat()), Stat(2, len(ONE + TWO)))
            self.assertEqual(wire.run(session.list()), {1: len(ONE), 2: len(TWO)})
            self.assertEqual(wire.run(session.size(2)), len(TWO))
            self.assertEqual(wire.run(session.uidl()), {1: "42.7", 2: "42.8"})
            self.assertEqual(wire.run(session.unique_id(2)), "42.8")
            self.assertEqual(wire.run(session.retr(1)).octets(), ONE)
            self.assertEqual(wire.run(session.top(1, 1)).octets(), b"Subject: one\r\n\r\n.dot\r\n")
            wire.run(session.noop())
            self.assertEqual(wire.run(session.quit()), Farewell(True, "Goodbye (2 messages left)"))
            self.assertTrue(session.closed)

    def test_facts(self) -> None:
        facts = served(self.server).session.facts
        self.assertEqual((facts.account, facts.mechanism), ("ann", "PLAIN"))
        self.assertEqual((facts.greeting, facts.utf8), ("POP3 server ready", True))
        assert facts.announced is not None
        self.assertEqual(facts.announced["SASL"], ("PLAIN", "LOGIN"))

    def test_capabilities_are_asked_anew(self) -> None:
        wire = served(self.server)
        self.assertIn("TOP", wire.run(wire.session.capa()))

    def test_deleting(self) -> None:
        wire = served(self.server)
        wire.run(wire.session.dele(1))
        self.assertEqual(wire.run(wire.session.list()), {2: len(TWO)})
        wire.run(wire.session.rset())
        self.assertEqual(len(wire.run(wire.session.list())), 2)
        wire.run(wire.session.dele(2))
        self.assertEqual(wire.run(wire.session.quit()), Farewell(True, "Goodbye (1 message left)"))
        self.assertEqual(self.mailbox.expunged, [[8]])

    def test_deleting_several(self) -> None:
        wire = served(self.server)
        self.assertRaises(Refused, wire.run, wire.session.dele(1, 9, 2))
        self.assertEqual(wire.run(wire.session.stat()).messages, 0)

    def test_messages_that_cannot_be_removed(self) -> None:
        self.mailbox.trouble["expunge"] = RuntimeError("a bug")
        wire = served(self.server)
        wire.run(wire.session.dele(1))
        farewell = wire.run(wire.session.quit())
        self.assertEqual(farewell.removed, False)
        self.assertIn("not removed", farewell.text)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_nothing_is_removed_where_the_server_cannot(self) -> None:
        wire = served(Server(FakeMailbox(ONE)))
        self.assertRaises(Refused, wire.run, wire.session.dele(1))

    def test_no_such_message(self) -> None:
        wire = served(self.server)
        session = wire.session
        for call in (session.size, session.unique_id, session.retr, session.top, session.dele):
            with self.assertRaises(Refused) as caught:
                wire.run(call(9))
            self.assertIn("No such message", caught.exception.text)
        self.assertRaises(Refused, wire.run, anext(session.stream(9)))
        self.assertRaises(ValueError, wire.run, session.retr(0))
        self.assertRaises(ValueError, wire.run, session.top(1, -1))
        number: Any = "1"
        with self.assertRaisesRegex(TypeError, "a message number is an int: '1'"):
            wire.run(session.retr(number))

    def test_many_messages(self) -> None:
        async def fetch(*numbers: int) -> list[Retrieved]:
            return [each async for each in wire.session.fetch(numbers)]

        wire = served(self.server)
        found = wire.run(fetch(2, 9, 1))
        self.assertEqual([each.number for each in found], [2, 9, 1])
        self.assertEqual(
            [c.octets() if (c := e.content) else None for e in found], [TWO, None, ONE]
        )
        refusal = found[1].refusal
        assert refusal is not None
        self.assertIn("No such message", refusal.text)

    def test_languages(self) -> None:
        settings = ClientSettings(TLSPolicy.none(), SETTINGS.credentials, language="de")
        wire = served(self.server, settings)
        self.assertEqual(wire.session.facts.language, "de")
        self.assertIn(Language("de", "Deutsch"), wire.run(wire.session.languages()))
        self.assertRaises(Refused, wire.run, wire.session.lang("tlh"))
        self.assertEqual(wire.run(wire.session.lang("en")), "en Now speaking English")

    def test_the_maildrop_is_locked(self) -> None:
        served(self.server)
        with self.assertRaises(Refused) as caught:
            served(self.server)
        self.assertEqual(caught.exception.response_code, "IN-USE")
        self.assertTrue(caught.exception.temporary)

    def test_a_wrong_password(self) -> None:
        settings = ClientSettings(TLSPolicy.none(), Credentials("ann", "wrong"))
        self.server.factory.max_login_delay = 0
        with self.assertRaises(AuthFailed) as caught:
            served(self.server, settings)
        self.assertFalse(caught.exception.temporary)


class ScriptedTests(SynchronousTestCase):
    """What other servers do."""

    def test_a_server_without_capa(self) -> None:
        script = Script((b"CAPA", b"-ERR what?\r\n"), *LOGIN[1:], (b"STAT", b"+OK 0 0\r\n"))
        wire = Wire(script)
        wire.run(wire.session.open())
        self.assertEqual(wire.run(wire.session.stat()), (0, 0))
        self.assertIsNone(wire.session.facts.announced)
        self.assertRaises(NotOffered, wire.run, wire.session.languages())

    def test_without_pipelining_each_command_waits(self) -> None:
        script = Script((b"CAPA", b"+OK\r\nUSER\r\n.\r\n"), *LOGIN[1:], (b"NOOP", b""))
        wire = Wire(script)
        wire.run(wire.session.open())
        first, second = wire.start(wire.session.noop()), wire.start(wire.session.stat())
        self.assertEqual(script.heard[-1], b"NOOP")
        wire.pending += b"+OK\r\n"
        wire.flush()
        self.assertEqual(script.heard[-1], b"STAT")
        wire.pending += b"+OK 1 2\r\n"
        wire.flush()
        self.assertEqual((first, second), ([None], [(1, 2)]))

    def test_listings(self) -> None:
        wire = scripted(
            (b"LIST", b"+OK\r\n1 10 more\r\n 2\t20\n.\r\n"),
            (b"UIDL", b"+OK\r\n1 a b\r\n2 \xff\r\n3 ..\r\n.\r\n"),
        )
        self.assertEqual(wire.run(wire.session.list()), {1: 10, 2: 20})
        self.assertEqual(wire.run(wire.session.uidl()), {1: "a b", 2: "\\xff", 3: ".."})

    def test_contents(self) -> None:
        for octets, expected in (
            (b".\r\n", b""),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
            # Bare line feeds, as servers that keep messages as they are send them.
            (b"a\n..b\n.c\r\n.\r\n", b"a\n.b\n.c\r\n"),
            (b"a\n..\r\nb\n.\r\n\r\n.\r\n", b"a\n.\r\nb\n.\r\n\r\n"),
            (b"a\r.\r\n.\r\n", b"a\r.\r\n"),
        ):
            for piece in range(1, len(octets) + 1):
                wire = scripted((b"RETR 1", b"+OK\r\n" + octets + b"-ERR next\r\n"), piece=piece)
                content = wire.start(wire.session.retr(1))
                self.assertEqual(content[0].octets(), expected, piece)

    def test_response_codes(self) -> None:
        wire = scripted(
            (b"NOOP", b"-ERR [sys/temp] later\r\n"),
            (b"NOOP", b"-ERR [ not a code] x\r\n"),
            (b"NOOP", b"-ERR\r\n"),
        )
        found = []
        for _ in range(3):
            with self.assertRaises(Refused) as caught:
                wire.run(wire.session.noop())
            error = caught.exception
            found.append((error.response_code, error.text, error.temporary))
        self.assertEqual(
            found,
            [
                ("SYS/TEMP", "later", True),
                ("", "[ not a code] x", False),
                ("", Refused.default_text, False),
            ],
        )

    def test_outcomes_of_quit(self) -> None:
        for answer, removed in ((b"+OK bye\r\n", True), (b"-ERR some\r\n", False), (b"", None)):
            wire = scripted((b"DELE 1", b"+OK\r\n"), (b"QUIT", answer))
            wire.run(wire.session.dele(1))
            results = wire.start(wire.session.quit())
            wire.lose()
            self.assertEqual(results[0].removed, removed, answer)

    def test_a_session_that_broke_before_quit_has_removed_nothing(self) -> None:
        wire = scripted((b"DELE 1", b"+OK\r\n"))
        wire.run(wire.session.dele(1))
        wire.lose()
        self.assertEqual(wire.run(wire.session.quit()).removed, False)
        wire = scripted()
        wire.lose()
        self.assertEqual(wire.run(wire.session.quit()).removed, True)

    def test_a_greeting_that_refuses(self) -> None:
        wire = Wire(Script(greeting=b"-ERR too many\r\n"))
        with self.assertRaises(ServiceRefused) as caught:
            wire.run(wire.session.open())
        self.assertEqual(caught.exception.text, "too many")
        self.assertTrue(wire.transport.aborted)

    def test_a_farewell_that_nobody_asked_for(self) -> None:
        wire = scripted()
        wire.pending += b"-ERR shutting down\r\n"
        wire.flush()
        with self.assertRaises(ServiceRefused) as caught:
            wire.run(wire.session.noop())
        self.assertEqual(caught.exception.text, "shutting down")


class LoginTests(SynchronousTestCase):
    """The way in that is chosen."""

    PLAIN = b"AUTH PLAIN AGFubgBzZWNyZXQ="

    def log_in(
        self,
        *lines: tuple[bytes, bytes],
        capabilities: bytes = b"USER",
        greeting: bytes = b"+OK\r\n",
        host: str = "127.0.0.1",
        **settings: object,
    ) -> str:
        answer = b"+OK\r\n" + capabilities.replace(b",", b"\r\n") + b"\r\n.\r\n"
        script = Script((b"CAPA", answer), *lines, greeting=greeting)
        made = ClientSettings(
            **{"tls": TLSPolicy.none(), "credentials": SETTINGS.credentials} | settings
        )  # type: ignore[arg-type]
        wire = Wire(script, made, host=host)
        wire.run(wire.session.open())
        self.assertTrue(script.finished)
        return wire.session.facts.mechanism

    def test_an_initial_response(self) -> None:
        found = self.log_in((self.PLAIN, b"+OK\r\n"), capabilities=b"USER,SASL LOGIN PLAIN")
        self.assertEqual(found, "PLAIN")

    def test_a_long_response_comes_second(self) -> None:
        credentials = Credentials("ann", "s" * 300)
        response = base64.b64encode(b"\0ann\0" + b"s" * 300)
        self.log_in(
            (b"AUTH PLAIN", b"+ \r\n"),
            (response, b"+OK\r\n"),
            capabilities=b"SASL PLAIN",
            credentials=credentials,
        )

    def test_challenges(self) -> None:
        found = self.log_in(
            (b"AUTH LOGIN", b"+ VXNlcm5hbWU6\r\n"),
            (b"YW5u", b"+ UGFzc3dvcmQ6\r\n"),
            (b"c2VjcmV0", b"+OK\r\n"),
            capabilities=b"SASL LOGIN",
        )
        self.assertEqual(found, "LOGIN")

    def test_an_exchange_that_is_given_up(self) -> None:
        with self.assertRaises(AuthFailed) as caught:
            self.log_in(
                (self.PLAIN, b"+ more\r\n"),
                (b"*", b"-ERR cancelled\r\n"),
                capabilities=b"SASL PLAIN",
            )
        self.assertNotIn("cancelled", caught.exception.text)

    def test_apop(self) -> None:
        # The example of RFC 1939 section 7.
        credentials = Credentials("mrose", "tanstaaf")
        found = self.log_in(
            (b"APOP mrose c4c9334bac560ecc979e58001b3e22fb", b"+OK\r\n"),
            capabilities=b"UIDL",
            greeting=b"+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n",
            credentials=credentials,
        )
        self.assertEqual(found, "APOP")

    def test_apop_is_better_than_a_password_where_somebody_may_listen(self) -> None:
        greeting = b"+OK <1@a>\r\n"
        digest = b"APOP ann " + hashlib.md5(b"<1@a>secret").hexdigest().encode()
        far = {"host": "192.0.2.1", "greeting": greeting, "allow_plaintext_passwords": True}
        self.assertEqual(self.log_in((digest, b"+OK\r\n"), **far), "APOP")  # type: ignore[arg-type]
        user = ((b"USER ann", b"+OK\r\n"), (b"PASS secret", b"+OK\r\n"))
        self.assertEqual(self.log_in(*user, greeting=greeting), "USER")

    def test_a_timestamp_that_is_none(self) -> None:
        for greeting in (b"<1@\xc3\xa4>", b"<1>", b"<a b@c>", b"<>"):
            user = ((b"USER ann", b"+OK\r\n"), (b"PASS secret", b"+OK\r\n"))
            found = self.log_in(*user, capabilities=b"X", greeting=b"+OK " + greeting + b"\r\n")
            self.assertEqual(found, "USER", greeting)

    def test_no_password_in_clear_to_another_machine(self) -> None:
        for capabilities in (b"USER", b"SASL PLAIN", b"SASL CRAM-MD5", b"X"):
            with self.assertRaises(AuthFailed) as caught:
                self.log_in(capabilities=capabilities, host="192.0.2.1", greeting=b"+OK <1@a>\r\n")
            self.assertIn("not encrypted", caught.exception.text)

    def test_a_password_that_cannot_be_sent(self) -> None:
        for password in ("a\r\nDELE 1", "a\0b", ""):
            with self.assertRaises(AuthFailed):
                self.log_in((b"USER ann", b"+OK\r\n"), credentials=Credentials("ann", password))

    def test_another_identity_needs_sasl(self) -> None:
        with self.assertRaises(AuthFailed):
            self.log_in(credentials=Credentials("ann", "secret", "bob"))

    def test_what_is_wrong(self) -> None:
        for text, kind in (
            (b"-ERR [AUTH] wrong\r\n", AuthFailed),
            (b"-ERR wrong\r\n", AuthFailed),
            (b"-ERR [LOGIN-DELAY] wait\r\n", Refused),
            (b"-ERR [SYS/PERM] broken\r\n", Refused),
        ):
            with self.assertRaises(kind):
                self.log_in((b"USER ann", b"+OK\r\n"), (b"PASS secret", text))

    def test_nobody_logs_in_without_credentials(self) -> None:
        self.assertEqual(self.log_in(credentials=None), "")


class TLSTests(SynchronousTestCase):
    def open(self, *lines: tuple[bytes, bytes], policy: TLSPolicy) -> Wire:
        wire = Wire(Script(*lines), ClientSettings(policy))
        self.results = wire.start(wire.session.open())
        return wire

    def failure(self) -> TLSFailed:
        with self.assertRaises(TLSFailed) as caught:
            self.results[0].raiseException()
        return caught.exception

    def test_stls_that_is_not_offered(self) -> None:
        wire = self.open((b"CAPA", CAPA), policy=TLSPolicy.required())
        self.assertIn("no STLS", self.failure().text)
        self.assertTrue(wire.transport.aborted)
        self.open((b"CAPA", CAPA), policy=TLSPolicy.opportunistic())
        self.assertEqual(self.results, [None])

    def test_stls_that_is_refused(self) -> None:
        lines = (b"CAPA", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS", b"-ERR not now\r\n")
        self.open(*lines, policy=TLSPolicy.required())
        self.assertEqual(self.failure().text, "not now")
        wire = self.open(*lines, policy=TLSPolicy.opportunistic())
        self.assertEqual(wire.session.facts.tls_failure, "not now")

    def test_octets_before_tls_end_the_connection(self) -> None:
        for early in (b"+OK more\r\n", b"x"):
            wire = self.open(
                (b"CAPA", b"+OK\r\nSTLS\r\n.\r\n"),
                (b"STLS", b"+OK go\r\n" + early),
                policy=TLSPolicy.required(),
            )
            self.assertIn("before TLS", self.results[0].getErrorMessage())
            self.assertTrue(wire.transport.aborted)
            self.assertEqual(wire.transport.tls, [])


class UTF8Tests(SynchronousTestCase):
    def test_utf8_is_asked_for_before_the_login(self) -> None:
        capabilities = b"+OK\r\nUSER\r\nUTF8 USER\r\n.\r\n"
        script = Script((b"CAPA", capabilities), (b"UTF8", b"+OK\r\n"), *LOGIN[1:])
        wire = Wire(script)
        wire.run(wire.session.open())
        self.assertTrue(wire.session.facts.utf8)

    def test_it_is_not_where_nobody_wants_it(self) -> None:
        settings = ClientSettings(TLSPolicy.none(), SETTINGS.credentials, utf8=False)
        script = Script((b"CAPA", b"+OK\r\nUSER\r\nUTF8\r\n.\r\n"), *LOGIN[1:])
        wire = Wire(script, settings)
        wire.run(wire.session.open())
        self.assertFalse(wire.session.facts.utf8)

    def test_a_server_that_changes_its_mind(self) -> None:
        script = Script((b"CAPA", b"+OK\r\nUTF8\r\n.\r\n"), (b"UTF8", b"-ERR no\r\n"))
        wire = Wire(script, NOBODY)
        wire.run(wire.session.open())
        self.assertFalse(wire.session.facts.utf8)
