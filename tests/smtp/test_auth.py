"""AUTH (RFC 4954): mechanisms, exchanges, refusals, limits."""

from __future__ import annotations

import base64
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import classImplementsOnly

from mailkit.errors import (
    AccountDisabled,
    AuthorizationFailed,
    NoSuchAccount,
    StoreUnavailable,
)
from mailkit.interfaces import IMessageDelivery
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.smtp.grammar import Limits
from tests.smtp.fakes import FakeDelivery, Server

PASSWORDS = {"ann": "secret", "bob": "hidden"}


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


GOOD = encode("\0ann\0secret")
WRONG = encode("\0ann\0other")


def make(**settings: Any) -> Server:
    settings.setdefault("tls", True)
    return Server(passwords=PASSWORDS, **settings).greet()


class MechanismTests(SynchronousTestCase):
    def test_plain_with_initial_response(self) -> None:
        server = make()
        self.assertEqual(server.say(f"AUTH PLAIN {GOOD}"), ["235 2.7.0 Authentication successful"])
        self.assertEqual(server.protocol.session.account, "ann@example.org")
        self.assertIs(server.protocol.delivery, server.users["ann"])

    def test_plain_in_two_steps(self) -> None:
        server = make()
        self.assertEqual(server.send(b"auth plain\r\n"), b"334 \r\n")
        self.assertEqual(server.say(GOOD)[0][:9], "235 2.7.0")

    def test_plain_with_ones_own_identity(self) -> None:
        self.assertEqual(
            make().say(f"AUTH PLAIN {encode(chr(0).join(('ann', 'ann', 'secret')))}")[0][:3], "235"
        )

    def test_nobody_acts_for_others(self) -> None:
        server = make()
        server.send(f"AUTH PLAIN {encode(chr(0).join(('bob', 'ann', 'secret')))}\r\n".encode())
        server.clock.advance(1)
        self.assertEqual(server.answer()[:9], b"535 5.7.8")

    def test_login(self) -> None:
        server = make()
        self.assertEqual(server.send(b"AUTH LOGIN\r\n"), b"334 VXNlcm5hbWU6\r\n")
        self.assertEqual(server.say(encode("ann")), ["334 UGFzc3dvcmQ6"])
        self.assertEqual(server.say(encode("secret"))[0][:3], "235")

    def test_login_with_initial_response(self) -> None:
        server = make()
        self.assertEqual(server.say(f"AUTH LOGIN {encode('ann')}"), ["334 UGFzc3dvcmQ6"])
        self.assertEqual(server.say(encode("secret"))[0][:3], "235")

    def test_every_split_gives_the_same_dialogue(self) -> None:
        whole = f"AUTH LOGIN\r\n{encode('ann')}\r\n{encode('secret')}\r\nNOOP\r\n".encode()
        expected = make().send(whole)
        self.assertEqual(expected.count(b"\r\n"), 4)
        for cut in range(1, len(whole)):
            server = make()
            self.assertEqual(server.send(whole[:cut]) + server.send(whole[cut:]), expected, cut)


