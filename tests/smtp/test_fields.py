"""Header fields that ask something of the server: Solicitation and Require-Recipient-Valid-Since."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.errors import OwnerChanged, OwnerUnknown, StoreUnavailable
from mailkit.hooks import AddHeader, MailHook, MailSession
from mailkit.interfaces import IOwnerVerifier
from mailkit.model import Ability, Envelope, Recipient, ValidSince
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.smtp.fields import MAX_FIELDS
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.spool import Spool
from tests.smtp.fakes import FakeDelivery, Server, strip_trace

DATE = "Thu, 3 Apr 2014 23:01:00 +0000"
SINCE = 1396566060


@implementer(IOwnerVerifier)
class KnowingDelivery(FakeDelivery):
    """Knows the owner of ann, bob and eve; mail for far goes elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, ValidSince | None]] = []
        self.abilities = frozenset({Ability.VALID_SINCE})

    async def verify_owner(self, recipient: Recipient) -> bool:
        local = recipient.path.local_part
        self.asked.append((str(recipient.path), recipient.rrvs))
        if local == "eve":
            raise OwnerChanged
        if local == "nick":
            raise OwnerUnknown
        if local == "slow":
            raise StoreUnavailable
        return local != "far"


class FieldTestCase(SynchronousTestCase):
    settings: dict[str, Any] = {}

    def make(self, **settings: Any) -> KnowingDelivery:
        self.server = Server(**{**self.settings, **settings})
        self.delivery = self.server.delivery = self.server.realm.anonymous = KnowingDelivery()
        return self.delivery

    def send(self, *header: str, to: tuple[str, ...] = ("bob@example.org",)) -> str:
        """The reply to a message with these header lines."""
        self.server.begin(*to)
        lines = "".join(f"{line}\r\n" for line in header)
        return self.server.send(f"{lines}\r\nbody\r\n.\r\n".encode()).decode().rstrip()


class SolicitationTests(FieldTestCase):
    """RFC 3865 section 2.5."""

    settings = {"extensions": ExtensionSettings(no_soliciting=("net.example:ADV", "org.example:X"))}

    def test_unwanted(self) -> None:
        for field in (
            "Solicitation: net.example:ADV",
            "SOLICITATION: com.example:Z,org.example:x",
            "solicitation :\r\n com.example:Z,\r\n\tNET.example:adv",
        ):
            self.make()
            self.assertRegex(
                self.send("Subject: hi", field), r"^550 5\.7\.1 SOLICITING .* is not wanted here$"
            )
            self.assertEqual(self.delivery.received, [])

    def test_others_pass(self) -> None:
        for lines in (
            ("Solicitation: com.example:ADV",),
            ("Subject: Solicitation: net.example:ADV",),
            ("X-Solicitation: net.example:ADV",),
            ("Subject: hi", "", "Solicitation: net.example:ADV"),
            ("", "Solicitation: net.example:ADV"),
        ):
            self.make()
            self.assertEqual(self.send(*lines)[:3], "250", lines)
        # It stays in the message.
        self.make()
        self.send("Solicitation: com.example:ADV")
        self.assertEqual(self.delivery.contents, [b"Solicitation: com.example:ADV\r\n\r\nbody\r\n"])

    def test_only_where_it_is_announced(self) -> None:
        self.make(extensions=ExtensionSettings())
        self.assertEqual(self.send("Solicitation: net.example:ADV")[:3], "250")

    def test_in_a_file(self) -> None:
        self.make()
        self.server.begin()
        self.server.send(b"Solicitation: net.example:ADV\r\n\r\n")
        for _ in range(300):
            self.server.send(b"x" * 1022 + b"\r\n")
        self.assertIsNone(self.delivery.spools[0].data)
        self.assertEqual(self.server.send(b".\r\n")[:9], b"550 5.7.1")

    def test_the_session_goes_on(self) -> None:
        self.make()
        self.send("Solicitation: net.example:ADV")
        self.assertEqual(self.send("Subject: hi")[:3], "250")

    def test_in_the_received_field(self) -> None:
        self.make()
        self.server.greet()
        self.server.say(
            "MAIL FROM:<a@b.example> SOLICIT=com.example:Y,com.example:Z",
            "RCPT TO:<bob@example.org>",
            "DATA",
            ".",
        )
        octets = self.delivery.received[0][1]
        self.assertIn(b"with ESMTP\r\n\t(SOLICIT=com.example:Y,\r\n\tcom.example:Z)", octets)
        self.assertEqual(strip_trace(octets), b"")


