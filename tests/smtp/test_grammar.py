"""Command lines, addresses, parameters and replies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import Path
from mailkit.smtp.grammar import (
    MAX_REPLY_LINE,
    MAX_REPLY_LINES,
    Limits,
    Refused,
    Reply,
    parse_command,
    parse_helo,
    parse_mail,
    parse_mailbox,
    parse_rcpt,
    parse_size,
    parse_xtext,
)

ATEXT = b"!#$%&'*+-/=?^_`{|}~"


class CommandTests(SynchronousTestCase):
    def test_verb_and_argument(self) -> None:
        for line, expected in (
            (b"QUIT", (b"QUIT", b"")),
            (b"quit", (b"QUIT", b"")),
            (b"MAIL FROM:<>", (b"MAIL", b"FROM:<>")),
            (b"mAiL   from:<>", (b"MAIL", b"from:<>")),
            # RFC 5321 section 4.1.1: trailing white space is tolerated.
            (b"RSET \t ", (b"RSET", b"")),
            (b"NOOP \xc3\xa9", (b"NOOP", b"\xc3\xa9")),
        ):
            self.assertEqual(parse_command(line), expected, line)

    def test_every_octet_alone(self) -> None:
        for octet in range(256):
            line = bytes((octet,))
            if octet < 0x20 or octet in (0x20, 0x7F):
                with self.assertRaises(Refused) as caught:
                    parse_command(line)
                self.assertEqual(caught.exception.reply.code, 500, octet)
            else:
                self.assertEqual(parse_command(line), (line.upper(), b""))

    def test_control_characters_are_refused_anywhere(self) -> None:
        for line in (b"NO\0OP", b"NOOP \0", b"NOOP a\rb", b"NOOP \x7f", b""):
            with self.assertRaises(Refused) as caught:
                parse_command(line)
            self.assertEqual(caught.exception.reply[:2], (500, "5.5.2"), line)

    @given(st.binary(max_size=60))
    def test_never_anything_but_a_refusal(self, line: bytes) -> None:
        for parse in (parse_command, parse_mail, parse_rcpt, parse_helo):
            try:
                parse(line)
            except Refused as refusal:
                self.assertIn(refusal.reply.code, (500, 501))


class PathTests(SynchronousTestCase):
    def mail(self, path: bytes, limits: Limits | None = None) -> Path:
        return parse_mail(b"FROM:" + path, limits or Limits())[0]

    def refused(self, path: bytes) -> Reply:
        with self.assertRaises(Refused) as caught:
            self.mail(path)
        with self.assertRaises(Refused) as at_rcpt:
            parse_rcpt(b"TO:" + path)
        self.assertEqual(caught.exception.reply.code, 501, path)
        self.assertEqual(at_rcpt.exception.reply.code, 501, path)
        return caught.exception.reply

    def test_forms_that_are_addresses(self) -> None:
        for octets, local, domain in (
            (b"<ann@example.org>", "ann", "example.org"),
            (b"<Ann.Lee@Example.ORG>", "Ann.Lee", "Example.ORG"),
            (b"<ann@localhost>", "ann", "localhost"),
            (b"<a@1.2>", "a", "1.2"),
            (b"<a@x--y.example>", "a", "x--y.example"),
            (b"<" + ATEXT + b"@example.org>", ATEXT.decode(), "example.org"),
            (b'<"ann lee"@example.org>', "ann lee", "example.org"),
            (b'<"a\\"\\\\\\ b"@example.org>', 'a"\\ b', "example.org"),
            # RFC 5321 section 4.1.2: all quoted forms are equivalent.
            (b'<"ann"@example.org>', "ann", "example.org"),
            (b'<""@example.org>', "", "example.org"),
            (b'<"<a>@b:"@example.org>', "<a>@b:", "example.org"),
            (b"<ann@[192.0.2.1]>", "ann", "[192.0.2.1]"),
            (b"<ann@[IPv6:2001:db8::1]>", "ann", "[IPv6:2001:db8::1]"),
            (b"<ann@[ipv6:::ffff:192.0.2.1]>", "ann", "[ipv6:::ffff:192.0.2.1]"),
            (b"<ann@[x25:1234]>", "ann", "[x25:1234]"),
            ("<jürgen@bücher.example>".encode(), "jürgen", "bücher.example"),
            ('<"jür gen"@example.org>'.encode(), "jür gen", "example.org"),
            # RFC 5321 section 3.3: source routes are ignored.
            (b"<@a.example,@b.example:ann@example.org>", "ann", "example.org"),
            # lenient: blanks after the colon.
            (b"  <ann@example.org>", "ann", "example.org"),
        ):
            self.assertEqual(self.mail(octets), Path(local, domain), octets)
            self.assertEqual(parse_rcpt(b"to:" + octets)[0], Path(local, domain), octets)

    def test_forms_that_are_not(self) -> None:
        for octets in (
            b"ann@example.org",
            b"<ann@example.org",
            b"<ann>",
            b"<@example.org>",
            b"<ann@>",
            b"<ann@.example>",
            b"<ann@example.>",
            b"<ann@-example>",
            b"<ann@example->",
            b"<ann@exam_ple.org>",
            b"<.ann@example.org>",
            b"<ann.@example.org>",
            b"<a..b@example.org>",
            b"<a b@example.org>",
            b'<"a@example.org>',
            b'<"a"b"@example.org>',
            b'<"a\\"@example.org>',
            b"<a,b@example.org>",
            b"<a@b@example.org>",
            b"<a@example.org>b",
            b"<a@example.org>SIZE=1",
            b"<<a@example.org>>",
            b"<a@example.org> >",
            b"<ann@[192.0.2.256]>",
            b"<ann@[192.0.2]>",
            b"<ann@[192.0.2.1.5]>",
            b"<ann@[IPv6:2001:db8:::1]>",
            b"<ann@[IPv6:fe80::1%eth0]>",
            b"<ann@[IPv6:junk]>",
            # RFC 5321 section 4.1.3: "::" stands for two groups at least.
            b"<ann@[IPv6:1:2:3:4:5:6:7::]>",
            b"<ann@[IPv6:1:2:3:4:5::192.0.2.1]>",
            b"<ann@[]>",
            b"<ann@[a[b]>",
            b"<@a.example:@b.example:ann@example.org>",
            b"<@a.example ann@example.org>",
            b"<\xff@example.org>",
            b"<ann@\xc3.example>",
            b"<ann\x01@example.org>",
            b'<"ann\t"@example.org>',
        ):
            self.refused(octets)

    def test_six_groups_beside_the_double_colon(self) -> None:
        for text in (b"1:2:3:4:5:6::", b"::1:2:3:4:5:6", b"::", b"1:2:3:4::192.0.2.1"):
            self.assertEqual(self.mail(b"<a@[IPv6:%b]>" % text).local_part, "a")

    def test_the_texts_help(self) -> None:
        self.assertIn("angle brackets", self.refused(b"ann@example.org").text)
        with self.assertRaises(Refused) as caught:
            parse_mail(b"TO:<ann@example.org>")
        self.assertEqual(caught.exception.reply[:2], (501, "5.5.4"))
        self.assertIn("MAIL FROM:<", caught.exception.reply.text)
        with self.assertRaises(Refused) as caught:
            parse_rcpt(b"")
        self.assertIn("RCPT TO:<", caught.exception.reply.text)

    def test_null_and_postmaster_stand_where_they_may(self) -> None:
        self.assertTrue(self.mail(b"<>").is_null)
        self.assertEqual(parse_rcpt(b"TO:<Postmaster>")[0], Path("Postmaster", ""))
        self.assertEqual(parse_rcpt(b"TO:<POSTMASTER>")[0], Path("POSTMASTER", ""))
        self.assertEqual(parse_rcpt(b"TO:<postmaster@b.c>")[0], Path("postmaster", "b.c"))
        for parse, argument in ((parse_rcpt, b"TO:<>"), (parse_mail, b"FROM:<Postmaster>")):
            with self.assertRaises(Refused):
                parse(argument)

    def test_every_octet_in_a_local_part(self) -> None:
        for octet in range(256):
            try:
                path = self.mail(b"<a%ba@example.org>" % bytes((octet,)))
            except Refused:
                good = False
            else:
                good = True
                self.assertEqual(path.local_part, f"a{chr(octet)}a")
            expected = (chr(octet).isalnum() and octet < 128) or octet in ATEXT or octet == 0x2E
            self.assertEqual(good, expected, octet)

    def test_every_octet_in_a_quoted_local_part_and_in_a_domain(self) -> None:
        for octet in range(256):
            for octets, expected in (
                # A backslash quotes the letter behind it.
                (b'<"a%ba"@b>', 0x20 <= octet < 0x7F and octet != 0x22),
                (b'<"a\\%ba"@b>', 0x20 <= octet < 0x7F),
                (b"<a@b%bb>", (octet < 128 and chr(octet).isalnum()) or octet in b"-."),
            ):
                try:
                    self.mail(octets % bytes((octet,)))
                    good = True
                except Refused:
                    good = False
                self.assertEqual(good, expected, (octets, octet))

    def test_limits_are_exact(self) -> None:
        self.assertEqual(self.mail(b"<%b@b>" % (b"a" * 64)).local_part, "a" * 64)
        self.assertIn("before @", self.refused(b"<%b@b>" % (b"a" * 65)).text)
        # 64 octets, not characters, and the quotes count.
        self.refused(b"<%b@b>" % ("ü" * 33).encode())
        self.refused(b'<"%b"@b>' % (b"a" * 63))
        wide = Limits(path=1000)
        label = b"a" * 63
        domain = b".".join((label, label, label, label))
        self.assertEqual(self.mail(b"<a@%b>" % domain, wide).domain, domain.decode())
        with self.assertRaises(Refused) as caught:
            self.mail(b"<a@%b.b>" % domain, wide)
        self.assertIn("domain is longer", caught.exception.reply.text)
        exact = b"<%b@%b>" % (b"a" * 60, b"b" * 193)
        self.assertEqual(len(exact), 256)
        self.assertEqual(self.mail(exact).domain, "b" * 193)
        self.assertIn("address is longer", self.refused(b"<%b@%b>" % (b"a" * 60, b"b" * 194)).text)

    def test_str_of_a_path_is_read_back(self) -> None:
        for path in (
            Path("ann", "example.org"),
            Path("ann lee", "example.org"),
            Path('a"\\b', "[192.0.2.1]"),
            Path("", "example.org"),
            Path("jürgen.x", "bücher.example"),
            Path(".ann", "example.org"),
        ):
            self.assertEqual(parse_mailbox(str(path).encode()), path)

    def test_lone_mailbox(self) -> None:
        for octets in (b"", b"<a@b>", b"a", b"a@b@c", b"\xff@b", b"a@[1]", b"%b@b" % (b"a" * 65)):
            self.assertRaises(ValueError, parse_mailbox, octets)

    def test_a_long_bad_address_costs_little(self) -> None:
        # A backtracking expression would take minutes.
        for octets in (b"<" + b"a-" * 1000, b"<@" + b"a." * 1000, b'<"' + b"\\a" * 1000):
            self.refused(octets)


class ParameterTests(SynchronousTestCase):
    def parameters(self, text: bytes) -> dict[str, str | None]:
        return dict(parse_mail(b"FROM:<>" + text)[1])

    def refused(self, text: bytes) -> Reply:
        with self.assertRaises(Refused) as caught:
            self.parameters(text)
        self.assertEqual(caught.exception.reply[:2], (501, "5.5.4"), text)
        return caught.exception.reply

    def test_keywords_and_values(self) -> None:
        self.assertEqual(self.parameters(b""), {})
        self.assertEqual(
            self.parameters(b" size=10 Body=8bitMIME SMTPUTF8 x-1=a<>b"),
            {"SIZE": "10", "BODY": "8bitMIME", "SMTPUTF8": None, "X-1": "a<>b"},
        )
        # lenient: several spaces.
        self.assertEqual(self.parameters(b"   A   B=c"), {"A": None, "B": "c"})
        self.assertEqual(self.parameters(" A=é".encode()), {"A": "é"})
        path, parameters = parse_rcpt(b"TO:<a@b> NOTIFY=NEVER")
        self.assertEqual((path, parameters), (Path("a", "b"), {"NOTIFY": "NEVER"}))

    def test_bad_syntax(self) -> None:
        for text in (b" =a", b" A=", b" A==", b" -A=b", b" A_B=c", b" A=b=c", b" \xc3\xa9=a"):
            self.refused(text)
        self.refused(b" A=\xff")
        self.refused(b" A\tB")
        self.assertIn("twice", self.refused(b" SIZE=1 size=2").text)

    def test_number_is_limited(self) -> None:
        many = b"".join(b" A%d" % number for number in range(32))
        self.assertEqual(len(self.parameters(many)), 32)
        self.assertIn("Too many", self.refused(many + b" B").text)

    def test_every_octet_in_a_value(self) -> None:
        for octet in range(0x21, 256):
            text = b" A=b%bc" % bytes((octet,))
            if 0x21 <= octet < 0x7F and octet != 0x3D:
                self.assertEqual(self.parameters(text), {"A": f"b{chr(octet)}c"})
            else:
                self.refused(text)

    def test_size(self) -> None:
        self.assertEqual(parse_size("0"), 0)
        self.assertEqual(parse_size("9" * 20), 10**20 - 1)
        for value in (None, "", "-1", "+1", "1k", "9" * 21, "1 ", "\u0661"):
            self.assertRaises(ValueError, parse_size, value)

    def test_xtext(self) -> None:
        self.assertEqual(parse_xtext("e+3Dmc2@example.com"), b"e=mc2@example.com")
        self.assertEqual(parse_xtext("<>"), b"<>")
        for value in ("a+3d", "a+", "a+3", "a=b", "a b", "é", "a+GG"):
            self.assertRaises(ValueError, parse_xtext, value)


class HeloTests(SynchronousTestCase):
    def test_names(self) -> None:
        for argument, name in (
            (b"client.example.org", "client.example.org"),
            (b"[192.0.2.1]", "[192.0.2.1]"),
            (b"[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            # lenient: what real clients say.
            (b"my_host", "my_host"),
            (b"192.0.2.1", "192.0.2.1"),
            (b"Ann's-Mac.local", "Ann's-Mac.local"),
            (b"example.org.", "example.org."),
            (b"[::1]", "[::1]"),
            (b"[IPv6:fe80::1%en0]", "[IPv6:fe80::1%en0]"),
            (b"[localhost]", "[localhost]"),
            (b"[host.example]", "[host.example]"),
            (b"DESKTOP-[1]", "DESKTOP-[1]"),
            # RFC 5321 section 4.1.1.1: information behind the name.
            (b"[192.0.2.1] behind a router", "[192.0.2.1]"),
        ):
            self.assertEqual(parse_helo(argument), name)

    def test_no_names(self) -> None:
        for argument in (b"", b".", b"---", b"a;b", b"(a)", b'"a"', b"<a>", b"a@b", b"\xc3\xa9"):
            with self.assertRaises(Refused) as caught:
                parse_helo(argument)
            self.assertEqual(caught.exception.reply[:2], (501, "5.5.4"), argument)

    def test_no_address_literals(self) -> None:
        """RFC 5321 section 4.1.3: a closed pair of brackets with an address in it, or a name."""
        for argument in (
            *(b"[192.0.2.1", b"192.0.2.1]", b"[[192.0.2.1]]", b"[192.0.2.1].", b"[a][b]"),
            *(
                b"[]",
                b"[a",
                b"[a.",
                b"a]",
                b"x[1",
                b"]a[",
                b"a]b[c",
                b"[-]",
                b"[a/b]",
                b"[192.0.2]",
                b"[192.0.2.256]",
                b"[IPv6:2001:db8::1::2]",
                b"[IPv6:]",
            ),
        ):
            with self.assertRaises(Refused) as caught:
                parse_helo(argument)
            self.assertEqual(caught.exception.reply[:2], (501, "5.5.4"), argument)

    def test_length(self) -> None:
        self.assertEqual(len(parse_helo(b"a" * 255)), 255)
        self.assertRaises(Refused, parse_helo, b"a" * 256)


class ReplyTests(SynchronousTestCase):
    def test_one_line(self) -> None:
        self.assertEqual(Reply(250, "2.0.0", "OK").render(), b"250 2.0.0 OK\r\n")
        self.assertEqual(Reply(354, "", "Go on").render(), b"354 Go on\r\n")
        self.assertEqual(Reply(250, "", "").render(), b"250 \r\n")

    def test_several_lines_carry_the_code_each(self) -> None:
        self.assertEqual(
            Reply(214, "2.0.0", "a\nb\r\nc").render(),
            b"214-2.0.0 a\r\n214-2.0.0 b\r\n214 2.0.0 c\r\n",
        )

    def test_long_text_is_folded_at_words(self) -> None:
        words = " ".join(f"word{number}" for number in range(300))
        rendered = Reply(550, "5.7.1", words).render()
        lines = rendered.splitlines(keepends=True)
        self.assertGreater(len(lines), 3)
        self.assertTrue(all(len(line) <= MAX_REPLY_LINE for line in lines))
        self.assertTrue(all(line.startswith(b"550-5.7.1 ") for line in lines[:-1]))
        self.assertTrue(lines[-1].startswith(b"550 5.7.1 "))
        self.assertEqual(b" ".join(line[10:].strip() for line in lines).decode(), words)

    def test_text_without_blanks_is_cut(self) -> None:
        lines = Reply(550, "", "x" * 2000).render().splitlines(keepends=True)
        self.assertEqual([len(line) for line in lines[:-1]], [MAX_REPLY_LINE] * 3)
        self.assertEqual(b"".join(line[4:].strip() for line in lines), b"x" * 2000)

    def test_a_text_cannot_make_lines_or_octets_of_its_own(self) -> None:
        rendered = Reply(550, "5.1.1", "a\r250 b\0\tc\u2028é\x7f").render()
        self.assertEqual(rendered, b"550-5.1.1 a\r\n550-5.1.1 250 b? c\r\n550 5.1.1 ??\r\n")

    def test_number_of_lines_is_limited(self) -> None:
        self.assertEqual(len(Reply(250, "", "a\n" * 500).render().splitlines()), MAX_REPLY_LINES)

    @given(st.text(max_size=2000))
    def test_always_a_reply(self, text: str) -> None:
        lines = Reply(451, "4.3.0", text).render().split(b"\r\n")
        self.assertEqual(lines.pop(), b"")
        for number, line in enumerate(lines, 1):
            separator = b" " if number == len(lines) else b"-"
            self.assertEqual(line[:10], b"451" + separator + b"4.3.0 ")
            self.assertTrue(all(0x20 <= octet < 0x7F for octet in line))
            self.assertLessEqual(len(line) + 2, MAX_REPLY_LINE)
