"""Extensions that add parameters: from what the client sends to what the delivery gets."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import Ability, DeliverBy, Envelope, OriginalRecipient, Recipient, ValidSince
from mailkit.smtp.extensions.registry import EXTENSIONS
from mailkit.smtp.extensions.settings import Access, ExtensionSettings
from mailkit.smtp.submission import SubmissionFactory
from tests.smtp.fakes import Server

LOGIN = "AUTH PLAIN AGFubgBzZWNyZXQ="
#: The clock of the fakes, as RFC 3339 has it.
NOW, NOW_TEXT = 1_000_000, "1970-01-12T13:46:40Z"


def keywords(server: Server) -> dict[str, str]:
    """What EHLO announces."""
    lines = server.say("EHLO client.example")[1:]
    return {line[4:].partition(" ")[0]: line[4:].partition(" ")[2] for line in lines}


class ExtensionTestCase(SynchronousTestCase):
    abilities: tuple[Ability, ...] = ()
    settings: dict[str, Any] = {}

    def make(self, login: bool = False, **settings: Any) -> Server:
        settings = {"abilities": self.abilities, **self.settings, **settings}
        server = Server(passwords={"ann": "secret"}, **settings)
        self.announced = keywords(server)
        if login:
            self.assertEqual(server.say(LOGIN)[0][:3], "235")
        return server

    def mail(self, parameters: str, **settings: Any) -> str:
        """Code and enhanced code of a MAIL."""
        self.server = self.make(**settings)
        return self.server.say(f"MAIL FROM:<ann@example.org> {parameters}")[0][:10].strip()

    def envelope(self, parameters: str, **settings: Any) -> Envelope:
        self.assertEqual(self.mail(parameters, **settings)[:3], "250", parameters)
        envelope = self.server.protocol.session.envelope
        assert envelope is not None
        return envelope

    def recipient(self, parameters: str, mail: str = "") -> Recipient | str:
        envelope = self.envelope(mail)
        answer = self.server.say(f"RCPT TO:<bob@example.org> {parameters}")[0]
        return envelope.recipients[-1] if answer.startswith("250") else answer[:10].strip()


class SwitchTests(ExtensionTestCase):
    abilities = tuple(Ability)
    settings = {"tls": True, "tls_context": object()}

    def test_everything_can_be_switched_off(self) -> None:
        settings = ExtensionSettings(
            vrfy=Access.EVERYONE,
            expn=Access.EVERYONE,
            etrn=Access.EVERYONE,
            no_soliciting=("org.example:ADV",),
            xclient_from=["192.0.2.7"],
        )
        every = {extension.name for extension in EXTENSIONS}
        self.make(extensions=settings, factory_class=SubmissionFactory, url_resolver=object())
        self.assertEqual(set(self.announced), every - {"STARTTLS"})
        for extension in EXTENSIONS:
            off = ExtensionSettings(without=[extension.name.lower()])
            self.make(extensions=off)
            self.assertNotIn(extension.name, self.announced)
            for keyword in (*extension.mail_parameters,):
                self.assertEqual(self.mail(f"{keyword}=1", extensions=off)[:3], "555")
        self.make(extensions=ExtensionSettings(without=every))
        self.assertEqual(self.announced, {})

    def test_what_needs_another(self) -> None:
        self.make(extensions=ExtensionSettings(without=["8BITMIME"]))
        self.assertFalse({"SMTPUTF8", "BINARYMIME"} & set(self.announced))

    def test_nothing_is_promised_without_abilities(self) -> None:
        self.make(abilities=())
        promised = {ability.value for ability in Ability}
        self.assertFalse(promised & set(self.announced))

    def test_the_realm_speaks_before_a_login_and_the_delivery_after(self) -> None:
        server = self.make(factory_class=SubmissionFactory)
        self.assertIn("DSN", self.announced)
        server.users["ann"].abilities = frozenset()
        server.say(LOGIN)
        self.assertNotIn("DSN", keywords(server))
        self.assertEqual(server.say("MAIL FROM:<a@b> RET=FULL")[0][:9], "555 5.5.4")

    def test_bad_settings(self) -> None:
        self.assertRaises(ValueError, Server, extensions=ExtensionSettings(without=["FOO"]))
        for settings in (
            {"without": "DSN"},
            {"priority_policy": "a b"},
            {"max_hold": 0},
            {"min_deliver_by": 10**9},
            {"no_soliciting": ("1",)},
            {"no_soliciting": ("a" * 600, "b" * 600)},
        ):
            self.assertRaises(ValueError, ExtensionSettings, **settings)


class DSNTests(ExtensionTestCase):
    """RFC 3461."""

    abilities = (Ability.DSN,)

    def test_announced(self) -> None:
        self.make()
        self.assertEqual(self.announced["DSN"], "")

    def test_section_10_example(self) -> None:
        server = self.make()
        for line in (
            "MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ314159",
            "RCPT TO:<Bob@Example.ORG> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.ORG",
            "RCPT TO:<Carol@example.org> NOTIFY=FAILURE ORCPT=rfc822;Carol@Ivory.EDU",
            "RCPT TO:<George@Tax-ME.GOV> NOTIFY=FAILURE,DELAY ORCPT=rfc822;George@Tax-ME.GOV",
        ):
            self.assertEqual(server.say(line)[0][:3], "250", line)
        envelope = server.protocol.session.envelope
        assert envelope is not None
        self.assertEqual((envelope.ret, envelope.envid), ("HDRS", "QQ314159"))
        first, second, third = envelope.recipients
        self.assertEqual(first.notify, {"SUCCESS"})
        self.assertEqual(second.orcpt, ("rfc822", "Carol@Ivory.EDU"))
        self.assertEqual(third.notify, {"FAILURE", "DELAY"})
        self.assertEqual(third.parameters["ORCPT"], "rfc822;George@Tax-ME.GOV")

    def test_unsaid(self) -> None:
        recipient = self.recipient("")
        assert isinstance(recipient, Recipient)
        self.assertEqual((recipient.notify, recipient.orcpt, recipient.rrvs), (None, None, None))

    def test_mail(self) -> None:
        self.assertEqual(self.envelope("RET=full").ret, "FULL")
        self.assertEqual(self.envelope("ENVID=a+2Bb+20c").envid, "a+b c")
        self.assertEqual(self.envelope(f"ENVID={'x' * 100}").envid, "x" * 100)
        for bad in (
            "RET",
            "RET=BODY",
            "RET=FULL RET=FULL",
            "ENVID",
            "ENVID=a+2b",
            "ENVID=a+",
            "ENVID=a+0A",
            "ENVID=a+FFb",
            "ENVID=ü",
            f"ENVID={'x' * 101}",
        ):
            self.assertEqual(self.mail(bad), "501 5.5.4", bad)

    def test_notify(self) -> None:
        for value, wanted in (
            ("never", {"NEVER"}),
            ("Success", {"SUCCESS"}),
            ("SUCCESS,FAILURE,DELAY", {"SUCCESS", "FAILURE", "DELAY"}),
        ):
            recipient = self.recipient(f"NOTIFY={value}")
            assert isinstance(recipient, Recipient), value
            self.assertEqual(recipient.notify, wanted)
        for bad in ("", "=NEVER,DELAY", "=SUCCESS,", "=SOON", "=DELAY,DELAY", "=,", "=DELAY;"):
            self.assertEqual(self.recipient(f"NOTIFY{bad}"), "501 5.5.4", bad)

    def test_orcpt(self) -> None:
        for value, wanted in (
            ("rfc822;Bob@example.org", ("rfc822", "Bob@example.org")),
            ("X400;/c+3Dde/+20", ("X400", "/c=de/ ")),
            ("rfc822;a;b", ("rfc822", "a;b")),
            ("rfc822;j+C3+BCrgen@example.org", ("utf-8", "jürgen@example.org")),
            (f"rfc822;{'x' * 493}", ("rfc822", "x" * 493)),
        ):
            recipient = self.recipient(f"ORCPT={value}")
            assert isinstance(recipient, Recipient), value
            self.assertEqual(recipient.orcpt, OriginalRecipient(*wanted))
        for bad in (
            "",
            "=rfc822",
            "=rfc822;",
            "=;a@b",
            "=a(b;c",
            "=rfc822;a+0Db",
            "=rfc822;a+b",
            "=rfc822;j+FCrgen",
            "=rfc822;ü@example.org",
            f"=rfc822;{'x' * 494}",
        ):
            self.assertEqual(self.recipient(f"ORCPT{bad}"), "501 5.5.4", bad)

    def test_orcpt_in_utf8(self) -> None:
        # RFC 6533 section 3
        for value, mail in (
            ("utf-8;j\\x{FC}rgen@example.org", ""),
            ("UTF-8;j\\x{FC}rgen@example.org", "SMTPUTF8"),
            ("utf-8;jürgen@example.org", "SMTPUTF8"),
        ):
            recipient = self.recipient(f"ORCPT={value}", mail)
            assert isinstance(recipient, Recipient), value
            assert recipient.orcpt is not None
            self.assertEqual(recipient.orcpt.address, "jürgen@example.org")
        recipient = self.recipient("ORCPT=utf-8;a\\x{2B}b\\x{10FFFD}")
        for bad, mail in (
            ("jürgen@example.org", ""),
            ("a+2Bb", "SMTPUTF8"),
            ("a\\b", "SMTPUTF8"),
            ("\\x{D800}", "SMTPUTF8"),
            ("\\x{110000}", "SMTPUTF8"),
            ("\\x{fc}", "SMTPUTF8"),
            ("\\x{0A}", "SMTPUTF8"),
        ):
            self.assertEqual(self.recipient(f"ORCPT=utf-8;{bad}", mail), "501 5.5.4", bad)

    def test_not_without_a_delivery_that_reports(self) -> None:
        self.assertEqual(self.mail("RET=FULL", abilities=()), "555 5.5.4")
        self.mail("", abilities=())
        answer = self.server.say("RCPT TO:<bob@example.org> NOTIFY=NEVER")[0]
        self.assertEqual(answer[:9], "555 5.5.4")


class RequireTLSTests(ExtensionTestCase):
    """RFC 8689."""

    abilities = (Ability.REQUIRETLS,)

    def test_under_tls(self) -> None:
        self.assertTrue(self.envelope("REQUIRETLS", tls=True).require_tls)
        self.assertEqual(self.announced["REQUIRETLS"], "")
        self.assertFalse(self.envelope("", tls=True).require_tls)
        self.assertEqual(self.mail("REQUIRETLS=1", tls=True), "501 5.5.4")

    def test_where_it_cannot_be_kept(self) -> None:
        for settings in ({"tls": False}, {"tls": True, "abilities": ()}):
            self.assertEqual(self.mail("REQUIRETLS", **settings), "550 5.7.30")
            self.assertNotIn("REQUIRETLS", self.announced)


class LimitsTests(ExtensionTestCase):
    """RFC 9422."""

    def test_from_the_settings(self) -> None:
        self.make(max_recipients=7)
        self.assertEqual(self.announced["LIMITS"], "MAILMAX=10000 RCPTMAX=7")
        server = Server(max_recipients=10**7)
        server.factory.max_transactions = 10**7
        self.assertEqual(keywords(server)["LIMITS"], "MAILMAX=999999 RCPTMAX=999999")

    def test_they_are_kept(self) -> None:
        server = Server(max_recipients=1)
        server.factory.max_transactions = 2
        server.greet()
        for _ in range(2):
            server.say("RSET")
            self.assertEqual(server.say("MAIL FROM:<>")[0][:3], "250")
            self.assertEqual(server.say("RCPT TO:<a@example.org>")[0][:3], "250")
            self.assertEqual(server.say("RCPT TO:<b@example.org>")[0][:9], "452 4.5.3")
        server.say("RSET")
        self.assertEqual(server.say("MAIL FROM:<>")[0][:3], "421")


class DeliverByTests(ExtensionTestCase):
    """RFC 2852."""

    abilities = (Ability.DELIVERBY,)

    def test_example(self) -> None:
        server = self.make()
        self.assertEqual(self.announced["DELIVERBY"], "1")
        self.assertEqual(server.say("MAIL FROM:<eljefe@bigbiz.com> BY=120;R")[0][:3], "250")
        self.assertEqual(server.say("RCPT TO:<topbanana@other.com>")[0][:3], "250")

    def test_values(self) -> None:
        for value, wanted in (
            ("120;R", DeliverBy(NOW + 120, "R")),
            ("+120;rt", DeliverBy(NOW + 120, "R", True)),
            ("0;N", DeliverBy(NOW, "N")),
            ("-999999999;NT", DeliverBy(NOW - 999_999_999, "N", True)),
        ):
            self.assertEqual(self.envelope(f"BY={value}").deliver_by, wanted)
        for bad in (
            "",
            "=",
            "=5",
            "=5;",
            "=5;X",
            "=;R",
            "=0;R",
            "=-5;R",
            "=1.5;N",
            "=1234567890;N",
        ):
            self.assertEqual(self.mail(f"BY{bad}"), "501 5.5.4", bad)

    def test_the_shortest_time(self) -> None:
        settings = ExtensionSettings(min_deliver_by=60)
        self.assertEqual(self.mail("BY=59;R", extensions=settings), "555 5.5.4")
        self.assertEqual(self.announced["DELIVERBY"], "60")
        self.assertEqual(self.mail("BY=60;R", extensions=settings), "250 2.1.0")
        self.assertEqual(self.mail("BY=5;N", extensions=settings), "250 2.1.0")

    def test_too_late(self) -> None:
        for mode, code in (("R", "554 5.4.7"), ("N", "250 2.0.0")):
            self.envelope(f"BY=120;{mode}")
            server = self.server
            server.say("RCPT TO:<bob@example.org>", "DATA")
            server.clock.advance(121)
            self.assertEqual(server.send(b"x\r\n.\r\n")[:9].decode(), code)
            self.assertEqual(len(server.delivery.received), mode == "N")


class PriorityTests(ExtensionTestCase):
    """RFC 6710."""

    abilities = (Ability.PRIORITY,)

    def test_users(self) -> None:
        for value in (-9, -1, 0, 1, 9):
            envelope = self.envelope(f"MT-PRIORITY={value}", login=True, tls=True)
            self.assertEqual(envelope.priority, value)
        self.assertEqual(self.announced["MT-PRIORITY"], "")

    def test_policy(self) -> None:
        self.make(extensions=ExtensionSettings(priority_policy="MIXER"))
        self.assertEqual(self.announced["MT-PRIORITY"], "MIXER")

    def test_strangers_are_not_upgraded(self) -> None:
        server = self.make()
        answer = server.say("MAIL FROM:<a@b> MT-PRIORITY=3")[0]
        self.assertTrue(answer.startswith("250 2.3.6 0 "), answer)
        assert server.protocol.session.envelope is not None
        self.assertEqual(server.protocol.session.envelope.priority, 0)
        self.assertEqual(self.envelope("MT-PRIORITY=-3").priority, -3)

    def test_bad_values(self) -> None:
        for bad in ("", "=", "=10", "=-0", "=+1", "=00", "=-10", "=x", "=٣"):
            self.assertIn(self.mail(f"MT-PRIORITY{bad}")[:3], ("501",), bad)

    def test_trace(self) -> None:
        self.envelope("MT-PRIORITY=-2")
        self.server.say("RCPT TO:<bob@example.org>", "DATA", ".")
        message = self.server.delivery.received[0][1]
        self.assertIn(b"for <bob@example.org> PRIORITY -2;", message)


class FutureReleaseTests(ExtensionTestCase):
    """RFC 4865."""

    abilities = (Ability.HOLD, Ability.DELIVERBY)
    settings = {"tls": True, "factory_class": SubmissionFactory}
    day = ExtensionSettings(max_hold=86400)

    def hold(self, parameters: str) -> str:
        return self.mail(parameters, login=True, extensions=self.day)

    def held_until(self, parameters: str) -> int | None:
        self.assertEqual(self.hold(parameters)[:3], "250", parameters)
        envelope = self.server.protocol.session.envelope
        assert envelope is not None
        return envelope.hold_until

    def test_announced_for_submission_alone(self) -> None:
        self.make(extensions=self.day)
        self.assertEqual(self.announced["FUTURERELEASE"], "86400 1970-01-13T13:46:40Z")
        server = Server(abilities=self.abilities)
        self.assertNotIn("FUTURERELEASE", keywords(server))
        self.assertEqual(server.say("MAIL FROM:<a@b> HOLDFOR=1")[0][:9], "555 5.5.4")

    def test_values(self) -> None:
        self.assertEqual(self.held_until("HOLDFOR=86400"), NOW + 86400)
        self.assertEqual(self.held_until("HOLDUNTIL=1970-01-13T13:46:40Z"), NOW + 86400)
        self.assertEqual(self.held_until("HOLDUNTIL=1970-01-12T13:46:40.5z"), NOW + 1)
        # A client whose clock is behind.
        self.assertEqual(self.held_until("HOLDUNTIL=1970-01-12T13:46:00Z"), NOW - 40)
        for bad in (
            "HOLDFOR",
            "HOLDFOR=0",
            "HOLDFOR=-1",
            "HOLDFOR=86401",
            "HOLDFOR=1234567890",
            "HOLDFOR=1x",
            "HOLDUNTIL",
            "HOLDUNTIL=1970-01-13T13:46:41Z",
            "HOLDUNTIL=1970-01-12T13:46:40+00:00",
            "HOLDUNTIL=1970-02-30T13:46:40Z",
            "HOLDUNTIL=1970-01-12T24:00:00Z",
            "HOLDUNTIL=1970-01-12T13:46Z",
            "HOLDUNTIL=9999-99-99T99:99:99Z",
            "HOLDFOR=1 HOLDUNTIL=1970-01-12T13:46:41Z",
        ):
            self.assertEqual(self.hold(bad), "501 5.5.4", bad)

    def test_not_beyond_the_deadline(self) -> None:
        # Section 5.2.2
        for parameters in ("HOLDFOR=61 BY=60;R", "BY=60;N HOLDFOR=61"):
            self.assertEqual(self.hold(parameters), "501 5.5.4")
        self.assertEqual(self.hold("HOLDFOR=60 BY=60;R")[:3], "250")


class SolicitingTests(ExtensionTestCase):
    """RFC 3865."""

    settings = {"extensions": ExtensionSettings(no_soliciting=("net.example:ADV", "org.example:X"))}

    def test_announced(self) -> None:
        self.make()
        self.assertEqual(self.announced["NO-SOLICITING"], "net.example:ADV,org.example:X")
        self.make(extensions=ExtensionSettings())
        self.assertNotIn("NO-SOLICITING", self.announced)

    def test_values(self) -> None:
        envelope = self.envelope("SOLICIT=org.example:ADV:ADLT,com.example:Z")
        self.assertEqual(envelope.solicitation, ("org.example:ADV:ADLT", "com.example:Z"))
        self.assertEqual(self.mail("SOLICIT=com.example:Z,NET.example:adv"), "550 5.7.1")
        for bad in ("", "=", "=a,", "=1a", "=a b", "=a(b", f"={'a' * 1001}"):
            self.assertIn(self.mail(f"SOLICIT{bad}"), ("501 5.5.4", "555 5.5.4"), bad)


class ValidSinceTests(ExtensionTestCase):
    """RFC 7293."""

    abilities = (Ability.VALID_SINCE,)

    def test_example(self) -> None:
        server = self.make()
        self.assertEqual(self.announced["RRVS"], "")
        server.say("MAIL FROM:<sender@example.net>")
        line = "RCPT TO:<receiver@example.com> RRVS=2014-04-03T23:01:00Z"
        self.assertEqual(server.say(line)[0][:3], "250")
        envelope = server.protocol.session.envelope
        assert envelope is not None
        self.assertEqual(envelope.recipients[0].rrvs, ValidSince(1396566060, "R"))

    def test_values(self) -> None:
        for value, wanted in (
            (f"{NOW_TEXT}", ValidSince(NOW, "R")),
            (f"{NOW_TEXT};r", ValidSince(NOW, "R")),
            (f"{NOW_TEXT};C", ValidSince(NOW, "C")),
            ("1970-01-12T15:46:40+02:00", ValidSince(NOW, "R")),
            ("1970-01-12T13:16:40-00:30", ValidSince(NOW, "R")),
            ("1990-12-31T23:59:60Z", ValidSince(662688000, "R")),
        ):
            recipient = self.recipient(f"RRVS={value}")
            assert isinstance(recipient, Recipient), value
            self.assertEqual(recipient.rrvs, wanted)
        for bad in (
            "",
            "=",
            "=yesterday",
            f"={NOW_TEXT};",
            f"={NOW_TEXT};X",
            "=1970-01-12T13:46:40",
            "=1970-01-12T13:46:40.5Z",
            "=1970-01-12T13:46:61Z",
            "=1970-01-12T13:46:40+24:00",
            "=0000-01-01T00:00:00Z",
        ):
            self.assertIn(self.recipient(f"RRVS{bad}"), ("501 5.5.4", "501 5.5.2"), bad)


class SubmitterTests(ExtensionTestCase):
    """RFC 4954 section 5."""

    def submitter(self, trust: Access, login: bool) -> str | None:
        settings = ExtensionSettings(trust_submitter=trust)
        return self.envelope(
            "AUTH=e+3Dmc2@example.com", tls=True, login=login, extensions=settings
        ).submitter

    def test_who_is_believed(self) -> None:
        for trust, login, wanted in (
            (Access.NEVER, True, "<>"),
            (Access.AUTHENTICATED, False, "<>"),
            (Access.AUTHENTICATED, True, "e=mc2@example.com"),
            (Access.EVERYONE, False, "e=mc2@example.com"),
        ):
            self.assertEqual(self.submitter(trust, login), wanted, (trust, login))
        self.assertEqual(self.envelope("AUTH=<>").submitter, "<>")
        self.assertEqual(self.envelope("").submitter, None)
