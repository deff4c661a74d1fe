"""How a connection begins and ends: greeting, EHLO, HELO, STARTTLS, AUTH, QUIT."""

from __future__ import annotations

import base64
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from mailkit.smtp.client import (
    AuthFailed,
    ClientSettings,
    ConnectionLost,
    Credentials,
    ProtocolError,
    ServiceRefused,
    Session,
    TimedOut,
    Timeouts,
    TLSFailed,
    TLSMode,
    TLSPolicy,
    make_envelope,
)
from mailkit.wire.sasl_client import ScramClient
from tests.smtp.client.fakes import (
    EVERYTHING,
    LOST,
    MESSAGE,
    SILENCE,
    FakeChannel,
    Server,
    failure_of,
    make_session,
    open_session,
    run,
)

ANN = Credentials("ann", "secret")
PLAIN = base64.b64encode(b"\0ann\0secret").decode()


def settings(mode: TLSMode = TLSMode.OPPORTUNISTIC, **more: object) -> ClientSettings:
    policy = TLSPolicy(mode, pins=frozenset([b"p" * 32]))
    return ClientSettings(helo="client.example", tls=policy, **more)  # type: ignore[arg-type]


class GreetingTests(SynchronousTestCase):
    """RFC 5321 section 3.1 and 3.2."""

    def test_ehlo(self) -> None:
        server = Server(*EVERYTHING)
        session, channel = make_session(server)
        run(session.open())
        self.assertEqual(server.commands, ["EHLO client.example"])
        facts = session.facts
        self.assertEqual((facts.protocol, facts.peer), ("ESMTP", "192.0.2.1:25"))
        self.assertEqual(facts.greeting, "mx.example.org ESMTP")
        self.assertEqual(facts.extensions.hostname, "mx.example.org")
        self.assertEqual(facts.extensions.size, 1_000_000)
        self.assertFalse(channel.aborted)

    def test_helo_where_ehlo_is_not_known(self) -> None:
        server = Server(answers={"EHLO": "502 5.5.1 what?", "HELO": "250 old.example hello"})
        session = open_session(server)
        self.assertEqual(session.facts.protocol, "SMTP")
        self.assertEqual(session.facts.extensions.hostname, "old.example")
        self.assertEqual(dict(session.facts.extensions.keywords), {})

    def test_lhlo_has_no_older_form(self) -> None:
        server = Server(answers={"LHLO": "500 5.5.1 what?"}, lmtp=True)
        error = failure_of(make_session(server)[0].open())
        self.assertIsInstance(error, ServiceRefused)
        self.assertEqual((error.code, error.enhanced, error.command), (500, "5.5.1", "LHLO"))
        self.assertEqual(server.commands, ["LHLO client.example"])

    def test_refusals(self) -> None:
        for greeting, temporary in (("554 5.7.1 no", False), ("421 busy", True), ("450 a", True)):
            session, channel = make_session(Server(greeting=greeting))
            error = failure_of(session.open())
            self.assertIsInstance(error, ServiceRefused)
            self.assertEqual((error.code, error.temporary), (int(greeting[:3]), temporary))
            self.assertEqual(error.command, "greeting")
            self.assertTrue(channel.aborted and session.closed)

    def test_ehlo_refused_for_good_and_for_now(self) -> None:
        for reply, verb in (("421 4.3.2 going", "EHLO"), ("550 5.7.1 no", "HELO")):
            server = Server(answers={"EHLO": reply, "HELO": reply})
            error = failure_of(make_session(server)[0].open())
            self.assertIsInstance(error, ServiceRefused)
            self.assertEqual((error.code, error.command), (int(reply[:3]), verb))

    def test_every_split_of_the_octets(self) -> None:
        for piece in range(1, 40):
            session = open_session(Server(*EVERYTHING), piece=piece)
            self.assertTrue(session.facts.extensions.pipelining)

    def test_silence_and_loss(self) -> None:
        for greeting, kind in ((SILENCE, TimedOut), (LOST, ConnectionLost)):
            session, channel = make_session(Server(greeting=greeting))
            error = failure_of(session.open())
            self.assertIsInstance(error, kind)
            self.assertEqual((error.command, error.temporary), ("greeting", True))
            self.assertTrue(channel.aborted)

    def test_drops_do_not_prolong_the_time_out(self) -> None:
        # One octet each four minutes must not keep us for hours.
        session, channel = make_session(Server(greeting="220 " + "x" * 100), piece=1)
        timeouts = []
        read = channel.read

        async def slow(timeout: float) -> bytes:
            timeouts.append(timeout)
            channel.time += 240
            return await read(timeout)

        channel.read = slow  # type: ignore[method-assign]
        self.assertIsInstance(failure_of(session.open()), TimedOut)
        self.assertEqual(timeouts, [300.0, 60.0])

    def test_the_name_in_ehlo_is_never_a_bare_word(self) -> None:
        name = ClientSettings().helo_name()
        self.assertTrue("." in name, name)