class RefusalTests(SynchronousTestCase):
    def answer(self, *lines: str, **settings: Any) -> str:
        server = make(**settings)
        found = server.say(*lines)[-1]
        self.assertEqual(server.protocol.session.account, None)
        # Nothing of the exchange is left.
        self.assertEqual(server.say("NOOP")[0][:3], "250")
        return found[:10].strip()

    def test_bad_exchanges(self) -> None:
        for lines, code in (
            (["AUTH"], "501 5.5.4"),
            (["AUTH CRAM-MD5"], "504 5.5.4"),
            (["AUTH \u00e9"], "504 5.5.4"),
            (["AUTH PLAIN !!!!"], "501 5.5.2"),
            (["AUTH PLAIN =AAA"], "501 5.5.2"),
            (["AUTH PLAIN AAA=BBB="], "501 5.5.2"),
            (["AUTH PLAIN ="], "501 5.5.2"),
            (["AUTH PLAIN", "*"], "501 5.7.0"),
            (["AUTH LOGIN", encode("ann"), "*"], "501 5.7.0"),
            (["AUTH PLAIN", "\u00e9\u00e9\u00e9\u00e9"], "501 5.5.2"),
            (["AUTH LOGIN", encode("ann"), "="], "501 5.5.2"),
            ([f"AUTH PLAIN {encode('ann')}"], "501 5.5.2"),
        ):
            self.assertEqual(self.answer(*lines), code, lines)
        server = make()
        server.send(b"AUTH PLAIN\r\n")
        self.assertEqual(server.send(b"\xff\0\x01\r\n")[:9], b"501 5.5.2")

    def test_without_tls(self) -> None:
        self.assertEqual(self.answer(f"AUTH PLAIN {GOOD}", tls=False), "538 5.7.11")
        self.assertFalse(any("AUTH" in line for line in make(tls=False).say("EHLO a")))

    def test_where_passwords_may_be_plain(self) -> None:
        for settings in (
            {"tls": True},
            {"tls": False, "peer": "127.0.0.1"},
            {"tls": False, "peer": "::1"},
            {"tls": False, "allow_plaintext_passwords": True},
        ):
            server = make(**settings)
            self.assertIn("250-AUTH PLAIN LOGIN", server.say("EHLO a"), settings)
            self.assertEqual(server.say(f"AUTH PLAIN {GOOD}")[0][:3], "235", settings)

    def test_where_nobody_can_log_in(self) -> None:
        for server in (
            Server(tls=True).greet(),
            Server(tls=True, portal=False).greet(),
            make(extensions=ExtensionSettings(without=["auth"])),
        ):
            self.assertFalse(any("AUTH" in line for line in server.say("EHLO a")))
            self.assertEqual(server.say(f"AUTH PLAIN {GOOD}")[0][:9], "502 5.5.1")

    def test_twice(self) -> None:
        server = make()
        server.say(f"AUTH PLAIN {GOOD}")
        self.assertEqual(server.say(f"AUTH PLAIN {GOOD}")[0][:9], "503 5.5.1")
        self.assertFalse(any("AUTH" in line for line in server.say("EHLO a")))
        # EHLO does not log out.
        self.assertEqual(server.protocol.session.account, "ann@example.org")

    def test_in_a_transaction(self) -> None:
        server = make()
        server.say("MAIL FROM:<a@b>")
        self.assertEqual(server.say(f"AUTH PLAIN {GOOD}")[0][:9], "503 5.5.1")

    def test_wrong_password_is_answered_late(self) -> None:
        server = make()
        server.send(f"AUTH PLAIN {WRONG}\r\nNOOP\r\n".encode())
        self.assertEqual(server.answer(), b"")
        server.clock.advance(1)
        self.assertEqual(
            server.answer(), b"535 5.7.8 User name or password is not right\r\n250 2.0.0 OK\r\n"
        )
        self.assertEqual(server.say(f"AUTH PLAIN {GOOD}")[0][:3], "235")

    def test_guessing_ends_the_connection(self) -> None:
        server = make()
        for attempt in range(5):
            self.assertFalse(server.closed)
            server.send(f"AUTH PLAIN {WRONG}\r\n".encode())
            server.clock.advance(8)
            self.assertEqual(server.answer()[:9], b"535 5.7.8", attempt)
        self.assertIn(b"\r\n421 4.7.0 mx.example.org Too many failed logins", server.answer())
        self.assertTrue(server.closed)

    def test_too_long_a_response(self) -> None:
        server = make(limits=Limits(line=600, auth_line=1000))
        # The whole line of a command may be as long as one of the exchange.
        self.assertEqual(server.send(b"AUTH PLAIN " + b"A" * 984 + b"\r\n")[:9], b"501 5.5.2")
        self.assertEqual(server.send(b"AUTH PLAIN " + b"A" * 988 + b"\r\n")[:9], b"500 5.5.2")
        server.send(b"AUTH PLAIN\r\n")
        self.assertEqual(server.send(b"A" * 5000), b"")
        self.assertEqual(server.send(b"A\r\n")[:9], b"500 5.5.6")
        self.assertEqual(server.say(f"AUTH PLAIN {GOOD}")[0][:3], "235")

    def test_trouble_behind_the_portal(self) -> None:
        for error, code in {
            StoreUnavailable(): b"454 4.7.0 ",
            NoSuchAccount(): b"535 5.7.8 ",
            AuthorizationFailed(): b"535 5.7.8 ",
            # RFC 5248
            AccountDisabled(): b"525 5.7.13",
        }.items():
            server = make()

            async def fail(avatar_id: Any, mind: Any, error: Exception = error) -> Any:
                raise error

            server.realm._avatar = fail  # type: ignore[method-assign]
            server.send(f"AUTH PLAIN {GOOD}\r\n".encode())
            server.clock.advance(1)
            self.assertEqual(server.answer()[:10], code)

    def test_a_bug_behind_the_portal(self) -> None:
        server = make()
        server.realm.users.clear()
        self.assertEqual(server.send(f"AUTH PLAIN {GOOD}\r\n".encode())[:9], b"451 4.3.0")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(server.say("NOOP")[0][:3], "250")


