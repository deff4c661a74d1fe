"""SEARCH=FUZZY (RFC 6203)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.fuzzy import MAX_WORDS, SCORES, Tolerance, forgiving, is_fuzzy, loosen, tighten
from mailkit.matching import Matcher
from mailkit.model import MessageInfo
from mailkit.query import All, And, HasFlag, HeaderContains, Not, Query
from tests.imap.support import Server

INFO = MessageInfo(1, frozenset(), 0, 0, 0)


def finds(query: Query, subject: str) -> bool:
    return Matcher(query).by_message(INFO, b"Subject: " + subject.encode() + b"\r\n\r\n")


class QueryTests(SynchronousTestCase):
    def test_what_is_forgiven(self) -> None:
        for text, subject, score in (
            ("IMAP break", "IMAP breaks", 100),
            ("IMAP break", "The break of IMAP", 67),
            ("IMAP is breaking", "How it breaks: IMAP", None),
            ("swimming lessons", "A lesson in swimmers", 33),
            ("müller", "Mueller", None),
            ("muller", "Müller", None),
            ("café", "cafe", 33),
            ("naïve", "naive", 33),
            ("reports", "Report", 33),
            ("IMAP", "POP3", None),
            ("a-b", "b a", 67),
            ("...", "...", 100),
            ("...", "x", None),
        ):
            query = forgiving(HeaderContains("Subject", text))
            best = None
            for tolerance in (Tolerance.EXACT, Tolerance.WORDS, Tolerance.STEMS):
                if finds(tighten(query, tolerance), subject):
                    best = SCORES[tolerance]
                    break
            self.assertEqual(best, score, (text, subject))
            self.assertEqual(finds(query, subject), score is not None)

    def test_what_is_exact(self) -> None:
        for query in (All(), HasFlag("x"), Not(HeaderContains("Subject", "running late"))):
            self.assertEqual(loosen(query, Tolerance.STEMS), query)

    def test_where_it_stands(self) -> None:
        fuzzy = forgiving(All())
        self.assertTrue(is_fuzzy(And((HasFlag("x"), Not(fuzzy)))))
        self.assertFalse(is_fuzzy(And((HasFlag("x"), Not(All())))))
        self.assertEqual(tighten(Not(fuzzy), Tolerance.EXACT), Not(All()))

    def test_many_words(self) -> None:
        subject = " ".join(f"word{number}" for number in range(MAX_WORDS))
        self.assertTrue(finds(forgiving(HeaderContains("Subject", f"{subject} more")), subject))

    @given(st.text(max_size=30), st.text(max_size=60))
    @settings(max_examples=200, deadline=None)
    def test_more_tolerance_never_finds_less(self, text: str, subject: str) -> None:
        text, subject = (value.encode("utf-8", "replace").decode() for value in (text, subject))
        query = forgiving(HeaderContains("Subject", text))
        found = [finds(tighten(query, tolerance), subject) for tolerance in Tolerance]
        self.assertEqual(found, sorted(found))
        self.assertEqual(finds(query, subject), found[-1])


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(
            *(
                b"Subject: %b\r\n\r\n" % subject
                for subject in (
                    b"broken pipes",
                    b"Pipe broken",
                    b"nothing",
                    b"The pipes: broken",
                    b"broken pipes",
                )
            )
        )
        self.client = self.server.login("SELECT INBOX")

    def check(self, command: str, response: str) -> None:
        line, done = self.client.command(command)
        self.assertEqual(line.decode().replace(f'(TAG "t{self.client._tags}")', "TAG"), response)
        self.assertTrue(done.startswith(b"OK "))

    def test_search(self) -> None:
        self.check('SEARCH FUZZY SUBJECT "broken pipes"', "* SEARCH 1 2 4 5")
        self.check('SEARCH SUBJECT "broken pipes"', "* SEARCH 1 5")
        self.check("SEARCH FUZZY (SUBJECT pipes OR SEEN SUBJECT breaks) 1:2", "* SEARCH")
        self.check("SEARCH FUZZY (SUBJECT pipes OR ALL SUBJECT breaks) 1:2", "* SEARCH 1 2")

    def test_relevancy(self) -> None:
        key = 'FUZZY SUBJECT "broken pipes"'
        self.check(f"SEARCH RETURN (RELEVANCY ALL) {key}",
                   "* ESEARCH TAG ALL 1:2,4:5 RELEVANCY (100 33 67 100)")  # fmt: skip
        self.check(f"UID SEARCH RETURN (PARTIAL 2:3 RELEVANCY) {key}",
                   "* ESEARCH TAG UID PARTIAL (2:3 2,4) RELEVANCY (33 67)")  # fmt: skip
        self.check("SEARCH RETURN (RELEVANCY) FUZZY SUBJECT zebra", "* ESEARCH TAG RELEVANCY ()")
        self.check(f"SORT (RELEVANCY) UTF-8 {key}", "* SORT 1 5 4 2")
        self.check(f"SORT (REVERSE RELEVANCY REVERSE ARRIVAL) UTF-8 {key}", "* SORT 2 4 1 5")
        self.check(f"SORT RETURN (RELEVANCY ALL) (RELEVANCY) UTF-8 {key}",
                   "* ESEARCH TAG ALL 1,5,4,2 RELEVANCY (100 100 67 33)")  # fmt: skip
        (line, _) = self.client.command(f"ESEARCH IN (personal) RETURN (RELEVANCY COUNT) {key}")
        self.assertTrue(line.endswith(b" UID COUNT 4 RELEVANCY (100 33 67 100)"), line)

    def test_no_updates_by_relevancy(self) -> None:
        lines = self.client.command("SORT RETURN (UPDATE) (RELEVANCY) UTF-8 FUZZY SUBJECT x")
        self.assertTrue(lines[0].startswith(b"* NO [NOUPDATE "), lines)

    def test_wrong_commands(self) -> None:
        for command in (
            "SEARCH FUZZY", "SEARCH FUZZY NONSENSE", "SEARCH RETURN (RELEVANCY) SUBJECT x",
            "SORT (RELEVANCY) UTF-8 SUBJECT x", "SORT (DATE RELEVANCY) UTF-8 FUZZY SUBJECT x",
            "SORT RETURN (RELEVANCY) (DATE) UTF-8 ALL", "ESEARCH RETURN (RELEVANCY) ALL",
            "SORT (RELEVANCY RELEVANCY) UTF-8 FUZZY SUBJECT x", f"SEARCH {'FUZZY ' * 200}ALL",
        ):  # fmt: skip
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(b"BAD "), (command, line))

    def test_without(self) -> None:
        client = Server(without=["SEARCH=FUZZY"]).login("SELECT INBOX")
        self.assertNotIn(b"SEARCH=FUZZY", client.command("CAPABILITY")[0].split())
        for command in (
            "SEARCH FUZZY ALL",
            "SEARCH RETURN (RELEVANCY) ALL",
            "SORT (RELEVANCY) UTF-8 ALL",
        ):
            self.assertTrue(client.command(command)[0].startswith(b"BAD "), command)
