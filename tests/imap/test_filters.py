"""FILTERS (RFC 5466), on both stores."""

from __future__ import annotations

from mailkit._typing import override
from mailkit.imap.filters import MAX_PASSES
from tests.imap.support import USER, ServerTestCase, now

PRIVATE, SHARED = "/private/filters/values", "/shared/filters/values"


class FilterTests(ServerTestCase):
    @override
    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(
            b"From: boss@example.com\r\nSubject: one\r\n\r\n" + b"x" * 6000,
            b"From: ann@example.com\r\nSubject: two\r\n\r\n",
            "From: Jürgen <j@example.com>\r\nSubject: three\r\n\r\n".encode() + b"x" * 6000,
        )
        now(self.server.store.set_administrator(account=USER, administrator=True))
        self.client = self.server.login("SELECT INBOX")

    def define(self, **filters: str) -> None:
        for name, value in filters.items():
            octets = value.encode("utf-8")
            lines = self.client.command(
                b'SETMETADATA "" (%b/%b {%d+}\r\n%b)'
                % (PRIVATE.encode(), name.encode(), len(octets), octets)
            )
            self.assertTrue(lines[-1].startswith(b"OK "), lines)

    def search(self, keys: str, command: str = "SEARCH") -> list[int]:
        lines = self.client.command(f"{command} {keys}")
        self.assertTrue(lines[-1].startswith(b"OK "), lines)
        return [int(number) for number in lines[0].split()[2:]]

    def test_the_example(self) -> None:
        # RFC 5466 section 3.1
        lines = self.client.command(
            f'SETMETADATA "" ("{PRIVATE}/on-the-road" "OR SMALLER 5000 FROM \\"boss@example.com\\"")'
        )
        self.assertEqual(lines, [b"OK SETMETADATA completed"])
        self.assertEqual(self.search("UID 1:900 FILTER on-the-road SINCE 3-Dec-2000"), [1, 2])
        self.assertEqual(self.search("filter ON-THE-ROAD"), [1, 2])
        self.assertEqual(self.search("NOT FILTER on-the-road"), [3])
        self.assertEqual(self.search("FILTER on-the-road", "UID SEARCH"), [1, 2])

    def test_private_goes_before_shared(self) -> None:
        self.client.command(f'SETMETADATA "" ({SHARED}/a "SUBJECT one" {SHARED}/b "SUBJECT two")')
        self.define(a="SUBJECT three")
        self.assertEqual(self.search("FILTER a"), [3])
        self.assertEqual(self.search("FILTER b"), [2])
        self.client.command(f'SETMETADATA "" ({PRIVATE}/a NIL)')
        self.assertEqual(self.search("FILTER a"), [1])

    def test_several_keys_are_one(self) -> None:
        self.define(two="SMALLER 5000 SUBJECT two")
        self.assertEqual(self.search("OR FILTER two SUBJECT one"), [1, 2])
        self.assertEqual(self.search("NOT FILTER two"), [1, 3])
        self.assertEqual(self.search("(FILTER two SEEN)"), [])

    def test_utf8(self) -> None:
        self.define(j='FROM "Jürgen"')
        self.assertEqual(self.search("FILTER j"), [3])
        self.assertEqual(self.search("CHARSET UTF-8 FILTER j"), [3])
        self.assertEqual(self.search("CHARSET US-ASCII FILTER j"), [3])
        (line,) = self.client.command("SEARCH CHARSET ISO-8859-1 FILTER j")
        self.assertEqual(line, b"BAD [BADCHARSET (UTF-8)] Filters are in UTF-8")

    def test_sort_and_thread(self) -> None:
        self.define(large="LARGER 5000")
        self.assertEqual(self.search("(REVERSE SUBJECT) UTF-8 FILTER large", "SORT"), [3, 1])
        (line, _) = self.client.command("THREAD ORDEREDSUBJECT UTF-8 FILTER large")
        self.assertEqual(sorted(line.count(n) for n in (b"(1)", b"(3)", b"2")), [0, 1, 1])

    def test_unknown(self) -> None:
        for name in ("nothing", "Nothing.At-all"):
            (line,) = self.client.command(f"SEARCH FILTER {name}")
            self.assertEqual(
                line, b"NO [UNDEFINED-FILTER %b] There is no such filter" % name.encode()
            )

    def test_filters_in_filters(self) -> None:
        # RFC 5466 section 3.1: three passes at least, and no loops.
        self.define(f0="SUBJECT one")
        for number in range(1, MAX_PASSES + 1):
            self.define(**{f"f{number}": f"FILTER f{number - 1}"})
        self.assertEqual(self.search(f"FILTER f{MAX_PASSES - 1}"), [1])
        (line,) = self.client.command(f"SEARCH FILTER f{MAX_PASSES}")
        self.assertTrue(line.startswith(b"NO [UNDEFINED-FILTER f0] "), line)
        self.define(a="OR FILTER b SUBJECT two", b="NOT FILTER A")
        (line,) = self.client.command("SEARCH FILTER b")
        self.assertTrue(line.startswith(b"NO [UNDEFINED-FILTER b] "), line)
        # The same one twice is no loop.
        self.assertEqual(self.search("OR FILTER f0 FILTER f1"), [1])

    def test_filters_that_grow(self) -> None:
        self.define(a0="SEEN " * 50 + "SEEN")
        for number in range(1, 9):
            again = f"FILTER a{number - 1} "
            self.define(**{f"a{number}": again * 20 + "ALL"})
        (line,) = self.client.command("SEARCH FILTER a8")
        self.assertTrue(line.startswith((b"BAD ", b"NO ")), line)
        self.assertIn(b"too complex", line)
        self.define(long="UID " + ",".join(str(number) for number in range(1, 6000)))
        (line,) = self.client.command("SEARCH" + " FILTER long" * 5)
        self.assertEqual(line, b"BAD The search is too complex")

    def test_what_is_no_search(self) -> None:
        for value in ("OR SMALLER", "", "FROM", "x", "CHARSET UTF-8 ALL", "ALL)", "FILTER a/b"):
            (line,) = self.client.command(
                f'SETMETADATA "" ({PRIVATE}/bad "{value}" /private/comment "x")'
            )
            self.assertTrue(line.startswith(b"NO "), (value, line))
        (line, _) = self.client.command('GETMETADATA "" /private/comment')
        self.assertIn(b"NIL", line)
        # About mailboxes they are entries like all others.
        (line,) = self.client.command(f'SETMETADATA INBOX ({PRIVATE}/bad "x")')
        self.assertTrue(line.startswith(b"OK "), line)

    def test_a_filter_that_is_no_search_any_more(self) -> None:
        entry = f"{PRIVATE}/old"
        now(self.server.account.set_metadata(mailbox=None, entries={entry: b"OR SMALLER"}))
        (line,) = self.client.command("SEARCH FILTER old")
        self.assertTrue(line.startswith(b"NO The filter old is no search: "), line)

    def test_malformed(self) -> None:
        for keys in ("FILTER", 'FILTER "x"', "FILTER a/b", "FILTER (a)"):
            (line,) = self.client.command(f"SEARCH {keys}")
            self.assertTrue(line.startswith(b"BAD "), (keys, line))

    def test_the_word_elsewhere(self) -> None:
        self.assertEqual(self.search("SUBJECT FILTER"), [])


class SQLiteFilterTests(FilterTests):
    sqlite = True


class SwitchTests(ServerTestCase):
    def test_switched_off(self) -> None:
        client = self.make_server(without=["FILTERS"]).login("SELECT INBOX")
        self.assertNotIn(b"FILTERS", client.command("CAPABILITY")[0])
        (line,) = client.command("SEARCH FILTER a")
        self.assertEqual(line, b"BAD FILTER is not a search key")
        (line,) = client.command(f'SETMETADATA "" ({PRIVATE}/a "no search")')
        self.assertTrue(line.startswith(b"OK "), line)
