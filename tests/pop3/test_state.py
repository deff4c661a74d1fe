"""Message numbers, totals, listings, and the maildrops' locks."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import MailboxInUse
from mailkit.model import MessageInfo
from mailkit.pop3.state import LoginTooSoon, Maildrop, MaildropLocks, NoSuchNumber


def message(uid: int, size: int) -> MessageInfo:
    return MessageInfo(uid, frozenset(), 0, size, 1)


def maildrop(*sizes: int) -> Maildrop:
    drop = Maildrop()
    drop.begin_mailbox(42)
    drop.extend([message(uid, size) for uid, size in enumerate(sizes, 7)])
    return drop


class MaildropTests(SynchronousTestCase):
    def test_numbers_begin_at_one(self) -> None:
        drop = maildrop(120, 200)
        self.assertEqual((drop.count, drop.octets), (2, 320))
        self.assertEqual((drop.place(1), drop.size(1)), ((0, 7), 120))
        self.assertEqual((drop.place(2), drop.size(2)), ((0, 8), 200))
        for number in (0, 3, -1, 10**10):
            self.assertRaises(NoSuchNumber, drop.check, number)

    def test_deleted_messages_do_not_count_and_numbers_stay(self) -> None:
        drop = maildrop(1, 20, 300)
        drop.delete(2)
        self.assertEqual((drop.count, drop.octets), (2, 301))
        self.assertEqual(drop.deleted_uids(), {0: [8]})
        self.assertEqual(drop.size(3), 300)
        for method in (drop.check, drop.place, drop.size, drop.unique_id, drop.delete):
            self.assertRaises(NoSuchNumber, method, 2)
        drop.reset()
        self.assertEqual((drop.count, drop.octets, drop.deleted_uids()), (3, 321, {}))

    def test_deleted_uids_ascend(self) -> None:
        drop = maildrop(*[1] * 50)
        for number in (40, 3, 17):
            drop.delete(number)
        self.assertEqual(drop.deleted_uids(), {0: [9, 23, 46]})

    def test_listings_in_pieces(self) -> None:
        drop = maildrop(1, 20, 300)
        drop.delete(1)
        self.assertEqual(list(drop.list_sizes(2)), [b"2 20\r\n", b"3 300\r\n"])
        self.assertEqual(list(drop.list_unique_ids(3)), [b"2 42.8\r\n3 42.9\r\n"])

    def test_two_mailboxes(self) -> None:
        drop = maildrop(1, 20)
        drop.begin_mailbox(43, b".x")
        drop.begin_mailbox(44, b".y")
        drop.extend([message(5, 300)])
        drop.extend([message(6, 4000)])
        self.assertEqual([drop.place(n) for n in range(1, 5)], [(0, 7), (0, 8), (2, 5), (2, 6)])
        self.assertEqual(drop.unique_id(3), b"44.5.y")
        drop.delete(1)
        drop.delete(4)
        self.assertEqual(drop.deleted_uids(), {0: [7], 2: [6]})
        self.assertEqual(b"".join(drop.list_unique_ids(1)), b"2 42.8\r\n3 44.5.y\r\n")
        self.assertEqual(b"".join(drop.list_sizes(9)), b"2 20\r\n3 300\r\n")

    def test_messages_of_one_mailbox_together(self) -> None:
        drop = maildrop(1, 20, 300)
        drop.begin_mailbox(43, b".x")
        drop.extend([message(5, 4000), message(6, 5)])
        for numbers, expected in (
            ([1, 2], (0, [7, 8], [1, 20])),
            ([2, 3, 4], (0, [8, 9], [20, 300])),
            ([4, 5, 6], (1, [5, 6], [4000, 5])),
            ([3, 1, 1, 5], (0, [9, 7, 7], [300, 1, 1])),
            ([2, 0], (0, [8], [20])),
        ):
            self.assertEqual(drop.together(numbers), expected)
        drop.delete(2)
        self.assertEqual(drop.together([1, 2, 3]), (0, [7], [1]))
        for number in (0, 2, 6):
            self.assertRaises(NoSuchNumber, drop.together, [number, number + 1])
            self.assertRaises(NoSuchNumber, drop.find, number)

    def test_unique_ids_of_a_mailbox_that_was_restored(self) -> None:
        drop = maildrop(1, 20)
        drop.begin_mailbox(99, b".x", [(5, 43), (7, 44)])
        drop.extend([message(uid, 300) for uid in (1, 4, 5, 6, 7, 8)])
        expected = [b"43.1.x", b"43.4.x", b"44.5.x", b"44.6.x", b"99.7.x", b"99.8.x"]
        self.assertEqual([drop.unique_id(number) for number in range(3, 9)], expected)
        for lines in (1, 9):
            listed = b"".join(drop.list_unique_ids(lines)).split(b"\r\n")
            self.assertEqual([line.split()[1] for line in listed[2:-1]], expected)

    def test_unique_ids_obey_the_standard(self) -> None:
        # RFC 1939 section 7: 1 to 70 characters from 0x21 to 0x7E.
        drop = Maildrop()
        drop.begin_mailbox(2**32 - 1, b".ffffffff")
        drop.extend([message(2**32 - 1, 2**40)])
        self.assertEqual(drop.unique_id(1), b"4294967295.4294967295.ffffffff")
        self.assertEqual(drop.octets, 2**40)


class MaildropLocksTests(SynchronousTestCase):
    def test_sessions_of_other_processes(self) -> None:
        taken = {"maildrop ann"}

        def try_lock(name: str) -> Callable[[], None] | None:
            if name in taken:
                return None
            taken.add(name)
            return lambda: taken.discard(name)

        locks = MaildropLocks()
        locks.share(try_lock, lambda: True)
        self.assertRaises(MailboxInUse, locks.acquire, "ann", 0)
        locks.acquire("bob", 0)
        self.assertEqual(taken, {"maildrop ann", "maildrop bob"})
        locks.release("bob")
        locks.release("bob")
        self.assertEqual(taken, {"maildrop ann"})
        taken.clear()
        locks.acquire("ann", 0)

    def test_sessions_from_before_another_process_came(self) -> None:
        taken: set[str] = set()

        def try_lock(name: str) -> Callable[[], None]:
            taken.add(name)
            return lambda: taken.discard(name)

        locks = MaildropLocks()
        locks.acquire("ann", 0)
        locks.acquire("bob", 0)
        locks.release("bob")
        self.assertEqual(taken, set())
        locks.share(try_lock, lambda: True)
        self.assertEqual(taken, {"maildrop ann"})
        locks.release("ann")
        self.assertEqual(taken, set())

    def test_sessions_when_there_is_nobody_else(self) -> None:
        taken: set[str] = set()

        def try_lock(name: str) -> Callable[[], None]:
            taken.add(name)
            return lambda: taken.discard(name)

        locks = MaildropLocks()
        locks.share(try_lock, lambda: True)
        locks.acquire("ann", 0)
        locks.keep_alone()
        locks.acquire("bob", 0)
        self.assertEqual(taken, set())
        self.assertRaises(MailboxInUse, locks.acquire, "ann", 0)
        for _ in range(2):
            locks.share(try_lock, lambda: True)
            self.assertEqual(taken, {"maildrop ann", "maildrop bob"})
        locks.release("ann")
        self.assertEqual(taken, {"maildrop bob"})

    def test_nobody_is_let_in_before_the_other_processes_know(self) -> None:
        known = False
        locks = MaildropLocks()
        locks.share(lambda name: lambda: None, lambda: known)
        self.assertRaises(MailboxInUse, locks.acquire, "ann", 0)
        known = True
        locks.acquire("ann", 0)

    def test_one_session_an_account(self) -> None:
        locks = MaildropLocks()
        locks.acquire("ann", 0)
        locks.acquire("bob", 0)
        self.assertRaises(MailboxInUse, locks.acquire, "ann", 0)
        locks.release("ann")
        locks.acquire("ann", 0)

    def test_login_delay_runs_from_the_last_success(self) -> None:
        locks = MaildropLocks(login_delay=60)
        locks.acquire("ann", 0)
        locks.release("ann")
        locks.acquire("ann", 5)
        locks.logged_in("ann", 5)
        locks.release("ann")
        self.assertRaises(LoginTooSoon, locks.acquire, "ann", 64)
        locks.acquire("bob", 64)
        locks.acquire("ann", 65)

    def test_old_logins_are_forgotten(self) -> None:
        locks = MaildropLocks(login_delay=60)
        for second in range(1000):
            name = f"user{second}"
            locks.acquire(name, second)
            locks.logged_in(name, second)
            locks.release(name)
        self.assertLess(len(locks._logins), 70)
