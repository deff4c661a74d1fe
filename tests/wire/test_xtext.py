"""Text in printable ASCII."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.xtext import encode_utf8_address, encode_xtext


class EncodingTests(SynchronousTestCase):
    """RFC 3461 section 4, RFC 6533 section 3."""

    def test_xtext(self) -> None:
        for octet in range(128):
            encoded = encode_xtext(chr(octet))
            plain = 0x21 <= octet < 0x7F and chr(octet) not in "+="
            self.assertEqual(encoded, chr(octet) if plain else f"+{octet:02X}")
        self.assertEqual(encode_xtext("ü"), "+C3+BC")

    def test_utf8_address(self) -> None:
        self.assertEqual(encode_utf8_address("a\\b=c d€"), "a\\x{5C}b\\x{3D}c\\x{20}d\\x{20AC}")
