"""Random messages made fit: what a reader decodes stays what it was."""

from __future__ import annotations

import base64
import binascii
import email
import io
import random
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from mailkit.signing.body import MAX_LINE, settle
from mailkit.smtp.client.commands import Unsendable
from mailkit.spool import Spool
from tests.smtp.client.converting import convert

_TYPES = (b"text/plain; charset=utf-8", b"text/html", b"image/png", b"")
_IDENTITIES = (b"", b"7bit", b"8bit", b"8-bit")
_ENCODINGS = (b"base64", b"BASE64", b"quoted-printable", b"Quoted-Printable", b"x-uuencode")


class _Messages:
    """Makes messages; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def make(self) -> bytes:
        subject = b"Subject: \xc3\xbc\r\n" if self._random.random() < 0.1 else b""
        return b"From: ann@example.org\r\nMIME-Version: 1.0\r\n" + subject + self._part(3)

    def _part(self, depth: int) -> bytes:
        kind = self._random.random()
        if depth and kind < 0.1:
            inner = b"Subject: in\r\nMIME-Version: 1.0\r\n" + self._part(depth - 1)
            return b"Content-Type: message/rfc822\r\n\r\n" + inner
        if depth and kind < 0.4:
            subtype = self._random.choice((b"mixed", b"mixed", b"report", b"signed"))
            boundary = b"b%d" % self._random.randrange(10**9)
            parts = [self._part(depth - 1) for _ in range(self._random.randrange(1, 4))]
            opened = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
            head = b'Content-Type: multipart/%b; boundary="%b"\r\n\r\n' % (subtype, boundary)
            return head + opened + b"--" + boundary + b"--\r\n"
        type = self._random.choice(_TYPES)
        encoding = self._random.choice((*_IDENTITIES, b"binary", *_ENCODINGS))
        head = b"Content-Type: %b\r\n" % type if type else b""
        if encoding:
            head += b"Content-Transfer-Encoding: %b\r\n" % encoding
        return head + b"\r\n" + self._body(encoding.lower())

    def _body(self, encoding: bytes) -> bytes:
        count = self._random.choice((0, 1, 3, 75, 76, 77, 999, 3000))
        octets = self._random.choice(
            (
                b"x" * count,
                "ü".encode() * count,
                "Grüße = .\r\n".encode() * (count // 8),
                bytes(self._random.choice(b"a =\t.") for _ in range(count)),
                self._random.randbytes(count),
            )
        )
        if encoding == b"base64":
            return self._spoil(_lines(base64.b64encode(octets), self._random.choice((76, 4000))))
        if encoding == b"x-uuencode":
            lines = [binascii.b2a_uu(octets[at : at + 45]) for at in range(0, count, 45)]
            name = b"n" * self._random.choice((3, 1200))
            return _text(b"begin 644 %b\n%b`\nend\n" % (name, b"".join(lines)))
        if encoding == b"quoted-printable":
            encoded = _text(binascii.b2a_qp(_text(octets), istext=True))
            if self._random.random() < 0.5:
                encoded = encoded.replace(b"=\r\n", b"")
            return self._spoil(encoded)
        return octets if encoding == b"binary" else _text(octets)

    def _spoil(self, encoded: bytes) -> bytes:
        """Octets that may not stand in an encoding, but not within what stands for one octet."""
        at = self._random.randrange(len(encoded) + 1)
        if self._random.random() < 0.6 or encoded[max(at - 2, 0) : at].strip(b"=\r\n") == b"":
            return encoded
        if b"=" in encoded[at - 2 : at]:
            return encoded
        return encoded[:at] + self._random.choice((b"\0", b"\xc3\xbc", b"\xff")) + encoded[at:]


def _lines(octets: bytes, length: int) -> bytes:
    return b"\r\n".join(octets[at : at + length] for at in range(0, len(octets), length))


def _text(octets: bytes) -> bytes:
    """Without NUL; each line ends with CRLF."""
    octets = octets.replace(b"\0", b"0").replace(b"\r\n", b"\n").replace(b"\r", b"")
    return octets.replace(b"\n", b"\r\n")


def _decoded(message: bytes) -> list[object]:
    parts = email.message_from_bytes(message).walk()
    return [part.get_payload(decode=True) for part in parts if not part.is_multipart()]


def _read(spool: Spool) -> bytes:
    with spool.open() as reader:
        return reader.read()


def _convert(message: bytes, *, keep_8bit: bool, max_line: int | None) -> bytes | None:
    try:
        return convert(message, keep_8bit=keep_8bit, max_line=max_line)
    except Unsendable:
        return None


def _settle(message: bytes) -> bytes | None:
    spool = settle(io.BytesIO(message), seven_bit=True, binary=True)
    try:
        return spool and _read(spool)
    finally:
        if spool is not None:
            spool.close()


class SettledTests(SynchronousTestCase):
    """RFC 2045 section 6: an encoding changes nothing of what it stands for."""

    def check(self, make_fit: Callable[[bytes], bytes | None]) -> list[bytes]:
        changed = []
        for seed in range(120):
            message = _Messages(seed).make()
            fit = make_fit(message)
            if fit not in (None, message):
                self.assertEqual(_decoded(fit), _decoded(message), seed)
                changed.append(fit)
        self.assertGreater(len(changed), 2)
        return changed

    def test_for_servers_without_8bitmime(self) -> None:
        for fit in self.check(lambda each: _convert(each, keep_8bit=False, max_line=None)):
            self.assertTrue(fit.isascii())
            self.assertNotIn(b"\0", fit)

    def test_for_servers_without_binarymime(self) -> None:
        for fit in self.check(lambda each: _convert(each, keep_8bit=True, max_line=None)):
            self.assertNotIn(b"\0", fit)

    def test_lines(self) -> None:
        self.check(lambda each: _convert(each, keep_8bit=False, max_line=MAX_LINE))
        self.check(lambda each: _convert(each, keep_8bit=True, max_line=MAX_LINE))

    def test_settled(self) -> None:
        self.check(_settle)
