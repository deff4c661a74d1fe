"""What messages are sorted by, and sorting in steps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit import sorting
from mailkit.mime import parse_addresses, parse_date, parse_header, unfold
from mailkit.mime.subject import split_subject
from mailkit.query import SortCriterion, SortKey
from mailkit.sorting import (
    MAX_SORT_TEXT,
    id_number,
    read_dates,
    read_sort_values,
    read_thread_values,
    sent_time,
    sort_steps,
)


class ValueTests(SynchronousTestCase):
    @given(
        st.lists(
            st.sampled_from(
                [b"Ann", b" ", b",", b"<a@b>", b"c@d", b'"', b"(", b")", b":", b";", b"\\", b"<", b">", b"@", b"[", b"]"]
            ),
            max_size=12,
        ).map(b"".join)
    )  # fmt: skip
    @settings(max_examples=500, deadline=None)
    def test_the_first_address_of_any_list(self, field: bytes) -> None:
        values = read_sort_values(b"From: " + field)
        addresses = parse_addresses(unfold(field), limit=1)
        local_part = (addresses[0].local_part or b"") if addresses else b""
        self.assertEqual(values.from_, local_part.decode().upper().encode())

    @given(
        st.tuples(
            st.sampled_from([b"", b"Mon, ", b"mon, ", b"Xyz, ", b"Mon "]),
            st.sampled_from([b"1", b"01", b"29", b"31", b"32", b"0", b"001"]),
            st.sampled_from([b" Jan ", b" Feb ", b" feb ", b" DEC ", b" Foo "]),
            st.sampled_from([b"2024", b"1969", b"0001", b"9999", b"0000", b"24", b"124"]),
            st.sampled_from([b" 00:00:00", b" 23:59:59", b" 12:00:60", b" 24:00:00", b" 1:2"]),
            st.sampled_from(
                [b" +0000", b" -0000", b" +0130", b" -0800", b" +1459", b" -2400", b""]
            ),
            st.sampled_from([b"", b" (CET)", b" (Central)", b" x", b"\n"]),
        ).map(b"".join)
    )
    @settings(max_examples=500, deadline=None)
    def test_sent_dates(self, value: bytes) -> None:
        moment = parse_date(value)
        if moment is not None:
            self.assertEqual(sent_time(value), int(moment.timestamp()))

    @given(st.text(alphabet=" rReEfFwWdD:[]()x", max_size=12))
    @settings(max_examples=500, deadline=None)
    def test_a_subject_that_has_no_marks(self, subject: str) -> None:
        # A blank in front makes no difference but to the shortcut.
        self.assertEqual(split_subject(subject), split_subject(" " + subject))

    def test_all(self) -> None:
        values = read_sort_values(
            b"Date: 31 Dec 2000 16:01:33 -0800\r\nSubject: Re: [x] =?utf-8?q?=C3=A4?=  b (fwd)\r\n"
            b'From: "Ann B." <Ann@example.org>, other@example.org\r\nTo: friends: bob@x;\r\n'
            b"Message-ID: <1@x>\r\nReferences: <2@x>\r\n <3@x>\r\nIn-Reply-To: <4@x>\r\n"
        )
        # RFC 5256 section 2.2: 1 Jan 2001 00:01:33 +0000
        self.assertEqual(values.sent, 978307293)
        self.assertEqual(values.subject, "A\N{COMBINING DIAERESIS} B".encode())
        self.assertTrue(values.is_reply)
        self.assertEqual((values.from_, values.display_from), (b"ANN", b"ANN B."))
        # The group's name is the first addr-mailbox.
        self.assertEqual((values.to, values.display_to), (b"FRIENDS", b"FRIENDS"))
        self.assertEqual(values.cc, b"")
        self.assertEqual(values.subject_id, id_number(values.subject))
        self.assertEqual(values.ids, tuple(map(id_number, (b"<1@x>", b"<2@x>", b"<3@x>"))))

    def test_nothing(self) -> None:
        values = read_sort_values(b"")
        self.assertEqual(values, (None, b"", False, 0, (0,), b"", b"", b"", b"", b""))

    def test_display_of_an_address_without_a_name(self) -> None:
        for field, display in (
            (b"a@x.example", b"A@X.EXAMPLE"),
            (b'"" <a@x.example>', b"A@X.EXAMPLE"),
            (b"=?utf-8?b?w6Q=?= <a@x>", "A\N{COMBINING DIAERESIS}".encode()),
            (b"lonely", b"LONELY"),
        ):
            self.assertEqual(read_sort_values(b"From: " + field).display_from, display)

    def test_dates(self) -> None:
        for value, seconds in (
            (b"Thu, 1 Jan 1970 00:00:10 +0000", 10),
            (b"1 Jan 1970 01:00 +0100", 0),
            (b"1 Jan 1970 00:00:07 +9900", 7),
            (b"1 Jan 1970 00:00:07 nonsense", 7),
            (b"2 Jan 1970 25:99:00 +0000", 86400),
            (b"2 Jan 1970", 86400),
            (b"30 Feb 1970 00:00:00 +0000", None),
            (b"yesterday", None),
            (b"", None),
            (None, None),
        ):
            self.assertEqual(sent_time(value), seconds, value)

    def test_long_texts_are_cut(self) -> None:
        values = read_sort_values(b"Subject: " + b"x" * 5000)
        self.assertEqual(len(values.subject), MAX_SORT_TEXT)

    @given(st.binary(max_size=300))
    @settings(max_examples=200, deadline=None)
    def test_any_octets(self, octets: bytes) -> None:
        for name in (b"", b"From: ", b"Date: ", b"Subject: ", b"References: "):
            read_sort_values(name + octets)


class StepTests(SynchronousTestCase):
    @given(
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from([b"", b"a", b"b"])), max_size=60),
        st.booleans(),
        st.booleans(),
    )
    @settings(max_examples=200, deadline=None)
    def test_as_if_sorted_at_once(
        self, rows: list[tuple[int, bytes]], first: bool, second: bool
    ) -> None:
        kept, sorting.RUN = sorting.RUN, 7
        try:
            criteria = [SortCriterion(SortKey.SIZE, first), SortCriterion(SortKey.FROM, second)]
            columns = [[row[0] for row in rows], [row[1] for row in rows]]
            uids = [10 + number for number in range(len(rows))]
            *pauses, order = sort_steps(uids, criteria, columns)
        finally:
            sorting.RUN = kept
        expected = sorted(uids, key=lambda uid: rows[uid - 10][1], reverse=second)
        expected.sort(key=lambda uid: rows[uid - 10][0], reverse=first)
        self.assertEqual(order, expected)
        self.assertEqual(set(pauses), {None} if rows else set())


class DatesTests(SynchronousTestCase):
    """Dates of many headers at once are those of each."""

    def test_all_forms(self) -> None:
        when = b"Sun, 13 Sep 2020 12:26:40 +0200"
        headers = [
            b"Date: %b\r\n" % when,
            b"Subject: x\r\ndate:%b" % when,
            b"",
            b"Date-Received: x\r\nDATE : %b\r\n" % when,
            b"Date: Sun,\r\n 13 Sep 2020 12:26:40 +0200\r\nDate: x\r\n",
            b" Date: %b\r\n" % when,
            b"Date: nonsense\r\nDate: %b\r\n" % when,
            b"X: y\n\tDate: z\nDate: %b\n" % when,
            b"Date\r\n",
            b"Date:",
        ]
        expected = [read_thread_values(parse_header(header)).sent for header in headers]
        self.assertEqual(read_dates(headers), expected)
        self.assertEqual(len([date for date in expected if date is not None]), 5)
        self.assertEqual(read_dates([]), [])
