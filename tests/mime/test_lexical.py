"""Comments, tokens and parameters of structured fields."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.lexical import (
    MAX_PARAMETERS,
    MAX_STRUCTURED_OCTETS,
    parse_parameterized,
    parse_parameters,
    parse_token,
    strip_comments,
    unescape,
)


class CommentTests(SynchronousTestCase):
    def test_comments_become_blanks(self) -> None:
        for value, stripped in (
            (b"a", b"a"),
            (b"a(b)c", b"a c"),
            (b"a (b (c) d) e", b"a   e"),
            (b'"a(b)" c(d)', b'"a(b)" c '),
            (rb"a(b\)c)d", b"a d"),
            (rb'"\"(a)"', rb'"\"(a)"'),
            (b"a(b", b"a"),
            (b"a)b", b"a)b"),
            (b'a("b)c(d)e', b"a c e"),
        ):
            self.assertEqual(strip_comments(value), stripped)

    def test_limit(self) -> None:
        self.assertEqual(len(strip_comments(b"a" * 100_000)), MAX_STRUCTURED_OCTETS)


class TokenTests(SynchronousTestCase):
    def test_token(self) -> None:
        self.assertEqual(parse_token(b"base64"), b"base64")
        self.assertEqual(parse_token(b" (x) 7bit; junk"), b"7bit")
        self.assertIsNone(parse_token(b""))
        self.assertIsNone(parse_token(b"; a"))
        self.assertIsNone(parse_token(b'"a"'))


class ParameterTests(SynchronousTestCase):
    def test_well_formed(self) -> None:
        self.assertEqual(
            parse_parameterized(b'attachment; filename="a b.txt"; size=3; (c) x = "y\\"z"'),
            (b"attachment", ((b"filename", b"a b.txt"), (b"size", b"3"), (b"x", b'y"z'))),
        )

    def test_no_token(self) -> None:
        self.assertIsNone(parse_parameterized(b"; filename=x"))

    def test_lenient(self) -> None:
        for value, parameters in (
            (b";; a=1;;b=2;", ((b"a", b"1"), (b"b", b"2"))),
            (b" a=1; b=2", ((b"a", b"1"), (b"b", b"2"))),
            (b"; name=foo bar.txt ; b=2", ((b"name", b"foo bar.txt"), (b"b", b"2"))),
            (b'; a="x"junk; b=2', ((b"a", b"x"), (b"b", b"2"))),
            (b'; a="x; b=2', ((b"a", b"x; b=2"),)),
            (b'; a="x\\', ((b"a", b'"x\\'),)),
            (b"; a; b=2", ((b"b", b"2"),)),
            (b"; =1; b=2", ((b"b", b"2"),)),
            (b"; a=; b=2", ((b"a", b""), (b"b", b"2"))),
            (b'; a=""', ((b"a", b""),)),
            (b"; a=1; a=2", ((b"a", b"1"), (b"a", b"2"))),
            (b"", ()),
        ):
            self.assertEqual(parse_parameters(value), parameters, value)

    def test_limit(self) -> None:
        self.assertEqual(len(parse_parameters(b";a=1" * 10_000)), MAX_PARAMETERS)


class UnescapeTests(SynchronousTestCase):
    def test_quoted_pairs(self) -> None:
        self.assertEqual(unescape(rb"a\"b\\c\d"), rb'a"b\cd')
