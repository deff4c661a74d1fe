"""Headers: where they end, raw and unfolded values, look-ups."""

from __future__ import annotations

import mmap
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.headers import (
    MAX_HEADER_FIELDS,
    MAX_HEADER_OCTETS,
    Header,
    parse_header,
    unfold,
)

MESSAGE = (
    b"From: Joe <joe@example.org>\r\n"
    b"Subject: one\r\n"
    b"\ttwo\r\n"
    b"  three\r\n"
    b"X-Empty:\r\n"
    b"subject: second\r\n"
    b"\r\n"
    b"Body: no field\r\n"
)


def reassemble(data: bytes, header: Header) -> bytes:
    return b"".join(data[field.start : field.end] for field in header) + header.blank_line


class HeaderTests(SynchronousTestCase):
    def test_ends_at_the_empty_line(self) -> None:
        header = parse_header(MESSAGE)
        self.assertEqual(header.body_start, MESSAGE.index(b"Body:"))
        self.assertEqual(header.blank_line, b"\r\n")
        self.assertEqual(len(header), 4)

    def test_lookup_ignores_case_and_gives_the_first(self) -> None:
        header = parse_header(MESSAGE)
        for name in (b"subject", b"SUBJECT", "Subject"):
            self.assertEqual(header.get(name), b"one\ttwo  three")
        self.assertEqual(header.get_all("SUBJECT"), [b"one\ttwo  three", b"second"])
        self.assertEqual(header.get(b"x-empty"), b"")
        self.assertIsNone(header.get(b"body"))
        self.assertEqual(header.get_all(b"body"), [])
        self.assertIn("from", header)
        self.assertNotIn("to", header)
        self.assertNotIn(7, header)

    def test_repeated(self) -> None:
        header = parse_header(MESSAGE)
        self.assertTrue(header.repeated(b"subject"))
        self.assertFalse(header.repeated(b"from"))

    def test_field_offsets(self) -> None:
        data = b"skipped\r\n" + MESSAGE
        header = parse_header(data, 9)
        fields = list(header)
        self.assertEqual(
            [field.name for field in fields], [b"From", b"Subject", b"X-Empty", b"subject"]
        )
        subject = fields[1]
        self.assertEqual(data[subject.start : subject.end], b"Subject: one\r\n\ttwo\r\n  three\r\n")
        self.assertEqual(data[subject.value_start : subject.end], b" one\r\n\ttwo\r\n  three\r\n")
        self.assertEqual(subject.value, b"one\ttwo  three")
        self.assertEqual(reassemble(data, header), data[9 : header.body_start])

    def test_bare_line_feeds(self) -> None:
        data = MESSAGE.replace(b"\r\n", b"\n")
        header = parse_header(data)
        self.assertEqual(header.get(b"subject"), b"one\ttwo  three")
        self.assertEqual(header.blank_line, b"\n")
        self.assertEqual(header.body_start, data.index(b"Body:"))

    def test_mixed_line_ends(self) -> None:
        header = parse_header(b"A: 1\nB: 2\r\n\tx\n\n\r\nbody")
        self.assertEqual([field.value for field in header], [b"1", b"2\tx"])
        self.assertEqual(header.body_start, 15)

    def test_bare_carriage_return_ends_nothing(self) -> None:
        header = parse_header(b"A: 1\rB: 2\r\r\n\r\nbody")
        self.assertEqual([(field.name, field.value) for field in header], [(b"A", b"1\rB: 2")])

    def test_no_blank_line(self) -> None:
        for data in (b"A: 1\r\nB: 2\r\n", b"A: 1\r\nB: 2"):
            header = parse_header(data)
            self.assertEqual(header.body_start, len(data))
            self.assertEqual(header.blank_line, b"")
            self.assertEqual([field.value for field in header], [b"1", b"2"])
            self.assertEqual(reassemble(data, header), data)

    def test_no_header_at_all(self) -> None:
        for data, start in ((b"", 0), (b"\r\nbody", 2), (b"\nbody", 1)):
            header = parse_header(data)
            self.assertEqual((len(header), header.body_start), (0, start))
            self.assertIsNone(header.get(b"from"))
            self.assertEqual(list(header), [])

    @given(
        st.lists(
            st.sampled_from(
                [b"a", b"B", b"ab", b":", b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x0b", b"\n ", b"\n\t", b"a: 1\r\n"]
            ),
            max_size=14,
        ).map(b"".join)
    )  # fmt: skip
    @settings(max_examples=500, deadline=None)
    def test_fields_are_picked_as_they_are_told_apart(self, data: bytes) -> None:
        names = (b"a", b"b", b"ab")
        told = parse_header(data)
        expected = {name: values for name in names if (values := told.get_all(name))}
        self.assertEqual(parse_header(data).pick(names), expected, data)
        self.assertEqual(told.pick(names), expected, data)

    def test_fields_beyond_the_limit_are_not_picked(self) -> None:
        header = parse_header(b"x: 1\n" * MAX_HEADER_FIELDS + b"a: 1\n\n")
        self.assertEqual(header.pick((b"a",)), {})

    def test_line_without_colon_stays_in_the_header(self) -> None:
        data = b"From joe Fri Nov 21\r\nSubject\r\nA: 1\r\njunk\r\n more: junk\r\nSubject: 2\r\n\r\nbody"
        header = parse_header(data)
        self.assertEqual(
            [(field.name, field.value) for field in header],
            [
                (b"", b"From joe Fri Nov 21"),
                (b"", b"Subject"),
                (b"A", b"1"),
                (b"", b"junk more: junk"),
                (b"Subject", b"2"),
            ],
        )
        self.assertEqual(header.get(b"subject"), b"2")
        self.assertEqual(header.get_all(b"subject"), [b"2"])
        self.assertEqual(reassemble(data, header), data[: header.body_start])

    def test_line_without_colon_is_found_by_no_name(self) -> None:
        header = parse_header(b"Subject\r\n\r\n")
        self.assertIsNone(header.get(b"subject"))
        self.assertEqual(header.raw_fields([b"subject"]), b"\r\n")

    def test_continuation_as_first_line(self) -> None:
        header = parse_header(b" folded: 1\r\nA: 2\r\n\r\n")
        self.assertEqual([field.name for field in header], [b" folded", b"A"])
        self.assertEqual(header.get(b"a"), b"2")

    def test_line_of_white_space_is_folding(self) -> None:
        header = parse_header(b"A: 1\r\n \r\nB: 2\r\n\r\nbody")
        self.assertEqual([field.value for field in header], [b"1", b"2"])

    def test_space_before_the_colon(self) -> None:
        header = parse_header(b"Subject \t: x\r\n\r\n")
        self.assertEqual(header.get(b"subject"), b"x")
        self.assertEqual(next(iter(header)).name, b"Subject \t")

    def test_nul_and_eight_bit(self) -> None:
        header = parse_header(b"A\0: 1\0\r\nB: \xff\xfe\r\n\xc3\xa4: x\r\n\r\n")
        self.assertEqual(header.get(b"a\0"), b"1\0")
        self.assertEqual(header.get(b"b"), b"\xff\xfe")
        self.assertEqual(header.get("\xe4"), b"x")

    def test_part_of_the_data(self) -> None:
        header = parse_header(MESSAGE, 0, 35)
        self.assertEqual([field.name for field in header], [b"From", b""])
        self.assertEqual(header.body_start, 35)

    def test_memory_map(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(MESSAGE)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = parse_header(data)
        self.assertEqual(header.get(b"subject"), b"one\ttwo  three")
        self.assertEqual(list(header), list(parse_header(MESSAGE)))

    def test_names(self) -> None:
        self.assertEqual(set(parse_header(MESSAGE).names), {b"from", b"subject", b"x-empty"})


class LimitTests(SynchronousTestCase):
    def test_fields_beyond_the_limit_are_ignored(self) -> None:
        data = b"".join(b"F%d: x\r\n" % i for i in range(100_000)) + b"\r\nbody"
        header = parse_header(data)
        self.assertEqual(len(header), MAX_HEADER_FIELDS)
        self.assertEqual(header.get(b"f%d" % (MAX_HEADER_FIELDS - 1)), b"x")
        self.assertIsNone(header.get(b"f%d" % MAX_HEADER_FIELDS))
        self.assertEqual(header.body_start, len(data) - 4)
        self.assertTrue(header.raw_fields([], exclude=True).endswith(b"F9999: x\r\n\r\n"))

    def test_exactly_the_limit(self) -> None:
        data = b"F: x\r\n" * MAX_HEADER_FIELDS
        self.assertEqual(len(parse_header(data + b"\r\n")), MAX_HEADER_FIELDS)
        self.assertEqual(len(parse_header(data[:-2])), MAX_HEADER_FIELDS)

    def test_large_header(self) -> None:
        data = b"A: 1\r\nB: " + b"x" * (MAX_HEADER_OCTETS - 11) + b"\r\n"
        self.assertEqual(len(data), MAX_HEADER_OCTETS)
        self.assertEqual(len(parse_header(data + b"\r\nbody")), 2)
        header = parse_header(data + b"C: 3\r\n\r\nbody")
        self.assertEqual([field.name for field in header], [b"A", b"B"])
        self.assertEqual(header.body_start, MAX_HEADER_OCTETS + 8)

    def test_line_that_does_not_fit(self) -> None:
        header = parse_header(b"A: 1\r\nB: " + b"x" * MAX_HEADER_OCTETS + b"\r\n\r\n")
        self.assertEqual([field.name for field in header], [b"A"])
        header = parse_header(b"B: " + b"x" * MAX_HEADER_OCTETS + b"\r\n\r\n")
        self.assertEqual(list(header), [])


class RawFieldsTests(SynchronousTestCase):
    """RFC 3501 section 6.4.5: HEADER.FIELDS and HEADER.FIELDS.NOT."""

    def test_fields_in_message_order(self) -> None:
        header = parse_header(MESSAGE)
        self.assertEqual(
            header.raw_fields(["SUBJECT", b"from", b"to"]),
            b"From: Joe <joe@example.org>\r\nSubject: one\r\n\ttwo\r\n  three\r\n"
            b"subject: second\r\n\r\n",
        )

    def test_a_set_of_names_in_any_letter_case(self) -> None:
        header = parse_header(MESSAGE)
        for names in (["SUBJECT", b"From"], frozenset(("SUBJECT", b"From"))):
            for exclude in (False, True):
                self.assertEqual(
                    header.raw_fields(names, exclude=exclude),
                    header.raw_fields([b"subject", b"from"], exclude=exclude),
                )

    def test_excluded_fields(self) -> None:
        header = parse_header(MESSAGE)
        self.assertEqual(
            header.raw_fields([b"subject"], exclude=True),
            b"From: Joe <joe@example.org>\r\nX-Empty:\r\n\r\n",
        )
        self.assertEqual(header.raw_fields([], exclude=True), MESSAGE[: header.body_start])

    def test_junk_lines_belong_to_the_excluded(self) -> None:
        header = parse_header(b"junk\r\nA: 1\r\n\r\n")
        self.assertEqual(header.raw_fields([b"a"], exclude=True), b"junk\r\n\r\n")

    def test_nothing_found(self) -> None:
        header = parse_header(MESSAGE)
        self.assertEqual(header.raw_fields([b"to"]), b"\r\n")
        self.assertEqual(header.raw_fields([b"to"], blank_line=False), b"")

    def test_blank_line_as_it_is(self) -> None:
        self.assertEqual(parse_header(b"A: 1\n\nx").raw_fields([b"a"]), b"A: 1\n\n")
        # RFC 3501 section 6.4.5: none for a message with no body and no blank line.
        self.assertEqual(parse_header(b"A: 1\r\n").raw_fields([b"a"]), b"A: 1\r\n")

    def test_last_line_without_end(self) -> None:
        header = parse_header(b"A: 1\r\nB: 2")
        self.assertEqual(header.raw_fields([b"a"]), b"A: 1\r\n")
        self.assertEqual(header.raw_fields([b"b"]), b"B: 2")
        self.assertEqual(header.raw_fields([b"b"], exclude=True), b"A: 1\r\n")
        self.assertEqual(header.raw_fields([b"c"], exclude=True), b"A: 1\r\nB: 2")


class UnfoldTests(SynchronousTestCase):
    def test_line_ends_go_white_space_stays(self) -> None:
        self.assertEqual(unfold(b" a\r\n\tb\n  c\r\n"), b"a\tb  c")