class TLSTests(SynchronousTestCase):
    """STARTTLS by policy (RFC 3207)."""

    def test_everything_is_asked_again_under_tls(self) -> None:
        server = Server("STARTTLS", "SIZE 5")
        session, channel = make_session(server, settings(TLSMode.VERIFIED), verified=True)
        run(session.open())
        self.assertEqual(
            server.commands, ["EHLO client.example", "STARTTLS", "EHLO client.example"]
        )
        tls = session.facts.tls
        assert tls is not None
        self.assertEqual((tls.version, tls.verified), ("TLSv1.3", True))
        self.assertFalse(session.facts.extensions.starttls)
        self.assertFalse(channel.aborted)

    def test_none_never_asks(self) -> None:
        server = Server("STARTTLS")
        run(make_session(server, settings(TLSMode.NONE))[0].open())
        self.assertEqual(server.commands, ["EHLO client.example"])

    def test_opportunistic_goes_on_in_clear(self) -> None:
        session = open_session(Server("8BITMIME"), settings())
        self.assertIsNone(session.facts.tls)
        session = open_session(Server("STARTTLS", answers={"STARTTLS": "454 4.7.0 not now"}))
        self.assertEqual(session.facts.tls_failure, "454 not now")

    def test_the_others_do_not(self) -> None:
        for mode in (TLSMode.REQUIRED, TLSMode.VERIFIED, TLSMode.PINNED):
            for server in (
                Server("8BITMIME"),
                Server("STARTTLS", answers={"STARTTLS": "454 4.7.0 not now"}),
                Server(answers={"EHLO": "502 what"}),
            ):
                session, channel = make_session(server, settings(mode))
                error = failure_of(session.open())
                self.assertIsInstance(error, TLSFailed)
                self.assertEqual(error.command, "STARTTLS")
                self.assertTrue(channel.aborted)

    def test_words_before_tls_are_refused(self) -> None:
        # Somebody in the middle could answer for the server (CVE-2011-0411 the other way round).
        for mode in (TLSMode.OPPORTUNISTIC, TLSMode.REQUIRED):
            for tail in ("\r\n250 injected", "\r\n2", "\r\n"):
                server = Server("STARTTLS", answers={"STARTTLS": "220 go" + tail})
                session, channel = make_session(server, settings(mode))
                self.assertIsInstance(failure_of(session.open()), ProtocolError)
                self.assertFalse(server.tls)
                self.assertTrue(channel.aborted)

    def test_a_handshake_that_fails_ends_the_connection(self) -> None:
        session, channel = make_session(Server("STARTTLS"), settings())
        channel.tls_trouble = "no shared cipher"
        error = failure_of(session.open())
        self.assertEqual((error.text, error.temporary), ("no shared cipher", True))
        self.assertTrue(session.closed)


