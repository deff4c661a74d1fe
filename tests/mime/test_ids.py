"""Message identifiers and base subjects."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.headers import parse_header
from mailkit.mime.ids import MAX_REFERENCES, message_id, parse_message_ids, references
from mailkit.mime.subject import base_subject, split_subject


class MessageIDTests(SynchronousTestCase):
    def test_message_id(self) -> None:
        for field, expected in (
            (b"Message-ID: <1234@local.machine.example>\r\n", b"<1234@local.machine.example>"),
            (b"Message-Id:  junk <a@b> (comment)\r\n", b"<a@b>"),
            (b"Message-ID: <no-at-sign>\r\n", b"<no-at-sign>"),
            (b"Message-ID: a@b\r\n", None),
            (b"Message-ID: <>\r\n", None),
            (b"Message-ID:\r\n", None),
            (b"Subject: x\r\n", None),
        ):
            self.assertEqual(message_id(parse_header(field + b"\r\n")), expected)

    def test_quotes_that_are_not_needed(self) -> None:
        # RFC 5256 section 3: both name the same message.
        self.assertEqual(
            parse_message_ids(
                b'<"01KF8JCEOCBS0045PS"@xxx.yyy.com> <01KF8JCEOCBS0045PS@xxx.yyy.com>'
            ),
            [b"<01KF8JCEOCBS0045PS@xxx.yyy.com>"] * 2,
        )
        self.assertEqual(parse_message_ids(b'<"a b"@c> <"a\\.b"@c>'), [b'<"a b"@c>', b"<a.b@c>"])

    def test_broken(self) -> None:
        self.assertEqual(parse_message_ids(b'<a b@c> <d@e <f@g>> <"h> <i@j>'), [b"<f@g>", b"<i@j>"])

    def test_references(self) -> None:
        header = parse_header(b"References: <a@b>\r\n <c@d>\r\nIn-Reply-To: <e@f>\r\n\r\n")
        self.assertEqual(references(header), [b"<a@b>", b"<c@d>"])

    def test_in_reply_to_when_references_has_none(self) -> None:
        header = parse_header(b"References: junk\r\nIn-Reply-To: Joe's <e@f> of <g@h>\r\n\r\n")
        self.assertEqual(references(header), [b"<e@f>"])
        self.assertEqual(references(parse_header(b"\r\n")), [])

    def test_the_last_ones_are_kept(self) -> None:
        ids = b" ".join(b"<%d@x>" % i for i in range(MAX_REFERENCES + 5))
        found = references(parse_header(b"References: " + ids + b"\r\n\r\n"))
        self.assertEqual(
            (len(found), found[-1]), (MAX_REFERENCES, b"<%d@x>" % (MAX_REFERENCES + 4))
        )


class BaseSubjectTests(SynchronousTestCase):
    def test_rfc_5256_section_2_1(self) -> None:
        for subject, base, reply in (
            ("hello", "hello", False),
            ("", "", False),
            ("  hello\t\r\n  world ", "hello world", False),
            ("Re: hello", "hello", True),
            ("RE : hello", "hello", True),
            ("Fwd: hello", "hello", True),
            ("fw: hello", "hello", True),
            ("Re: Fwd: RE: hello", "hello", True),
            ("Re[2]: hello", "hello", True),
            ("Re [list] : hello", "hello", True),
            ("hello (fwd)", "hello", True),
            ("hello (fwd) (FWD)  ", "hello", True),
            ("[list] hello", "hello", False),
            ("[list] Re: hello", "hello", True),
            ("[a] [b] Re: [c] hello", "hello", True),
            ("[list]", "[list]", False),
            ("[a][b]", "[b]", False),
            ("Re: [list]", "[list]", True),
            ("[fwd: hello]", "hello", True),
            ("[Fwd: Re: hello (fwd)]", "hello", True),
            ("Re: [fwd: [fwd: hello]] (fwd)", "hello", True),
            ("[fwd: hello", "[fwd: hello", False),
            ("[fwd:]", "", True),
            ("Re:", "", True),
            ("Re", "Re", False),
            ("Regards: x", "Regards: x", False),
            ("hello [list]", "hello [list]", False),
            ("fwdx: a", "fwdx: a", False),
        ):
            self.assertEqual(split_subject(subject), (base, reply), subject)
            self.assertEqual(base_subject(subject), base)
