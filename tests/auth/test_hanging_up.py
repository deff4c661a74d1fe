"""Who hangs up before the answer to a login has guessed all the same."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.portal import make_portal
from mailkit.coroutines import pause, run
from mailkit.errors import StoreUnavailable, TemporaryFailure
from mailkit.guard import MAX_PARALLEL
from mailkit.imap.protocol import IMAPFactory
from mailkit.interfaces import IPasswordVerifier
from mailkit.login import ABANDONED_SECONDS, MAX_ABANDONED
from mailkit.store.memory import MemoryStore
from tests.line_protocol import Transport

ANN = "ann@example.org"
#: Seconds that the base takes.
TAKEN = 0.2
#: Clients behind one address, fewer than make each other wait.
MANY = MAX_PARALLEL - 1


@implementer(IPasswordVerifier)
class Base:
    at_once = 2 * MAX_ABANDONED

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.taken = TAKEN
        self.asked = self.cancelled = 0

    async def verify_password(self, *, login: str, password: bytes) -> str | None:
        self.asked += 1
        try:
            await pause(self.clock, self.taken)
        except CancelledError:
            self.cancelled += 1
            raise
        if password == b"trouble":
            raise TemporaryFailure
        return login if password == b"secret" else None


class HangingUpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = Clock()
        store = MemoryStore()
        for account in (ANN, *(f"user{number}@example.org" for number in range(MANY))):
            self.successResultOf(run(store.add_account(account, None)))
        self.base = Base(self.clock)
        checker = UserBaseChecker(self.base, clock=self.clock)
        self.factory = IMAPFactory(make_portal(store, [checker]), clock=self.clock)
        self.factory.allow_plaintext_passwords = True

    def log_in(self, password: bytes, login: str = ANN) -> tuple[Any, Transport]:
        transport = Transport()
        connection: Any = self.factory.buildProtocol(transport.getPeer())
        connection.makeConnection(transport)
        self.clock.advance(0)
        connection.dataReceived(b"a LOGIN " + login.encode() + b" " + password + b"\r\n")
        return connection, transport

    def hang_up(self, password: bytes, after: float) -> list[Any]:
        """What is logged of a login whose client goes after so many seconds."""
        with capturedLogs() as events:
            connection, _ = self.log_in(password)
            self.clock.pump([after])
            connection.connectionLost(Failure(ConnectionError()))
            self.clock.pump([0.1] * 8)
        return [(event["outcome"], event["reason"]) for event in events if "outcome" in event]

    def next_is_judged(self) -> bool:
        """Another client of the address need not wait."""
        before = self.base.asked
        self.log_in(b"secret")
        return self.base.asked > before

    def test_while_the_refusal_is_held_back(self) -> None:
        self.assertEqual(self.hang_up(b"guess", TAKEN + 0.01), [("failed", "hung-up")])
        self.assertEqual(self.base.asked, 1)
        self.assertFalse(self.next_is_judged())

    def test_while_the_base_is_asked(self) -> None:
        self.assertEqual(self.hang_up(b"guess", TAKEN / 2), [("failed", "hung-up")])
        self.assertFalse(self.next_is_judged())

    def test_nothing_waits_for_whoever_is_gone(self) -> None:
        self.hang_up(b"guess", TAKEN / 2)
        self.assertEqual(self.factory.guard._waiting, 0)

    def test_a_right_login_is_no_failure(self) -> None:
        self.assertEqual(self.hang_up(b"secret", TAKEN / 2), [])
        self.assertTrue(self.next_is_judged())

    def test_right_logins_lock_nobody_out(self) -> None:
        """As of a client that gives up too early, again and again."""
        for _ in range(50):
            self.assertEqual(self.hang_up(b"secret", TAKEN / 2), [])
        self.assertEqual(self.base.asked, 50)
        self.assertTrue(self.next_is_judged())

    def hang_up_together(self, password: bytes) -> None:
        """As users behind one address do while their base is slow."""
        self.base.taken = 2
        connections = [
            self.log_in(password, f"user{number}@example.org")[0] for number in range(MANY)
        ]
        self.assertEqual(self.base.asked, MANY)
        for connection in connections:
            connection.connectionLost(Failure(ConnectionError()))
        self.clock.pump([0.1] * 40)

    def test_right_logins_of_many_lock_nobody_out(self) -> None:
        self.hang_up_together(b"secret")
        self.assertTrue(self.next_is_judged())

    def test_a_base_out_of_order_locks_nobody_out(self) -> None:
        self.hang_up_together(b"trouble")
        self.assertTrue(self.next_is_judged())

    def test_wrong_logins_of_many_have_all_failed(self) -> None:
        self.hang_up_together(b"guess")
        before = self.base.asked
        _, transport = self.log_in(b"secret")
        self.clock.pump([0.1] * 10)
        self.assertEqual(self.base.asked, before)
        self.assertIn(b"[UNAVAILABLE]", transport.value())

    def count_asked(self, stays: bool) -> int:
        """Passwords that a base has seen before it has judged one of them."""
        self.base.taken = 1
        before = self.base.asked
        for _ in range(MAX_ABANDONED):
            connection, _ = self.log_in(b"guess")
            self.clock.advance(0.025)
            if not stays:
                connection.connectionLost(Failure(ConnectionError()))
        return self.base.asked - before

    def test_who_hangs_up_guesses_no_faster(self) -> None:
        gone = self.count_asked(stays=False)
        self.setUp()
        self.assertLessEqual(gone, self.count_asked(stays=True))

    def test_a_right_login_leaves_no_session_behind(self) -> None:
        ended = []
        portal: Any = self.factory.portal
        login = portal.login

        async def counting(*arguments: Any) -> Any:
            interface, avatar, logout = await login(*arguments)
            return interface, avatar, lambda: ended.append(logout())

        self.patch(portal, "login", lambda *arguments: run(counting(*arguments)))
        self.hang_up(b"secret", TAKEN / 2)
        self.assertEqual(len(ended), 1)

    def test_too_many_at_once_have_failed(self) -> None:
        self.base.taken = 10
        connections = [self.log_in(b"secret")[0] for _ in range(MAX_ABANDONED + 1)]
        self.clock.pump([0.05] * 20)
        self.assertEqual(self.base.asked, MAX_ABANDONED + 1)
        with capturedLogs() as events:
            for connection in connections:
                connection.connectionLost(Failure(ConnectionError()))
        told = [event["reason"] for event in events if "outcome" in event]
        self.assertEqual((told, self.base.cancelled), (["hung-up"], 1))

    def test_a_base_that_never_answers(self) -> None:
        self.base.taken = 1000
        self.assertEqual(self.hang_up(b"secret", 1), [])
        with capturedLogs() as events:
            self.clock.advance(ABANDONED_SECONDS)
        told = [event["reason"] for event in events if "outcome" in event]
        self.assertEqual((told, self.base.cancelled), (["hung-up"], 1))
        self.assertEqual((len(self.factory.abandoned), len(self.clock.getDelayedCalls())), (0, 0))

    def test_none_is_judged_when_the_server_has_stopped(self) -> None:
        self.base.taken = 1000
        self.hang_up(b"secret", 1)
        with capturedLogs() as events:
            self.factory.stopFactory()
        told = [event["reason"] for event in events if "outcome" in event]
        self.assertEqual((told, self.base.cancelled), (["hung-up"], 1))
        self.assertEqual((len(self.factory.abandoned), len(self.clock.getDelayedCalls())), (0, 0))
        self.assertFalse(self.next_is_judged())

    def test_whose_client_goes_after_the_last_port(self) -> None:
        self.base.taken = 1000
        self.factory.doStart()
        connection, _ = self.log_in(b"secret")
        self.factory.doStop()
        with capturedLogs() as events:
            connection.connectionLost(Failure(ConnectionError()))
        told = [event["reason"] for event in events if "outcome" in event]
        self.assertEqual((told, self.base.cancelled), (["hung-up"], 1))
        self.assertEqual((len(self.factory.abandoned), len(self.clock.getDelayedCalls())), (0, 0))
        # The port may be opened again.
        self.factory.doStart()
        self.base.taken = TAKEN
        self.clock.advance(ABANDONED_SECONDS)
        self.assertEqual(self.hang_up(b"secret", TAKEN / 2), [])

    def test_a_keeper_of_records_that_fails(self) -> None:
        records: Any = self.factory.guard._records

        async def end(**_: Any) -> float:
            raise StoreUnavailable

        with capturedLogs() as events:
            connection, _ = self.log_in(b"secret")
            self.patch(records, "end", end)
            connection.connectionLost(Failure(ConnectionError()))
            self.clock.advance(TAKEN)
        told = [event["log_format"] for event in events if "log_failure" in event]
        self.assertEqual(told, ["a login whose client has gone did not end well"])
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)
        self.assertFalse(self.factory.abandoned)
