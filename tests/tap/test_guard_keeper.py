"""What is known of failed logins outlives a service."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mailkit.coroutines import run
from mailkit.errors import StoreUnavailable
from mailkit.guard import LoginGuard
from mailkit.identity import LoginAttempt, LoginOutcome
from mailkit.store.memory import MemoryStore
from mailkit.tap.guard_keeper import SAVE_SECONDS, GuardKeeper
from tests.tap.test_services import ServiceTestCase

ADDRESS = "192.0.2.1"


class KeeperTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.store = MemoryStore(cast(Any, self.clock))
        self.guard, self.keeper = self.begin()

    def begin(self, store: Any = None) -> tuple[LoginGuard, GuardKeeper]:
        """Another process."""
        guard = LoginGuard()
        keeper = GuardKeeper(guard, store or self.store, cast(Any, self.clock))
        keeper.start()
        return guard, keeper

    def stop(self) -> None:
        self.successResultOf(run(self.keeper.stop()))

    def fail_login(self) -> None:
        attempt = LoginAttempt("ann", ADDRESS, b"wrong")
        self.successResultOf(run(self.guard.admit(attempt, cast(Any, self.clock))))
        run(self.guard.settle(attempt, LoginOutcome.FAILURE, cast(Any, self.clock)))

    def known(self, guard: LoginGuard) -> list[str]:
        """Addresses that have failed."""
        kept: Any = guard.dump(cast(Any, self.clock))
        return [] if kept is None else [address for address, _, _ in kept["addresses"]]

    def test_at_the_end(self) -> None:
        self.fail_login()
        self.assertEqual(self.known(self.begin()[0]), [])
        self.stop()
        self.assertEqual(self.known(self.begin()[0]), [ADDRESS])

    def test_now_and_then(self) -> None:
        self.fail_login()
        self.clock.advance(SAVE_SECONDS)
        self.assertEqual(self.known(self.begin()[0]), [ADDRESS])

    def test_nothing_is_written_of_nothing(self) -> None:
        self.stop()
        getting = self.store.get_value(kind="login-guard", key="records")
        self.assertIsNone(self.successResultOf(run(getting)))

    def test_a_store_that_keeps_nothing(self) -> None:
        _, self.keeper = self.begin(object())
        self.stop()

    def test_a_store_that_cannot_keep_it_now(self) -> None:
        async def refuse(**arguments: Any) -> None:
            raise StoreUnavailable("The disk is full")

        self.store.set_value = refuse  # type: ignore[method-assign]
        self.fail_login()
        with capturedLogs() as events:
            self.clock.advance(SAVE_SECONDS)
        texts = [str(formatEvent(event)) for event in events]
        self.assertEqual(texts, ["failed logins cannot be written down: The disk is full"])
        # And goes on.
        del self.store.set_value
        self.clock.advance(SAVE_SECONDS)
        self.assertEqual(self.known(self.begin()[0]), [ADDRESS])

    def test_what_cannot_be_read_is_told(self) -> None:
        for text in ("no JSON", "{}"):
            setting = self.store.set_value(
                kind="login-guard", key="records", value=text, seconds=60
            )
            self.successResultOf(run(setting))
            guard, _ = self.begin()
            self.assertEqual(self.known(guard), [])
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class ServiceTests(ServiceTestCase):
    def test_a_service_goes_on_where_the_one_before_has_ended(self) -> None:
        store = MemoryStore()
        for known in (False, True):
            service = self.make(store)
            service.add_imap("tcp:1")
            service.startService()
            guard, clock = service._guard, cast(Any, service._reactor)
            self.assertEqual(guard.dump(clock) is not None, known)
            attempt = LoginAttempt("ann", ADDRESS)
            guard.welcome(b"somebody")
            self.assertIsNone(guard.recognize(attempt.login, ADDRESS, clock))
            self.stop(service)
