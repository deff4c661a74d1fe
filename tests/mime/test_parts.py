"""The MIME tree: offsets, nesting, broken structure, part numbers."""

from __future__ import annotations

import mmap
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.parts import (
    Limits,
    Part,
    parse_message,
)

MIXED = b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n'


def shape(part: Part) -> str | list[object]:
    """Subtypes of a tree; a part with children is a list of its subtype and them."""
    name = part.subtype.decode("latin-1")
    return [name, *map(shape, part.children)] if part.children else name


def bodies(data: bytes, root: Part) -> list[bytes]:
    """The bodies of the leaves."""
    return [data[p.body_start : p.body_end] for p in root.walk() if not p.children]


def check_offsets(case: SynchronousTestCase, data: bytes, root: Part) -> None:
    """Each part lies inside its parent, behind the one before it."""
    case.assertEqual((root.header_start, root.end), (0, len(data)))
    for part in root.walk():
        case.assertLessEqual(part.header_start, part.body_start)
        case.assertLessEqual(part.body_start, part.body_end)
        case.assertEqual(part.end, part.body_end)
        case.assertEqual(part.size, part.body_end - part.body_start)
        previous = part.body_start
        for child in part.children:
            case.assertLessEqual(previous, child.header_start)
            case.assertLessEqual(child.body_end, part.body_end)
            previous = child.body_end


class TreeCase(SynchronousTestCase):
    def parse(self, data: bytes) -> Part:
        root = parse_message(data)
        check_offsets(self, data, root)
        return root


