"""COMPARATOR (RFC 5255 section 4), on both stores."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.imap.comparator import collated, find_collations
from mailkit.imap.fuzzy import forgiving
from mailkit.imap.handlers.comparator import MAX_ORDERS
from mailkit.query import All, And, BodyContains, Collation, HeaderContains, Not, Or, TextContains
from tests.imap.fakes import PlainAccount
from tests.imap.support import Server, ServerTestCase

ASCII, OCTET = Collation.ASCII_CASEMAP, Collation.OCTET
SUBJECTS = ("beta", "Beta", "alpha", "ÄPFEL", "äpfel", "Zeta")


def message(number: int, subject: str) -> bytes:
    return (
        f"From: U{number % 2}@example.org\r\nSubject: {subject}\r\n"
        f"Date: Mon, 01 Jan 2024 00:00:0{number} +0000\r\n\r\nThe {subject} body\r\n"
    ).encode()


class PartTests(SynchronousTestCase):
    def test_orders(self) -> None:
        every = list(Collation)
        for wanted, found in (
            ([], []),
            (["i;octet"], [OCTET]),
            (["I;OCTET", "i;octet"], [OCTET]),
            (["default"], [Collation.UNICODE_CASEMAP]),
            (["cz;*", "i;ascii*"], [ASCII]),
            (["*"], every),
            (["i;octet", "*casemap"], [OCTET, Collation.UNICODE_CASEMAP, ASCII]),
            (["i;basic"], []),
            (["octet"], []),
        ):
            self.assertEqual(find_collations(wanted), found, wanted)

    def test_queries(self) -> None:
        fuzzy = forgiving(BodyContains("x"))
        query = And((HeaderContains("a", "b"), Not(Or((TextContains("c"), All()))), fuzzy))
        strict = And(
            (HeaderContains("a", "b", OCTET), Not(Or((TextContains("c", OCTET), All()))), fuzzy)
        )
        self.assertEqual(collated(query, OCTET), strict)
        self.assertIs(collated(query, Collation.UNICODE_CASEMAP), query)


class DialogueTests(ServerTestCase):
    @override
    def setUp(self) -> None:
        self.server = self.make_server()
        self.fill(self.server)
        self.client = self.server.login("SELECT INBOX")

    def fill(self, server: Server) -> None:
        server.add(*[message(number, subject) for number, subject in enumerate(SUBJECTS)])

    def ask(self, text: str) -> list[str]:
        return [line.decode() for line in self.client.command(text)]

    def found(self, text: str) -> str:
        first, last = self.ask(text)
        self.assertTrue(last.startswith("OK "), last)
        return first.removeprefix("* ")

    def test_dialogue(self) -> None:
        for orders, told in (
            ("", '"i;unicode-casemap"'),
            (' "cz;*" i;octet', '"i;octet"'),
            ("", '"i;octet"'),
            (' "*casemap" i;octet', '"i;unicode-casemap" ("i;unicode-casemap" "i;ascii-casemap" "i;octet")'),
            (" i;ascii-casemap", '"i;ascii-casemap"'),
            (" default", '"i;unicode-casemap"'),
        ):  # fmt: skip
            lines = self.ask(f"COMPARATOR{orders}")
            self.assertEqual(lines, [f"* COMPARATOR {told}", "OK COMPARATOR completed"], orders)
        self.assertEqual(
            self.ask("COMPARATOR i;basic"),
            ["NO [BADCOMPARATOR] None of these collations is known here"],
        )
        self.assertEqual(self.found("COMPARATOR"), 'COMPARATOR "i;unicode-casemap"')

    def test_search(self) -> None:
        for collation, search, numbers in (
            ("i;unicode-casemap", "SUBJECT BETA", "1 2"),
            ("i;unicode-casemap", 'SUBJECT "äPFEL"', "4 5"),
            ("i;ascii-casemap", "SUBJECT BETA", "1 2"),
            ("i;ascii-casemap", 'SUBJECT "äPFEL"', "5"),
            ("i;octet", "SUBJECT Beta", "2"),
            ("i;octet", "SUBJECT BETA", ""),
            ("i;octet", "BODY beta", "1"),
            ("i;octet", "TEXT Beta", "2"),
            ("i;octet", "NOT TEXT Beta", "1 3 4 5 6"),
            ("i;octet", "FROM u1", ""),
            ("i;octet", "FROM U1", "2 4 6"),
            ("i;octet", "HEADER Subject beta", "1"),
            ("i;octet", "OR SUBJECT beta SUBJECT ta", "1 2 6"),
        ):
            self.client.command(f"COMPARATOR {collation}")
            expected = f"SEARCH {numbers}".strip()
            self.assertEqual(self.found(f"SEARCH {search}"), expected, (collation, search))

    def test_sort(self) -> None:
        for collation, order in (
            ("i;unicode-casemap", "3 4 5 1 2 6"),
            ("i;ascii-casemap", "3 1 2 6 4 5"),
            ("i;octet", "2 6 3 1 4 5"),
        ):
            self.client.command(f"COMPARATOR {collation}")
            self.assertEqual(self.found("SORT (SUBJECT) UTF-8 ALL"), f"SORT {order}", collation)
        self.assertEqual(self.found("SORT (REVERSE DATE) UTF-8 1:2"), "SORT 2 1")
        self.assertEqual(self.found("SORT (FROM SUBJECT) UTF-8 ALL"), "SORT 3 1 5 2 6 4")

    def test_thread(self) -> None:
        for collation, threads in (
            ("i;unicode-casemap", "(1 2)(3)(4 5)(6)"),
            ("i;ascii-casemap", "(1 2)(3)(4)(5)(6)"),
            ("i;octet", "(1)(2)(3)(4)(5)(6)"),
        ):
            self.client.command(f"COMPARATOR {collation}")
            for algorithm in ("ORDEREDSUBJECT", "REFERENCES"):
                told = self.found(f"THREAD {algorithm} UTF-8 ALL")
                plain = told.removeprefix("THREAD ").replace("((1)(2))", "(1 2)")
                self.assertEqual(plain.replace("((4)(5))", "(4 5)"), threads, (collation, told))

    def test_other_mailboxes(self) -> None:
        self.client.command("COMPARATOR i;octet")
        lines = self.ask("ESEARCH IN (personal) SUBJECT Beta")
        self.assertIn(" ALL 2", lines[0])
        self.client.command("SELECT Trash")
        self.client.command("SELECT INBOX")
        self.assertEqual(self.found("SEARCH SUBJECT beta"), "SEARCH 1")

    def test_results_that_are_kept_up_to_date(self) -> None:
        self.client.command("COMPARATOR i;octet")
        self.client.command("SEARCH RETURN (UPDATE ALL) SUBJECT Beta")
        self.server.add(message(7, "beta"), message(8, "Beta"))
        told = self.ask("NOOP")
        self.assertTrue(any("ADDTO (0 8)" in line for line in told), told)
        lines = self.ask("SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 ALL")
        self.assertTrue(any("NOUPDATE" in line for line in lines), lines)

    def test_forgotten_with_the_login(self) -> None:
        self.client.command("COMPARATOR i;octet")
        self.client.command("UNAUTHENTICATE")
        self.client.command("LOGIN ann@example.org secret")
        self.assertEqual(self.found("COMPARATOR"), 'COMPARATOR "i;unicode-casemap"')

    def test_malformed(self) -> None:
        for text in ('""', "(i;octet)", "i;octet  default", '"***"', "x" * 255):
            line = self.ask(f"COMPARATOR {text}")[-1]
            self.assertTrue(line.startswith("BAD "), (text, line))
        many = " ".join(["i;octet"] * (MAX_ORDERS + 1))
        self.assertTrue(self.ask(f"COMPARATOR {many}")[-1].startswith("BAD "))


class SQLiteDialogueTests(DialogueTests):
    sqlite = True


class PlainDialogueTests(DialogueTests):
    """On a backend that neither searches nor sorts."""

    @override
    def make_server(self, **settings: object) -> Server:
        return Server(PlainAccount(Server().account), **settings)

    test_other_mailboxes = None  # type: ignore[assignment]
    test_results_that_are_kept_up_to_date = None  # type: ignore[assignment]


class SwitchTests(SynchronousTestCase):
    def test_off_and_before_login(self) -> None:
        client = Server().connect()
        self.assertNotIn(b"I18NLEVEL", client.greeting)
        self.assertTrue(client.command("COMPARATOR")[0].startswith(b"BAD This command cannot"))
        for without, told, absent in (
            ([], b" I18NLEVEL=2", b"I18NLEVEL=1"),
            (["I18NLEVEL=2"], b" I18NLEVEL=1", b"I18NLEVEL=2"),
            (["I18NLEVEL=1"], b" I18NLEVEL=2", b"I18NLEVEL=1"),
        ):
            client = Server(without=without).login()
            line = client.command("CAPABILITY")[0]
            self.assertIn(told, line)
            self.assertNotIn(absent, line)
        client = Server(without=["I18NLEVEL=2"]).login()
        self.assertEqual(client.command("COMPARATOR"), [b"BAD There is no such command"])
