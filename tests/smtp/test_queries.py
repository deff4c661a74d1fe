"""VRFY, EXPN and ETRN: who is told what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.errors import (
    MailError,
    NoSuchRecipient,
    PermissionDenied,
    RelayDenied,
    StoreUnavailable,
)
from mailkit.interfaces import IAddressQueries, IQueueStarter
from mailkit.model import Ability, Path
from mailkit.smtp.extensions.settings import Access, ExtensionSettings
from tests.smtp.fakes import FakeDelivery, Server

EVERYONE = ExtensionSettings(vrfy=Access.EVERYONE, expn=Access.EVERYONE, etrn=Access.EVERYONE)
USERS = ExtensionSettings(
    vrfy=Access.AUTHENTICATED, expn=Access.AUTHENTICATED, etrn=Access.AUTHENTICATED
)


@implementer(IAddressQueries, IQueueStarter)
class KnowingDelivery(FakeDelivery):
    """Tells what ``answers`` say."""

    def __init__(self, account: str | None = None) -> None:
        super().__init__(account)
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str | None]] = []

    async def _answer(self, text: str) -> Any:
        await self._enter("answer")
        answer = self.answers.get(text, NoSuchRecipient())
        if isinstance(answer, MailError):
            raise answer
        return answer

    async def verify_address(self, text: str) -> Sequence[Path]:
        return list(await self._answer(text))

    async def expand_list(self, text: str) -> Sequence[Path]:
        return list(await self._answer(text))

    async def start_queue(self, node: str, account: str | None) -> int | None:
        self.asked.append((node, account))
        waiting: int | None = await self._answer(node)
        return waiting


def make(settings: ExtensionSettings, answers: dict[str, Any], **others: Any) -> Server:
    server = Server(extensions=settings, passwords={"ann": "secret"}, tls=True, **others)
    server.delivery = KnowingDelivery()
    server.users["ann"] = KnowingDelivery("ann@example.org")
    for delivery in (server.delivery, server.users["ann"]):
        assert isinstance(delivery, KnowingDelivery)
        delivery.abilities = frozenset((Ability.QUERIES, Ability.START_QUEUE))
        delivery.answers = answers
    server.realm.anonymous = server.delivery
    return server.greet()


ANN = Path("ann", "example.org")
BOB = Path("bob", "example.org")
JIM = Path("jürgen", "example.org")
ANSWERS = {
    "ann": [ANN],
    "ann@example.org": [ANN],
    "jürgen": [JIM],
    "jim": [JIM],
    "b": [ANN, BOB],
    "far@example.net": RelayDenied(),
    "broken": StoreUnavailable(),
}


class SlowTests(SynchronousTestCase):
    """Answers that take their time, with other commands behind them."""

    COMMANDS = b"VRFY ann\r\nNOOP\r\nEXPN b\r\nETRN a.example\r\nVRFY nobody\r\nNOOP\r\n"

    def test_replies_keep_their_order(self) -> None:
        server = make(EVERYONE, {**ANSWERS, "a.example": 3})
        server.delivery.slow.add("answer")
        self.assertEqual(server.send(self.COMMANDS), b"")
        for _ in range(4):
            server.delivery.go_on()
        codes = [line[:4] for line in server.answer().decode().splitlines()]
        self.assertEqual(codes, ["250 ", "250 ", "250-", "250 ", "253 ", "550 ", "250 "])

    def test_the_client_goes(self) -> None:
        server = make(EVERYONE, ANSWERS)
        server.delivery.slow.add("answer")
        server.send(self.COMMANDS)
        server.lose()
        self.assertEqual(server.delivery.calls, ["answer"])
        self.assertEqual(server.answer(), b"")

    def test_a_bug_is_told_as_such(self) -> None:
        for command in (b"VRFY ann\r\n", b"EXPN b\r\n", b"ETRN a.example\r\n"):
            server = make(EVERYONE, ANSWERS)
            server.delivery.trouble["answer"] = KeyError("secret detail")
            self.assertEqual(server.send(command)[:9], b"451 4.3.0")
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
            self.assertEqual(server.say("NOOP")[0][:3], "250")


class LoginTests(SynchronousTestCase):
    def test_a_user_asks_and_goes_on_as_that_user(self) -> None:
        for command in ("VRFY ann", "EXPN b", "ETRN a.example"):
            server = make(EVERYONE, {**ANSWERS, "a.example": 3})
            server.say("AUTH PLAIN AGFubgBzZWNyZXQ=", command, "MAIL FROM:<ann@example.org>")
            self.assertEqual(server.users["ann"].calls, ["answer", "check_sender"], command)
            self.assertEqual(server.delivery.calls, [])


class VrfyTests(SynchronousTestCase):
    def test_answers(self) -> None:
        server = make(EVERYONE, ANSWERS)
        self.assertIn("250-VRFY", server.say("EHLO a"))
        for text in ("ann", "ann@example.org", "<ann@example.org>"):
            self.assertEqual(server.say(f"VRFY {text}"), ["250 2.1.5 <ann@example.org>"])
        self.assertEqual(server.say("VRFY nobody")[0][:9], "550 5.1.1")
        self.assertEqual(server.say("VRFY far@example.net")[0][:9], "252 2.0.0")
        self.assertEqual(server.say("VRFY broken")[0][:9], "451 4.3.0")
        self.assertEqual(
            server.say("VRFY b"),
            [
                "553-5.1.4 Ambiguous; possibilities are",
                "553-5.1.4 <ann@example.org>",
                "553 5.1.4 <bob@example.org>",
            ],
        )

    def test_internationalised(self) -> None:
        # RFC 6531 section 3.7.4
        server = make(EVERYONE, ANSWERS)
        answer = server.say("VRFY jürgen SMTPUTF8")
        self.assertEqual(answer, ["250 2.1.5 <jürgen@example.org>"])
        self.assertEqual(server.say("VRFY jürgen")[0][:9], "553 5.6.7")
        self.assertEqual(server.say("VRFY jim")[0][:9], "252 2.6.8")
        self.assertEqual(server.say("VRFY jim smtputf8"), answer)
        self.assertEqual(server.send(b"VRFY \xff SMTPUTF8\r\n")[:9], b"501 5.5.4")
        self.assertEqual(server.say("VRFY SMTPUTF8")[0][:9], "550 5.1.1")

    def test_who_may_ask(self) -> None:
        for settings in (ExtensionSettings(), USERS, ExtensionSettings(without=["VRFY", "EXPN"])):
            server = make(settings, ANSWERS)
            for verb in ("VRFY", "EXPN"):
                self.assertNotIn(f"250-{verb}", server.say("EHLO a"))
                self.assertEqual(server.say(f"{verb} ann")[0][:9], "252 2.0.0")
                self.assertEqual(server.say(verb)[0][:9], "501 5.5.4")
        server = make(USERS, ANSWERS)
        server.say("AUTH PLAIN AGFubgBzZWNyZXQ=")
        self.assertIn("250-EXPN", server.say("EHLO a"))
        self.assertEqual(server.say("VRFY ann")[0][:3], "250")

    def test_a_delivery_that_knows_nobody(self) -> None:
        server = Server(extensions=EVERYONE).greet()
        self.assertEqual(server.say("VRFY ann", "EXPN ann")[0][:9], "252 2.0.0")

    def test_in_a_transaction(self) -> None:
        server = make(EVERYONE, ANSWERS)
        server.say("MAIL FROM:<a@b>")
        self.assertEqual(server.say("VRFY ann")[0][:3], "250")
        self.assertEqual(server.say("RCPT TO:<bob@example.org>")[0][:3], "250")


class ExpnTests(SynchronousTestCase):
    def test_members(self) -> None:
        server = make(EVERYONE, {"list": [ANN, BOB], "empty@example.org": NoSuchRecipient()})
        self.assertEqual(
            server.say("EXPN list"),
            ["250-2.1.5 <ann@example.org>", "250 2.1.5 <bob@example.org>"],
        )
        self.assertEqual(server.say("EXPN empty@example.org")[0][:9], "550 5.1.1")

    def test_many_members(self) -> None:
        server = make(EVERYONE, {"all": [Path(f"u{n}", "example.org") for n in range(1000)]})
        lines = server.say("EXPN all")
        self.assertEqual(len(lines), 1000)
        self.assertTrue(all(line.startswith("250-") for line in lines[:-1]))
        self.assertEqual(lines[-1], "250 2.1.5 <u999@example.org>")


class EtrnTests(SynchronousTestCase):
    """RFC 1985 section 7, with the replies of section 5.1."""

    def test_example(self) -> None:
        server = make(
            EVERYONE,
            {
                "sigurd.innosoft.com": 0,
                "innosoft.com": None,
                "@mysoft.com": 14,
                "#uucp": 1,
                "foo.bar": PermissionDenied("Unable to resolve name."),
                "uu.net": StoreUnavailable(),
            },
        )
        self.assertIn("250-ETRN", server.say("EHLO ymir.claremont.edu"))
        self.assertEqual(server.say("ETRN")[0][:4], "500 ")
        self.assertEqual(server.say("ETRN localname")[0][:4], "501 ")
        for node, reply in (
            ("uu.net", "458 4.3.0 Unable to queue messages for node uu.net"),
            ("sigurd.innosoft.com", "251 2.0.0 OK, no messages waiting for node sigurd."),
            ("innosoft.com", "250 2.0.0 OK, queuing for node innosoft.com started"),
            ("@mysoft.com", "253 2.0.0 OK, 14 pending messages for node @mysoft.com started"),
            ("#uucp", "253 2.0.0 OK, 1 pending messages for node #uucp started"),
            ("foo.bar", "459 4.7.0 Node foo.bar not allowed: Unable to resolve name."),
        ):
            self.assertTrue(server.say(f"ETRN {node}")[0].startswith(reply), node)

    def test_not_in_a_transaction(self) -> None:
        server = make(EVERYONE, {"a.example": 0})
        server.say("MAIL FROM:<a@b>")
        self.assertEqual(server.say("ETRN a.example")[0][:9], "503 5.5.1")

    def test_who_may_ask(self) -> None:
        server = make(USERS, {"a.example": 0})
        self.assertNotIn("250-ETRN", server.say("EHLO a"))
        self.assertEqual(server.say("ETRN a.example")[0][:9], "459 4.7.0")
        server.say("AUTH PLAIN AGFubgBzZWNyZXQ=")
        self.assertIn("250-ETRN", server.say("EHLO a"))
        self.assertEqual(server.say("ETRN a.example")[0][:3], "251")
        delivery = server.users["ann"]
        assert isinstance(delivery, KnowingDelivery)
        self.assertEqual(delivery.asked, [("a.example", "ann@example.org")])

    def test_without_a_queue(self) -> None:
        server = Server(extensions=EVERYONE).greet()
        self.assertEqual(server.say("ETRN a.example")[0][:9], "502 5.5.1")
        server = make(ExtensionSettings(without=["ETRN"]), {})
        self.assertEqual(server.say("ETRN a.example")[0][:9], "502 5.5.1")
