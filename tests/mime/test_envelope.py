"""ENVELOPE values (RFC 3501 section 7.4.2) and the strings they are made of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.envelope import envelope_octets, read_envelope, render_envelope
from mailkit.mime.headers import parse_header
from mailkit.mime.nstring import MAX_QUOTED, imap_string
from tests.mime.imap_grammar import read_envelope as check_envelope


class StringTests(SynchronousTestCase):
    def test_nil_and_quoted(self) -> None:
        for value, octets in (
            (None, b"NIL"),
            (b"", b'""'),
            (b"NIL", b'"NIL"'),
            (b"a b\t\x7f", b'"a b\t\x7f"'),
            (b'a"b\\c', b'"a\\"b\\\\c"'),
        ):
            self.assertEqual(imap_string(value), octets)

    def test_literals(self) -> None:
        for value, octets in (
            (b"a\rb", b"{3}\r\na\rb"),
            (b"a\nb", b"{3}\r\na\nb"),
            (b"\xc3\xa4", b"{2}\r\n\xc3\xa4"),
            (b'"\xff', b'{2}\r\n"\xff'),
            (b"x" * (MAX_QUOTED + 1), b"{1001}\r\n" + b"x" * 1001),
        ):
            self.assertEqual(imap_string(value), octets)
        self.assertEqual(imap_string(b"x" * MAX_QUOTED), b'"%b"' % (b"x" * MAX_QUOTED))

    def test_nul_is_dropped(self) -> None:
        self.assertEqual(imap_string(b"a\0b"), b'"ab"')
        self.assertEqual(imap_string(b"\0"), b'""')
        self.assertEqual(imap_string(b"\0\xff"), b"{1}\r\n\xff")
        self.assertEqual(imap_string(b"\0" + b"x" * 1000), b"{1000}\r\n" + b"x" * 1000)


class EnvelopeTests(SynchronousTestCase):
    def envelope(self, header: bytes) -> tuple[object, ...]:
        return check_envelope(envelope_octets(header + b"\r\nbody"))

    def test_example_of_rfc_3501(self) -> None:
        header = (
            b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
            b"From: Terry Gray <gray@cac.washington.edu>\r\n"
            b"Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
            b"To: imap@cac.washington.edu\r\n"
            b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
            b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
            b"MIME-Version: 1.0\r\n"
            b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n"
        )
        # RFC 3501 section 8
        self.assertEqual(
            envelope_octets(header),
            b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)"'
            b' "IMAP4rev1 WG mtg summary and minutes"'
            b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
            b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
            b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
            b' ((NIL NIL "imap" "cac.washington.edu"))'
            b' ((NIL NIL "minutes" "CNRI.Reston.VA.US")'
            b'("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL'
            b' "<B27397-0100000@cac.washington.edu>")',
        )

    def test_given_header(self) -> None:
        data = b"xxSubject: a\r\n\r\n"
        self.assertEqual(
            envelope_octets(data, parse_header(data, 2)),
            b'(NIL "a" NIL NIL NIL NIL NIL NIL NIL NIL)',
        )

    def test_nothing(self) -> None:
        self.assertEqual(self.envelope(b""), (None,) * 10)

    def test_present_but_empty(self) -> None:
        names = (b"Date", b"Subject", b"From", b"Sender", b"Reply-To", b"To", b"Cc", b"Bcc")
        header = b"".join(b"%b:\r\n" % name for name in (*names, b"In-Reply-To", b"Message-ID"))
        self.assertEqual(
            self.envelope(header), (b"", b"", None, None, None, None, None, None, b"", b"")
        )

    def test_sender_and_reply_to_default_to_from(self) -> None:
        author = [(None, None, b"a", b"x")]
        for extra in (b"", b"Sender:\r\nReply-To:\r\n", b"Sender: ,\r\nReply-To: (none)\r\n"):
            self.assertEqual(self.envelope(b"From: a@x\r\n" + extra)[2:5], (author,) * 3)
        self.assertEqual(
            self.envelope(b"From: a@x\r\nSender: b@x\r\nReply-To: c@x\r\n")[2:5],
            (author, [(None, None, b"b", b"x")], [(None, None, b"c", b"x")]),
        )

    def test_groups(self) -> None:
        self.assertEqual(
            self.envelope(b"To: A Group: Ed <c@a.test>, joe@b.test; , x@y.test\r\n")[5],
            [
                (None, None, b"A Group", None),
                (b"Ed", None, b"c", b"a.test"),
                (None, None, b"joe", b"b.test"),
                (None, None, None, None),
                (None, None, b"x", b"y.test"),
            ],
        )

    def test_route(self) -> None:
        self.assertEqual(
            self.envelope(b"From: A <@b,@c:d@e>\r\n")[2], [(b"A", b"@b,@c", b"d", b"e")]
        )

    def test_missing_host_is_no_group(self) -> None:
        self.assertEqual(self.envelope(b"From: root\r\n")[2], [(None, None, b"root", b"")])

    def test_several_destination_fields_count_as_one(self) -> None:
        # RFC 5322 section 4.5.3
        found = self.envelope(b"To: a@x\r\nSubject: s\r\nTO: b@x\r\nFrom: c@x\r\nFrom: d@x\r\n")
        self.assertEqual(found[5], [(None, None, b"a", b"x"), (None, None, b"b", b"x")])
        self.assertEqual(found[2], [(None, None, b"c", b"x")])

    def test_encoded_words_stay_and_folding_goes(self) -> None:
        found = self.envelope(b"Subject: =?utf-8?Q?=C3=A4?=\r\n =?utf-8?Q?b?=\r\n")
        self.assertEqual(found[1], b"=?utf-8?Q?=C3=A4?= =?utf-8?Q?b?=")

    def test_strings_that_cannot_be_quoted(self) -> None:
        found = self.envelope(
            b'Subject: \xc3\xa4 "x" \\ \0\r\nFrom: "\xff\\"" <\xfe@\xfd>\r\nMessage-ID: <a\rb>\r\n'
        )
        self.assertEqual(found[1], b'\xc3\xa4 "x" \\ ')
        self.assertEqual(found[2], [(b'\xff"', None, b"\xfe", b"\xfd")])
        self.assertEqual(found[9], b"<a\rb>")

    def test_common_and_other_forms_are_rendered_alike(self) -> None:
        for value in (
            b"a@b",
            b"<a@b>",
            b"  A   B\t<a.b@c.d> , c@d,",
            b'"A, B" <a@b>, "" <c@d>, e@f',
            b'"a\0b" <a@b>',
            b'"a\rb" <a@b>',
            b'"a\tb\x7f" <a@b>',
            b'"\xc3\xa4" <a@b>',
            b'"a \\" b" <a@b>',
            b"\xc3\xa4 <a@b>",
            b"\xc3@\xa4",
            b"a@b, c (d) <e@f>",
            b"a@b, G: c@d;",
            b"a@b\r\n\t, c@d",
            b"x" * 1000 + b"@" + b"y" * 1000,
            b"x" * 1001 + b" <a@b>",
            b"a@b, " * 300,
            b", ",
            b"nobody",
        ):
            for names in ((b"From",), (b"From", b"Sender"), (b"To", b"tO"), (b"Cc", b"bcc")):
                header = b"".join(b"%b: %b\r\n" % (name, value) for name in names)
                for data in (header, b"From: x@y\r\n" + header):
                    found = envelope_octets(data)
                    check_envelope(found)
                    general = render_envelope(read_envelope(parse_header(data)))
                    self.assertEqual(found, general, data)

    def test_value(self) -> None:
        header = parse_header(b"From: A <a@x>\r\nTo: b@y\r\nSubject: s\r\n\r\n")
        envelope = read_envelope(header)
        self.assertEqual(envelope.from_[0].addr_spec, "a@x")
        self.assertIs(envelope.sender, envelope.from_)
        self.assertEqual([address.addr_spec for address in envelope.to], ["b@y"])
        self.assertEqual((envelope.subject, envelope.date, envelope.cc), (b"s", None, []))
