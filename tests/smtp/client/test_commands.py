"""What an envelope asks for, and servers that do not have it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import (
    ConnectionInfo,
    DeliverBy,
    Envelope,
    OriginalRecipient,
    Path,
    Recipient,
    ValidSince,
)
from mailkit.smtp.client import ClientSettings, SendResult, TLSMode, TLSPolicy, make_envelope
from tests.smtp.client.fakes import (
    MESSAGE,
    FakeChannel,
    Server,
    make_session,
    run,
    strip_size,
)

NOW = 1_700_000_000
UTF8_MESSAGE = "From: jürgen@example.net\r\n\r\nHello\r\n".encode()


def send(
    *keywords: str,
    recipients: list[Recipient] | None = None,
    message: bytes = MESSAGE,
    verified: bool = False,
    **fields: Any,
) -> tuple[SendResult, list[str], Server]:
    """Send over a connection of its own; the outcome and the commands."""
    server = Server(*keywords)
    mode = TLSMode.VERIFIED if verified else TLSMode.OPPORTUNISTIC
    settings = ClientSettings(helo="client.example", tls=TLSPolicy(mode))
    session, _ = make_session(server, settings, verified=verified)
    run(session.open())
    server.commands.clear()
    envelope = make_envelope("ann@example.net", recipients or ["bob@example.org"])
    for name, value in fields.items():
        setattr(envelope, name, value)
    return run(session.send(envelope, message)), server.commands, server


def bob(**fields: Any) -> list[Recipient]:
    return [Recipient(Path("bob", "example.org"), **fields)]


class ParameterTests(SynchronousTestCase):
    """Parameters of MAIL and RCPT, where they are announced and where not."""

    def check(self, keywords: str, mail: str, rcpt: str = "", **fields: Any) -> None:
        result, commands, _ = send(*filter(None, keywords.split(";")), **fields)
        self.assertEqual(len(result.accepted), len(result.outcomes), result.outcomes)
        self.assertEqual(commands[0], f"MAIL FROM:<ann@example.net>{mail}")
        self.assertEqual(commands[1], f"RCPT TO:<bob@example.org>{rcpt}")

    def test_size(self) -> None:
        self.check("", "")
        self.check("SIZE", f" SIZE={len(MESSAGE)}")
        self.check("SIZE 100", f" SIZE={len(MESSAGE)}")

    def test_dsn(self) -> None:
        recipients = bob(
            notify=frozenset(("SUCCESS", "DELAY")), orcpt=OriginalRecipient("rfc822", "b+c@d.e")
        )
        fields: dict[str, Any] = {"ret": "HDRS", "envid": "a+b=c d", "recipients": recipients}
        self.check(
            "DSN",
            " RET=HDRS ENVID=a+2Bb+3Dc+20d",
            " NOTIFY=DELAY,SUCCESS ORCPT=rfc822;b+2Bc@d.e",
            **fields,
        )
        # RFC 3461 section 5.2.2 (a): left out.
        self.check("", "", **fields)

    def test_who_reports_is_told(self) -> None:
        self.assertTrue(send("DSN")[0].dsn)
        self.assertFalse(send("SIZE")[0].dsn)

    def test_utf8_original_recipient(self) -> None:
        recipients = bob(orcpt=OriginalRecipient("utf-8", "jürgen+a@example.org"))
        self.check(
            "DSN", "", " ORCPT=utf-8;j\\x{FC}rgen\\x{2B}a@example.org", recipients=recipients
        )

    def test_body(self) -> None:
        self.check("8BITMIME", "")
        message = MESSAGE + "ü\r\n".encode()
        self.check("8BITMIME", " BODY=8BITMIME", message=message)

    def test_binary(self) -> None:
        message = MESSAGE + b"\0\r\n"
        _, commands, server = send("8BITMIME", "CHUNKING", "BINARYMIME", message=message)
        self.assertEqual(commands[0], "MAIL FROM:<ann@example.net> BODY=BINARYMIME")
        self.assertEqual(server.messages, [message])

    def test_mt_priority(self) -> None:
        self.check("MT-PRIORITY", " MT-PRIORITY=-3", priority=-3)
        self.check("MT-PRIORITY", "")
        # RFC 6710 section 4.2: what a relay has got has a priority, if only 0.
        self.check("MT-PRIORITY", " MT-PRIORITY=0", connection=ConnectionInfo("smtp"))
        # RFC 6710 section 4.3
        self.check("", "", priority=5)

    def test_deliver_by(self) -> None:
        by = DeliverBy(NOW + 120, "R")
        self.check("DELIVERBY", " BY=120;R", deliver_by=by)
        self.check("DELIVERBY 100", " BY=120;R", deliver_by=by)
        self.check("DELIVERBY", " BY=-5;NT", deliver_by=DeliverBy(NOW - 5, "N", True))

    def test_deliver_by_elsewhere_asks_for_news_of_a_delay(self) -> None:
        # RFC 2852 section 4.1.4.2
        by = DeliverBy(NOW + 120, "N")
        self.check("", "", deliver_by=by)
        self.check("DSN", "", " NOTIFY=DELAY,FAILURE", deliver_by=by)
        for notify, expected in (("SUCCESS", "DELAY,SUCCESS"), ("NEVER", "NEVER")):
            recipients = bob(notify=frozenset((notify,)))
            self.check("DSN", "", f" NOTIFY={expected}", deliver_by=by, recipients=recipients)

    def test_hold(self) -> None:
        self.check("FUTURERELEASE 3600 2099-01-01T00:00:00Z", " HOLDFOR=60", hold_until=NOW + 60)
        # It is time.
        self.check("FUTURERELEASE 3600 2099-01-01T00:00:00Z", "", hold_until=NOW)
        self.check("", "", hold_until=NOW - 1)

    def test_rrvs(self) -> None:
        recipients = bob(rrvs=ValidSince(NOW, "C"))
        self.check("RRVS", "", " RRVS=2023-11-14T22:13:20Z;C", recipients=recipients)
        self.check("", "", recipients=recipients)

    def test_submitter(self) -> None:
        self.check("AUTH PLAIN", " AUTH=<>", submitter="<>")
        self.check("AUTH PLAIN", " AUTH=e+3Dmc2@example.com", submitter="e=mc2@example.com")
        self.check("", "", submitter="<>")

    def test_solicitation(self) -> None:
        words = ("org.example.ads", "org.example.adult")
        self.check(
            "NO-SOLICITING", " SOLICIT=org.example.ads,org.example.adult", solicitation=words
        )
        self.check("", "", solicitation=words)


class RefusalTests(SynchronousTestCase):
    """The message fails, and nothing of it is sent."""

    def check(self, enhanced: str, *keywords: str, **fields: Any) -> None:
        result, commands, server = send(*keywords, **fields)
        for outcome in result.outcomes:
            self.assertEqual(
                (outcome.enhanced, outcome.code, outcome.permanent), (enhanced, 0, True)
            )
            self.assertEqual((outcome.command, outcome.attempted), ("", True))
            self.assertTrue(outcome.text and outcome.error)
        self.assertEqual((commands, server.messages), ([], []))

    def test_size(self) -> None:
        self.check("5.3.4", f"SIZE {len(MESSAGE) - 1}")

    def test_require_tls(self) -> None:
        # RFC 8689 section 4.2.1
        self.check("5.7.10", "REQUIRETLS", require_tls=True)
        self.check("5.7.10", "STARTTLS", "REQUIRETLS", require_tls=True)
        self.check("5.7.30", "STARTTLS", verified=True, require_tls=True)
        result, commands, _ = send("STARTTLS", "REQUIRETLS", verified=True, require_tls=True)
        self.assertTrue(result.accepted)
        self.assertEqual(commands[0], "MAIL FROM:<ann@example.net> REQUIRETLS")

    def test_a_report_is_not_lost_for_require_tls(self) -> None:
        # RFC 8689 section 5
        null = Path("", "")
        for keyword, parameter in (("SIZE", ""), ("REQUIRETLS", " REQUIRETLS")):
            result, commands, _ = send(keyword, require_tls=True, reverse_path=null)
            self.assertTrue(result.accepted)
            self.assertEqual(strip_size(commands[0]), f"MAIL FROM:<>{parameter}")

    def test_deliver_by(self) -> None:
        self.check("5.3.3", "SIZE", deliver_by=DeliverBy(NOW + 60, "R"))
        self.check("5.4.7", "DELIVERBY 100", deliver_by=DeliverBy(NOW + 60, "R"))
        self.check("5.4.7", "DELIVERBY", deliver_by=DeliverBy(NOW, "R"))

    def test_hold(self) -> None:
        self.check("5.3.3", "SIZE", hold_until=NOW + 60)
        limits = "FUTURERELEASE 50 2099-01-01T00:00:00Z"
        self.check("5.5.4", limits, hold_until=NOW + 60)

    def test_rrvs(self) -> None:
        self.check("5.7.19", "SIZE", recipients=bob(rrvs=ValidSince(NOW)))

    def test_utf8_header(self) -> None:
        # RFC 6531 section 4.2: X.6.7 is for addresses.
        self.check("5.6.9", "8BITMIME", message=UTF8_MESSAGE)
        relayed = ConnectionInfo("smtp")
        fields = {"message": UTF8_MESSAGE, "connection": relayed}
        self.check("5.6.9", "8BITMIME", smtputf8=True, **fields)
        # Without 8BITMIME it could not go as it is.
        self.check("5.6.9", "SIZE", **fields)

    def test_utf8_header_that_was_relayed(self) -> None:
        """Somebody else's, who has not asked for SMTPUTF8, goes on as it came."""
        for protocol in ("smtp", "submission", "lmtp"):
            result, commands, server = send(
                "8BITMIME", message=UTF8_MESSAGE, connection=ConnectionInfo(protocol)
            )
            self.assertEqual(result.failed, [])
            self.assertEqual(commands[0], "MAIL FROM:<ann@example.net> BODY=8BITMIME")
            self.assertEqual(server.messages, [UTF8_MESSAGE])

    def test_utf8_sender(self) -> None:
        self.check("5.6.7", "8BITMIME", reverse_path=Path("jürgen", "example.net"))

    def test_utf8_recipient(self) -> None:
        self.check("5.6.7", "8BITMIME", recipients=[Recipient(Path("jürgen", "example.org"))])


