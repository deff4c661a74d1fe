"""Hooks that fail, hang or are left alone."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import MessageRefused, TemporaryFailure
from mailkit.hooks import Accept, AddHeader, MailHook, Quarantine, Step
from tests.smtp.fakes import Server
from tests.smtp.hooked import HookedServer, ScriptedHook, codes


class FailureTests(SynchronousTestCase):
    """A hook that raises, hangs or answers nonsense counts as the setting says."""

    STEPS = ("ehlo", "mail", "rcpt", "header", "message")

    def test_exceptions(self) -> None:
        for failure in ("defer", "accept"):
            for step in self.STEPS:
                with self.subTest(step=step, failure=failure):
                    hook = ScriptedHook("buggy", **{step: ZeroDivisionError("bug")})
                    server = HookedServer(hook, failure=failure)
                    answer = codes(server.whole())
                    self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
                    self.assertEqual(
                        any(code.startswith("451") for code in answer), failure == "defer"
                    )
                    self.assertEqual(len(server.delivery.received), int(failure == "accept"))

    def test_exception_at_connect(self) -> None:
        server = HookedServer(ScriptedHook(connect=ZeroDivisionError()))
        self.assertTrue(server.answer().startswith(b"421 mx.example.org A check failed here"))
        self.assertTrue(server.closed)
        server = HookedServer(ScriptedHook(connect=ZeroDivisionError()), failure="accept")
        self.assertTrue(server.answer().startswith(b"220 "))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_failing_later(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("mail")
        server = HookedServer(hook).greet()
        server.send(b"MAIL FROM:<>\r\n")
        gate.errback(ZeroDivisionError())
        self.assertEqual(codes(server.answer()), ["451 4.3.0"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_answers_that_are_none(self) -> None:
        for step, answer in (
            ("ehlo", Quarantine("x")),
            ("ehlo", AddHeader("A", "b")),
            ("mail", "no"),
            ("rcpt", [Accept(), 5]),
        ):
            with self.subTest(step=step, answer=answer):
                server = HookedServer(ScriptedHook(**{step: answer}))
                self.assertTrue(any(code.startswith("451") for code in codes(server.whole())))
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_hanging(self) -> None:
        for failure in ("defer", "accept"):
            for step in self.STEPS:
                with self.subTest(step=step, failure=failure):
                    hook = ScriptedHook("slow")
                    gate = hook.wait(step)
                    server = HookedServer(hook, failure=failure, timeout=5.0, message_timeout=9.0)
                    server.whole()
                    server.clock.advance(8.9 if step == "message" else 4.9)
                    self.assertNotIn(b"250 2.0.0 OK\r\n", server.answer())
                    server.clock.advance(0.2)
                    self.assertTrue(server.answer().endswith(b"250 2.0.0 OK\r\n"))
                    self.assertEqual(
                        b"\r\n451 " in server.answer() or server.answer().startswith(b"451 "),
                        failure == "defer",
                    )
                    self.assertTrue(gate.called)
                    self.assertEqual(len(server.delivery.received), int(failure == "accept"))

    def test_a_hook_with_time_outs_of_its_own(self) -> None:
        hook = ScriptedHook("slow")
        hook.wait("mail")
        hook.timeouts = {Step.MAIL: 60.0}
        server = HookedServer(hook, timeout=5.0).greet()
        server.send(b"MAIL FROM:<>\r\n")
        server.clock.advance(59)
        self.assertEqual(server.answer(), b"")
        server.clock.advance(1)
        self.assertEqual(codes(server.answer()), ["451 4.3.0"])

    def test_a_hook_that_does_not_stop(self) -> None:
        gates: list[Deferred[None]] = []

        class Stubborn:
            async def mail(self, session: Any, envelope: Any) -> None:
                for _ in range(2):
                    gates.append(Deferred())
                    try:
                        await gates[-1]
                    except Exception:
                        continue

        server = HookedServer(Stubborn(), timeout=5.0).greet()
        server.send(b"MAIL FROM:<>\r\n")
        server.clock.advance(5)
        self.assertEqual(codes(server.answer()), ["451 4.3.0"])
        gates[1].callback(None)
        self.assertEqual(codes(server.send(b"NOOP\r\n")), ["250 2.0.0"])

    def test_settings(self) -> None:
        class NoHook:
            pass

        for hook in (NoHook(), MailHook, 5, "x"):
            self.assertRaises(ValueError, Server, hooks=[hook])
        self.assertRaises(ValueError, HookedServer, MailHook(), failure="ignore")
        alone: Any = MailHook()
        self.assertIn("a list of hooks", str(self.assertRaises(ValueError, Server, hooks=alone)))

    def test_hooks_without_a_step_cost_nothing(self) -> None:
        self.assertIsNone(HookedServer(MailHook(), MailHook()).protocol.hooks)


class DisconnectTests(SynchronousTestCase):
    """A client that goes cancels what waits for it; who is told of ends is told all the same."""

    def test_in_the_middle(self) -> None:
        for step in ("ehlo", "mail", "rcpt", "header", "message"):
            with self.subTest(step=step):
                hook, later = ScriptedHook(), ScriptedHook()
                cancelled: list[object] = []
                hook.answers[step] = Deferred(cancelled.append)
                server = HookedServer(hook, later)
                server.whole()
                server.lose()
                self.assertEqual(len(cancelled), 1)
                self.assertNotIn(step, later.calls)
                self.assertEqual((hook.calls[-1], later.calls[-1]), ("disconnect", "disconnect"))
                self.assertEqual(server.delivery.received, [])
                self.assertTrue(all(spool.closed for spool in server.delivery.spools))
                self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_before_the_greeting(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("connect")
        server = HookedServer(hook)
        server.lose()
        self.assertTrue(gate.called)
        self.assertEqual((server.answer(), hook.calls), (b"", ["connect", "disconnect"]))

    def test_while_the_body_comes(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("header")
        server = HookedServer(hook).begin()
        server.send(b"A: b\r\n\r\nbody")
        server.lose()
        self.assertTrue(gate.called)
        self.assertEqual(hook.calls[-1], "disconnect")
        self.assertTrue(server.delivery.spools[0].closed)

    def test_during_the_delivery(self) -> None:
        hook = ScriptedHook()
        server = HookedServer(hook)
        server.delivery.slow.add("deliver")
        server.whole()
        server.lose()
        self.assertEqual(hook.calls[-1], "disconnect")
        server.delivery.go_on()
        self.assertEqual(hook.calls[-1], "delivered")

    def test_failed_deliveries_are_told(self) -> None:
        hook = ScriptedHook()
        server = HookedServer(hook)
        server.delivery.trouble["deliver"] = MessageRefused("No")
        server.whole()
        self.assertIsInstance(hook.seen["outcomes"][0].error, MessageRefused)
        server.delivery.trouble["deliver"] = ZeroDivisionError()
        server.whole()
        self.assertIsInstance(hook.seen["outcomes"][0].error, TemporaryFailure)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_nobody_waits_for_the_last_steps(self) -> None:
        hook = ScriptedHook(disconnect=ZeroDivisionError())
        gate = hook.wait("delivered")
        server = HookedServer(hook, timeout=5.0)
        self.assertEqual(codes(server.whole())[-1], "250 2.0.0")
        server.lose()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(gate.called)
        server.clock.advance(5)
        self.assertTrue(gate.called)

    def test_the_oldest_of_too_many_is_cancelled(self) -> None:
        hook = ScriptedHook()
        server = HookedServer(hook, max_background=2)
        gates = []
        for _ in range(3):
            gates.append(hook.wait("delivered"))
            server.whole()
        self.assertEqual([gate.called for gate in gates], [True, False, False])
