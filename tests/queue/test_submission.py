"""What the queue reads of a message before it takes it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.queue.submission import MAX_MESSAGE_ID, read_message_id
from mailkit.spool import Spool


class MessageIDTests(SynchronousTestCase):
    def check(self, octets: bytes, expected: str) -> None:
        self.assertEqual(read_message_id(Spool.from_bytes(octets)), expected)

    def test_the_first_field_of_the_header(self) -> None:
        self.check(b"Message-ID: <a@b>\r\nFrom: c@d\r\n\r\ntext", "<a@b>")
        self.check(b"From: c@d\r\nMESSAGE-id:<a@b>\r\nMessage-ID: <e@f>\r\n\r\n", "<a@b>")
        # RFC 5322 section 4.5.8
        self.check(b"From: c@d\nMessage-ID \t: <a@b>\n\n", "<a@b>")
        self.check(b"Message-ID-Before: <e@f>\r\nMessage-ID: <a@b>\r\n\r\n", "<a@b>")

    def test_on_several_lines(self) -> None:
        self.check(b"Message-ID:\r\n <a@b>\r\nFrom: c@d\r\n\r\n", "<a@b>")
        self.check(b"From: c@d\r\nMessage-ID:\r\n\t\r\n\t<a@b>", "<a@b>")
        # The next field is no part of it.
        self.check(b"Message-ID:\r\nFrom: <c@d>\r\n\r\n", "")

    def test_none(self) -> None:
        self.check(b"", "")
        self.check(b"From: c@d\r\n\r\nMessage-ID: <a@b>\r\n", "")
        self.check(b"\r\nMessage-ID: <a@b>\r\n", "")
        self.check(b"X-Message-ID: <a@b>\r\nSubject: a\r\n Message-ID: <a@b>\r\n\r\n", "")
        self.check(b"Message-ID: none\r\n\r\n", "")

    def test_too_long(self) -> None:
        name = b"<" + b"a" * (MAX_MESSAGE_ID - 2) + b">"
        self.check(b"Message-ID: " + name + b"\r\n\r\n", name.decode())
        self.check(b"Message-ID: <a" + name[1:] + b"\r\n\r\n", "")
