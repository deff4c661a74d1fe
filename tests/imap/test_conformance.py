"""Where the standards leave no choice and servers differ all the same, a test each."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.support import Server


class FetchTests(SynchronousTestCase):
    def setUp(self) -> None:
        server = Server()
        server.add(b"0123456789\r\n")
        self.client = server.login("SELECT INBOX")

    def test_two_parts_of_one_section_that_begin_at_one_octet(self) -> None:
        # RFC 3501 section 6.4.5: each item is answered, though both are called BODY[]<0>.
        self.assertEqual(
            self.client.command("FETCH 1 (BODY.PEEK[]<0.2> BODY.PEEK[]<0.4> BODY.PEEK[]<0.2>)")[0],
            b"* 1 FETCH (BODY[]<0> {2}\r\n01 BODY[]<0> {4}\r\n0123)",
        )

    def test_numbers_beyond_32_bits(self) -> None:
        # RFC 3501 section 9, number.
        for item in (
            "BODY.PEEK[]<4294967296.1>", "BODY.PEEK[]<0.4294967296>", "BODY.PEEK[4294967296]",
            "BODY.PEEK[1.4294967296.MIME]",
        ):  # fmt: skip
            (response,) = self.client.command("FETCH 1 " + item)
            self.assertTrue(response.startswith(b"BAD "), item)
        for item in ("BODY.PEEK[]<4294967295.4294967295>", "BODY.PEEK[4294967295]"):
            self.assertEqual(len(self.client.command("FETCH 1 " + item)), 2, item)
