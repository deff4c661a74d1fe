"""Headers of the PROXY protocol."""

from __future__ import annotations

import random
import struct

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.proxy import MAX_V1, MAX_V2, ProxyHeader, ToldClient, read_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
FOUR = bytes((192, 0, 2, 7, 198, 51, 100, 1)) + struct.pack("!HH", 56324, 25)
SIX = bytes.fromhex("20010db800000000000000000000000720010db8000000000000000000000001") + FOUR[8:]
CLIENT = ToldClient("192.0.2.7", 56324, "198.51.100.1", 25)


def v2(content: bytes = FOUR, kind: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(content)) + content


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


class HeaderCase(SynchronousTestCase):
    def client(self, octets: bytes) -> ToldClient | None:
        header = read_header(octets + b"rest")
        assert header is not None
        self.assertEqual(header.length, len(octets))
        return header.client

    def bad(self, octets: bytes, text: str = "") -> None:
        self.assertIn(text, str(self.assertRaises(ValueError, read_header, octets)), octets)


class Version1Tests(HeaderCase):
    """Section 2.1."""

    def test_addresses(self) -> None:
        line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n"
        self.assertEqual(self.client(line), CLIENT)
        line = b"PROXY TCP6 2001:DB8::7 2001:db8::1 0 65535\r\n"
        self.assertEqual(self.client(line), ToldClient("2001:db8::7", 0, "2001:db8::1", 65535))
        line = b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 56324 25\r\n"
        self.assertEqual(self.client(line), CLIENT)

    def test_unknown(self) -> None:
        longest = b"PROXY UNKNOWN " + b" ".join([b"f" * 39, b"f" * 39, b"65535", b"65535"])
        for line in (b"PROXY UNKNOWN", b"PROXY UNKNOWN what ever", longest):
            self.assertIsNone(self.client(line + b"\r\n"))
        self.assertEqual(len(longest) + 2, MAX_V1)

    def test_bad_lines(self) -> None:
        for line in (
            b"PROXY",
            b"PROXY TCP4",
            b"PROXY  TCP4 192.0.2.7 198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2.7  198.51.100.1 56324 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25 ",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 25",
            b"PROXY TCP4 192.0.2.256 198.51.100.1 1 25",
            b"PROXY TCP4 192.0.2 198.51.100.1 1 25",
            b"PROXY TCP4 010.0.2.1 198.51.100.1 1 25",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 25",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 1 25",
            b"PROXY TCP6 fe80::1%eth0 ::1 1 25",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 56324 25",
            b"PROXY UNKNOWN\x00",
            b"PROXY UNKNOWNX",
            b"proxy TCP4 192.0.2.7 198.51.100.1 56324 25",
        ):
            self.bad(line + b"\r\n")

    def test_only_crlf_ends_the_line(self) -> None:
        line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25"
        self.bad(line + b"\nEHLO x\r\n", "line")
        self.bad(line + b"\n", "without its end")
        self.assertIsNone(read_header(line + b"\r"))

    def test_a_line_that_is_too_long(self) -> None:
        self.bad(b"PROXY UNKNOWN ".ljust(MAX_V1 + 1, b"x"), "without its end")
        self.bad(b"PROXY UNKNOWN ".ljust(MAX_V1 - 1, b"x") + b"\r\n", "without its end")


