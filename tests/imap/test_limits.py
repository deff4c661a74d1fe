"""Whatever a client decides about has an end, is refused in words, and leaves the rest in step."""

from __future__ import annotations

import time

from mailkit.imap import grammar
from mailkit.imap.protocol import IMAPFactory
from mailkit.imap.search import MAX_DEPTH, MAX_KEYS
from mailkit.store import memory_account, memory_keywords
from mailkit.store.sqlite import mailboxes, states

from .support import PASSWORD, USER, Client, ServerTestCase

LOGIN = f"LOGIN {USER} {PASSWORD.decode()}"
MESSAGE = b"Subject: a\r\n\r\nb\r\n"
MANY = 100_000


class SessionTests(ServerTestCase):
    """Connections that are logged in to one account."""

    def test_too_many(self) -> None:
        server = self.make_server(max_sessions_per_account=2)
        first, _ = server.login(), server.login()
        third = server.connect()
        refused = b"NO [LIMIT] This account has too many sessions, please close some"
        self.assertEqual(third.command(LOGIN), [refused])
        self.assertEqual(server.realm.logouts, 1)
        self.assertTrue(third.command("SELECT INBOX")[-1].startswith(b"BAD"))
        self.assertEqual(third.command("NOOP"), [b"OK NOOP completed"])
        first.lose()
        self.assertTrue(third.command(LOGIN)[-1].startswith(b"OK"))

    def test_nothing_is_left_of_sessions_that_end(self) -> None:
        server = self.make_server(max_sessions_per_account=1)
        for _ in range(3):
            client = server.login("SELECT INBOX")
            self.assertTrue(client.command("NOOP")[-1].startswith(b"OK"))
            client.lose()
        self.assertEqual(server.factory.accounts.counts, {})

    def test_another_user_on_the_same_connection(self) -> None:
        server = self.make_server(max_sessions_per_account=1)
        client = server.login("NOTIFY SET (personal (MailboxName))")
        for _ in range(2):
            self.assertTrue(client.command("UNAUTHENTICATE")[-1].startswith(b"OK"))
            self.assertIsNone(client.protocol.notifier)
            self.assertEqual(server.factory.accounts.counts, {})
            self.assertTrue(client.command(LOGIN)[-1].startswith(b"OK"))

    def test_connections_that_are_not_logged_in_do_not_count(self) -> None:
        server = self.make_server(max_sessions_per_account=1)
        for _ in range(5):
            server.connect()
        self.assertTrue(server.connect().command(LOGIN)[-1].startswith(b"OK"))

    def test_connections_from_one_address(self) -> None:
        server = self.make_server(max_connections_per_address=2)
        for _ in range(2):
            self.assertTrue(server.connect("192.0.2.1").greeting.startswith(b"* OK"))
        refused = server.connect("192.0.2.1")
        self.assertTrue(refused.greeting.startswith(b"* BYE [UNAVAILABLE] Too many connections"))
        self.assertTrue(refused.closed)
        self.assertTrue(server.connect("192.0.2.2").greeting.startswith(b"* OK"))

    def test_messages(self) -> None:
        server = self.make_server(max_message_size=1000)
        client = server.login()
        answer = client.send(b"a APPEND INBOX {1001}\r\n")
        self.assertTrue(answer.startswith(b"a NO [TOOBIG]"), answer)
        answer = client.send(b"a APPEND INBOX {1001+}\r\n" + b"x" * 1001 + b"\r\n")
        self.assertTrue(answer.startswith(b"a NO [TOOBIG]"), answer)
        self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])