class ValidSinceTests(FieldTestCase):
    """RFC 7293 section 5.2."""

    def field(self, address: str, date: str = DATE) -> str:
        return f"Require-Recipient-Valid-Since: {address}; {date}"

    def test_good(self) -> None:
        self.make()
        reply = self.send("Subject: hi", self.field("Bob@Example.ORG"), "To: bob")
        self.assertEqual(reply[:3], "250")
        self.assertEqual(self.delivery.asked, [("bob@example.org", ValidSince(SINCE, "R"))])
        # Step 4: it has done its work.
        self.assertEqual(self.delivery.contents, [b"Subject: hi\r\nTo: bob\r\n\r\nbody\r\n"])

    def test_folded(self) -> None:
        self.make()
        field = self.field("<bob@example.org>").replace(" ", "\r\n\t ", 1)
        self.assertEqual(self.send(field.lower())[:3], "250")
        self.assertEqual(self.delivery.contents, [b"\r\nbody\r\n"])

    def test_refused(self) -> None:
        for local, reply in (
            ("eve", "550 5.7.17"),
            ("nick", "550 5.7.19"),
            ("slow", "451 4.3.0"),
        ):
            self.make()
            to = f"{local}@example.org"
            self.assertTrue(self.send(self.field(to), to=(to,)).startswith(reply))
            self.assertEqual(self.delivery.received, [])

    def test_what_is_not_ours_stays(self) -> None:
        for field in (
            self.field("far@example.org"),
            self.field("ann@example.org"),
            self.field("bob@example.org", "yesterday"),
            self.field("bob"),
            "Require-Recipient-Valid-Since: bob@example.org",
            self.field("bob@example.org, far@example.org"),
        ):
            self.make()
            reply = self.send(field, to=("bob@example.org", "far@example.org"))
            self.assertEqual(reply[:3], "250", field)
            self.assertEqual(self.delivery.contents, [f"{field}\r\n\r\nbody\r\n".encode()])

    def test_several(self) -> None:
        self.make()
        ann, bob, far = (self.field(f"{x}@example.org") for x in ("ann", "bob", "far"))
        to = ("ann@example.org", "far@example.org", "bob@example.org")
        self.assertEqual(self.send(bob, far, "Subject: hi", ann, to=to)[:3], "250")
        self.assertEqual(self.delivery.contents, [f"{far}\r\nSubject: hi\r\n\r\nbody\r\n".encode()])

    def test_the_parameter_goes_before(self) -> None:
        self.make()
        self.server.greet()
        self.server.say(
            "MAIL FROM:<a@b.example>", "RCPT TO:<eve@example.org> RRVS=2014-04-03T23:01:00Z", "DATA"
        )
        octets = f"{self.field('eve@example.org')}\r\n\r\n.\r\n".encode()
        self.assertEqual(self.server.send(octets)[:3], b"250")
        self.assertEqual(self.delivery.asked, [])

    def test_only_where_it_is_announced(self) -> None:
        without = ["RRVS"]
        for settings in (
            {"extensions": ExtensionSettings(without=without)},
            # The header is looked at, for another field.
            {"extensions": ExtensionSettings(without=without, no_soliciting=("net.example:ADV",))},
            {},
        ):
            self.make(**settings)
            if not settings:
                self.delivery.abilities = frozenset()
            to = "eve@example.org"
            self.assertEqual(self.send(self.field(to), to=(to,))[:3], "250")
            self.assertEqual(self.delivery.asked, [])

    def test_hooks_see_it(self) -> None:
        seen = []

        class Look(MailHook):
            def message(
                self, session: MailSession, envelope: Envelope, message: Spool
            ) -> AddHeader:
                seen.append(message.data)
                return AddHeader("X-Seen", "yes")

        self.make(hooks=[Look()])
        field = self.field("bob@example.org")
        self.send("Subject: hi", field)
        self.assertEqual(seen, [f"Subject: hi\r\n{field}\r\n\r\nbody\r\n".encode()])
        self.assertEqual(len(self.delivery.contents), 1)
        content = self.delivery.contents[0]
        self.assertNotIn(b"Valid-Since", content)
        self.assertIn(b"X-Seen: yes\r\n", content)

    def test_lmtp(self) -> None:
        self.make(factory_class=LMTPFactory)
        self.server.say("LHLO x", "MAIL FROM:<a@b.example>")
        self.server.say("RCPT TO:<bob@example.org>", "RCPT TO:<eve@example.org>", "DATA")
        octets = f"{self.field('eve@example.org')}\r\n\r\n.\r\n".encode()
        self.assertEqual(self.server.send(octets).count(b"550 5.7.17"), 2)

    def test_too_many(self) -> None:
        self.make()
        fields = [self.field("bob@example.org")] * (MAX_FIELDS + 5)
        self.assertEqual(self.send(*fields)[:3], "250")
        self.assertEqual(len(self.delivery.asked), MAX_FIELDS)