class WellFormedTests(TreeCase):
    def test_plain_message(self) -> None:
        data = b"Subject: x\r\n\r\nOne\r\nTwo\r\n"
        root = self.parse(data)
        self.assertEqual((root.type, root.subtype, root.parameters), (b"text", b"plain", ()))
        self.assertEqual((root.body_start, root.body_end), (14, 24))
        self.assertEqual(root.lines(data), 2)
        self.assertEqual(root.transfer_encoding, b"7bit")
        self.assertFalse(root.is_multipart)
        self.assertIsNone(root.embedded)

    def test_multipart(self) -> None:
        data = (
            MIXED % b"simple boundary" + b"preamble\r\n--simple boundary\r\n\r\nfirst\r\n"
            b"--simple boundary\r\nContent-type: text/html\r\n\r\nsecond\r\n\r\n"
            b"--simple boundary--\r\nepilogue\r\n"
        )
        root = self.parse(data)
        self.assertTrue(root.is_multipart)
        self.assertEqual(shape(root), ["mixed", "plain", "html"])
        # RFC 2046 section 5.1.1: the line end before a delimiter belongs to it.
        self.assertEqual(bodies(data, root), [b"first", b"second\r\n"])
        self.assertEqual(root.body_end, len(data))

    def test_bare_line_feeds(self) -> None:
        data = (
            MIXED % b"b" + b"--b\r\n\r\nfirst\r\n\r\n--b\r\nX: y\r\n\r\nsecond\r\n--b--\r\n"
        ).replace(b"\r\n", b"\n")
        self.assertEqual(bodies(data, self.parse(data)), [b"first\n", b"second"])

    def test_mixed_line_ends(self) -> None:
        data = MIXED % b"b" + b"--b\n\nfirst\n--b\r\n\r\nsecond\r\n--b--\n"
        self.assertEqual(bodies(data, self.parse(data)), [b"first", b"second"])

    def test_nested(self) -> None:
        data = (
            MIXED % b"out" + b"--out\r\n" + MIXED % b"in" + b"--in\r\n\r\n1\r\n--in\r\n\r\n2\r\n"
            b"--in--\r\nepilogue\r\n--out\r\n\r\n3\r\n--out--\r\n"
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", ["mixed", "plain", "plain"], "plain"])
        self.assertEqual(bodies(data, root), [b"1", b"2", b"3"])
        inner = root.children[0]
        self.assertTrue(data[: inner.body_end].endswith(b"epilogue"))

    def test_embedded_message(self) -> None:
        data = (
            MIXED % b"b" + b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n"
            b"inner\r\n--b--\r\n"
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", ["rfc822", "plain"]])
        outer = root.children[0]
        inner = outer.embedded
        assert inner is not None
        self.assertEqual(inner.header.get(b"subject"), b"inner")
        self.assertEqual((inner.header_start, inner.end), (outer.body_start, outer.end))
        self.assertEqual(bodies(data, root), [b"inner"])

    def test_message_global(self) -> None:
        root = self.parse(b"Content-Type: message/global\r\n\r\nSubject: x\r\n\r\ny")
        self.assertEqual(shape(root), ["global", "plain"])

    def test_other_messages_are_leaves(self) -> None:
        for subtype in (b"delivery-status", b"external-body", b"partial"):
            root = self.parse(b"Content-Type: message/%b\r\n\r\nSubject: x\r\n\r\ny" % subtype)
            self.assertEqual(root.children, [])
            self.assertIsNone(root.embedded)

    def test_digest_parts_are_messages(self) -> None:
        data = (
            b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: 1\r\n\r\nx\r\n"
            b"--b\r\nContent-Type: text/html\r\n\r\ny\r\n--b--\r\n"
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["digest", ["rfc822", "plain"], "html"])
        inner = root.children[0].embedded
        assert inner is not None
        self.assertEqual(inner.header.get(b"subject"), b"1")

    def test_rfc_2046_section_5_1_1_white_space_behind_a_boundary(self) -> None:
        data = MIXED % b"b" + b"--b \t\r\n\r\n1\r\n--b  \r\n\r\n2\r\n--b-- \r\n--b\r\n\r\n3"
        self.assertEqual(bodies(data, self.parse(data)), [b"1", b"2"])

    def test_rfc_2049_appendix_a(self) -> None:
        data = (
            b"MIME-Version: 1.0\r\n"
            b"From: Nathaniel Borenstein <nsb@nsb.fv.com>\r\n"
            b"To: Ned Freed <ned@innosoft.com>\r\n"
            b"Date: Fri, 07 Oct 1994 16:15:05 -0700 (PDT)\r\n"
            b"Subject: A multipart example\r\n"
            b"Content-Type: multipart/mixed;\r\n"
            b"              boundary=unique-boundary-1\r\n"
            b"\r\n"
            b"This is the preamble area of a multipart message.\r\n"
            b"\r\n"
            b"--unique-boundary-1\r\n"
            b"\r\n"
            b"  ... Some text appears here ...\r\n"
            b"\r\n"
            b"--unique-boundary-1\r\n"
            b"Content-type: text/plain; charset=US-ASCII\r\n"
            b"\r\n"
            b"This could have been part of the previous part.\r\n"
            b"\r\n"
            b"--unique-boundary-1\r\n"
            b"Content-Type: multipart/parallel; boundary=unique-boundary-2\r\n"
            b"\r\n"
            b"--unique-boundary-2\r\n"
            b"Content-Type: audio/basic\r\n"
            b"Content-Transfer-Encoding: base64\r\n"
            b"\r\n"
            b"YXVkaW8=\r\n"
            b"\r\n"
            b"--unique-boundary-2\r\n"
            b"Content-Type: image/jpeg\r\n"
            b"Content-Transfer-Encoding: base64\r\n"
            b"\r\n"
            b"aW1hZ2U=\r\n"
            b"\r\n"
            b"--unique-boundary-2--\r\n"
            b"\r\n"
            b"--unique-boundary-1\r\n"
            b"Content-type: text/enriched\r\n"
            b"\r\n"
            b"This is <bold><italic>enriched.</italic></bold>\r\n"
            b"\r\n"
            b"--unique-boundary-1\r\n"
            b"Content-Type: message/rfc822\r\n"
            b"\r\n"
            b"From: (mailbox in US-ASCII)\r\n"
            b"To: (address in US-ASCII)\r\n"
            b"Subject: (subject in US-ASCII)\r\n"
            b"Content-Type: Text/plain; charset=ISO-8859-1\r\n"
            b"Content-Transfer-Encoding: Quoted-printable\r\n"
            b"\r\n"
            b"  ... Additional text in ISO-8859-1 goes here ...\r\n"
            b"\r\n"
            b"--unique-boundary-1--\r\n"
        )
        root = self.parse(data)
        self.assertEqual(
            shape(root),
            [
                "mixed",
                "plain",
                "plain",
                ["parallel", "basic", "jpeg"],
                "enriched",
                ["rfc822", "plain"],
            ],
        )
        inner = root.children[4].children[0]
        self.assertEqual((inner.type, inner.charset), (b"text", "ISO-8859-1"))
        self.assertEqual(inner.transfer_encoding, b"Quoted-printable")

    def test_offsets_are_those_of_the_data(self) -> None:
        message = MIXED % b"b" + b"--b\r\n\r\nfirst\r\n--b--\r\n"
        data = b"x" * 10 + message + b"\r\n--b\r\n\r\nmore"
        root = parse_message(data, 10, 10 + len(message))
        self.assertEqual((root.header_start, root.end), (10, 10 + len(message)))
        self.assertEqual(bodies(data, root), [b"first"])

    def test_memory_map(self) -> None:
        data = MIXED % b"b" + b"--b\r\n\r\nfirst\r\n\r\n--b\r\nX: y\r\n\r\n" + b"\r\n" * 300_000
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                root = parse_message(mapped)
                self.assertEqual(root.children[1].lines(mapped), 300_000)
        check_offsets(self, data, root)
        self.assertEqual(bodies(data, root), bodies(data, parse_message(data)))


class FieldTests(SynchronousTestCase):
    def part(self, fields: bytes) -> Part:
        return parse_message(fields + b"\r\n\r\nbody")

    def test_all_fields(self) -> None:
        part = self.part(
            b'Content-Type: Application/PDF; Name=a.pdf; x-y="1;2"\r\n'
            b"Content-Transfer-Encoding: BASE64 (really)\r\n"
            b"Content-ID: <1@x>\r\n"
            b"Content-Description: =?utf-8?Q?=C3=A4?=\r\n"
            b"Content-Disposition: Attachment; filename*=utf-8''%C3%A4.pdf; size=3\r\n"
            b"Content-Language: de, en-GB (British)\r\n"
            b"Content-Location: http://x.test/\r\n"
            b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ=="
        )
        self.assertEqual((part.type, part.subtype), (b"application", b"pdf"))
        self.assertEqual(part.parameters, ((b"Name", b"a.pdf"), (b"x-y", b"1;2")))
        self.assertEqual(part.transfer_encoding, b"BASE64")
        self.assertEqual(part.content_id, b"<1@x>")
        self.assertEqual(part.description, b"=?utf-8?Q?=C3=A4?=")
        self.assertEqual(
            part.disposition,
            (b"Attachment", ((b"filename*", b"utf-8''%C3%A4.pdf"), (b"size", b"3"))),
        )
        self.assertEqual(part.filename, "\xe4.pdf")
        self.assertEqual(part.languages, [b"de", b"en-GB"])
        self.assertEqual(part.location, b"http://x.test/")
        self.assertEqual(part.md5, b"Q2hlY2sgSW50ZWdyaXR5IQ==")
        self.assertIsNone(part.charset)

    def test_no_fields(self) -> None:
        part = self.part(b"Subject: x")
        self.assertEqual(part.transfer_encoding, b"7bit")
        for value in (part.content_id, part.description, part.disposition, part.filename):
            self.assertIsNone(value)
        for value in (part.location, part.md5, part.charset):
            self.assertIsNone(value)
        self.assertEqual(part.languages, [])

    def test_filename_of_the_content_type(self) -> None:
        part = self.part(b"Content-Type: image/gif; name=a.gif\r\nContent-Disposition: inline")
        self.assertEqual(part.filename, "a.gif")

    def test_an_empty_filename_is_none(self) -> None:
        empty = b'\r\nContent-Disposition: attachment; filename=""'
        self.assertEqual(
            self.part(b"Content-Type: image/gif; name=a.gif" + empty).filename, "a.gif"
        )
        for name in (b"", b'; name=""'):
            self.assertIsNone(self.part(b"Content-Type: image/gif" + name + empty).filename)

    def test_content_types(self) -> None:
        for value, content_type in (
            (b"TEXT/Html", b"text/html"),
            (b" (a) text (b) / (c) html (d) ; charset=x", b"text/html"),
            (b"text/html;", b"text/html"),
            # RFC 2045 section 5.2: anything with invalid syntax is text/plain.
            (b"text", b"text/plain"),
            (b"application", b"text/plain"),
            (b"/html", b"text/plain"),
            (b"text/", b"text/plain"),
            (b"", b"text/plain"),
            (b"; charset=utf-8", b"text/plain"),
            (b'"text"/html', b"text/plain"),
        ):
            part = self.part(b"Content-Type: " + value)
            self.assertEqual(part.type + b"/" + part.subtype, content_type, value)

    def test_first_content_type_counts(self) -> None:
        part = self.part(b"Content-Type: text/html\r\nContent-Type: text/xml")
        self.assertEqual(part.subtype, b"html")

    def test_broken_disposition(self) -> None:
        part = self.part(b'Content-Disposition: ; filename="x"')
        self.assertIsNone(part.disposition)
        self.assertIsNone(part.filename)


class BrokenTests(TreeCase):
    def test_no_boundary_parameter(self) -> None:
        for value in (b"multipart/mixed", b'multipart/mixed; boundary=""', b"multipart/mixed; x=y"):
            data = b"Content-Type: " + value + b"\r\n\r\n--\r\n\r\nlost\r\n----\r\n"
            root = self.parse(data)
            self.assertTrue(root.is_multipart)
            self.assertEqual(root.children, [])

    def test_boundary_that_never_comes(self) -> None:
        root = self.parse(MIXED % b"b" + b"--c\r\n\r\nx\r\n")
        self.assertEqual(root.children, [])

    def test_no_closing_delimiter(self) -> None:
        data = MIXED % b"b" + b"--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n"
        self.assertEqual(bodies(data, self.parse(data)), [b"1", b"2\r\n"])

    def test_closing_delimiter_alone(self) -> None:
        root = self.parse(MIXED % b"b" + b"--b--\r\n--b\r\n\r\nx\r\n")
        self.assertEqual(root.children, [])

    def test_delimiter_at_the_very_end(self) -> None:
        self.assertEqual(
            shape(self.parse(MIXED % b"b" + b"--b\r\n\r\n1\r\n--b")), ["mixed", "plain"]
        )
        self.assertEqual(self.parse(MIXED % b"b" + b"--b").children, [])

    def test_outer_delimiter_ends_inner_multipart(self) -> None:
        data = (
            MIXED % b"out" + b"--out\r\n" + MIXED % b"in" + b"--in\r\n\r\n1\r\n--out\r\n\r\n2\r\n"
            b"--in\r\n\r\nno part\r\n--out--\r\n"
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", ["mixed", "plain"], "plain"])
        self.assertEqual(bodies(data, root), [b"1", b"2\r\n--in\r\n\r\nno part"])

    def test_outer_delimiter_ends_a_header(self) -> None:
        # The same message is in Dovecot's tests, with the same outcome.
        data = (
            b'Content-Type: multipart/mixed; boundary=":foo"\n\n--:foo\n--:foo\n'
            b"Content-Type: text/plain\n--:foo\nContent-Type: text/plain\r\n--:foo\n"
            b"Content-Type: text/html\n--:foo--\n"
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", "plain", "plain", "plain", "html"])
        self.assertEqual(
            [(p.header_start, p.body_start, p.body_end) for p in root.children],
            [(55, 55, 55), (62, 86, 86), (94, 118, 118), (127, 150, 150)],
        )

    def test_outer_delimiter_ends_the_header_of_a_multipart(self) -> None:
        data = (
            MIXED % b"ab"
            + b'--ab\nContent-Type: multipart/mixed; boundary="a"\n--ab\n\n1\n--a\n\nx'
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", "mixed", "plain"])
        self.assertEqual(bodies(data, root), [b"", b"1\n--a\n\nx"])

    def test_boundary_that_begins_with_another(self) -> None:
        for outer, inner in (
            (b"a", b"ab"),
            (b"ab", b"a"),
            (b"a", b"a--"),
            (b"a--", b"a"),
            (b"a", b"a-"),
        ):
            data = (
                MIXED % outer
                + b"--%b\r\n" % outer
                + MIXED % inner
                + b"--%b\r\n\r\n1\r\n--%b\r\n\r\n2\r\n--%b--\r\n" % (inner, inner, inner)
                + b"--%b\r\n\r\n3\r\n--%b--\r\n" % (outer, outer)
            )
            root = self.parse(data)
            if b"a--" not in (outer, inner):
                self.assertEqual(shape(root), ["mixed", ["mixed", "plain", "plain"], "plain"])
                self.assertEqual(bodies(data, root), [b"1", b"2", b"3"])

    def test_longer_word_is_no_delimiter(self) -> None:
        data = MIXED % b"b" + b"--b\r\n\r\n--bb\r\n--b--b\r\n--b-\r\n -- b\r\nx --b\r\n--b--\r\n"
        self.assertEqual(
            bodies(data, self.parse(data)), [b"--bb\r\n--b--b\r\n--b-\r\n -- b\r\nx --b"]
        )

    def test_many_lines_that_begin_like_a_delimiter(self) -> None:
        text = b"--bx\r\n" * 50
        data = MIXED % b"b" + b"--b\r\n\r\n" + text + b"--b\r\n\r\n" + text + b"--b--"
        self.assertEqual(bodies(data, self.parse(data)), [text[:-2], text[:-2]])

    def test_junk_behind_a_delimiter(self) -> None:
        data = MIXED % b"b" + b"--b junk\r\n\r\n1\r\n--b-- junk\r\n--b\r\n"
        self.assertEqual(bodies(data, self.parse(data)), [b"1"])

    def test_boundary_parameter_that_ends_with_blanks(self) -> None:
        data = (
            b'Content-Type: multipart/mixed; boundary="b  "\r\n\r\n'
            b"--b  \r\n\r\n1\r\n--b\r\n\r\n2\r\n--b  --\r\nepilogue"
        )
        self.assertEqual(bodies(data, self.parse(data)), [b"1", b"2"])

    def test_boundary_of_rfc_2231(self) -> None:
        data = (
            b"Content-Type: multipart/mixed; boundary*0=one; boundary*1=two\r\n\r\n"
            b"--onetwo\r\n\r\n1\r\n--onetwo--"
        )
        self.assertEqual(bodies(data, self.parse(data)), [b"1"])
        data = b"Content-Type: multipart/mixed; boundary*=''a%20b\r\n\r\n--a b\r\n\r\n1\r\n--a b--"
        self.assertEqual(bodies(data, self.parse(data)), [b"1"])

    def test_same_boundary_inside(self) -> None:
        # The innermost multipart gets the delimiter lines, as Dovecot has it.
        data = (
            MIXED % b"a"
            + b"--a\r\n"
            + MIXED % b"a"
            + b"--a\r\n\r\n1\r\n--a--\r\n--a\r\n\r\n2\r\n--a--\r\n"
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", ["mixed", "plain"], "plain"])
        self.assertEqual(bodies(data, root), [b"1", b"2"])

    def test_same_boundary_inside_never_closed(self) -> None:
        data = MIXED % b"a" + b"--a\r\n" + MIXED % b"a" + b"--a\r\n\r\nbody\r\n"
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", ["mixed", "plain"]])
        self.assertEqual(root.children[0].body_end, len(data))

    def test_same_boundary_inside_a_header_that_is_cut(self) -> None:
        data = (
            MIXED % b"a" + b"--a\r\nContent-Type: multipart/x; boundary=a\r\n--a\r\n\r\n1\r\n--a--"
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", "x", "plain"])
        self.assertEqual(bodies(data, root), [b"", b"1"])

    def test_same_boundary_in_an_embedded_message(self) -> None:
        data = (
            MIXED % b"a"
            + b"--a\r\nContent-Type: message/rfc822\r\n\r\n"
            + MIXED % b"a"
            + b"--a\r\n\r\n1\r\n--a--\r\n--a\r\n\r\n2\r\n--a--\r\n"
        )
        root = self.parse(data)
        self.assertEqual(shape(root), ["mixed", ["rfc822", ["mixed", "plain"]], "plain"])

    def test_no_blank_line_behind_the_header(self) -> None:
        # Only an empty line ends the header: all delimiter lines lie in it.
        root = self.parse(b"Content-Type: multipart/mixed; boundary=b\r\n--b\r\n--b--\r\n")
        self.assertEqual((root.children, root.size), ([], 0))

    def test_empty_parts(self) -> None:
        data = MIXED % b"b" + b"--b\r\n\r\n--b\r\n\r\n\r\n--b\r\nX: y\r\n\r\n--b--"
        self.assertEqual(bodies(data, self.parse(data)), [b"", b"", b""])

    def test_empty_line_before_an_outer_delimiter(self) -> None:
        # It ends the header of the innermost part, so everything around includes it.
        for inner in (
            MIXED % b"in" + b"--in\r\nX: y\r\n\r\n",
            b"Content-Type: message/rfc822\r\n\r\nX: y\r\n\r\n",
            b"Content-Type: message/rfc822\r\n\r\n" + MIXED % b"in" + b"--in\r\nX: y\r\n\r\n",
        ):
            data = MIXED % b"out" + b"--out\r\n" + inner + b"--out--\r\n"
            part = self.parse(data)
            while part.children:
                part = part.children[0]
                self.assertTrue(data[: part.end].endswith(b"X: y\r\n\r\n"))

    def test_empty_embedded_message(self) -> None:
        root = self.parse(b"Content-Type: message/rfc822\r\n\r\n")
        self.assertEqual(shape(root), ["rfc822", "plain"])

    def test_empty_data(self) -> None:
        root = self.parse(b"")
        self.assertEqual((root.type, root.size, root.lines(b"")), (b"text", 0, 0))


class LimitTests(TreeCase):
    def nested(self, depth: int) -> bytes:
        return b"".join(MIXED % b"b%d" % i + b"--b%d\r\n" % i for i in range(depth))

    def test_depth(self) -> None:
        data = self.nested(5) + b"\r\nx"
        root = parse_message(data, limits=Limits(depth=2))
        self.assertEqual(shape(root), ["mixed", ["mixed", "octet-stream"]])
        leaf = root.children[0].children[0]
        self.assertEqual(leaf.type, b"application")
        self.assertIn(b"--b4\r\n\r\nx", data[leaf.body_start : leaf.body_end])

    def test_depth_of_messages(self) -> None:
        data = b"Content-Type: message/rfc822\r\n\r\n" * 1000
        depth = 0
        part = self.parse(data)
        while part.children:
            part = part.children[0]
            depth += 1
        self.assertEqual((depth, part.subtype), (100, b"octet-stream"))

    def test_parts(self) -> None:
        data = MIXED % b"b" + b"--b\r\n\r\nx\r\n" * 20
        self.assertEqual(len(parse_message(data, limits=Limits(parts=5)).children), 4)
        data = MIXED % b"b" + b"--b\r\n\r\n" * 20_000
        self.assertEqual(sum(1 for _ in self.parse(data).walk()), 10_000)

    def test_message_that_cannot_be_opened_is_opaque(self) -> None:
        data = b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n"
        self.assertEqual(shape(parse_message(data, limits=Limits(parts=1))), "octet-stream")
