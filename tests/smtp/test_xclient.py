"""XCLIENT and XFORWARD: believed from those who are named, and from nobody else."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.errors import MailError, StoreUnavailable
from mailkit.hooks import MailHook, MailSession, Reject
from mailkit.interfaces import IVouchedUser
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.smtp.extensions.xclient import MAX_VALUE
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.smtp.submission import SubmissionFactory
from tests.smtp.fakes import Server

TRUSTING = ExtensionSettings(xclient_from=["192.0.2.0/28", "unix"])
GREETING = "220 mx.example.org ESMTP ready"


def trusting(**settings: Any) -> Server:
    return Server(extensions=TRUSTING, **settings)


class AuthorityTests(SynchronousTestCase):
    def test_announced_to_those_who_may(self) -> None:
        for peer, told in (("192.0.2.7", True), ("192.0.2.70", False), ("", True)):
            lines = Server(peer=peer, extensions=TRUSTING).say("EHLO x")
            found = [line[4:] for line in lines if line[4:].startswith(("XCLIENT", "XFORWARD"))]
            expected = [
                "XCLIENT NAME REVERSE_NAME ADDR PORT PROTO HELO DESTADDR DESTPORT",
                "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
            ]
            self.assertEqual(found, expected if told else [])

    def test_what_one_client_is_told_another_is_not(self) -> None:
        server = trusting()
        for peer, told in (("192.0.2.7", True), ("192.0.2.70", False), ("192.0.2.7", True)):
            server.peer = peer
            server.connect()
            lines = server.say("EHLO x")
            self.assertEqual(any("XCLIENT" in line for line in lines), told)

    def test_nobody_else_is_believed(self) -> None:
        for server in (Server(), Server(peer="192.0.2.70", extensions=TRUSTING)):
            server.greet()
            for verb in ("XCLIENT", "XFORWARD"):
                (reply,) = server.say(f"{verb} ADDR=198.51.100.1")
                self.assertEqual(reply, f"550 5.7.0 You are not authorized to use {verb}")
            server.begin().send(b".\r\n")
            self.assertEqual(server.delivery.received[0][0].connection.peer, server.peer)

    def test_it_does_not_decide_about_itself(self) -> None:
        # XCLIENT_README: it should not override its own access control.
        server = trusting()
        self.assertEqual(server.say("XCLIENT ADDR=198.51.100.1"), [GREETING])
        self.assertEqual(server.say("XCLIENT ADDR=198.51.100.2"), [GREETING])
        outsider = Server(peer="198.51.100.1", extensions=TRUSTING)
        self.assertEqual(outsider.say("XCLIENT ADDR=192.0.2.7")[0][:9], "550 5.7.0")

    def test_it_can_be_switched_off(self) -> None:
        extensions = ExtensionSettings(xclient_from=["192.0.2.7"], without=["XCLIENT"])
        server = Server(extensions=extensions).greet()
        self.assertEqual(server.say("XCLIENT ADDR=198.51.100.1")[0][:9], "502 5.5.1")
        self.assertEqual(server.say("XFORWARD ADDR=198.51.100.1")[0][:9], "250 2.0.0")

    def test_settings_are_checked(self) -> None:
        self.assertRaises(ValueError, ExtensionSettings, xclient_from=["nowhere"])


class ClientTests(SynchronousTestCase):
    """What XCLIENT tells."""

    def told(self, attributes: str, **settings: Any) -> Any:
        """Where a message comes from after this."""
        server = trusting(**settings).greet()
        self.assertEqual(server.say(f"XCLIENT {attributes}"), [GREETING])
        server.begin().send(b".\r\n")
        return server.delivery.received[0][0].connection

    def test_addresses_and_ports(self) -> None:
        info = self.told("ADDR=198.51.100.9 PORT=1234 DESTADDR=198.51.100.1 destport=587")
        found = info.peer, info.peer_port, info.local, info.local_port, info.protocol
        self.assertEqual(found, ("198.51.100.9", 1234, "198.51.100.1", 587, "smtp"))
        for text in ("IPV6:2001:DB8::9", "ipv6:2001:db8::9", "2001:db8::9"):
            self.assertEqual(self.told(f"ADDR={text}").peer, "2001:db8::9")
        self.assertEqual(self.told("ADDR=IPV6:::ffff:198.51.100.9").peer, "198.51.100.9")

    def test_what_is_not_told_stays(self) -> None:
        info = self.told("HELO=x.example PROTO=ESMTP")
        self.assertEqual((info.peer, info.peer_port, info.local), ("192.0.2.7", 40000, "192.0.2.1"))
        self.assertEqual(self.told("ADDR=198.51.100.9").peer_port, 0)

    def test_what_is_unavailable(self) -> None:
        for word in ("[UNAVAILABLE]", "[unavailable]", "[TempUnavail]"):
            info = self.told(f"NAME={word} ADDR={word} PORT={word} HELO={word} PROTO={word}")
            self.assertEqual((info.peer, info.peer_port), ("", 0))

    def test_xtext(self) -> None:
        self.assertEqual(self.told("ADDR=198.51.100.+39").peer, "198.51.100.9")

    def test_the_received_field(self) -> None:
        server = trusting()
        server.say("XCLIENT ADDR=198.51.100.9")
        server.begin().send(b".\r\n")
        self.assertIn(b"client.example ([198.51.100.9])", server.delivery.received[0][1])

    def test_bad_values_change_nothing(self) -> None:
        for text in (
            "",
            "ADDR",
            "=x",
            "ADDR=",
            "LOGIN=ann",
            "WHAT=x",
            "ADDR=x",
            "ADDR=[192.0.2.1]",
            "ADDR=198.51.100.1/24",
            "PORT=65536",
            "PORT=-1",
            "PORT=x",
            "DESTPORT=1234567",
            "PROTO=HTTP",
            "NAME=+ZZ",
            "NAME=a+0D+0Ab",
            "NAME=a+20b",
            "NAME=a+FFb",
            "NAME=a,b",
            'NAME="a"',
            f"NAME={'x' * (MAX_VALUE + 1)}",
            "ADDR=198.51.100.1 PORT=x",
        ):
            server = trusting().greet()
            self.assertEqual(server.say(f"XCLIENT {text}".rstrip())[0][:9], "501 5.5.4", text)
            server.begin().send(b".\r\n")
            self.assertEqual(server.delivery.received[0][0].connection.peer, "192.0.2.7")

    def test_lmtp(self) -> None:
        server = trusting(factory_class=LMTPFactory)
        (reply,) = server.say("XCLIENT ADDR=198.51.100.9")
        self.assertEqual(reply, "220 mx.example.org LMTP ready")


@implementer(ICredentialsChecker)
class Vouched:
    """Knows users by name alone."""

    credentialInterfaces = (IVouchedUser,)

    def __init__(self, *names: str) -> None:
        self.names = names
        self.trouble: MailError | None = None

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        if self.trouble is not None:
            return fail(self.trouble)
        if credentials.username not in self.names:
            return fail(UnauthorizedLogin())
        return succeed(credentials.username)


class LoginTests(SynchronousTestCase):
    """LOGIN: a user whom a trusted client names."""

    def vouching(self, **settings: Any) -> tuple[Server, Vouched]:
        server = trusting(passwords={"ann": "secret", "bob": "secret"}, **settings)
        checker = Vouched("ann", "bob")
        server.portal.registerChecker(cast(Any, checker))
        return server.greet(), checker

    def test_announced_where_the_portal_knows_users_by_name(self) -> None:
        server, _ = self.vouching()
        (line,) = (x for x in server.say("EHLO x") if "XCLIENT" in x)
        self.assertEqual(
            line, "250-XCLIENT NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
        )

    def test_logs_in(self) -> None:
        server, _ = self.vouching(tls=True)
        self.assertEqual(server.say("XCLIENT ADDR=198.51.100.9 LOGIN=ann"), [GREETING])
        ((name, mind),) = [each for each in server.realm.logins if each[0]]
        self.assertEqual((name, mind.peer, mind.tls), ("ann", "198.51.100.9", True))
        self.assertFalse(any("AUTH" in line for line in server.say("EHLO x")))
        self.assertEqual(server.say("AUTH PLAIN AGFubgBzZWNyZXQ=")[0][:9], "503 5.5.1")
        server.begin().send(b".\r\n")
        envelope, octets = server.users["ann"].received[0]
        self.assertEqual(envelope.account, "ann@example.org")
        self.assertIn(b"with ESMTPSA ", octets)

    def test_submission(self) -> None:
        server, _ = self.vouching(factory_class=SubmissionFactory, tls=True)
        self.assertEqual(server.say("MAIL FROM:<a@b.example>")[0][:9], "530 5.7.0")
        server.say("XCLIENT LOGIN=ann", "EHLO x")
        self.assertEqual(server.say("MAIL FROM:<a@b.example>")[0][:9], "250 2.1.0")

    def test_unknown_user_changes_nothing(self) -> None:
        server, _ = self.vouching()
        (reply,) = server.say("XCLIENT ADDR=198.51.100.9 LOGIN=eve")
        self.assertEqual(reply, "550 5.7.8 No such user here")
        server.begin().send(b".\r\n")
        envelope = server.delivery.received[0][0]
        self.assertEqual((envelope.account, envelope.connection.peer), (None, "192.0.2.7"))

    def test_directory_out_of_order(self) -> None:
        server, checker = self.vouching()
        checker.trouble = StoreUnavailable()
        self.assertEqual(server.say("XCLIENT LOGIN=ann")[0][:9], "451 4.3.0")

    def test_unavailable_ends_a_login(self) -> None:
        server, _ = self.vouching()
        server.say("XCLIENT LOGIN=ann", "EHLO x")
        self.assertEqual(server.say("XCLIENT LOGIN=[UNAVAILABLE]"), [GREETING])
        self.assertEqual(server.realm.logouts, ["ann"])
        server.begin().send(b".\r\n")
        self.assertEqual(server.delivery.received[0][0].account, None)

    def test_another_user(self) -> None:
        server, _ = self.vouching()
        server.say("XCLIENT LOGIN=ann", "XCLIENT LOGIN=bob")
        self.assertEqual(server.realm.logouts, ["ann"])
        server.begin().send(b".\r\n")
        self.assertEqual(server.users["bob"].received[0][0].account, "bob@example.org")
        server.lose()
        self.assertEqual(server.realm.logouts, ["ann", "bob"])

    def test_names(self) -> None:
        server = trusting()
        checker = Vouched()
        server.portal.registerChecker(cast(Any, checker))
        for name, code in (
            ("ann@example.org", "550"),
            ("a+20b", "550"),
            ("+C3+A9", "550"),
            ("+FF", "501"),
            ("a+0D+0Ab", "501"),
            ("a+00", "501"),
            ("", "501"),
            ("x" * (MAX_VALUE + 1), "501"),
        ):
            self.assertEqual(server.say(f"XCLIENT LOGIN={name}")[0][:3], code, name)

    def test_nobody_else_is_believed(self) -> None:
        server, _ = self.vouching(peer="192.0.2.70")
        self.assertEqual(server.say("XCLIENT LOGIN=ann")[0][:9], "550 5.7.0")
        self.assertEqual(server.realm.logins, [])

    def test_lmtp_knows_no_users(self) -> None:
        server = trusting(factory_class=LMTPFactory)
        server.portal.registerChecker(cast(Any, Vouched("ann")))
        self.assertEqual(server.say("XCLIENT LOGIN=ann")[0][:9], "501 5.5.4")
        self.assertFalse(any("LOGIN" in line for line in server.say("LHLO x")))

    def test_hooks_judge_the_login(self) -> None:
        class Judge(MailHook):
            def auth(self, session: MailSession) -> Reject | None:
                return Reject("not you") if session.account == "bob@example.org" else None

        server, _ = self.vouching(hooks=[Judge()])
        self.assertEqual(server.say("XCLIENT LOGIN=ann"), [GREETING])
        (reply,) = server.say("XCLIENT LOGIN=bob")
        self.assertEqual(reply, "554 mx.example.org not you")
        self.assertEqual(server.say("EHLO x")[0][:3], "503")

    def test_connection_lost_meanwhile(self) -> None:
        server, _ = self.vouching()
        server.realm.slow = Deferred()
        server.say("XCLIENT LOGIN=ann")
        server.lose()
        server.realm.slow.callback(None)
        self.assertEqual(server.realm.logins, [])


class SessionTests(SynchronousTestCase):
    """XCLIENT begins the session anew."""

    def test_nothing_is_left(self) -> None:
        server = trusting(passwords={"ann": "secret"}, peer="192.0.2.7", tls=True).greet()
        self.assertEqual(server.say("AUTH PLAIN AGFubgBzZWNyZXQ=")[0][:3], "235")
        self.assertEqual(server.say("XCLIENT ADDR=198.51.100.9"), [GREETING])
        self.assertEqual(server.realm.logouts, ["ann"])
        self.assertEqual(server.say("MAIL FROM:<a@b.example>"), ["503 5.5.1 Send EHLO first"])
        server.begin().send(b".\r\n")
        self.assertEqual(server.delivery.received[0][0].account, None)

    def test_not_inside_of_a_transaction(self) -> None:
        server = trusting().greet()
        server.say("MAIL FROM:<a@b.example>")
        self.assertEqual(server.say("XCLIENT ADDR=198.51.100.9")[0][:9], "503 5.5.1")
        self.assertEqual(server.say("XFORWARD ADDR=198.51.100.9")[0][:9], "503 5.5.1")
        self.assertEqual(server.say("RSET", "XCLIENT ADDR=198.51.100.9")[1], GREETING)

    def test_pipelined(self) -> None:
        answer = trusting().send(b"EHLO x\r\nXCLIENT ADDR=198.51.100.9\r\nEHLO y\r\nNOOP\r\n")
        codes = [line[:3] for line in answer.decode().splitlines() if line[3] == " "]
        self.assertEqual(codes, ["250", "220", "250", "250"])

    def test_hooks_see_the_client_from_the_start(self) -> None:
        seen: list[tuple[str, str, str]] = []

        class Look(MailHook):
            def connect(self, session: MailSession) -> Reject | None:
                seen.append(("connect", session.connection.peer, session.client_name))
                return Reject("no") if session.client_name == "bad.example" else None

            def ehlo(self, session: MailSession) -> None:
                seen.append(("ehlo", session.connection.peer, session.client_name))

            def disconnect(self, session: MailSession) -> None:
                seen.append(("gone", session.connection.peer, session.client_name))

        server = trusting(hooks=[Look()]).greet()
        server.say("XCLIENT NAME=mail.example ADDR=198.51.100.9", "EHLO x")
        self.assertEqual(
            seen,
            [
                ("connect", "192.0.2.7", ""),
                ("ehlo", "192.0.2.7", ""),
                ("gone", "192.0.2.7", ""),
                ("connect", "198.51.100.9", "mail.example"),
                ("ehlo", "198.51.100.9", "mail.example"),
            ],
        )
        self.assertEqual(server.say("XCLIENT NAME=bad.example")[0][:3], "554")
        self.assertEqual(server.say("EHLO x")[0][:3], "503")

    def test_limits_count_the_client(self) -> None:
        first = trusting(max_connections_per_address=2)
        factory = first.factory
        self.assertEqual(first.say("XCLIENT ADDR=198.51.100.9"), [GREETING])
        self.assertEqual(first.say("XCLIENT ADDR=198.51.100.9"), [GREETING])
        self.assertEqual(factory.addresses.counts, {"198.51.100.9": 1})
        for expected in (GREETING, "421"):
            first.connect()
            self.assertTrue(first.say("XCLIENT ADDR=198.51.100.9")[0].startswith(expected))
        self.assertTrue(first.closed)
        first.lose()
        self.assertEqual(factory.addresses.counts, {"198.51.100.9": 2})

    def test_passwords_in_clear(self) -> None:
        for peer, told, allowed in (
            ("", "198.51.100.9", False),
            ("", "[UNAVAILABLE]", False),
            ("", "127.0.0.1", True),
            ("192.0.2.7", "127.0.0.1", False),
        ):
            server = trusting(peer=peer, passwords={"ann": "secret"})
            server.say(f"XCLIENT ADDR={told}")
            self.assertEqual(any("AUTH" in x for x in server.say("EHLO x")), allowed, told)


class ForwardTests(SynchronousTestCase):
    """XFORWARD tells the log."""

    def test_the_next_message_alone(self) -> None:
        server = trusting().greet()
        lines = []
        with capturedLogs() as events:
            answer = server.say("XFORWARD NAME=spike.example ADDR=198.51.100.9", "XFORWARD PORT=25")
            self.assertEqual(answer, ["250 2.0.0 OK"] * 2)
            server.say("XFORWARD PORT=[UNAVAILABLE] IDENT=4F")
            for _ in range(2):
                server.say("MAIL FROM:<a@b.example>", "RCPT TO:<bob@example.org>", "DATA", ".")
        lines = [line for e in events if "passed on" in (line := formatEvent(e) or "")]
        self.assertEqual(len(lines), 1)
        self.assertIn("for NAME=spike.example ADDR=198.51.100.9 IDENT=4F", lines[0])
        self.assertEqual(server.delivery.received[0][0].connection.peer, "192.0.2.7")

    def test_bad_values(self) -> None:
        server = trusting().greet()
        for text in ("", "NAME", "LOGIN=x", "NAME=a+0Ab"):
            self.assertEqual(server.say(f"XFORWARD {text}".rstrip())[0][:9], "501 5.5.4", text)
