"""The octets after DATA, without a connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mailkit.smtp.content import ContentReader
from mailkit.smtp.trace import HOOKS_FIELD
from mailkit.spool import Spool
from tests.smtp.fakes import CountedSpool


class ContentTests(SynchronousTestCase):
    def read(
        self, *pieces: bytes, max_size: int = 1000, max_received: int = 3, normalise: bool = False
    ) -> tuple[bytes | None, str, bytes]:
        """Content (None when refused), enhanced code of the refusal, what follows."""
        spool = CountedSpool()
        reader = ContentReader(spool, max_size, max_received, normalise)
        rest = b""
        for piece in pieces:
            self.assertFalse(reader.finished)
            rest = reader.feed(piece)
        self.assertTrue(reader.finished)
        if reader.refusal is None:
            return spool.data, "", rest
        self.assertTrue(spool.closed)
        return None, reader.refusal.enhanced, rest

    def test_content_and_what_follows(self) -> None:
        self.assertEqual(self.read(b"a\r\n..\r\n.\r\nNOOP\r\n"), (b"a\r\n.\r\n", "", b"NOOP\r\n"))
        self.assertEqual(self.read(b".\r\n"), (b"", "", b""))
        self.assertEqual(self.read(b"\0\xff\x80\r\n.\r\n"), (b"\0\xff\x80\r\n", "", b""))

    def test_every_split(self) -> None:
        whole = b"Received: a\r\nS: b\r\n\r\n..c\r\n.\r\r\n\r\n.\r\nrest"
        for normalise, expected in ((False, None), (True, b"Received: a\r\nS: b\r\n\r\n.c\r\n")):
            for cut in range(len(whole) - 7):
                content, code, rest = self.read(whole[:cut], whole[cut:], normalise=normalise)
                self.assertEqual(rest, b"rest", cut)
                if expected is None:
                    self.assertEqual((content, code), (None, "5.5.2"), cut)
                else:
                    assert content is not None
                    self.assertTrue(content.startswith(expected), (cut, content))
                    self.assertNotIn(b"\r\r", content)

    def test_a_bare_line_end_never_ends_the_message(self) -> None:
        for end in (b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n\r.\n"):
            smuggled = b"a" + end + b"MAIL FROM:<eve@example.net>\r\n.\r\n"
            content, code, rest = self.read(smuggled)
            self.assertEqual((content, code, rest), (None, "5.5.2", b""), end)
            content, code, rest = self.read(smuggled, normalise=True)
            assert content is not None
            self.assertIn(b"MAIL FROM", content)
            self.assertNotIn(b"\n", content.replace(b"\r\n", b""))
            self.assertEqual(rest, b"")

    def test_size_is_exact_and_the_rest_is_swallowed(self) -> None:
        self.assertEqual(self.read(b"a" * 998 + b"\r\n.\r\n")[1], "")
        self.assertEqual(self.read(b"a" * 999 + b"\r\n.\r\nQUIT"), (None, "5.3.4", b"QUIT"))
        self.assertEqual(self.read(b"a" * 5000, b"b" * 5000, b"\r\n.\r\n")[1], "5.3.4")

    def test_dots_that_are_taken_off_do_not_count(self) -> None:
        self.assertEqual(self.read(b"..\r\n" * 333 + b".\r\n", max_size=999)[1], "")

    def test_received_fields(self) -> None:
        field = b"rEceived: by a\r\n"
        self.assertEqual(self.read(field * 3 + b"\r\n.\r\n")[1], "")
        self.assertEqual(self.read(field * 4 + b"\r\n.\r\n")[1], "5.4.6")
        # In the body they are text.
        self.assertEqual(self.read(field * 3 + b"\r\n" + field + b".\r\n")[1], "")
        self.assertEqual(self.read(b"\r\n" + field * 4 + b".\r\n")[1], "")
        self.assertEqual(self.read(b"X-Received: a\r\n" * 9 + b"\r\n.\r\n")[1], "")

    def test_received_fields_at_every_split(self) -> None:
        whole = b"Received: a\r\n" * 4 + b"\r\n.\r\n"
        for cut in range(len(whole) - 1):
            self.assertEqual(self.read(whole[:cut], whole[cut:])[1], "5.4.6", cut)
            good = self.read(whole[:cut], whole[cut:], max_received=4)
            self.assertEqual(good[1], "", cut)

    def test_remarkable_fields_at_every_split(self) -> None:
        for name in (b"Solicitation", b"REQUIRE-Recipient-Valid-Since", HOOKS_FIELD.encode()):
            whole = b"Subject: a\r\n" + name + b": b\r\n\r\n.\r\n"
            for cut in range(len(whole) - 1):
                for octets, expected in ((whole, True), (whole.replace(name, b"X-" + name), False)):
                    reader = ContentReader(CountedSpool(), 1000, 3)
                    reader.feed(octets[:cut])
                    reader.feed(octets[cut:])
                    self.assertTrue(reader.finished)
                    self.assertEqual(reader.is_remarkable, expected, (name, cut))

    def test_a_full_disk(self) -> None:
        spool = CountedSpool()
        reader = ContentReader(spool, 1000, 3)
        spool.trouble = OSError(28, "No space left on device")
        with capturedLogs() as logs:
            reader.feed(b"some text\r\n")
        spool.trouble = None
        self.assertEqual(reader.feed(b"more\r\n.\r\nQUIT"), b"QUIT")
        assert reader.refusal is not None
        self.assertEqual(reader.refusal[:2], (452, "4.3.1"))
        self.assertTrue(spool.closed)
        self.assertEqual(
            [formatEvent(event) for event in logs],
            ["cannot spool a message: [Errno 28] No space left on device"],
        )

    @given(
        st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r\n"]), max_size=30)
    )
    def test_any_split_gives_the_same(self, pieces: list[bytes]) -> None:
        whole = b"".join(pieces)
        first = ContentReader(Spool(), 1000, 3, normalise=True)
        rest = first.feed(whole)
        second = ContentReader(Spool(), 1000, 3, normalise=True)
        rests = b""
        for octet in whole:
            if second.finished:
                rests += bytes((octet,))
            else:
                rests += second.feed(bytes((octet,)))
        self.assertEqual(first.finished, second.finished)
        self.assertEqual(rest, rests)
        self.assertEqual(first.spool.data, second.spool.data)
        content = first.spool.data or b""
        self.assertNotIn(b"\n", content.replace(b"\r\n", b""))
        self.assertNotIn(b"\r", content.replace(b"\r\n", b""))
