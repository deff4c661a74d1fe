"""GSSAPI over IMAP, POP3 and submission (RFC 4752), and its client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.kerberos import KerberosAcceptor
from mailkit.auth.portal import make_portal
from mailkit.sasl.gssapi import GSSAPIServer
from mailkit.store.memory import MemoryStore
from mailkit.wire.gssapi import GSSAPIClient, client_mechanisms
from mailkit.wire.sasl import SASLContext, SASLError, decode_base64
from mailkit.wire.sasl_client import Credentials, NoMechanism, choose_mechanism
from tests.sasl.dialogues import DIALOGUES, Dialogue
from tests.sasl.toy_kerberos import OFFER, ToyAcceptor, ToyContext, choice

ANN, BOB = "ann@example.org", "bob@example.org"
TICKET = b"ticket ann@EXAMPLE.ORG"


class _Delivery:
    def __init__(self, account: str | None) -> None:
        self.account = account


class GSSAPITests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        for name in (ANN, BOB):
            adding = self.store.add_account(name=name, password_hash="{PLAIN}secret")
            self.successResultOf(Deferred.fromCoroutine(cast(Any, adding)))
        self.acceptor = ToyAcceptor()

    def dialogues(self, kerberos: KerberosAcceptor | None = None) -> Iterator[Dialogue]:
        portal = make_portal(
            self.store,
            deliveries=cast(Any, lambda account, _: _Delivery(account)),
            kerberos=kerberos or self.acceptor,
        )
        for kind in DIALOGUES:
            yield kind(portal)

    def establish(self, dialogue: Dialogue, ticket: bytes = TICKET) -> None:
        # POP3 takes no longer line than 255 octets as initial response (RFC 5034 section 4).
        self.assertEqual(dialogue.begin("GSSAPI"), ("challenge", b""))
        self.assertEqual(dialogue.respond(ticket), ("challenge", b"proof"))
        self.assertEqual(dialogue.respond(b""), ("challenge", OFFER))

    def test_a_ticket(self) -> None:
        for dialogue in self.dialogues():
            self.assertIn("GSSAPI", dialogue.offered())
            self.establish(dialogue)
            self.assertEqual(dialogue.respond(choice()).kind, "in")
            self.assertTrue(dialogue.logged_in)
        self.assertEqual(self.acceptor.asked, ["imap", "pop", "smtp"])

    def test_with_an_initial_response(self) -> None:
        for dialogue in self.dialogues():
            self.assertEqual(dialogue.begin("GSSAPI", TICKET), ("challenge", b"proof"))
            dialogue.respond(b"")
            self.assertEqual(dialogue.respond(choice()).kind, "in")

    def test_without_a_proof_of_the_server(self) -> None:
        for dialogue in self.dialogues(ToyAcceptor(mutual=False)):
            self.assertEqual(dialogue.begin("GSSAPI", TICKET), ("challenge", OFFER))
            self.assertEqual(dialogue.respond(choice()).kind, "in")

    def test_the_users_own_names(self) -> None:
        for identity in (ANN, "ANN@Example.org", "ann@EXAMPLE.ORG", f"{ANN}\0"):
            for dialogue in self.dialogues():
                self.establish(dialogue)
                self.assertEqual(dialogue.respond(choice(identity.encode())).kind, "in", identity)
                self.assertTrue(dialogue.logged_in)

    def test_who_may_act_for_others(self) -> None:
        for name in (BOB, "nobody@example.org"):
            for dialogue in self.dialogues():
                self.establish(dialogue)
                dialogue.respond(choice(name.encode()))
                self.assertEqual(dialogue.later().kind, "out")
                self.assertFalse(dialogue.logged_in)
        making = self.store.set_administrator(account=ANN, administrator=True)
        self.successResultOf(Deferred.fromCoroutine(cast(Any, making)))
        for dialogue in self.dialogues():
            self.establish(dialogue)
            self.assertEqual(dialogue.respond(choice(BOB.encode())).kind, "in")

    def test_tickets_of_others(self) -> None:
        for principal in (
            *("eve@EXAMPLE.ORG", "ann@EXAMPLE.NET", "ann@example.org", "ann/admin@EXAMPLE.ORG"),
            *("imap/localhost@EXAMPLE.ORG", "ann", "", "ann\\@EXAMPLE.ORG@EXAMPLE.ORG"),
            "a" * 5000 + "@EXAMPLE.ORG",
        ):
            for dialogue in self.dialogues():
                self.establish(dialogue, b"ticket " + principal.encode())
                dialogue.respond(choice())
                self.assertEqual(dialogue.later().kind, "out", principal)
                self.assertFalse(dialogue.logged_in)

    def test_what_is_no_ticket(self) -> None:
        for ticket in (b"", b"x"):
            for dialogue in self.dialogues():
                dialogue.begin("GSSAPI", ticket)
                # The guard delays it, as any login that fails.
                self.assertEqual(dialogue.later().kind, "out")
                self.assertFalse(dialogue.logged_in)

    def test_a_service_without_a_key(self) -> None:
        self.acceptor.without = {"imap", "pop", "smtp"}
        for dialogue in self.dialogues():
            self.assertEqual(dialogue.begin("GSSAPI", TICKET).kind, "out")
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_answers_that_follow_nothing(self) -> None:
        for last in (
            *(b"", b"\1\0\0\0", choice(head=b"\2\0\0\0"), choice(head=b"\1\0\x10\0")),
            *(choice(head=b"\1\0\0"), choice(head=b"\3\0\0\0"), choice(b"\xff"), choice(b"a\0b")),
        ):
            for dialogue in self.dialogues():
                self.establish(dialogue)
                self.assertEqual(dialogue.respond(last).kind, "out", last)
                self.assertFalse(dialogue.logged_in)
        for dialogue in self.dialogues():
            dialogue.begin("GSSAPI", TICKET)
            self.assertEqual(dialogue.respond(b"more").kind, "out")

    def test_given_up(self) -> None:
        for dialogue in self.dialogues():
            self.establish(dialogue)
            self.assertEqual(dialogue.say(b"*").kind, "out")
            self.establish(dialogue)
            self.assertEqual(dialogue.respond(choice()).kind, "in")

    def test_where_it_is_not_offered(self) -> None:
        portal = make_portal(self.store, deliveries=cast(Any, lambda account, _: None))
        for kind in DIALOGUES:
            self.assertNotIn("GSSAPI", kind(portal).offered())
        # Files have no service name of their own here.
        self.assertFalse(GSSAPIServer.is_available(SASLContext(protocol="ftp")))


class ClientTests(SynchronousTestCase):
    def make(self, identity: str = "", mutual: bool = True) -> GSSAPIClient:
        context = ToyContext("ann@EXAMPLE.ORG", mutual)
        known = client_mechanisms(context, context.step(b""))
        credentials = Credentials(ANN, authorization_id=identity)
        # Not kept from use without TLS, as no secret is sent.
        return cast(GSSAPIClient, choose_mechanism(["GSSAPI", "PLAIN"], credentials, False, known))

    def test_a_login(self) -> None:
        for identity in ("", BOB):
            client = self.make(identity)
            self.assertEqual(client.initial_response(), TICKET)
            self.assertEqual(client.respond(b"proof"), b"")
            self.assertEqual(client.respond(OFFER), choice(identity.encode()))
            client.finish()

    def test_a_server_that_begins(self) -> None:
        client = self.make(mutual=False)
        self.assertEqual(client.respond(b""), TICKET)
        # Layers beside none may be offered, and are not taken.
        self.assertEqual(client.respond(choice(head=b"\7\0\x10\0")), choice())

    def test_no_layer_has_no_size(self) -> None:
        client = self.make(mutual=False)
        client.initial_response()
        self.assertRaises(SASLError, client.respond, choice(head=b"\1\0\x10\0"))
        self.assertRaises(SASLError, client.finish)

    def test_servers_that_are_not_who_they_say(self) -> None:
        client = self.make()
        client.initial_response()
        self.assertRaises(SASLError, client.finish)
        self.assertRaises(SASLError, client.respond, b"lie")
        for offer in (b"", b"\1\0\0\0", choice(head=b"\6\0\0\0"), choice(b"x"), choice(head=b"")):
            client = self.make()
            client.initial_response()
            client.respond(b"proof")
            self.assertRaises(SASLError, client.respond, offer)
            self.assertRaises(SASLError, client.finish)

    def test_more_than_there_is(self) -> None:
        client = self.make()
        client.initial_response()
        client.respond(b"proof")
        client.respond(OFFER)
        self.assertRaises(SASLError, client.respond, OFFER)

    def test_a_ticket_is_good_for_one_login(self) -> None:
        context = ToyContext("ann@EXAMPLE.ORG")
        known = client_mechanisms(context, context.step(b""))
        choose_mechanism(["GSSAPI"], Credentials(ANN), True, known).initial_response()
        with self.assertRaises(NoMechanism):
            choose_mechanism(["GSSAPI"], Credentials(ANN), True, known)

    def test_both_sides(self) -> None:
        client = self.make()
        server = GSSAPIServer(SASLContext(protocol="imap"))
        acceptor = ToyAcceptor()
        step: Any = server.step(client.initial_response())
        while not isinstance(step, tuple) or hasattr(step, "ask"):
            if isinstance(step, bytes):
                step = server.step(client.respond(step))
                continue
            checker = make_portal(MemoryStore(), kerberos=acceptor).checkers[
                GSSAPIServer.credentials
            ]
            asking = Deferred.fromCoroutine(step.ask(checker))
            step = server.resume(self.successResultOf(asking))
        client.finish()
        self.assertEqual(step.credentials.principal, "ann@EXAMPLE.ORG")
        self.assertRaises(SASLError, decode_base64, b"x" * 100_000)
