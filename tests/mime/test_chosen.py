"""Some fields of many headers at once: the same as those that a header gives when it is read."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import parse_header
from mailkit.mime.chosen import choose_fields

NAMES = (b"subject", b"to", b"reply-to", b"date")
#: What headers are put together of: wanted and unwanted fields, folded lines, what is none.
LINES = (
    b"Subject: a",
    b"SUBJECT:",
    b"subject : b",
    b" folded",
    b"\tfolded twice",
    b"To: ann@example.org,",
    b"to:x",
    b"Reply-To: nobody",
    b"Reply: nobody",
    b"Too: many",
    b"Date:\0x",
    b"X-Subject: To: b",
    b"Received: from to",
    b"To",
)


class ChosenTests(SynchronousTestCase):
    def test_the_same_as_what_a_header_gives(self) -> None:
        chance = random.Random(1)
        headers = []
        for _ in range(2000):
            lines = chance.choices(LINES, k=chance.randrange(9))
            headers.append(b"".join(line + chance.choice((b"\r\n", b"\n")) for line in lines))
        for count in range(1, len(NAMES) + 1):
            choose = choose_fields(name.title() for name in NAMES[:count])
            expected = [
                parse_header(header).raw_fields(NAMES[:count], blank_line=False)
                for header in headers
            ]
            self.assertEqual(choose(headers), expected)
            self.assertTrue(any(expected))
            self.assertFalse(all(expected))

    def test_headers_without_an_end(self) -> None:
        choose = choose_fields([b"To", b"Date"])
        headers = [
            b"To: a\r\nX: b\r\nDate: c",
            b"To: a\r\nX: b",
            b"Date: c",
            b"X: b",
            b"",
            b"To: a\n",
        ]
        self.assertEqual(
            choose(headers), [b"To: a\r\nDate: c", b"To: a\r\n", b"Date: c", b"", b"", b"To: a\n"]
        )

    def test_no_headers(self) -> None:
        self.assertEqual(choose_fields([b"To"])([]), [])
