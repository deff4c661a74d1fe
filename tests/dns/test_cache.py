"""Answers are remembered as long as they hold."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.dns.cache import CachingResolver
from mailkit.dns.records import Answer, RecordType
from mailkit.errors import DNSFailure, DNSTimeout
from tests.dns.fakes import FakeResolver

A = RecordType.A


class CacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.resolver = FakeResolver(addresses={"mx.example.org": ["192.0.2.1"]})
        self.cache = self.new_cache()

    def new_cache(self, **settings: Any) -> CachingResolver:
        return CachingResolver(self.resolver, clock=cast(Any, self.clock), **settings)

    def ask(self, name: str = "mx.example.org", type: RecordType = A) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self.cache.lookup(name=name, type=type))

    def records(self, name: str = "mx.example.org") -> list[Any]:
        return list(self.successResultOf(self.ask(name)).records)

    def test_an_answer_is_asked_for_once_while_it_holds(self) -> None:
        for name in ("mx.example.org", "MX.Example.ORG", "mx.example.org."):
            self.assertEqual(self.records(name), ["192.0.2.1"])
        self.clock.advance(299)
        self.records()
        self.assertEqual(len(self.resolver.asked), 1)
        self.clock.advance(1)
        self.records()
        self.assertEqual(len(self.resolver.asked), 2)

    def test_types_are_apart(self) -> None:
        self.records()
        self.assertEqual(self.successResultOf(self.ask(type=RecordType.MX)).records, [])
        self.assertEqual(len(self.resolver.asked), 2)

    def test_an_answer_without_time_to_live_is_not_kept(self) -> None:
        self.resolver.ttl = 0
        self.records()
        self.records()
        self.assertEqual(len(self.resolver.asked), 2)
        self.assertEqual(len(self.cache), 0)

    def test_long_times_to_live_are_cut(self) -> None:
        self.cache = self.new_cache(max_ttl=60.0, max_negative_ttl=20.0)
        self.records()
        self.assertFalse(self.successResultOf(self.ask("none.example")).exists)
        self.clock.advance(20)
        self.records()
        self.assertEqual(len(self.resolver.asked), 2)
        self.records("none.example")
        self.assertEqual(len(self.resolver.asked), 3)
        self.clock.advance(40)
        self.records()
        self.assertEqual(len(self.resolver.asked), 4)

    def test_a_failure_is_remembered_for_a_short_time(self) -> None:
        self.resolver.trouble["mx.example.org"] = DNSTimeout("slow")
        for _ in range(2):
            error = self.failureResultOf(self.ask(), DNSTimeout).value
            self.assertEqual(error.text, "slow")
        self.assertEqual(len(self.resolver.asked), 1)
        self.resolver.trouble.clear()
        self.clock.advance(30)
        self.assertEqual(self.records(), ["192.0.2.1"])

    def test_equal_questions_at_the_same_time_are_one(self) -> None:
        self.resolver.slow = True
        first, second, third = self.ask(), self.ask(), self.ask()
        self.assertEqual(len(self.resolver.asked), 1)
        # Who gives up disturbs nobody.
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.resolver.go_on()
        for waiting in (second, third):
            self.assertEqual(self.successResultOf(waiting).records, ["192.0.2.1"])
        self.assertEqual(self.records(), ["192.0.2.1"])
        self.assertEqual(len(self.resolver.asked), 1)

    def test_a_question_whose_only_asker_has_gone_is_remembered(self) -> None:
        self.resolver.slow = True
        asker = self.ask()
        asker.cancel()
        self.failureResultOf(asker, CancelledError)
        self.resolver.go_on()
        self.assertEqual(self.records(), ["192.0.2.1"])
        self.assertEqual(len(self.resolver.asked), 1)

    def test_failures_reach_all_who_wait(self) -> None:
        self.resolver.slow = True
        self.resolver.trouble["mx.example.org"] = DNSFailure()
        waiting = [self.ask(), self.ask()]
        self.resolver.go_on()
        for each in waiting:
            self.failureResultOf(each, DNSFailure)

    def test_the_number_of_answers_is_limited(self) -> None:
        self.cache = self.new_cache(max_entries=3)
        for number in range(3):
            self.records(f"{number}.example")
        self.records("0.example")
        self.records("3.example")
        self.assertEqual(len(self.cache), 3)
        asked = len(self.resolver.asked)
        self.records("0.example")
        self.assertEqual(len(self.resolver.asked), asked)
        self.records("1.example")
        self.assertEqual(len(self.resolver.asked), asked + 1)