class AuthenticatedTests(SynchronousTestCase):
    def test_mail_goes_to_the_users_delivery(self) -> None:
        server = make()
        server.say(f"AUTH PLAIN {GOOD}")
        server.say("MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>", "DATA", ".")
        (envelope, message), *others = server.users["ann"].received
        self.assertEqual(others + server.delivery.received, [])
        self.assertEqual(envelope.account, "ann@example.org")
        # RFC 3848
        self.assertIn(b"with ESMTPSA id", message)

    def test_the_anonymous_delivery_is_left(self) -> None:
        server = make()
        server.say("MAIL FROM:<a@b>", "RSET", f"AUTH PLAIN {GOOD}")
        self.assertEqual(server.realm.logouts, [()])
        server.lose()
        self.assertEqual(server.realm.logouts, [(), "ann"])

    def test_a_delivery_that_knows_no_account_name(self) -> None:
        class Plain(FakeDelivery):
            pass

        classImplementsOnly(Plain, IMessageDelivery)
        server = make()
        server.realm.users["ann"] = Plain()
        server.say(f"AUTH PLAIN {GOOD}")
        self.assertEqual(server.protocol.session.account, "ann")

    def test_tls_logs_out(self) -> None:
        # RFC 3207 section 4.2: what was known before TLS is forgotten.
        server = make(tls=False, peer="127.0.0.1", tls_context=object())
        server.say(f"AUTH PLAIN {GOOD}", "STARTTLS")
        self.assertIsNone(server.protocol.session.account)
        self.assertEqual(server.realm.logouts, ["ann"])
        self.assertIn("250-AUTH PLAIN LOGIN", server.say("EHLO a"))

    def test_pipelined_behind_a_slow_login(self) -> None:
        server = make()
        server.realm.slow = Deferred()
        server.send(f"AUTH PLAIN {GOOD}\r\nMAIL FROM:<ann@example.org>\r\n".encode())
        self.assertEqual(server.answer(), b"")
        server.realm.slow.callback(None)
        codes = [line[:3] for line in server.answer().splitlines()]
        self.assertEqual(codes, [b"235", b"250"])
        self.assertEqual(server.users["ann"].calls, ["check_sender"])

    def test_connection_lost_during_a_login(self) -> None:
        server = make()
        server.realm.slow = Deferred()
        server.send(f"AUTH PLAIN {GOOD}\r\n".encode())
        server.lose()
        self.assertEqual(server.realm.logins, [])