class Version2Tests(HeaderCase):
    """Section 2.2."""

    def test_addresses(self) -> None:
        self.assertEqual(self.client(v2()), CLIENT)
        told = ToldClient("2001:db8::7", 56324, "2001:db8::1", 25)
        self.assertEqual(self.client(v2(SIX, 0x21)), told)
        mapped = bytes(10) + b"\xff\xff" + FOUR[:4] + bytes(10) + b"\xff\xff" + FOUR[4:8]
        self.assertEqual(self.client(v2(mapped + FOUR[8:], 0x21)), CLIENT)

    def test_the_proxy_itself(self) -> None:
        # What stands behind LOCAL is skipped, the family ignored.
        for content in (b"", FOUR, b"\xff" * 300):
            for kind in (0x00, 0x11, 0x21, 0x31, 0x41, 0xFF):
                self.assertIsNone(self.client(v2(content, kind, command=0x20)))

    def test_what_is_not_implemented_counts_as_unspecified(self) -> None:
        for kind in (0x00, 0x01, 0x10, 0x12, 0x20, 0x22, 0x31, 0x32):
            self.assertIsNone(self.client(v2(b"\x01" * 216, kind)), kind)

    def test_unknown_values(self) -> None:
        for version in (0x11, 0x31, 0x01):
            self.bad(v2(command=version), "version")
        for command in (0x22, 0x2F):
            self.bad(v2(command=command), "command")
        for kind in (0x41, 0xF1, 0x13, 0x1F):
            self.bad(v2(kind=kind), "family or transport")

    def test_half_an_address(self) -> None:
        for size in range(len(FOUR)):
            self.bad(v2(FOUR[:size]), "addresses")
        for size in range(len(SIX)):
            self.bad(v2(SIX[:size], 0x21), "addresses")

    def test_the_length_is_judged_before_all_is_there(self) -> None:
        fits = MAX_V2 - 16
        self.assertIsNone(read_header(SIGNATURE + struct.pack("!BBH", 0x20, 0, fits)))
        self.assertIsNone(self.client(v2(bytes(fits), command=0x20)))
        self.bad(SIGNATURE + struct.pack("!BBH", 0x20, 0, fits + 1), "too long")
        self.bad(SIGNATURE + b"\x20\x00\xff\xff", "too long")

    def test_vectors(self) -> None:
        vectors = tlv(0x01, b"smtp") + tlv(0x04, b"") + tlv(0x05, b"x" * 128) + tlv(0xE0, b"?")
        self.assertEqual(self.client(v2(FOUR + vectors)), CLIENT)
        for size in range(len(vectors)):
            content = v2(FOUR + vectors[:size])
            try:
                self.assertEqual(self.client(content), CLIENT)
            except ValueError as error:
                self.assertIn("vector", str(error))
        self.bad(v2(FOUR + b"\x01\xff\xff"), "vector")

    def test_tls_between_client_and_proxy(self) -> None:
        # Section 2.2.6
        inner = tlv(0x21, b"TLSv1.3") + tlv(0x23, b"TLS_AES_256_GCM_SHA384") + tlv(0x22, b"CN")
        client = self.client(v2(FOUR + tlv(0x20, b"\x01\0\0\0\0" + inner)))
        self.assertEqual(client, (*CLIENT[:4], True, "TLSv1.3", "TLS_AES_256_GCM_SHA384"))
        self.assertEqual(self.client(v2(FOUR + tlv(0x20, b"\0\0\0\0\0" + inner))), CLIENT)
        self.assertEqual(
            self.client(v2(FOUR + tlv(0x20, b"\x07\0\0\0\x01"))), (*CLIENT[:4], True, "", "")
        )
        for value in (b"", b"\x01\0\0\0", b"\x01\0\0\0\0\x21", b"\x01\0\0\0\0\x21\0\x05x"):
            self.bad(v2(FOUR + tlv(0x20, value)), "vector")

    def test_names_cannot_break_a_log_or_a_header(self) -> None:
        inner = tlv(0x21, b"TLS\r\nX: y") + tlv(0x23, b"\xff" + b"c" * 100)
        client = self.client(v2(FOUR + tlv(0x20, b"\x01\0\0\0\0" + inner)))
        assert client is not None
        self.assertEqual(client.tls_version, "TLSX:y")
        self.assertEqual(client.tls_cipher, "c" * 63)


class AnyTests(HeaderCase):
    def test_half_a_header_is_waited_for(self) -> None:
        for header in (v2(), v2(SIX, 0x21), b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n"):
            for size in range(len(header)):
                self.assertIsNone(read_header(header[:size]), header[:size])
            self.assertEqual(read_header(header), ProxyHeader(len(header), self.client(header)))

    def test_anything_else_is_none(self) -> None:
        for octets in (
            b"EHLO x\r\n",
            b"\x16\x03\x01",
            b"P\r\n",
            b"PRO:",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\0",
        ):
            self.bad(octets, "no PROXY header")

    def test_junk_raises_nothing_else(self) -> None:
        chance = random.Random(1)
        for _ in range(3000):
            octets = chance.choice((SIGNATURE, SIGNATURE + b"\x21\x11\x00", b"PROXY TCP4 ", b""))
            octets += bytes(chance.choice(b" 0123456789.:\r\n\x00\x01\xff") for _ in range(60))
            try:
                read_header(octets)
            except ValueError:
                pass
