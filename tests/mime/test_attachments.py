"""Whether messages carry files."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import has_attachment, parse_message


def found(*parts: bytes, kind: bytes = b"mixed") -> bool:
    octets = b"Content-Type: multipart/%b; boundary=b\r\n\r\n" % kind
    octets += b"".join(b"--b\r\n%b\r\n\r\nx\r\n" % part for part in parts) + b"--b--\r\n"
    return has_attachment(parse_message(octets))


TEXT, HTML = b"Content-Type: text/plain\r\n", b"Content-Type: text/html\r\n"
PDF = b"Content-Type: application/pdf\r\n"


class AttachmentTests(SynchronousTestCase):
    def test_text_has_none(self) -> None:
        for octets in (
            b"",
            b"Subject: x\r\n\r\nText\r\n",
            TEXT + b"Content-Disposition: attachment; filename=a\r\n\r\nx",
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing",
        ):
            self.assertFalse(has_attachment(parse_message(octets)), octets)
        self.assertFalse(found(TEXT, HTML, kind=b"alternative"))
        self.assertFalse(found(TEXT, TEXT + b"Content-Disposition: inline\r\n"))

    def test_files(self) -> None:
        self.assertTrue(found(TEXT, PDF))
        self.assertTrue(found(TEXT, TEXT + b"Content-Disposition: Attachment\r\n"))
        self.assertTrue(found(TEXT, b"Content-Type: text/csv; name=a.csv\r\n"))
        self.assertTrue(found(TEXT, b"Content-Type: message/rfc822\r\n"))
        self.assertTrue(has_attachment(parse_message(PDF + b"\r\n%PDF")))

    def test_pictures_in_the_text(self) -> None:
        picture = b"Content-Type: image/png; name=a.png\r\nContent-ID: <1@x>\r\n"
        self.assertFalse(found(HTML, picture, kind=b"related"))
        self.assertTrue(found(HTML, picture + b"Content-Disposition: attachment\r\n"))
