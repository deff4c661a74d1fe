"""Servers that lie, babble or fall silent: an error in time, never a traceback or a hang."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.security import TLSPolicy
from mailkit.imap.client import (
    AuthFailed,
    ClientError,
    ClientSettings,
    Credentials,
    ProtocolError,
    ResponseLimits,
    ServiceRefused,
    TimedOut,
    TLSFailed,
)
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, ScramClient
from tests.imap.client.support import CREDENTIALS, SETTINGS, Script, Wire
from tests.imap.client.test_pipelining import PLAIN, Manual


class GreetingTests(SynchronousTestCase):
    def failure(self, greeting: bytes, settings: ClientSettings = PLAIN) -> ClientError:
        wire = Wire(Script(greeting=greeting), settings=settings)
        results = wire.start(wire.session.open())
        if not results:
            wire.clock.advance(60)
            wire.flush()
        error: Any = results[0].value
        self.assertIsInstance(error, ClientError)
        self.assertTrue(wire.session.closed)
        self.assertTrue(wire.transport.aborted)
        return error

    def test_other_protocols(self) -> None:
        for greeting in (b"220 mx ESMTP\r\n", b"+OK POP3\r\n", b"* 3 EXISTS\r\n", b"* NO x\r\n"):
            self.assertIsInstance(self.failure(greeting), ProtocolError)

    def test_bye(self) -> None:
        error = self.failure(b"* BYE too many\r\n")
        self.assertIsInstance(error, ServiceRefused)
        self.assertEqual(error.text, "too many")

    def test_silence(self) -> None:
        self.assertIsInstance(self.failure(b""), TimedOut)

    def test_no_tls_where_it_must_be(self) -> None:
        greeting = b"* OK [CAPABILITY IMAP4rev1] x\r\n"
        settings = ClientSettings(tls=TLSPolicy.required())
        self.assertIsInstance(self.failure(greeting, settings), TLSFailed)
        self.assertIsInstance(self.failure(b"* PREAUTH x\r\n", settings), TLSFailed)

    def test_octets_behind_the_answer_to_starttls(self) -> None:
        for more in (b"* OK x\r\n", b"m2 OK x\r\n", b"*"):
            settings = ClientSettings(tls=TLSPolicy.required())
            script = Script(
                (b"STARTTLS", b"TAG OK go\r\n" + more),
                greeting=b"* OK [CAPABILITY IMAP4rev1 STARTTLS] x\r\n",
            )
            wire = Wire(script, settings=settings)
            results = wire.start(wire.session.open())
            results[0].trap(ProtocolError)
            self.assertEqual(results[0].value.command, "STARTTLS")


class LoginTests(SynchronousTestCase):
    def open(self, *lines: tuple[bytes, bytes], capabilities: bytes) -> tuple[Wire, list[Any]]:
        greeting = b"* OK [CAPABILITY IMAP4rev1 " + capabilities + b"] x\r\n"
        wire = Wire(Script(*lines, greeting=greeting), settings=SETTINGS)
        return wire, wire.start(wire.session.open())

    def test_plain(self) -> None:
        response = b"AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ="
        ready = b"TAG OK [CAPABILITY IMAP4rev1 IDLE] x\r\n"
        wire, results = self.open(
            (b"AUTHENTICATE PLAIN " + response, ready), capabilities=b"AUTH=PLAIN SASL-IR"
        )
        self.assertEqual(results, [None])
        self.assertEqual(wire.session.capabilities, {"IMAP4REV1", "IDLE"})
        wire, results = self.open(
            (b"AUTHENTICATE PLAIN", b"+ \r\n"), (response, ready), capabilities=b"AUTH=PLAIN"
        )
        self.assertEqual(results, [None])

    def scram(self, *lines: tuple[bytes, bytes]) -> Any:
        """RFC 7677 section 3, without TLS; what becomes of it when the proof is there."""
        nonces = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        first = b"r=" + nonces + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        proof = b"c=biws,r=" + nonces + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        mechanism = partial(ScramClient, "SCRAM-SHA-256", nonce="rOprNGfwEbeRWgbNEkqO")
        settings = ClientSettings(
            tls=TLSPolicy.none(),
            credentials=Credentials("user", "pencil"),
            mechanisms={**CLIENT_MECHANISMS, "SCRAM-SHA-256": mechanism},
        )
        script = Script(
            (b"AUTHENTICATE SCRAM-SHA-256", b"+ \r\n"),
            (b64encode(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), b"+ " + b64encode(first) + b"\r\n"),
            (b64encode(proof), lines[0][1]),
            *lines[1:],
            greeting=b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=SCRAM-SHA-256] x\r\n",
        )
        wire = Wire(script)
        wire.channel.is_local = False
        wire.session._connection.settings = settings
        return wire.start(wire.session.open())[0]

    def test_scram(self) -> None:
        signature = b64encode(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        ready = b"TAG OK [CAPABILITY IMAP4rev1 IDLE] x\r\n"
        self.assertIsNone(self.scram((b"", b"+ " + signature + b"\r\n"), (b"", ready)))

    def test_a_server_that_does_not_know_the_password(self) -> None:
        signature = b"+ " + b64encode(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") + b"\r\n"
        failure = self.scram((b"", signature), (b"*", b"m1 BAD x\r\n"))
        failure.trap(AuthFailed)
        self.assertIn("signature is wrong", failure.value.text)
        failure = self.scram((b"", b"m1 OK x\r\n"))
        failure.trap(AuthFailed)
        self.assertIn("not proved", failure.value.text)

    def test_login(self) -> None:
        wire, results = self.open(
            (b"LOGIN ann@example.org secret", b"TAG OK x\r\n"),
            (b"CAPABILITY", b"* CAPABILITY IMAP4rev1 MOVE\r\nTAG OK x\r\n"),
            capabilities=b"",
        )
        self.assertEqual(results, [None])
        self.assertTrue(wire.session.has("MOVE"))

    def test_refused(self) -> None:
        _, results = self.open(
            (b"LOGIN ann@example.org secret", b"TAG NO [AUTHENTICATIONFAILED] wrong\r\n"),
            capabilities=b"",
        )
        results[0].trap(AuthFailed)
        self.assertEqual(results[0].value.text, "wrong")

    def test_login_where_no_mechanism_takes_a_password(self) -> None:
        ready = b"TAG OK [CAPABILITY IMAP4rev1] x\r\n"
        line = (b"LOGIN ann@example.org secret", ready)
        self.assertEqual(self.open(line, capabilities=b"AUTH=XOAUTH2 AUTH=GSSAPI")[1], [None])
        _, results = self.open(capabilities=b"AUTH=XOAUTH2 LOGINDISABLED")
        results[0].trap(AuthFailed)
        self.assertIn("takes a password", results[0].value.text)

    def token(self, *lines: tuple[bytes, bytes], capabilities: bytes) -> list[Any]:
        greeting = b"* OK [CAPABILITY IMAP4rev1 SASL-IR " + capabilities + b"] x\r\n"
        settings = replace(SETTINGS, credentials=Credentials("ann", token="dG9rZW4="))
        wire = Wire(Script(*lines, greeting=greeting), settings=settings)
        return wire.start(wire.session.open())

    def test_a_refused_token(self) -> None:
        """RFC 7628 section 4.3."""
        first = b64encode(b"n,a=ann,\x01auth=Bearer dG9rZW4=\x01\x01")
        error = b64encode(b'{"status":"invalid_token"}')
        results = self.token(
            (b"AUTHENTICATE OAUTHBEARER " + first, b"+ " + error + b"\r\n"),
            (b"AQ==", b"TAG NO [AUTHENTICATIONFAILED] failed\r\n"),
            capabilities=b"AUTH=OAUTHBEARER",
        )
        results[0].trap(AuthFailed)
        self.assertEqual(results[0].value.text, "failed (invalid_token)")

    def test_a_token_is_no_password(self) -> None:
        results = self.token(capabilities=b"AUTH=PLAIN")
        results[0].trap(AuthFailed)
        self.assertIn("takes a token", results[0].value.text)

    def test_disabled(self) -> None:
        _, results = self.open(capabilities=b"LOGINDISABLED")
        results[0].trap(AuthFailed)

    def test_questions_without_end(self) -> None:
        wire, results = self.open(
            (b"AUTHENTICATE PLAIN", b"+ \r\n"),
            (b"*", b"+ \r\n"),
            (b"*", b"TAG BAD x\r\n"),
            capabilities=b"AUTH=PLAIN",
        )
        wire.channel.dataReceived(b"m1 BAD x\r\n")
        wire.flush()
        results[0].trap(AuthFailed)

    def test_no_password_in_clear_to_another_machine(self) -> None:
        settings = ClientSettings(tls=TLSPolicy.none(), credentials=CREDENTIALS)
        wire = Wire(Script(greeting=b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n"))
        wire.channel.is_local = False
        wire.session._connection.settings = settings
        results = wire.start(wire.session.open())
        results[0].trap(AuthFailed)
        self.assertIn("not encrypted", results[0].value.text)


class LieTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wire = Manual()
        results = self.wire.start(self.wire.session.select("INBOX"))
        self.wire.say(b"* 5 EXISTS\r\nm1 OK x\r\n")
        self.assertEqual(len(results), 1)

    def check(self, octets: bytes) -> None:
        results = self.wire.start(self.wire.session.noop())
        self.wire.say(octets)
        results[0].trap(ProtocolError)
        self.assertTrue(self.wire.session.closed)
        self.assertTrue(self.wire.transport.aborted)
        # Whatever comes behind it is not looked at.
        self.wire.channel.dataReceived(b"* 1 EXISTS\r\n\0\0\0")

    def test_a_message_that_is_not_there(self) -> None:
        self.check(b"* 6 EXPUNGE\r\n")

    def test_message_zero(self) -> None:
        self.check(b"* 0 EXPUNGE\r\n")

    def test_flags_of_a_message_that_is_not_there(self) -> None:
        self.check(b"* 6 FETCH (FLAGS ())\r\n")

    def test_fewer_messages(self) -> None:
        self.check(b"* 4 EXISTS\r\n")

    def test_more_messages_than_can_be(self) -> None:
        self.check(b"* 4294967295 EXISTS\r\n")

    def test_another_uid(self) -> None:
        self.check(b"* 1 FETCH (UID 5)\r\n* 1 FETCH (UID 6)\r\n")

    def test_the_end_of_a_command_that_nobody_sent(self) -> None:
        self.check(b"m99 OK x\r\n")

    def test_questions_without_end(self) -> None:
        self.check(b"+ x\r\n" * 20)

    def test_a_large_set_costs_nothing(self) -> None:
        self.wire.say(b"* VANISHED " + b"1:4294967295," * 50_000 + b"1\r\n")
        self.assertFalse(self.wire.session.closed)
        results = self.wire.start(self.wire.session.search())
        self.wire.say(b'* ESEARCH (TAG "m2") UID ALL 1:4294967295\r\nm2 OK x\r\n')
        results[0].trap(ProtocolError)

    def test_a_copy_of_more_than_can_be(self) -> None:
        results = self.wire.start(self.wire.session.copy([1], "x"))
        self.wire.say(b"m2 OK [COPYUID 1 1:4294967295 1:4294967295] x\r\n")
        results[0].trap(ProtocolError)

    def test_answers_without_end(self) -> None:
        settings = ClientSettings(tls=TLSPolicy.none(), limits=ResponseLimits(values=100))
        wire = Manual(settings=settings)
        results = wire.start(wire.session.list())
        wire.say(b"".join(b'* LIST () "/" x%d\r\n' % number for number in range(101)))
        results[0].trap(ProtocolError)

    def test_anything_but_the_answer_without_end(self) -> None:
        settings = ClientSettings(tls=TLSPolicy.none(), limits=ResponseLimits(values=100))
        wire = Manual(settings=settings)
        for number in (1, 2):
            # Each command has so many for itself.
            results = wire.start(wire.session.noop())
            wire.say(b"* OK x\r\n" * 99 + b"m%d OK x\r\n" % number)
            self.assertEqual(len(results), 1)
        # Where nobody waits, nothing is kept either.
        wire.say(b"* OK x\r\n" * 200)
        self.assertFalse(wire.session.closed)
        results = wire.start(wire.session.noop())
        wire.say(b"* OK x\r\n" * 101)
        results[0].trap(ProtocolError)

    def test_extensions_without_end(self) -> None:
        for start in range(0, 1000, 100):
            self.wire.say(b"* ENABLED %b\r\n" % b" ".join(b"X%d" % (start + n) for n in range(100)))
        self.assertFalse(self.wire.session.closed)
        self.check(b"* ENABLED ONE-MORE\r\n")

    def test_bye_at_any_time(self) -> None:
        results = self.wire.start(self.wire.session.noop())
        self.wire.say(b"* BYE going down\r\n")
        self.wire.lose()
        results[0].trap(ServiceRefused)
        self.assertEqual(results[0].value.text, "going down")
