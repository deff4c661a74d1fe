"""The contract of hooks, of our own checks, and of hooks that are wrong."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.checks.content import ContentLimits
from mailkit.checks.dnsbl import DNSLists
from mailkit.checks.early import EarlyTalkers
from mailkit.checks.greylist import Greylisting, MemoryValues
from mailkit.checks.helo import HeloSanity
from mailkit.checks.rates import Rates
from mailkit.checks.reverse import ReverseDNS
from mailkit.checks.score import ScoreLimit
from mailkit.checks.sender import SenderDomain
from mailkit.hooks import AddHeader, AddRecipient, MailHook, Reject, ReplaceBody
from mailkit.model import Path
from mailkit.spool import Spool
from mailkit.testing import HookContract
from tests.dns.fakes import FakeResolver


def all_checks() -> list[MailHook]:
    """Each once, as strict as it can be, and none that refuses everybody at once."""
    resolver = FakeResolver(
        names={"198.51.100.7": ["client.example"]}, addresses={"client.example": ["198.51.100.7"]}
    )
    return [
        Rates(),
        EarlyTalkers(delay=0.001),
        HeloSanity(other_literal="score", bare_address="score", single_label="score"),
        ReverseDNS(resolver, missing="score", unconfirmed="score", unknown="score"),
        DNSLists(resolver, block=["block.example"], block_domains=["names.example"]),
        SenderDomain(resolver, missing="score"),
        Greylisting(MemoryValues(), delay=0.0),
        ContentLimits(repeated="quarantine", missing="quarantine", malformed="quarantine"),
        ScoreLimit(),
    ]


class AllChecks:
    """One hook that asks all checks, as a listener does that has them all."""

    def __init__(self) -> None:
        for step in ("connect", "ehlo", "mail", "rcpt", "header", "message", "disconnect"):
            setattr(self, step, self._ask(step))
        self._checks = all_checks()

    def _ask(self, step: str) -> Callable[..., Any]:
        async def ask(**arguments: Any) -> list[Any]:
            answers: list[Any] = []
            for check in self._checks:
                result = getattr(check, step)(**arguments)
                if hasattr(result, "__await__"):
                    result = await result
                if result is not None:
                    answers += result if isinstance(result, (list, tuple)) else [result]
            return answers

        return ask


class CheckTests(HookContract, TestCase):
    async def make_hook(self) -> object:
        return AllChecks()


class FunctionTests(HookContract, TestCase):
    async def make_hook(self) -> object:
        async def change(session: Any, envelope: Any, message: Spool) -> Any:
            return [AddHeader("X-Seen", "yes"), ReplaceBody(Spool.from_bytes(b"other\r\n"))]

        return change


class Cheat(MailHook):
    """A good hook, of which one step at a time is spoilt."""


def positional(session: Any, letter: Any) -> None:
    """Its arguments have names of their own."""


def fail_without_sender(session: Any, envelope: Any) -> None:
    assert not envelope.reverse_path.is_null


def fail_without_header(session: Any, envelope: Any, fields: Any) -> None:
    assert fields[0].name


def decode_header(session: Any, envelope: Any, fields: Any) -> None:
    "".join(field.value for field in fields).encode("utf-8")


def read_text(session: Any, envelope: Any, message: Spool) -> None:
    with message.open() as file:
        file.read().decode("ascii")


def take_message(session: Any, envelope: Any, message: Spool) -> None:
    message.close()


def add_recipient(session: Any, envelope: Any, message: Spool) -> None:
    envelope.recipients.append(envelope.recipients[0])


def change_sender(session: Any, envelope: Any, message: Spool) -> None:
    envelope.reverse_path = Path("me", "example.org")


def not_alone(session: Any) -> None:
    assert "met" not in session.facts
    assert session.helo != "two.example"


async def never_ends(session: Any) -> None:
    while True:
        try:
            await Deferred()
        except CancelledError:
            pass


def need_a_port(session: Any) -> None:
    assert session.connection.peer_port


FAULTS = [
    ("rcpt", positional, "test_an_ordinary_message"),
    ("connect", lambda session: "no", "test_an_ordinary_message"),
    ("mail", lambda session, envelope: AddRecipient(Path("a", "b")), "test_an_ordinary_message"),
    ("message", take_message, "test_an_ordinary_message"),
    ("message", add_recipient, "test_an_ordinary_message"),
    ("message", change_sender, "test_an_ordinary_message"),
    ("disconnect", positional, "test_an_ordinary_message"),
    ("delivered", lambda session, envelope, outcomes: Reject("no"), "test_an_ordinary_message"),
    ("mail", fail_without_sender, "test_whatever_is_sent"),
    ("header", fail_without_header, "test_whatever_is_sent"),
    ("header", decode_header, "test_whatever_is_sent"),
    ("message", read_text, "test_whatever_is_sent"),
    ("message", lambda message, **_: len(message.data), "test_a_message_in_a_file"),
    ("connect", need_a_port, "test_whoever_sends"),
    ("auth", positional, "test_a_user"),
    ("ehlo", not_alone, "test_clients_that_say_little"),
    ("ehlo", never_ends, "test_clients_that_go_away"),
    ("name", 7, "test_it_is_a_hook"),
]


class FaultTests(SynchronousTestCase):
    def test_faults_are_found(self) -> None:
        for step, fault, test in FAULTS:
            spoilt = Cheat()
            setattr(spoilt, step, fault)

            class Case(HookContract, TestCase):
                patience = 0.01

                async def make_hook(self, hook: object = spoilt) -> object:
                    return hook

            result = unittest.TestResult()
            Case(test).run(result)
            self.assertEqual(len(result.failures + result.errors), 1, (step, fault, test))