class AuthTests(SynchronousTestCase):
    """RFC 4954."""

    def test_plain_with_an_initial_response(self) -> None:
        server = Server("STARTTLS", "AUTH LOGIN PLAIN", answers={"AUTH": "235 2.7.0 welcome"})
        session, _ = make_session(server, settings(credentials=ANN))
        run(session.open())
        self.assertEqual(server.commands[-1], f"AUTH PLAIN {PLAIN}")
        self.assertEqual(session.facts.account, "ann")

    def test_a_long_response_comes_second(self) -> None:
        server = Server(
            "STARTTLS", "AUTH PLAIN", answers={"AUTH": "334 ", "AG": "235 2.7.0 welcome"}
        )
        long = Credentials("a" * 300, "b" * 300)
        run(make_session(server, settings(credentials=long))[0].open())
        self.assertEqual(server.commands[-2], "AUTH PLAIN")
        self.assertEqual(base64.b64decode(server.commands[-1]).count(b"\0"), 2)

    def test_login(self) -> None:
        server = Server(
            "STARTTLS",
            "AUTH=LOGIN",
            answers={"AUTH": "334 VXNlcm5hbWU6", "YW5u": "334 UGFzc3dvcmQ6", "c2Vj": "235 2.7.0 a"},
        )
        run(make_session(server, settings(credentials=ANN))[0].open())
        self.assertEqual(server.commands[-3:], ["AUTH LOGIN", "YW5u", "c2VjcmV0"])

    def test_refused(self) -> None:
        for reply, temporary in (("535 5.7.8 no", False), ("454 4.7.0 later", True)):
            server = Server("STARTTLS", "AUTH PLAIN", answers={"AUTH": reply})
            session, channel = make_session(server, settings(credentials=ANN))
            error = failure_of(session.open())
            self.assertIsInstance(error, AuthFailed)
            self.assertEqual((error.code, error.temporary), (int(reply[:3]), temporary))
            self.assertTrue(channel.aborted)

    def test_a_server_that_asks_too_much_is_told_so(self) -> None:
        server = Server("STARTTLS", "AUTH PLAIN", answers={"AUTH": "334 bW9yZQ==", "*": "501 end"})
        error = failure_of(make_session(server, settings(credentials=ANN))[0].open())
        self.assertIsInstance(error, AuthFailed)
        self.assertEqual(server.commands[-1], "*")

    def test_a_challenge_that_is_no_base64(self) -> None:
        server = Server("STARTTLS", "AUTH LOGIN", answers={"AUTH": "334 ???", "*": "501 end"})
        self.assertIsInstance(
            failure_of(make_session(server, settings(credentials=ANN))[0].open()), AuthFailed
        )

    def scram_session(self, final: str) -> tuple[Server, Session, FakeChannel]:
        """RFC 7677 section 3, without TLS; ``final`` replies to the client's proof."""
        nonces = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        first = f"r={nonces},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        proof = f"c=biws,r={nonces},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        initial = base64.b64encode(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").decode()
        answers = {
            "EHLO": "250-mx.example.org\r\n250 AUTH PLAIN SCRAM-SHA-256",
            f"AUTH SCRAM-SHA-256 {initial}": "334 " + base64.b64encode(first.encode()).decode(),
            base64.b64encode(proof.encode()).decode(): final,
            "*": "501 5.7.0 given up",
            "": "235 2.7.0 welcome",
        }
        server = Server(answers=answers)
        mechanism = partial(ScramClient, "SCRAM-SHA-256", nonce="rOprNGfwEbeRWgbNEkqO")
        user = settings(
            credentials=Credentials("user", "pencil"), mechanisms={"SCRAM-SHA-256": mechanism}
        )
        return server, *make_session(server, user)

    def test_scram_needs_no_tls(self) -> None:
        signature = base64.b64encode(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").decode()
        server, session, _ = self.scram_session(f"334 {signature}")
        run(session.open())
        self.assertEqual(session.facts.account, "user")
        self.assertEqual(server.commands[-1], "")

    def test_a_server_that_does_not_know_the_password(self) -> None:
        signature = base64.b64encode(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").decode()
        for reply, words in (
            (f"334 {signature}", "signature is wrong"),
            ("235 2.7.0 welcome", "not proved"),
            ("334 ", "not SCRAM's"),
        ):
            _, session, channel = self.scram_session(reply)
            error = failure_of(session.open())
            self.assertIsInstance(error, AuthFailed)
            self.assertIn(words, error.text)
            self.assertTrue(channel.aborted)

    def test_a_refusal_within_scram(self) -> None:
        error = base64.b64encode(b"e=invalid-proof").decode()
        _, session, _ = self.scram_session(f"334 {error}")
        failure = failure_of(session.open())
        self.assertIsInstance(failure, AuthFailed)
        self.assertIn("refuses: invalid-proof", failure.text)

    def test_a_refused_token(self) -> None:
        """RFC 7628 section 4.4."""
        error = base64.b64encode(b'{"status":"invalid_token","scope":"mail"}').decode()
        token = Credentials("ann", token="dG9rZW4=")
        for name, end in (("OAUTHBEARER", "AQ=="), ("XOAUTH2", "")):
            # The empty line's answer stands last: every line begins with it.
            answers = {"EHLO": f"250-a\r\n250-STARTTLS\r\n250 AUTH PLAIN {name}"}
            answers |= {"STARTTLS": "220 go on", f"AUTH {name} ": f"334 {error}"}
            server = Server(answers=answers | {end: "535 5.7.1 not accepted"})
            failure = failure_of(make_session(server, settings(credentials=token))[0].open())
            self.assertIsInstance(failure, AuthFailed)
            self.assertEqual(failure.text, "not accepted (invalid_token, scope mail)")
            self.assertEqual((failure.code, server.commands[-1]), (535, end))

    def clear_session(self, **more: object) -> tuple[Server, Session, FakeChannel]:
        server = Server("AUTH PLAIN LOGIN", answers={"AUTH": "235 2.7.0 welcome"})
        return server, *make_session(server, settings(credentials=ANN, **more))

    def test_no_password_in_clear(self) -> None:
        server, session, _ = self.clear_session()
        error = failure_of(session.open())
        self.assertIsInstance(error, AuthFailed)
        self.assertIn("not encrypted", error.text)
        self.assertEqual(server.commands, ["EHLO client.example"])

    def test_a_password_in_clear_where_that_is_safe_or_allowed(self) -> None:
        _, session, _ = self.clear_session(allow_plaintext_passwords=True)
        run(session.open())
        _, session, channel = self.clear_session()
        channel.is_local = True
        run(session.open())
        self.assertEqual(session.facts.account, "ann")

    def test_no_known_mechanism(self) -> None:
        for keywords in ((), ("AUTH GSSAPI",)):
            server = Server("STARTTLS", *keywords)
            error = failure_of(make_session(server, settings(credentials=ANN))[0].open())
            self.assertIsInstance(error, AuthFailed)


class BetweenMessagesTests(SynchronousTestCase):
    """Using a connection again."""

    def test_check(self) -> None:
        server = Server()
        session = open_session(server)
        self.assertTrue(run(session.check()))
        self.assertEqual(server.commands, ["NOOP"])

    def test_check_ends_an_open_transaction(self) -> None:
        server = Server(answers={"RCPT": "550 5.1.1 who?"})
        session = open_session(server)
        run(session.send(make_envelope("a@example.org", "b@example.org"), MESSAGE))
        self.assertTrue(run(session.check()))
        self.assertEqual(server.commands[-1], "RSET")
        self.assertTrue(run(session.check()))
        self.assertEqual(server.commands[-1], "NOOP")

    def test_a_server_that_is_going(self) -> None:
        for answer in ("421 4.3.2 going", "500 what", LOST, SILENCE):
            server = Server(answers={"NOOP": answer})
            session = open_session(server)
            self.assertFalse(run(session.check()))
            self.assertTrue(session.closed)
            self.assertFalse(run(session.check()))

    def test_a_server_that_has_said_goodbye(self) -> None:
        server = Server()
        session = open_session(server)
        server.output = b"421 4.4.2 mx.example.org timeout\r\n"
        server.closed = True
        result = run(session.send(make_envelope("a@example.org", "b@example.org"), MESSAGE))
        (outcome,) = result.outcomes
        self.assertEqual((outcome.code, outcome.temporary, outcome.attempted), (421, True, False))
        self.assertTrue(session.closed)
        self.assertEqual(server.commands, [])

    def test_quit(self) -> None:
        server = Server()
        session = open_session(server)
        run(session.quit())
        self.assertEqual(server.commands, ["QUIT"])
        self.assertTrue(server.closed and session.closed)
        run(session.quit())
        self.assertEqual(server.commands, ["QUIT"])

    def test_quit_does_not_wait_long(self) -> None:
        server = Server(answers={"QUIT": SILENCE})
        session, channel = make_session(server)
        run(session.open())
        before = channel.time
        run(session.quit())
        self.assertEqual(channel.time - before, Timeouts().quit)
        self.assertTrue(channel.aborted)
