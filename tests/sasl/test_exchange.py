"""Exchanges by mechanisms of one's own over IMAP, POP3 and SMTP (RFC 4422)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, NamedTuple

from twisted.cred.checkers import (
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from examples.sasl_mechanism import TicketChecker, TicketServer
from mailkit._typing import override
from mailkit.auth.portal import make_portal
from mailkit.errors import AccountDisabled, StoreUnavailable
from mailkit.store.memory import MemoryStore
from mailkit.wire.sasl import Lookup, SASLContext, SASLError, SASLServer, Step, Success
from tests.imap.support import now
from tests.sasl.dialogues import DIALOGUES, Answer, Dialogue

ACCOUNT = "ann@example.org"


class IRiddle(ICredentials):
    """An answer to a riddle."""


@implementer(IRiddle)
class Riddle(NamedTuple):
    username: str
    answer: bytes


class RiddleServer(SASLServer):
    """Asks the name, looks the riddle up, and praises or scolds in the end."""

    name = "X-RIDDLE"
    plaintext = False
    credentials = IRiddle

    def __init__(self, context: SASLContext) -> None:
        super().__init__(context)
        self._username = ""

    @override
    def step(self, response: bytes | None) -> Step:
        if response is None:
            return b"Who?"
        if not self._username:
            self._username = response.decode()
            return Lookup(lambda checker: checker.find_riddle(username=self._username))
        if not response:
            raise SASLError("That is no answer")
        return Success(Riddle(self._username, response), self._username, data=b"Well done")

    @override
    def resume(self, answer: Any) -> Step:
        found: bytes = answer
        return found

    @override
    def explain(self, error: Exception) -> bytes:
        return f"Wrong: {type(error.__cause__ or error).__name__}".encode()


@implementer(ICredentialsChecker)
class RiddleChecker:
    credentialInterfaces = (IRiddle,)

    def __init__(self) -> None:
        self.lookup: Any = succeed(b"2+2")
        self.error: Exception | None = None

    def find_riddle(self, username: str) -> Any:
        return self.lookup

    def requestAvatarId(self, credentials: Any) -> Any:
        if self.error is not None:
            raise self.error
        if credentials.answer != b"4":
            raise UnauthorizedLogin
        return ACCOUNT


class ExchangeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.checker = RiddleChecker()
        self.logouts = 0

    def portal(self) -> Portal:
        store = MemoryStore()
        now(store.add_account(name=ACCOUNT))
        portal = make_portal(store, [self.checker], deliveries=lambda *_: object())  # type: ignore[arg-type,return-value]
        realm: Any = portal.realm
        portal.realm = CountingRealm(realm, self)  # type: ignore[assignment]
        return portal

    def dialogues(self, **settings: Any) -> list[Dialogue]:
        settings.setdefault("mechanisms", [RiddleServer, "PLAIN"])
        return [make(self.portal(), **settings) for make in DIALOGUES]

    def at_the_end(self, **settings: Any) -> list[Dialogue]:
        """Dialogues in which the server has said the last challenge of a success."""
        dialogues = self.dialogues(**settings)
        for dialogue in dialogues:
            dialogue.begin("X-RIDDLE", b"ann")
            self.assertEqual(dialogue.respond(b"4"), Answer("challenge", b"Well done"))
        return dialogues


@implementer(IRealm)
class CountingRealm:
    """Another realm, and how often somebody has left it."""

    def __init__(self, realm: Any, case: ExchangeCase) -> None:
        self._realm = realm
        self._case = case

    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
        def counted(result: Any) -> Any:
            return result[0], result[1], self.leave

        return self._realm.requestAvatar(avatar_id, mind, *interfaces).addCallback(counted)

    def leave(self) -> None:
        self._case.logouts += 1


class SuccessTests(ExchangeCase):
    def test_lookup_and_data_for_success(self) -> None:
        for dialogue in self.dialogues():
            self.assertEqual(dialogue.begin("X-RIDDLE"), Answer("challenge", b"Who?"))
            self.assertEqual(dialogue.respond(b"ann"), Answer("challenge", b"2+2"))
            self.assertEqual(dialogue.respond(b"4"), Answer("challenge", b"Well done"))
            self.assertEqual(dialogue.say(b"").kind, "in")
            self.assertTrue(dialogue.logged_in)

    def test_equals_sign_is_an_empty_response(self) -> None:
        for dialogue in self.at_the_end():
            self.assertEqual(dialogue.say(b"=").kind, "in")

    def test_slow_lookup(self) -> None:
        for dialogue in self.dialogues():
            self.checker.lookup = Deferred()
            dialogue.begin("X-RIDDLE")
            self.assertEqual(dialogue.respond(b"ann").kind, "")
            self.checker.lookup.callback(b"2+2")
            self.assertEqual(dialogue.answer(), Answer("challenge", b"2+2"))

    def test_connection_lost_during_a_lookup(self) -> None:
        for dialogue in self.dialogues():
            self.checker.lookup = Deferred()
            dialogue.begin("X-RIDDLE", b"ann")
            dialogue.lose()
            self.assertTrue(self.checker.lookup.called)

    def test_connection_lost_before_the_end_is_acknowledged(self) -> None:
        for dialogue in self.at_the_end():
            dialogue.lose()
        self.assertEqual(self.logouts, len(DIALOGUES))


class FailureTests(ExchangeCase):
    def test_error_challenge_is_acknowledged_before_the_failure(self) -> None:
        # RFC 7628 section 3.2.3
        for acknowledgement in (b"", b"AQ==", b"*"):
            for dialogue in self.dialogues():
                dialogue.begin("X-RIDDLE", b"ann")
                dialogue.respond(b"5")
                self.assertEqual(dialogue.later(), Answer("challenge", b"Wrong: UnauthorizedLogin"))
                self.assertEqual(dialogue.say(acknowledgement).kind, "out")
                self.assertFalse(dialogue.logged_in)
                # It begins anew.
                self.assertEqual(dialogue.begin("X-RIDDLE").kind, "challenge")

    def test_reason_of_a_refusal(self) -> None:
        self.checker.error = AccountDisabled()
        for dialogue in self.dialogues():
            dialogue.begin("X-RIDDLE", b"ann")
            dialogue.respond(b"4")
            self.assertEqual(dialogue.later(), Answer("challenge", b"Wrong: AccountDisabled"))

    def test_user_base_out_of_reach(self) -> None:
        self.checker.error = StoreUnavailable()
        for dialogue in self.dialogues():
            self.checker.lookup = succeed(b"2+2")
            dialogue.begin("X-RIDDLE", b"ann")
            self.assertEqual(dialogue.respond(b"4").kind, "out")
            self.checker.lookup = Deferred()
            dialogue.begin("X-RIDDLE", b"ann")
            self.checker.lookup.errback(StoreUnavailable())
            self.assertEqual(dialogue.answer().kind, "out")

    def test_mechanism_not_followed(self) -> None:
        for dialogue in self.dialogues():
            dialogue.begin("X-RIDDLE", b"ann")
            answer = dialogue.say(b"=")
            self.assertEqual(answer.kind, "out")
            self.assertIn(b"That is no answer", answer.octets)

    def test_cancelled_or_broken_anywhere(self) -> None:
        for line in (b"*", b"!!!!", b"QUJ", b"A" * 11_000):
            for steps in ([], [b"ann"], [b"ann", b"4"]):
                for dialogue in self.dialogues():
                    self.logouts = 0
                    dialogue.begin("X-RIDDLE")
                    for step in steps:
                        dialogue.respond(step)
                    answer = dialogue.say(line)
                    self.assertEqual(answer.kind, "out", (line[:4], steps))
                    self.assertFalse(dialogue.logged_in)
                    self.assertEqual(self.logouts, int(len(steps) == 2))

    def test_more_than_nothing_at_the_end(self) -> None:
        for dialogue in self.at_the_end():
            self.assertEqual(dialogue.respond(b"thanks").kind, "out")
            self.assertFalse(dialogue.logged_in)
        self.assertEqual(self.logouts, len(DIALOGUES))


class OfferTests(ExchangeCase):
    def test_what_the_checkers_can_verify_in_the_factorys_order(self) -> None:
        for dialogue in self.dialogues():
            self.assertEqual(dialogue.offered(), ["X-RIDDLE"])
            self.assertEqual(dialogue.begin("PLAIN", b"\0ann\0secret").kind, "out")

    def test_nothing_else_than_the_factory_allows(self) -> None:
        for dialogue in self.dialogues(mechanisms=["PLAIN"]):
            self.assertEqual(dialogue.offered(), [])
            self.assertEqual(dialogue.begin("X-RIDDLE").kind, "out")

    def test_what_protects_itself_needs_no_tls(self) -> None:
        for dialogue in self.dialogues(host="192.0.2.1"):
            self.assertEqual(dialogue.offered(), ["X-RIDDLE"])
        self.patch(RiddleServer, "plaintext", True)
        for dialogue in self.dialogues(host="192.0.2.1"):
            self.assertEqual(dialogue.offered(), [])
            self.assertEqual(dialogue.begin("X-RIDDLE").kind, "out")

    def test_mechanism_and_checker_have_their_say(self) -> None:
        for method in ("is_available", "is_known_to"):
            self.patch(RiddleServer, method, classmethod(lambda *_: False))
            for dialogue in self.dialogues():
                self.assertEqual(dialogue.offered(), [])
                self.assertEqual(dialogue.begin("X-RIDDLE").kind, "out")

    def test_checker_that_comes_later(self) -> None:
        for dialogue in self.dialogues(mechanisms=[RiddleServer, "PLAIN"]):
            self.assertEqual(dialogue.offered(), ["X-RIDDLE"])
            portal: Any = dialogue.factory.portal
            portal.registerChecker(InMemoryUsernamePasswordDatabaseDontUse())
            self.assertEqual(dialogue.offered(), ["X-RIDDLE", "PLAIN"])

    def test_asked_once_for_all_connections_without_tls(self) -> None:
        asked: list[str] = []

        def note(_: type[RiddleServer], context: SASLContext) -> bool:
            asked.append(context.protocol)
            return True

        self.patch(RiddleServer, "is_available", classmethod(note))
        for dialogue in self.dialogues():
            for _ in range(3):
                self.assertEqual(dialogue.offered(), ["X-RIDDLE"])
        self.assertEqual(sorted(asked), ["imap", "pop3", "smtp"])

    def test_context(self) -> None:
        contexts: list[SASLContext] = []

        def note(server: RiddleServer, response: bytes | None) -> bytes:
            contexts.append(server.context)
            return b""

        self.patch(RiddleServer, "step", note)
        for dialogue in self.dialogues():
            dialogue.begin("X-RIDDLE")
        self.assertEqual([each.protocol for each in contexts], ["imap", "pop3", "smtp"])
        for context in contexts:
            self.assertEqual((context.peer, context.tls), ("127.0.0.1", False))
            self.assertEqual(list(context.offered), ["X-RIDDLE"])
            self.assertIsNone(context.channel_binding("tls-exporter"))
            self.assertIsNone(context.peer_certificate())


class TicketTests(SynchronousTestCase):
    """The mechanism of the documentation."""

    def test_ticket(self) -> None:
        store = MemoryStore()
        now(store.add_account(name=ACCOUNT))
        portal = make_portal(store, [TicketChecker(b"key")])
        ticket = hmac.new(b"key", ACCOUNT.encode(), hashlib.sha256).hexdigest().encode()
        for make in DIALOGUES[:2]:
            dialogue = make(portal, mechanisms=[TicketServer, "PLAIN"])
            self.assertEqual(dialogue.offered(), ["X-TICKET"])
            self.assertEqual(dialogue.begin("X-TICKET"), Answer("challenge", b""))
            self.assertEqual(dialogue.respond(b"ann").kind, "out")
            dialogue.begin("X-TICKET", ACCOUNT.encode() + b"\0" + ticket[::-1])
            self.assertEqual(dialogue.later().kind, "out")
            answer = dialogue.begin("X-TICKET", ACCOUNT.encode() + b"\0" + ticket)
            self.assertEqual(answer.kind, "in")
            dialogue.lose()
