"""Hooks in the dialogue: each step, each answer, in order whatever a hook waits for."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import MessageRefused, TemporaryFailure
from mailkit.hooks import Accept, Defer, Discard, MailHook, Quarantine, Reject, Step
from tests.smtp.hooked import MESSAGE, HookedServer, ScriptedHook, codes

PASSWORDS = {"ann": "secret"}
LOGIN = b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"


class ConnectTests(SynchronousTestCase):
    def greeting(self, **answers: Any) -> HookedServer:
        return HookedServer(ScriptedHook(**answers))

    def test_welcome(self) -> None:
        self.assertEqual(self.greeting().answer(), b"220 mx.example.org ESMTP ready\r\n")

    def test_reject_leaves_quit(self) -> None:
        server = self.greeting(connect=Reject("Not you", 550, "5.7.1"))
        self.assertEqual(server.answer(), b"554 mx.example.org Not you\r\n")
        answer = server.send(b"EHLO c.example\r\nMAIL FROM:<>\r\nFOO\r\nGET / HTTP/1.1\r\n")
        self.assertEqual(codes(answer), ["503 5.5.1"] * 4)
        self.assertIn(b"Nothing is taken from you; say QUIT", answer)
        self.assertFalse(server.closed)
        self.assertEqual(codes(server.send(b"QUIT\r\n")), ["221 2.0.0"])
        self.assertTrue(server.closed)

    def test_a_refused_client_may_not_talk_for_ever(self) -> None:
        server = self.greeting(connect=Reject("Not you"))
        answer = server.send(b"NOOP\r\n" * 30)
        self.assertEqual(codes(answer), ["503 5.5.1"] * 20 + ["421 4.7.0"])
        self.assertTrue(server.closed)

    def test_reject_and_close(self) -> None:
        server = self.greeting(connect=Reject("Not you", 521, "5.3.2", close=True))
        self.assertEqual(codes(server.answer()), ["554 mx.example.org", "421 4.7.0"])
        self.assertTrue(server.closed)

    def test_defer_closes(self) -> None:
        server = self.greeting(connect=Defer("Busy"))
        self.assertEqual(server.answer(), b"421 mx.example.org Busy\r\n")
        self.assertTrue(server.closed)

    def test_the_greeting_waits_and_early_talkers_are_seen(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("connect")
        server = HookedServer(hook)
        session = hook.seen["session"]
        self.assertFalse(session.has_input())
        self.assertEqual(server.send(b"EHLO client.example\r\nNOOP\r\n"), b"")
        self.assertTrue(session.has_input())
        self.assertEqual(hook.calls, ["connect"])
        gate.callback(None)
        self.assertEqual(codes(server.answer()), ["220 mx.example.org", "250 HELP", "250 2.0.0"])

    def test_what_hooks_see_of_a_client(self) -> None:
        hook = ScriptedHook()
        server = HookedServer(hook)
        session = hook.seen["session"]
        self.assertEqual(
            (session.connection.peer, session.hostname, session.helo, session.esmtp),
            ("192.0.2.7", "mx.example.org", "", False),
        )
        server.whole()
        self.assertEqual(
            (session.helo, session.esmtp, session.messages), ("client.example", True, 1)
        )
        server.say("NONSENSE", "MAIL FROM:<")
        self.assertEqual(session.errors, 2)

    def test_one_connection_knows_nothing_of_another(self) -> None:
        hook = ScriptedHook(connect=Accept())
        server = HookedServer(hook)
        first = hook.seen["session"]
        first.facts["x"] = 1
        server.connect()
        self.assertIsNot(hook.seen["session"], first)
        self.assertEqual(hook.seen["session"].facts, {})

    def test_nobody_is_asked_about_a_connection_too_many(self) -> None:
        hook = ScriptedHook()
        server = HookedServer(hook, max_connections=1)
        hook.calls.clear()
        server.connect()
        self.assertTrue(server.answer().startswith(b"421 "))
        server.lose()
        self.assertEqual(hook.calls, [])


class CommandTests(SynchronousTestCase):
    """EHLO, AUTH, MAIL and RCPT: a refused command has not been said."""

    def test_ehlo(self) -> None:
        for command, answer, reply in (
            (b"EHLO", Reject("Bad name", 550, "5.7.1"), b"550 Bad name\r\n"),
            (b"HELO", Defer("Later", 450, "4.7.1"), b"450 Later\r\n"),
        ):
            hook = ScriptedHook(ehlo=answer)
            server = HookedServer(hook)
            self.assertEqual(server.send(command + b" client.example\r\n"), reply)
            self.assertEqual(hook.seen["helo"], "client.example")
            self.assertEqual(hook.seen["session"].helo, "")
            self.assertEqual(codes(server.send(b"MAIL FROM:<>\r\n")), ["503 5.5.1"])
            hook.answers["ehlo"] = None
            self.assertTrue(server.send(command + b" other.example\r\n").startswith(b"250"))
            self.assertEqual(hook.seen["session"].helo, "other.example")

    def test_a_refused_ehlo_leaves_the_first_one_and_the_transaction(self) -> None:
        hook = ScriptedHook()
        server = HookedServer(hook)
        server.greet().say("MAIL FROM:<ann@example.net>")
        hook.answers["ehlo"] = Reject()
        self.assertEqual(codes(server.send(b"HELO b.example\r\n")), ["550 Refused"])
        session = hook.seen["session"]
        self.assertEqual((session.helo, session.esmtp), ("client.example", True))
        self.assertEqual(codes(server.send(b"RCPT TO:<bob@example.org>\r\n")), ["250 2.1.5"])

    def test_auth(self) -> None:
        hook = ScriptedHook(auth=Reject("Not from there", 535, "5.7.8"))
        server = HookedServer(hook, passwords=PASSWORDS, tls=True)
        server.greet()
        self.assertEqual(server.send(LOGIN), b"535 5.7.8 Not from there\r\n")
        self.assertEqual((hook.seen["account"], server.realm.logouts), ("ann@example.org", ["ann"]))
        self.assertIsNone(hook.seen["session"].account)
        self.assertIsNone(server.protocol.delivery)
        server.say("MAIL FROM:<ann@example.net>")
        self.assertIsNone(hook.seen["envelope"].account)
        server.say("RSET")
        hook.answers["auth"] = None
        self.assertEqual(codes(server.send(LOGIN)), ["235 2.7.0"])
        self.assertEqual(hook.seen["session"].account, "ann@example.org")

    def test_a_slow_hook_at_login(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("auth")
        server = HookedServer(hook, passwords=PASSWORDS, tls=True).greet()
        self.assertEqual(server.send(LOGIN + b"NOOP\r\n"), b"")
        gate.callback(Defer("Later", 454, "4.7.0"))
        self.assertEqual(codes(server.answer()), ["454 4.7.0", "250 2.0.0"])
        self.assertIsNone(server.protocol.session.account)
        gate = hook.wait("auth")
        server.send(LOGIN)
        server.lose()
        self.assertTrue(gate.called)
        self.assertEqual(server.realm.logouts, ["ann", "ann"])

    def test_mail(self) -> None:
        hook = ScriptedHook(mail=Defer("Greylisted", 450, "4.7.1"))
        server = HookedServer(hook).greet()
        answer = server.send(b"MAIL FROM:<ann@example.net> SIZE=5\r\nRCPT TO:<bob@example.org>\r\n")
        self.assertEqual(answer.splitlines()[0], b"450 4.7.1 Greylisted")
        self.assertEqual(codes(answer), ["450 4.7.1", "503 5.5.1"])
        envelope = hook.seen["envelope"]
        self.assertEqual(str(envelope.reverse_path), "ann@example.net")
        self.assertEqual(envelope.declared_size, 5)
        hook.answers["mail"] = None
        self.assertEqual(codes(server.send(b"MAIL FROM:<ann@example.net>\r\n")), ["250 2.1.0"])

    def test_rcpt(self) -> None:
        hook = ScriptedHook(rcpt=Reject("Not for you", 554, "5.7.1"))
        server = HookedServer(hook).greet()
        server.say("MAIL FROM:<ann@example.net>")
        self.assertEqual(codes(server.send(b"RCPT TO:<bob@example.org>\r\n")), ["554 5.7.1"])
        self.assertEqual(str(hook.seen["recipient"].path), "bob@example.org")
        hook.answers["rcpt"] = None
        server.say("RCPT TO:<eve@example.org>", "DATA")
        self.assertEqual(codes(server.send_message()), ["250 2.0.0"])
        envelope, _ = server.delivery.received[0]
        self.assertEqual([str(r.path) for r in envelope.recipients], ["eve@example.org"])

    def test_the_delivery_is_asked_first(self) -> None:
        hook = ScriptedHook()
        server = HookedServer(hook).greet()
        server.delivery.trouble["check_sender"] = MessageRefused()
        server.say("MAIL FROM:<ann@example.net>")
        self.assertNotIn("mail", hook.calls)
        server.delivery.trouble.clear()
        server.delivery.unknown["nobody"] = MessageRefused()
        server.say("MAIL FROM:<ann@example.net>", "RCPT TO:<nobody@example.org>")
        self.assertNotIn("rcpt", hook.calls)

    def test_refusal_and_close(self) -> None:
        for answer, expected in (
            (Reject("Go away", close=True), ["550 5.7.1", "421 4.7.0"]),
            (Defer("Too fast", 421, "4.7.0"), ["421 4.7.0"]),
        ):
            for step, wire in (
                ("ehlo", b"EHLO x.example\r\n"),
                ("mail", b"MAIL FROM:<>\r\n"),
                ("rcpt", b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n"),
            ):
                with self.subTest(step=step, answer=answer):
                    hook = ScriptedHook(**{step: answer})
                    server = HookedServer(hook)
                    if step != "ehlo":
                        server.greet()
                    answered = codes(server.send(wire + b"NOOP\r\n"))
                    self.assertEqual(
                        [a[:3] for a in answered[-len(expected) :]], [e[:3] for e in expected]
                    )
                    self.assertTrue(server.closed)

    def test_error_as_answer(self) -> None:
        hook = ScriptedHook(mail=MessageRefused("No"), rcpt=TemporaryFailure("Wait"))
        server = HookedServer(hook).greet()
        self.assertEqual(server.send(b"MAIL FROM:<>\r\n"), b"554 5.6.0 No\r\n")
        hook.answers["mail"] = None
        answer = server.send(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n")
        self.assertEqual(answer.splitlines()[1], b"451 4.3.0 Wait")


class MessageTests(SynchronousTestCase):
    """The header and the whole message: what is refused is told at the end, and is not delivered."""

    def test_header_and_message_are_seen(self) -> None:
        hook = ScriptedHook()
        server = HookedServer(hook)
        self.assertEqual(codes(server.whole())[-2:], ["250 2.0.0", "250 2.0.0"])
        self.assertEqual(
            hook.calls, ["connect", "ehlo", "mail", "rcpt", "header", "message", "delivered"]
        )
        self.assertEqual(hook.seen["fields"], [("Subject", " hello"), ("X-Loop", " one")])
        self.assertEqual(hook.seen["message"], MESSAGE)
        self.assertEqual(server.delivery.contents, [MESSAGE])
        self.assertEqual([o.error for o in hook.seen["outcomes"]], [None])
        server.lose()
        self.assertEqual(hook.calls[-1], "disconnect")

    def test_refusals(self) -> None:
        for step in ("header", "message"):
            for answer, code in ((Reject("Spam"), "550 5.7.1"), (Defer("Later"), "451 4.7.1")):
                with self.subTest(step=step, answer=answer):
                    hook = ScriptedHook(**{step: answer})
                    server = HookedServer(hook).begin()
                    self.assertEqual(server.send(b"A: b\r\n\r\nbo"), b"")
                    self.assertEqual(
                        codes(server.send(b"dy\r\n.\r\nNOOP\r\n")), [code, "250 2.0.0"]
                    )
                    self.assertEqual(server.delivery.received, [])
                    self.assertTrue(server.delivery.spools[0].closed)
                    self.assertNotIn("delivered", hook.calls)
                    self.assertEqual("message" in hook.calls, step == "message")
                    hook.answers.clear()
                    server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>", "DATA")
                    self.assertEqual(codes(server.send_message()), ["250 2.0.0"])

    def test_refusal_and_close(self) -> None:
        for step in ("header", "message"):
            server = HookedServer(ScriptedHook(**{step: Reject("Spam", close=True)})).begin()
            answer = codes(server.send(MESSAGE + b".\r\nNOOP\r\n"))
            self.assertEqual(answer, ["550 5.7.1", "421 4.7.0"])
            self.assertTrue(server.closed)

    def test_quarantine(self) -> None:
        for step in ("mail", "rcpt", "header", "message"):
            server = HookedServer(ScriptedHook(**{step: Quarantine("odd")}))
            self.assertEqual(codes(server.whole())[-2], "250 2.0.0")
            envelope, _ = server.delivery.received[0]
            self.assertEqual(envelope.quarantine, "odd")
            server.say("MAIL FROM:<>")
            self.assertEqual(server.protocol.session.envelope.quarantine is None, step != "mail")

    def test_discard(self) -> None:
        for step in ("mail", "rcpt", "header", "message"):
            with self.subTest(step=step):
                hook = ScriptedHook(**{step: Discard("dull")})
                later = ScriptedHook()
                server = HookedServer(hook, later)
                self.assertEqual(codes(server.whole())[-2], "250 2.0.0")
                self.assertEqual(server.delivery.received, [])
                self.assertTrue(all(spool.closed for spool in server.delivery.spools))
                self.assertNotIn(step, later.calls)
                hook.answers.clear()
                server.whole()
                self.assertEqual(len(server.delivery.received), 1)

    def test_a_discarded_message_hides_no_command_from_hooks(self) -> None:
        hook = ScriptedHook(message=Discard("dull"))
        server = HookedServer(hook, passwords=PASSWORDS, tls=True)
        server.whole()
        hook.answers["ehlo"] = Reject()
        self.assertEqual(codes(server.send(b"EHLO other.example\r\n")), ["550 Refused"])
        hook.answers["auth"] = Reject("No", 535, "5.7.8")
        self.assertEqual(codes(server.send(LOGIN)), ["535 5.7.8"])

    def test_a_function_is_asked_with_each_message(self) -> None:
        def no_spam(session: Any, envelope: Any, message: Any) -> Reject | None:
            with message.open() as file:
                return Reject("No spam") if b"spam" in file.read() else None

        server = HookedServer(no_spam)
        self.assertEqual(codes(server.whole(b"a spam\r\n"))[-2:], ["550 5.7.1", "250 2.0.0"])
        self.assertEqual(codes(server.whole())[-2:], ["250 2.0.0", "250 2.0.0"])

    def test_an_async_hook(self) -> None:
        class Hook(MailHook):
            async def mail(self, session: Any, envelope: Any) -> Defer | None:
                return Defer("No") if envelope.reverse_path.is_null else None

        server = HookedServer(Hook())
        assert server.factory.hook_set is not None
        self.assertEqual(server.factory.hook_set.steps.keys(), {Step.MAIL})
        server.greet()
        self.assertEqual(codes(server.send(b"MAIL FROM:<>\r\n")), ["451 4.7.1"])
        self.assertEqual(codes(server.send(b"MAIL FROM:<a@b.example>\r\n")), ["250 2.1.0"])


class AcceptTests(SynchronousTestCase):
    """Later hooks are not asked any more, for the connection or for the message."""

    def test_connection(self) -> None:
        for step in ("connect", "ehlo"):
            with self.subTest(step=step):
                before, accepting, after = (
                    ScriptedHook(),
                    ScriptedHook(**{step: Accept("friend")}),
                    ScriptedHook(mail=Reject()),
                )
                server = HookedServer(before, accepting, after)
                self.assertEqual(codes(server.whole())[-2], "250 2.0.0")
                self.assertEqual(codes(server.whole())[-2], "250 2.0.0")
                for hook in (before, accepting):
                    self.assertEqual(hook.calls.count("message"), 2)
                self.assertEqual(set(after.calls) - {"delivered", "connect"}, set())
                envelope, _ = server.delivery.received[1]
                self.assertEqual(
                    [record[:4] for record in envelope.history],
                    [("ScriptedHook", step, "accept", "friend")],
                )

    def test_how_long_it_took_where_the_clock_is_set(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("mail")
        server = HookedServer(hook)
        steady = Clock()
        self.patch(server.factory.hook_set, "seconds", steady.seconds)
        server.whole()
        server.clock.rightNow -= 3600
        steady.advance(2)
        gate.callback(Accept("friend"))
        envelope, _ = server.delivery.received[0]
        self.assertEqual([record.seconds for record in envelope.history], [2.0])

    def test_login(self) -> None:
        accepting = ScriptedHook(auth=Accept("ours"))
        after = ScriptedHook(auth=Reject(), mail=Reject())
        server = HookedServer(accepting, after, passwords=PASSWORDS, tls=True).greet()
        self.assertEqual(codes(server.send(b"MAIL FROM:<>\r\n")), ["550 5.7.1"])
        self.assertEqual(codes(server.send(LOGIN)), ["235 2.7.0"])
        self.assertEqual(codes(server.send(b"MAIL FROM:<>\r\n")), ["250 2.1.0"])
        self.assertNotIn("auth", after.calls)

    def test_message(self) -> None:
        for step in ("mail", "rcpt", "header", "message"):
            with self.subTest(step=step):
                accepting = ScriptedHook(**{step: Accept()})
                after = ScriptedHook(message=Reject())
                server = HookedServer(accepting, after)
                self.assertEqual(codes(server.whole())[-2], "250 2.0.0")
                accepting.answers.clear()
                self.assertEqual(codes(server.whole())[-2], "550 5.7.1")

    def test_starttls_forgets_what_rests_on_ehlo(self) -> None:
        accepting, after = ScriptedHook(ehlo=Accept()), ScriptedHook(mail=Reject())
        server = HookedServer(accepting, after, tls_context=object())
        accepting.seen["session"].facts["x"] = 1
        accepting.seen["session"].client_name = "c.example"
        first = accepting.seen["session"]
        server.greet()
        self.assertEqual(codes(server.send(b"MAIL FROM:<>\r\n")), ["250 2.1.0"])
        server.say("RSET", "STARTTLS")
        accepting.answers.clear()
        server.greet()
        self.assertEqual(codes(server.send(b"MAIL FROM:<>\r\n")), ["550 5.7.1"])
        server.lose()
        renewed = accepting.seen["session"]
        self.assertIsNot(renewed, first)
        self.assertEqual((renewed.facts, renewed.client_name), ({"x": 1}, "c.example"))
        self.assertTrue(renewed.connection.tls)


class OrderTests(SynchronousTestCase):
    """Replies keep their order however slow a hook is; no command runs before its predecessor."""

    STEPS = ("ehlo", "mail", "rcpt", "header", "message")

    def test_slow_hooks_with_pipelined_followers(self) -> None:
        fast = HookedServer(ScriptedHook())
        expected = fast.whole()
        for steps in [(step,) for step in self.STEPS] + [self.STEPS]:
            with self.subTest(steps=steps):
                hook = ScriptedHook()
                gates = [hook.wait(step) for step in steps]
                server = HookedServer(hook)
                server.whole()
                for gate in gates:
                    self.assertNotIn(b"250 2.0.0 OK\r\n", server.answer())
                    gate.callback(None)
                self.assertEqual(server.answer().splitlines()[-1], b"250 2.0.0 OK")
                self.assertEqual(codes(server.answer()), codes(expected))

    def test_clients_at_the_same_time_with_answers_out_of_order(self) -> None:
        expected = codes(HookedServer(ScriptedHook()).whole())
        for seed in range(20):
            pick = random.Random(seed)
            gates: list[Deferred[Any]] = []

            def ask(step: str, gates: list[Deferred[Any]] = gates, **arguments: Any) -> Any:
                gates.append(Deferred())
                return gates[-1]

            first, second = ScriptedHook(), ScriptedHook()
            first._ask = second._ask = ask  # type: ignore[assignment]
            server = HookedServer(first, second)
            transports = []
            for _ in range(5):
                server.connect()
                server.whole()
                transports.append(server.transport)
            for _ in range(1000):
                if not gates:
                    break
                gates.pop(pick.randrange(len(gates))).callback(None)
            for transport in transports:
                answer = codes(transport.value())
                self.assertEqual(answer[0], "220 mx.example.org")
                self.assertEqual(answer[1:], expected)

    def test_the_body_goes_on_while_the_header_is_judged(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("header")
        server = HookedServer(hook).begin()
        server.send(b"A: b\r\n\r\nx")
        self.assertEqual(hook.calls[-1], "header")
        server.send(b"x" * 69 + b"\r\n")
        server.send(b"y\r\n.\r\nNOOP\r\n")
        self.assertEqual((server.answer(), server.delivery.spools[0].size), (b"", 83))
        gate.callback(Reject("Late"))
        self.assertEqual(codes(server.answer()), ["550 5.7.1", "250 2.0.0"])

    def test_a_refused_header_ends_the_spooling(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("header")
        server = HookedServer(hook).begin()
        server.send(b"A: b\r\n\r\nx")
        gate.callback(Reject("No"))
        self.assertTrue(server.delivery.spools[0].closed)
        self.assertEqual(server.send(b"MAIL FROM:<evil>\r\n"), b"")
        self.assertEqual(codes(server.send(b".\r\n")), ["550 5.7.1"])

    def test_two_slow_hooks_are_asked_one_after_the_other(self) -> None:
        first, second = ScriptedHook(), ScriptedHook()
        gates = first.wait("mail"), second.wait("mail")
        server = HookedServer(first, second).greet()
        server.send(b"MAIL FROM:<>\r\n")
        gates[1].callback(Reject("second"))
        self.assertNotIn("mail", second.calls)
        gates[0].callback(None)
        self.assertEqual(server.answer(), b"550 5.7.1 second\r\n")

    def test_header_split_at_every_octet(self) -> None:
        content = b"Subject: a\r\n folded\r\nTo: b\r\n\r\n\r\nbody\r\n\r\nend\r\n"
        for split in range(len(content) + 1):
            hook = ScriptedHook()
            server = HookedServer(hook).begin()
            server.send(content[:split])
            server.send(content[split:] + b".\r\n")
            self.assertEqual(hook.seen["fields"], [("Subject", " a\r\n folded"), ("To", " b")])
            self.assertEqual(server.delivery.contents, [content])
        hook = ScriptedHook()
        server = HookedServer(hook).begin()
        for octet in content + b".\r\n":
            server.send(bytes([octet]))
        self.assertEqual(len(hook.seen["fields"]), 2)
        self.assertEqual(hook.calls.count("header"), 1)


class HeaderShapeTests(SynchronousTestCase):
    """Messages without a header, without a body, without either; and headers too large."""

    def fields(self, content: bytes) -> Any:
        hook = ScriptedHook()
        server = HookedServer(hook).begin()
        self.assertEqual(codes(server.send_message(content)), ["250 2.0.0"])
        self.assertEqual(server.delivery.contents, [content])
        return hook.seen["fields"]

    def test_shapes(self) -> None:
        self.assertEqual(self.fields(b"A: b\r\n"), [("A", " b")])
        self.assertEqual(self.fields(b"A: b\r\n\r\n"), [("A", " b")])
        self.assertEqual(self.fields(b"\r\nA: b\r\n"), [])
        self.assertEqual(self.fields(b""), [])
        self.assertEqual(self.fields(b"no header\r\n\r\nx\r\n"), [("", "no header")])
        self.assertEqual(self.fields(b"A : \xff\xc3\xa9\r\n\r\n"), [("A", " \udcff\u00e9")])

    def test_too_large(self) -> None:
        for content in (b"A: b\r\n" * 20 + b"\r\nx\r\n", b"A: b\r\n" * 20):
            hook = ScriptedHook()
            server = HookedServer(hook, max_header=100).begin()
            self.assertEqual(codes(server.send_message(content)), ["552 5.3.4"])
            self.assertNotIn("header", hook.calls)
            server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>", "DATA")
            self.assertEqual(codes(server.send_message(b"A: b\r\n" * 16 + b"\r\n")), ["250 2.0.0"])
