"""XCLIENT and XFORWARD: believed from those who are named, and from nobody else."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mailkit.hooks import MailHook, MailSession, Reject
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.smtp.extensions.xclient import MAX_VALUE
from mailkit.smtp.lmtp import LMTPFactory
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
        self.assertEqual(factory._by_address, {"198.51.100.9": 1})
        for expected in (GREETING, "421"):
            first.connect()
            self.assertTrue(first.say("XCLIENT ADDR=198.51.100.9")[0].startswith(expected))
        self.assertTrue(first.closed)
        first.lose()
        self.assertEqual(factory._by_address, {"198.51.100.9": 2})

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
