"""IMAP URLs (RFC 5092)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.fetch import Section
from mailkit.imap.url import IMAPURL, MAX_URL, URLFault, parse_url


class MessageTests(SynchronousTestCase):
    def test_examples_of_catenate(self) -> None:
        # RFC 4469 appendix A; RFC 5092 section 11: letter case does not count.
        self.assertEqual(
            parse_url(b"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME"),
            IMAPURL("", "", "Drafts", 385759045, 20, Section((1,), b"MIME")),
        )
        self.assertEqual(parse_url(b"/Drafts/;UID=3002")[2:6], ("Drafts", None, 3002, Section()))

    def test_examples_of_the_standard(self) -> None:
        # RFC 5092 section 9
        url = parse_url(
            b"imap://minbari.example.org/gray-council;UIDVALIDITY=385759045/;UID=20/;PARTIAL=0.1024"
        )
        self.assertEqual(url.host, "minbari.example.org")
        self.assertEqual(url.section, Section(partial=(0, 1024)))
        url = parse_url(b"imap://michael@minbari.example.org/users.*/;UID=1")
        self.assertEqual((url.user, url.mailbox), ("michael", "users.*"))
        url = parse_url(
            b"imap://psicorp.example.org/~peter/%E6%97%A5%E6%9C%AC%E8%AA%9E/"
            b"%E5%8F%B0%E5%8C%97/;UID=7"
        )
        self.assertEqual(url.mailbox, "~peter/日本語/台北")
        url = parse_url(
            b"imap://;AUTH=GSSAPI@minbari.example.org/gray-council/;uid=20/;section=1.2"
        )
        self.assertEqual((url.user, url.section.parts), ("", (1, 2)))
        url = parse_url(b"imap://ann%40example.org;AUTH=*@h:143/INbox/;UID=1")
        self.assertEqual((url.user, url.host, url.mailbox), ("ann@example.org", "h", "INBOX"))
        self.assertEqual(parse_url(b"imap://[::1]/a/;UID=1").host, "[::1]")

    def test_sections(self) -> None:
        for octets, expected in (
            (b"HEADER", Section(kind=b"HEADER")),
            (b"2.TEXT", Section((2,), b"TEXT")),
            (b"HEADER.FIELDS%20(From%20%22To%22)", Section((), b"HEADER.FIELDS", (b"From", b"To"))),
        ):
            self.assertEqual(parse_url(b"/a/;UID=1/;SECTION=" + octets).section, expected)
        partial = parse_url(b"/a/;UID=1/;SECTION=1/;PARTIAL=5").section.partial
        self.assertEqual(partial, (5, 4294967295))

    def test_faults(self) -> None:
        for url in (
            b"", b"/", b"a", b"/Drafts", b"/Drafts/", b";UID=20", b"Drafts/;UID=20", b"/;UID=20",
            b"//h/Drafts/;UID=20", b"http://h/a/;UID=1", b"imap:///a/;UID=1", b"/a/;UID=0",
            b"/a/;UID=x", b"/a/;UID=4294967296", b"/a;UIDVALIDITY=0/;UID=1", b"/a/;UID=1/",
            b"/a/;UID=1/;SECTION=", b"/a/;UID=1/;SECTION=0", b"/a/;UID=1/;SECTION=FOO",
            b"/a/;UID=1/;SECTION=1%5D", b"/a/;UID=1/;PARTIAL=1.0",
            b"/a/;UID=1/;PARTIAL=4294967296", b"/a/;UID=1/;PARTIAL=0.4294967296",
            b"/a b/;UID=1", b"/a%/;UID=1",
            b"/%FF/;UID=1", b"/a%00/;UID=1", b"/a%0D%0A/;UID=1", b"/a\xc3\xa4/;UID=1",
            b"/a?FROM/;UID=1", b"/a/;UID=1;UIDVALIDITY=3", b"/a/;UID=1\n",
            b"/a/;UID=1;URLAUTH=anonymous", b"/" + b"a" * MAX_URL + b"/;UID=1",
        ):  # fmt: skip
            with self.assertRaises(URLFault, msg=url):
                parse_url(url)


class URLAuthTests(SynchronousTestCase):
    BASE = b"imap://joe@example.com/INBOX/;uid=20/;section=1.2"

    def test_examples_of_the_standard(self) -> None:
        # RFC 4467 section 7
        rump = self.BASE + b";urlauth=submit+fred"
        url = parse_url(rump)
        self.assertEqual((url.access, url.mechanism, url.rump), ("submit+fred", "", rump))
        token = b"91354a473744909de610943775f92038"
        url = parse_url(rump + b":internal:" + token)
        self.assertEqual((url.mechanism, url.token, url.rump), ("INTERNAL", token, rump))
        self.assertEqual(url.user, "joe")

    def test_expire(self) -> None:
        for text, seconds in (
            (b"1970-01-02T00:00:00Z", 86400.0),
            (b"1970-01-01T01:30:00.25+01:00", 1800.25),
            (b"2016-12-31T23:59:60Z", 1483228800.0),
        ):
            url = parse_url(self.BASE + b";EXPIRE=" + text + b";URLAUTH=anonymous")
            self.assertEqual(url.expire, seconds)

    def test_faults(self) -> None:
        for tail in (
            b";URLAUTH=", b";URLAUTH=nobody", b";URLAUTH=user+", b";URLAUTH=authuser:",
            b";URLAUTH=authuser:internal", b";URLAUTH=authuser:internal:12",
            b";URLAUTH=authuser:internal:" + b"g" * 32, b";EXPIRE=2030-01-01T00:00:00Z",
            b";EXPIRE=2030-02-30T00:00:00Z;URLAUTH=authuser", b";EXPIRE=1;URLAUTH=authuser",
            b";URLAUTH=authuser;EXPIRE=2030-01-01T00:00:00Z",
            b";EXPIRE=2030-01-01T00:00:00;URLAUTH=authuser",
        ):  # fmt: skip
            with self.assertRaises(URLFault, msg=tail):
                parse_url(self.BASE + tail)
