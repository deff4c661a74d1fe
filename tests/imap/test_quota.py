"""QUOTA (RFC 9208, and RFC 2087 for old clients), on both stores."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from mailkit._typing import override
from mailkit.interfaces import IQuotaAccount
from mailkit.model import NEW_ACCOUNT_MAILBOXES
from mailkit.store.memory import MemoryStore
from tests.imap.fakes import PlainAccount
from tests.imap.support import USER, Server, ServerTestCase, now

BOB = "bob@example.org"
MESSAGE = b"Subject: x\r\n\r\n" + b"x" * 1500
NEW = len(NEW_ACCOUNT_MAILBOXES)
NAMES = {b"QUOTA", b"QUOTASET", b"QUOTA=RES-STORAGE", b"QUOTA=RES-MESSAGE", b"QUOTA=RES-MAILBOX"}


class QuotaTests(ServerTestCase):
    @override
    def setUp(self) -> None:
        self.server = self.make_server()
        self.client = self.server.login()

    def limit(self, **limits: int | None) -> None:
        values: dict[str, int | None] = {"max_octets": None, "max_messages": None, **limits}
        now(self.server.store.set_quota(account=USER, **values))

    def make_administrator(self) -> None:
        now(self.server.store.set_administrator(account=USER, administrator=True))

    def test_capabilities(self) -> None:
        (line, _) = self.client.command("CAPABILITY")
        self.assertLessEqual(NAMES, set(line.split()))
        greeting = self.server.connect().greeting
        self.assertNotIn(b"QUOTA", greeting)

    def test_getquota(self) -> None:
        # RFC 9208 section 4.1.1
        self.server.add(MESSAGE, MESSAGE)
        self.limit(max_octets=10_240, max_messages=42)
        lines = self.client.command(f"GETQUOTA {USER}")
        self.assertEqual(
            lines,
            [
                b"* QUOTA ann@example.org (STORAGE 3 10 MESSAGE 2 42 MAILBOX %d 10000)" % NEW,
                b"OK GETQUOTA completed",
            ],
        )

    def test_what_is_not_limited_is_not_named(self) -> None:
        # RFC 9208 section 4.2.1
        self.limit(max_mailboxes=12)
        (line, _) = self.client.command(f'getquota "{USER}"')
        self.assertEqual(line, b"* QUOTA ann@example.org (MAILBOX %d 12)" % NEW)

    def test_getquotaroot(self) -> None:
        # RFC 9208 section 4.1.2: the mailbox need not exist.
        self.limit(max_messages=1000)
        for name, told in (("inbox", b'"INBOX"'), ("Not/There", b'"Not/There"')):
            self.assertEqual(
                self.client.command(f"GETQUOTAROOT {name}"),
                [
                    b"* QUOTAROOT %b ann@example.org" % told,
                    b"* QUOTA ann@example.org (MESSAGE 0 1000 MAILBOX %d 10000)" % NEW,
                    b"OK GETQUOTAROOT completed",
                ],
            )

    def test_what_others_have_is_nobodys_business(self) -> None:
        (line, _) = self.client.command('GETQUOTAROOT "Other Users/bob@example.org"')
        self.assertEqual(line, b'* QUOTAROOT "Other Users/bob@example.org"')

    def test_somebody_elses_root_looks_like_none(self) -> None:
        now(self.server.store.add_account(name=BOB))
        for root in (BOB, "nobody@example.org", '""', "#user/alice"):
            (line,) = self.client.command(f"GETQUOTA {root}")
            self.assertEqual(line, b"NO [NONEXISTENT] There is no such quota root")

    def test_setquota(self) -> None:
        # RFC 9208 section 4.1.3: limits that are not listed are discarded.
        now(self.server.store.add_account(name=BOB))
        self.make_administrator()
        lines = self.client.command(f"SETQUOTA {BOB} (STORAGE 510 message 7 MAILBOX 50)")
        quota = b"* QUOTA bob@example.org (STORAGE 0 510 MESSAGE 0 7 MAILBOX %d 50)" % NEW
        self.assertEqual(lines, [quota, b"OK SETQUOTA completed"])
        lines = self.client.command(f"SETQUOTA {BOB} (MESSAGE 9)")
        self.assertEqual(lines[0], b"* QUOTA bob@example.org (MESSAGE 0 9 MAILBOX %d 10000)" % NEW)
        (line, _) = self.client.command(f"SETQUOTA {BOB} ()")
        self.assertEqual(line, b"* QUOTA bob@example.org (MAILBOX %d 10000)" % NEW)
        self.assertIsNone(now(self.server.store.get_quota(account=BOB)).max_messages)
        (line,) = self.client.command("SETQUOTA nobody@example.org (MESSAGE 9)")
        self.assertEqual(line, b"NO [NONEXISTENT] There is no such quota root")

    def test_only_administrators_set_quotas(self) -> None:
        (line,) = self.client.command(f"SETQUOTA {USER} (MESSAGE 1000000)")
        self.assertEqual(line, b"NO [NOPERM] That is for administrators to change")
        self.assertIsNone(now(self.server.store.get_quota(account=USER)).max_messages)

    def test_limits_that_cannot_be_set(self) -> None:
        self.make_administrator()
        for resources, code in (
            ("MESSAGE 0", b"LIMIT"),
            ("STORAGE 9007199254740992", b"LIMIT"),
            ("STORAGE 9223372036854775807", b"LIMIT"),
            ("ANNOTATION-STORAGE 5", b"CANNOT"),
            ("MESSAGE 5 X-CRATES 5", b"CANNOT"),
        ):
            (line,) = self.client.command(f"SETQUOTA {USER} ({resources})")
            self.assertTrue(line.startswith(b"NO [%b] " % code), (resources, line))
        self.assertIsNone(now(self.server.store.get_quota(account=USER)).max_messages)
        (line, _) = self.client.command(f"SETQUOTA {USER} (STORAGE 9007199254740991)")
        self.assertIn(b"STORAGE 0 9007199254740991", line)

    def test_malformed(self) -> None:
        self.make_administrator()
        for command in (
            "GETQUOTA",
            "GETQUOTA a b",
            "GETQUOTA (a)",
            'GETQUOTA "\xff"'.encode("latin-1"),
            "GETQUOTAROOT",
            "GETQUOTAROOT INBOX INBOX",
            "SETQUOTA",
            f"SETQUOTA {USER}",
            f"SETQUOTA {USER} STORAGE 5",
            f"SETQUOTA {USER} (STORAGE)",
            f"SETQUOTA {USER} (STORAGE -1)",
            f"SETQUOTA {USER} (STORAGE 9223372036854775808)",
            f"SETQUOTA {USER} (STORAGE 5 STORAGE 6)",
            f"SETQUOTA {USER} (STORAGE 5) x",
            f"SETQUOTA {USER} (STORAGE 5 6)",
        ):
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(b"BAD "), (command, line))
            self.client.command("NOOP")
        (line,) = self.client.command("GETQUOTAROOT &")
        self.assertTrue(line.startswith(b"NO [CANNOT] "), line)

    def test_wrong_state(self) -> None:
        client = self.server.connect()
        for command in ("GETQUOTA x", "GETQUOTAROOT x", "SETQUOTA x ()"):
            (line,) = client.command(command)
            self.assertTrue(line.startswith(b"BAD This command cannot be used"), line)

    def test_status_of_deleted_messages(self) -> None:
        # RFC 9208 section 4.1.4
        self.server.add(MESSAGE, MESSAGE, b"Subject: short\r\n\r\n")
        items = "(MESSAGES DELETED DELETED-STORAGE)"
        (line, _) = self.client.command(f"STATUS INBOX {items}")
        self.assertEqual(line, b'* STATUS "INBOX" (MESSAGES 3 DELETED 0 DELETED-STORAGE 0)')
        self.client.command("SELECT INBOX")
        self.client.command("STORE 2:3 +FLAGS (\\Deleted)")
        (line, _) = self.client.command(f"STATUS INBOX {items}")
        storage = len(MESSAGE) + 18
        self.assertEqual(
            line, b'* STATUS "INBOX" (MESSAGES 3 DELETED 2 DELETED-STORAGE %d)' % storage
        )
        self.client.command("EXPUNGE")
        (line, _) = self.client.command("STATUS INBOX (DELETED)")
        self.assertEqual(line, b'* STATUS "INBOX" (DELETED 0)')

    def test_over_quota(self) -> None:
        # RFC 9208 section 4.3.1
        self.limit(max_messages=2, max_mailboxes=NEW + 1)
        self.server.add(MESSAGE, MESSAGE)
        self.client.command("SELECT INBOX")
        for command in ("COPY 1 Archive", "APPEND INBOX {3+}\r\nx\r\n"):
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(b"NO [OVERQUOTA] "), line)
        self.assertTrue(self.client.command("MOVE 1 Archive")[-1].startswith(b"OK "))
        self.assertTrue(self.client.command("CREATE one")[-1].startswith(b"OK "))
        for command in ("CREATE two", "RENAME INBOX two", "RENAME one a/b"):
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(b"NO [OVERQUOTA] "), (command, line))

    def test_another_session_sees_the_change_at_once(self) -> None:
        self.make_administrator()
        other = self.server.login()
        self.client.command(f"SETQUOTA {USER} (MESSAGE 1)")
        (line, _) = other.command(f"GETQUOTA {USER}")
        self.assertIn(b"MESSAGE 0 1", line)
        self.assertTrue(other.command("APPEND INBOX {3+}\r\nx\r\n")[-1].startswith(b"OK "))
        (line,) = self.client.command("APPEND INBOX {3+}\r\nx\r\n")
        self.assertTrue(line.startswith(b"NO [OVERQUOTA] "), line)

    def test_names_that_are_no_atoms(self) -> None:
        name = "j\u00fcrgen@example.org"
        now(self.server.store.add_account(name=name))
        self.make_administrator()
        octets = name.encode("utf-8")
        lines = self.client.command(b"GETQUOTA {%d+}\r\n%b" % (len(octets), octets))
        self.assertTrue(lines[0].startswith(b"* QUOTA {%d}\r\n%b (" % (len(octets), octets)))


class SQLiteQuotaTests(QuotaTests):
    sqlite = True


class SwitchTests(ServerTestCase):
    def test_switched_off(self) -> None:
        client = self.make_server(without=["QUOTA"]).login()
        self.assertNotIn(b"QUOTA", client.command("CAPABILITY")[0])
        for command in (
            "GETQUOTA x",
            "GETQUOTAROOT x",
            "SETQUOTA x ()",
            "STATUS INBOX (DELETED-STORAGE)",
        ):
            (line,) = client.command(command)
            self.assertTrue(line.startswith(b"BAD "), line)

    def test_one_resource_switched_off(self) -> None:
        client = self.make_server(without=["QUOTA=RES-MAILBOX", "QUOTASET"]).login()
        self.assertEqual(client.command(f"GETQUOTA {USER}")[0], b"* QUOTA ann@example.org ()")
        (line,) = client.command("SETQUOTA x ()")
        self.assertEqual(line, b"BAD There is no such command")


@implementer(IQuotaAccount)
class UncountedAccount(PlainAccount):
    """An account with quotas, whose mailboxes do not count what is deleted."""

    def __init__(self, account: Any) -> None:
        super().__init__(account)
        self.get_quota_roots = account.get_quota_roots
        self.get_quota_root = account.get_quota_root


class PlainAccountTests(ServerTestCase):
    """An account that knows nothing of quotas."""

    def test_not_announced(self) -> None:
        store = MemoryStore()
        now(store.add_account(name=USER))
        client = Server(PlainAccount(now(store.open_account(name=USER)))).login()
        self.assertNotIn(b"QUOTA", client.command("CAPABILITY")[0])
        for command in (f"GETQUOTA {USER}", "GETQUOTAROOT INBOX", f"SETQUOTA {USER} ()"):
            (line,) = client.command(command)
            self.assertEqual(line, b"BAD There are no quotas for this account")

    def test_deleted_messages_are_counted_one_by_one(self) -> None:
        store = MemoryStore()
        now(store.add_account(name=USER))
        server = Server(UncountedAccount(now(store.open_account(name=USER))))
        server.add(MESSAGE, flags="\\Deleted")
        server.add(MESSAGE)
        server.add(MESSAGE, flags="\\Deleted \\Seen")
        (line, _) = server.login().command("STATUS INBOX (DELETED-STORAGE DELETED)")
        storage = 2 * len(MESSAGE)
        self.assertEqual(line, b'* STATUS "INBOX" (DELETED-STORAGE %d DELETED 2)' % storage)
