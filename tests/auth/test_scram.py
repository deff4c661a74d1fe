"""Keys for SCRAM that are made when a password is known for a moment."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.checkers import DirectoryChecker
from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.scram import keys_of
from mailkit.coroutines import run
from mailkit.store.memory import MemoryStore
from mailkit.wire.scram import DEFAULT_ITERATIONS, derive_keys
from tests.auth.fakes import ImmediateExecutor

ANN = "ann@example.org"
CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
NAME = "SCRAM-SHA-256"


class KeyMakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.executor = ImmediateExecutor()
        clock: Any = Clock()
        hasher = PasswordHasher(
            cast(Any, self.executor), clock=clock, executor=self.executor, **CHEAP
        )
        self.store = MemoryStore()
        self.hash = hash_password("secret", **CHEAP)
        self.result(self.store.add_account(name=ANN, password_hash=self.hash))
        self.checker = DirectoryChecker(self.store, hasher)

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(run(coroutine))

    def log_in(self, password: str = "secret") -> None:
        run(self.checker.check(ANN, password)).addErrback(lambda _: None)

    def keys(self) -> Any:
        found = self.result(self.store.find_scram_keys(login=ANN, mechanism=NAME))
        return found.keys if found.account else None

    def test_made_at_the_first_login(self) -> None:
        self.result(self.store.set_scram_policy(mechanisms=[NAME]))
        self.log_in("wrong")
        self.assertIsNone(self.keys())
        self.log_in()
        keys = self.keys()
        self.assertEqual(keys, derive_keys(NAME, "secret", salt=keys.salt))
        self.assertEqual(keys.iterations, DEFAULT_ITERATIONS)
        ran = self.executor.ran
        self.log_in()
        self.assertEqual(self.executor.ran, ran)
        self.assertEqual(self.keys(), keys)

    def test_made_for_a_client_that_is_remembered_since_before(self) -> None:
        self.log_in()
        self.result(self.store.set_scram_policy(mechanisms=[NAME]))
        self.log_in()
        self.assertIsNotNone(self.keys())

    def test_none_unless_the_operator_wants_them(self) -> None:
        self.log_in()
        self.assertIsNone(self.keys())
        self.assertEqual(self.executor.ran, 1)

    def test_none_of_a_password_that_is_not_taken_alone(self) -> None:
        self.result(self.store.set_scram_policy(mechanisms=[NAME]))
        self.result(self.store.set_password_scopes(account=ANN, scopes=[""]))
        self.log_in()
        self.assertEqual(self.executor.ran, 1)

    def test_a_login_does_not_suffer(self) -> None:
        async def fail() -> Any:
            raise RuntimeError("bug")

        self.patch(self.store, "get_scram_policy", fail)
        self.assertEqual(self.result(self.checker.check(ANN, "secret")), ANN)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class KeysTests(SynchronousTestCase):
    def test_of_octets_and_text(self) -> None:
        (octets,), (text,) = keys_of("sécret".encode(), [NAME]), keys_of("sécret", [NAME])
        self.assertNotEqual(octets.salt, text.salt)
        self.assertEqual(octets, derive_keys(NAME, "sécret", salt=octets.salt))

    def test_of_what_no_client_can_send(self) -> None:
        self.assertEqual(keys_of(b"\xff", [NAME]), [])
        self.assertEqual(keys_of("\u00ad", [NAME]), [])