class UTF8Tests(SynchronousTestCase):
    """RFC 6531."""

    def test_the_parameter_where_it_is_needed(self) -> None:
        jurgen = Path("jürgen", "example.org")
        for fields in (
            {"message": UTF8_MESSAGE},
            {"reverse_path": jurgen},
            {"recipients": [Recipient(jurgen)]},
            {"reverse_path": Path("ann", "bücher.example")},
        ):
            result, commands, _ = send("SMTPUTF8", "8BITMIME", **fields)
            self.assertTrue(result.accepted)
            self.assertIn(" SMTPUTF8", commands[0])
        # RFC 6531 section 3.4: not where it is not.
        self.assertNotIn("SMTPUTF8", send("SMTPUTF8", "8BITMIME")[1][0])

    def test_only_the_recipient_that_needs_it_fails(self) -> None:
        recipients = [Recipient(Path("jürgen", "example.org")), *bob()]
        result, commands, _ = send("8BITMIME", recipients=recipients)
        self.assertEqual([o.enhanced for o in result.outcomes], ["5.6.7", "2.6.0"])
        self.assertEqual(len(commands), 3)

    def test_a_domain_has_an_equal_in_ascii(self) -> None:
        recipients = [Recipient(Path("bob", "Bücher.example"))]
        _, commands, _ = send("8BITMIME", recipients=recipients)
        self.assertEqual(commands[1], "RCPT TO:<bob@xn--bcher-kva.example>")
        # IDNA 2003 would have made another domain of it.
        _, commands, _ = send("SIZE", recipients=[Recipient(Path("bob", "straße.example"))])
        self.assertEqual(commands[1], "RCPT TO:<bob@xn--strae-oqa.example>")

    def test_a_header_in_another_charset_is_8_bit_and_no_more(self) -> None:
        message = b"Subject: f\xfcr dich\r\n\r\nHello\r\n"
        _, commands, server = send("8BITMIME", message=message)
        self.assertEqual(commands[0], "MAIL FROM:<ann@example.net> BODY=8BITMIME")
        self.assertEqual(server.messages, [message])