class CommandTests(ServerTestCase):
    """Lines, lists, sequence sets, searches."""

    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(MESSAGE, MESSAGE, MESSAGE)
        self.client = self.server.login("SELECT INBOX")

    def refused(self, command: str, text: str, client: Client | None = None) -> None:
        client = client or self.client
        answer = client.command(command)
        self.assertEqual(answer, [f"BAD {text}".encode()])
        self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])

    def test_lines(self) -> None:
        short = self.server.connect()
        self.refused("LOGIN a " + "b" * 16_384, "The command line is too long", short)
        self.assertTrue(short.command(LOGIN)[-1].startswith(b"OK"))
        self.assertTrue(short.command("LIST a " + "b" * 16_384)[-1].startswith(b"NO [LIMIT]"))
        self.refused("SELECT " + "b" * (2 << 20), "The command line is too long")

    def test_everything_costs_nothing(self) -> None:
        before = time.process_time()
        for uid in ("", "UID "):
            answer = self.client.command(f"{uid}SEARCH {uid}1:4294967295")
            self.assertTrue(answer[-1].startswith(b"OK"), answer)
        self.assertEqual(len(self.client.command("UID FETCH 1:4294967295,1:* UID")), 4)
        self.assertEqual(self.client.command("UID STORE 4:4294967295 +FLAGS a")[-1][:2], b"OK")
        self.assertLess(time.process_time() - before, 5)

    def test_many_ranges(self) -> None:
        ranges = ",".join(str(number) for number in range(2, 2 * MANY + 1, 2))
        self.assertEqual(
            self.client.command(f"UID FETCH {ranges} UID")[:-1], [b"* 2 FETCH (UID 2)"]
        )
        ranges = "*," + ",".join(f"{n}:{n + 1}" for n in range(2, 20 * (MANY - 1), 20))
        self.assertEqual(len(self.client.command(f"UID FETCH {ranges} UID")), 3)
        self.refused(f"UID FETCH {ranges},1 UID", f"A sequence set has at most {MANY} ranges")
        self.refused(f"SEARCH {ranges},1", f"A sequence set has at most {MANY} ranges")

    def test_numbers(self) -> None:
        for number in (
            "0",
            "4294967296",
            "99999999999",
            "1" * 5000,
            "1:",
            ":1",
            "1,,2",
            ",",
            "1:2:3",
        ):
            self.refused(
                f"UID FETCH {number} UID", "A message number lies between 1 and 4294967295"
            )

    def test_depth_and_size_of_a_search(self) -> None:
        deep = "(" * (MAX_DEPTH - 1) + "ALL" + ")" * (MAX_DEPTH - 1)
        self.assertTrue(self.client.command(f"SEARCH {deep}")[-1].startswith(b"OK"))
        for program in (f"(({deep}))", "(" * 100_000, "NOT " * 100_000, "OR ALL " * 100_000):
            self.refused(f"SEARCH {program}", "The search is too complex")
        self.refused("SEARCH" + " ALL" * (MAX_KEYS + 1), "The search is too complex")
        self.assertTrue(self.client.command("SEARCH" + " ALL" * MAX_KEYS)[-1].startswith(b"OK"))

    def test_lists(self) -> None:
        most = grammar.MAX_VALUES
        for command in ("FETCH 1 (%s)", "STATUS INBOX (%s)", "STORE 1 FLAGS (%s)"):
            words = " ".join(["UID" if "STORE" not in command else "a"] * (most + 1))
            text = self.client.command(command % words)[-1]
            self.assertTrue(text.startswith(b"BAD "), text)
        self.refused("STORE 1 FLAGS " + "a " * 600 + "a", "At most 500 flags can be given at once")
        self.refused("ENABLE" + " a" * 201, "ENABLE takes at most 200 names")

    def test_literals(self) -> None:
        for size, tail in ((65_537, "+"), (65_537, ""), (10**30, "")):
            client = self.server.login()
            answer = client.send(b"a SELECT {%d%s}\r\n" % (size, tail.encode()))
            if tail:
                answer += client.send(b"b LOGOUT\r\n".ljust(size, b"x") + b"\r\n")
            self.assertEqual(answer, b"a BAD The literal is too large\r\n")
            self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])

    def test_wrong_commands(self) -> None:
        for command, text in (
            ("FOO", "There is no such command"),
            ("LOGIN a b", "This command cannot be used in the selected state"),
            ("UID FETCH 1 UID (VANISHED CHANGEDSINCE 1)", "VANISHED needs ENABLE QRESYNC first"),
            ("NOOP x", "There is more behind the command than belongs there"),
        ):
            self.refused(command, text)
        for _ in range(IMAPFactory.connection_class.max_errors):
            answer = self.client.send(b"a FOO\r\n")
        self.assertTrue(answer.endswith(b"* BYE [CLIENTBUG] Too many wrong commands\r\n"))


class KeptTests(ServerTestCase):
    """What an account or a mailbox may have."""

    def setUp(self) -> None:
        self.server = self.make_server()
        self.client = self.server.login()

    def test_names(self) -> None:
        for name in ("x" * 1001, "/".join("x" * 33), "a//b", "/a", "a&AAc-"):
            answer = self.client.command(f"CREATE {name}")[-1]
            self.assertTrue(answer.startswith(b"NO [CANNOT] "), answer)
        for name in ("x" * 1000, "/".join("x" * 32)):
            self.assertTrue(self.client.command(f"CREATE {name}")[-1].startswith(b"OK"), name)

    def test_mailboxes(self) -> None:
        for module in (memory_account, mailboxes):
            self.patch(module, "MAX_MAILBOXES", 8)
        here = len(self.client.command('LIST "" *')) - 1
        for number in range(8 - here):
            self.assertTrue(self.client.command(f"CREATE m{number}")[-1].startswith(b"OK"))
        for command in ("CREATE one-more", "CREATE a/b/c", "RENAME INBOX one-more"):
            answer = self.client.command(command)[-1]
            self.assertEqual(answer, b"NO [LIMIT] An account has at most 8 mailboxes")
        self.assertEqual(len(self.client.command('LIST "" *')) - 1, 8)

    def test_subscriptions(self) -> None:
        for module in (memory_account, mailboxes):
            self.patch(module, "MAX_MAILBOXES", 6)
        answer = self.client.command("SUBSCRIBE one-more")[-1]
        self.assertEqual(answer, b"NO [LIMIT] An account has at most 6 subscriptions")

    def test_keywords(self) -> None:
        for module in (memory_keywords, states):
            self.patch(module, "MAX_KEYWORDS", 3)
        self.server.add(MESSAGE)
        self.client.command("SELECT INBOX")
        self.assertTrue(self.client.command("STORE 1 +FLAGS (a b c)")[-1].startswith(b"OK"))
        answer = self.client.command("STORE 1 +FLAGS (d)")[-1]
        self.assertTrue(answer.startswith(b"NO [LIMIT] "), answer)
        told = self.client.command("FETCH 1 FLAGS")[0]
        self.assertEqual(told, b"* 1 FETCH (FLAGS (\\Recent a b c))")
        self.assertTrue(self.client.command("STORE 1 FLAGS (a)")[-1].startswith(b"OK"))
        long = "k" * 256
        answer = self.client.command(f"STORE 1 +FLAGS {long}")[-1]
        self.assertEqual(answer, b"BAD A keyword has at most 255 octets")


class SQLiteSessionTests(SessionTests):
    sqlite = True


class SQLiteCommandTests(CommandTests):
    sqlite = True


class SQLiteKeptTests(KeptTests):
    sqlite = True
