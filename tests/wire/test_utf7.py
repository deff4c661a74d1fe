"""Modified UTF-7: the examples of the standard, and one spelling only."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire import utf7


class ExampleTests(SynchronousTestCase):
    def test_both_ways(self) -> None:
        for name, octets in (
            # RFC 3501 section 5.1.3
            ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("☺!", b"&Jjo-!"),
            ("&", b"&-"),
            ("a&b", b"a&-b"),
            ("&&", b"&-&-"),
            ("", b""),
            ("INBOX", b"INBOX"),
            ("Entwürfe", b"Entw&APw-rfe"),
            ("ä&ö", b"&AOQ-&-&APY-"),
            ("🙂", b"&2D3eQg-"),
            ("\x00", b"&AAA-"),
            ("\x7f", b"&AH8-"),
            ('quote" back\\', b'quote" back\\'),
        ):
            self.assertEqual(utf7.encode(name), octets)
            self.assertEqual(utf7.decode(octets), name)

    def test_what_is_no_encoding(self) -> None:
        for octets in (
            b"&",
            b"a&b",
            b"&Jjo",
            b"&Jjo!",
            # RFC 3501 section 5.1.3: superfluous shifts, and what needs no shift.
            b"&U,BTFw-&ZeVnLIqe-",
            b"&AGE-",
            b"&ACY-",
            b"&AGEA5A-",
            # Broken base64 and UTF-16.
            b"&J-",
            b"&Jj-",
            b"&Jjp-",
            b"&Jjo=-",
            b"&U/BTFw-",
            b"&Jj o-",
            b"&Jj\r\no-",
            b"&2D0-",
            b"&3kI-",
            b"&,,8-x\xff",
            # 8-bit and control octets.
            b"caf\xc3\xa9",
            b"\xff",
            b"a\0b",
            b"a\tb",
            b"a\x7fb",
            # Without an end in sight: a minute if each looked for it.
            b"&" * 120_000,
        ):
            self.assertRaises(ValueError, utf7.decode, octets)


class PropertyTests(SynchronousTestCase):
    @settings(derandomize=True, max_examples=300)
    @given(st.text())
    def test_names_come_back(self, name: str) -> None:
        octets = utf7.encode(name)
        self.assertTrue(all(0x20 <= octet <= 0x7E for octet in octets))
        self.assertEqual(utf7.decode(octets), name)

    @settings(derandomize=True, max_examples=500)
    @given(st.text("&-,+/aAbBJjow0 =é").map(lambda text: text.encode("latin-1")))
    def test_a_name_has_one_spelling(self, octets: bytes) -> None:
        try:
            name = utf7.decode(octets)
        except ValueError:
            return
        self.assertEqual(utf7.encode(name), octets)

    def test_every_octet_alone(self) -> None:
        for octet in range(256):
            data = bytes([octet])
            if 0x20 <= octet <= 0x7E and data != b"&":
                self.assertEqual(utf7.decode(data), data.decode("ascii"))
            else:
                self.assertRaises(ValueError, utf7.decode, data)