class EnvelopeTests(SynchronousTestCase):
    """What people write."""

    def test_recipients(self) -> None:
        one = Path("bob", "example.org")
        for given in ("bob@example.org", "<bob@example.org>", one, Recipient(one), [one]):
            envelope: Envelope = make_envelope("ann@example.net", given)
            self.assertEqual([each.path for each in envelope.recipients], [one])

    def test_what_is_no_address(self) -> None:
        for sender, recipient in (
            ("ann", "bob@example.org"),
            ("ann@example.org", "bob"),
            ("ann@example.org", ""),
            ("ann@example.org", "a@b\r\nRCPT TO:<c@d>"),
            ("a@b> SIZE=1", "bob@example.org"),
        ):
            self.assertRaises(ValueError, make_envelope, sender, recipient)
        self.assertRaises(ValueError, make_envelope, "ann@example.org", [])


class ChannelTests(SynchronousTestCase):
    """A path that was made by hand cannot carry commands."""

    def test_line_ends_in_a_path(self) -> None:
        server = Server()
        session, channel = make_session(server)
        self.assertIsInstance(channel, FakeChannel)
        run(session.open())
        for path in (Path("a\r\nRSET", "example.org"), Path("a", "example.org>\r\nRSET")):
            result = run(session.send(make_envelope("ann@example.net", path), MESSAGE))
            self.assertEqual([o.enhanced for o in result.outcomes], ["5.1.3"])
            envelope = make_envelope(path, "bob@example.org")
            result = run(session.send(envelope, MESSAGE))
            self.assertEqual([o.enhanced for o in result.outcomes], ["5.1.7"])
            self.assertEqual(server.commands, ["EHLO client.example"])

    def test_line_ends_in_other_values(self) -> None:
        for fields in (
            {"ret": "HDRS\r\nRSET"},
            {"solicitation": ("a\nb",)},
            {"recipients": bob(notify=frozenset(("NEVER\r\nRSET",)))},
        ):
            result, commands, _ = send("DSN", "NO-SOLICITING", **fields)
            self.assertEqual([o.enhanced for o in result.outcomes], ["5.5.4"])
            self.assertEqual(commands, [])

    def test_line_ends_in_our_name(self) -> None:
        session, _ = make_session(Server(), ClientSettings(helo="a\r\nRSET"))
        self.assertRaises(ValueError, run, session.open())
