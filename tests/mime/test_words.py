"""Charsets, encoded words and parameter values."""

from __future__ import annotations

import codecs
import encodings.aliases
import random
import tracemalloc
from encodings.aliases import aliases

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import words
from mailkit.mime.lexical import parse_parameters
from mailkit.mime.words import (
    codec_name,
    decode_base64,
    decode_charset,
    decode_text,
    parameter_text,
)


class EncodedWordTests(SynchronousTestCase):
    def test_rfc_2047_section_8(self) -> None:
        for encoded, displayed in (
            (b"=?ISO-8859-1?Q?a?=", "a"),
            (b"=?ISO-8859-1?Q?a?= b", "a b"),
            (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            (b"=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
            (b"=?ISO-8859-1?Q?a?=     =?ISO-8859-1?Q?b?=", "ab"),
            (b"=?ISO-8859-1?Q?a_b?=", "a b"),
            (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            (b"=?US-ASCII?Q?Keith_Moore?=", "Keith Moore"),
            (b"=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld J\xf8rn Simonsen"),
            (b"=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xe9 Pirard"),
            (
                b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?="
                b" =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
            (b"=?ISO-8859-1?Q?Olle_J=E4rnefors?=", "Olle J\xe4rnefors"),
            (b"=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?=", "Patrik F\xe4ltstr\xf6m"),
            (
                b"=?iso-8859-8?b?7eXs+SDv4SDs6Ofv?=",
                "\u05dd\u05d5\u05dc\u05e9 \u05df\u05d1 \u05dc\u05d8\u05d7\u05df",
            ),
        ):
            self.assertEqual(decode_text(encoded), displayed)

    def test_language_of_rfc_2231(self) -> None:
        self.assertEqual(decode_text(b"=?US-ASCII*EN?Q?Keith_Moore?="), "Keith Moore")

    def test_character_split_between_words(self) -> None:
        self.assertEqual(decode_text(b"=?utf-8?Q?J=C3?= =?UTF-8?B?pHJu?="), "J\xe4rn")

    def test_charsets_may_alternate(self) -> None:
        self.assertEqual(
            decode_text(b"x =?utf-8?Q?=C3=A4?= =?iso-8859-1?Q?=E4?= =?utf-8?Q?=C3=A4?= y"),
            "x \xe4\xe4\xe4 y",
        )

    def test_white_space_stays_where_a_plain_word_follows(self) -> None:
        self.assertEqual(decode_text(b"a  =?utf-8?q?b?=\tc"), "a  b\tc")
        self.assertEqual(decode_text(b" =?utf-8?q?b?= "), " b ")

    def test_blanks_and_neighbours_are_tolerated(self) -> None:
        self.assertEqual(decode_text(b"(=?utf-8?Q?hello world?=)x"), "(hello world)x")

    def test_what_is_no_encoded_word_stays(self) -> None:
        for value in (
            b"=?utf-8?X?a?=",
            b"=?utf-8?Q?a",
            b"=??Q?a?=",
            b"1 =? 2",
            b"=?=?=?",
            b"=?a?=",
        ):
            self.assertEqual(decode_text(value), value.decode())

    def test_bad_base64(self) -> None:
        self.assertEqual(decode_text(b"=?utf-8?B?SGVsbG8?="), "Hello")
        self.assertEqual(decode_text(b"=?utf-8?B?SG Vs*bG8=?="), "Hello")
        self.assertEqual(decode_text(b"=?utf-8?B?SGVsbG8=====?="), "Hello")
        self.assertEqual(decode_text(b"=?utf-8?B?S?="), "")

    def test_unknown_charset(self) -> None:
        self.assertEqual(decode_text(b"=?x-nobody-knows?Q?J=C3=A4?="), "J\xe4")
        self.assertEqual(decode_text(b"=?x-nobody-knows?Q?J=E4?="), "J\xe4")

    def test_raw_eight_bit(self) -> None:
        self.assertEqual(decode_text("J\xe4rn \u20ac".encode()), "J\xe4rn \u20ac")
        self.assertEqual(decode_text(b"J\xe4rn"), "J\xe4rn")
        self.assertEqual(decode_text(b"J\xe4 =?utf-8?Q?a?= \xc3\xa4"), "J\xe4 a \xe4")


class CharsetTests(SynchronousTestCase):
    def test_names_that_mail_uses(self) -> None:
        for charset, octets, text in (
            ("US-ASCII", b"abc", "abc"),
            ("ISO-8859-15", b"\xa4", "\u20ac"),
            ("windows-1252", b"\x80", "\u20ac"),
            ("Windows-1251", b"\xcf", "\u041f"),
            ("koi8-r", b"\xf0", "\u041f"),
            ("ISO-2022-JP", b'\x1b$B$"\x1b(B', "\u3042"),
            ("Shift_JIS", b"\x82\xa0", "\u3042"),
            ("EUC-JP", b"\xa4\xa2", "\u3042"),
            ("GB2312", b"\xc4\xe3", "\u4f60"),
            ("gbk", b"\x81\x40", "\u4e02"),
            ("Big5", b"\xa7\x41", "\u4f60"),
            ("ks_c_5601-1987", b"\xb0\xa1", "\uac00"),
            ("EUC-KR", b"\x81\x41", "\uac02"),
            ("iso-8859-8-i", b"\xe0", "\u05d0"),
            ("UTF-16", b"\xff\xfea\0", "a"),
            ("utf-7", b"+AOQ-", "\xe4"),
            (b'"utf-8"', b"\xc3\xa4", "\xe4"),
            ("utf8", b"\xc3\xa4", "\xe4"),
            ("windows-874", b"\xa1", "\u0e01"),
        ):
            self.assertEqual(decode_charset(octets, charset), text, charset)

    def test_what_does_not_fit_the_charset(self) -> None:
        self.assertEqual(decode_charset(b"a\xffb", "utf-8"), "a\ufffdb")
        self.assertEqual(decode_charset(b"J\xc3\xa4", "us-ascii"), "J\xe4")
        self.assertEqual(decode_charset(b"J\xe4", None), "J\xe4")

    def test_no_lone_surrogates(self) -> None:
        text = decode_charset(b"a+2AA-b", "utf-7")
        self.assertEqual(text, "a\ufffdb")

    def test_codecs_that_are_no_charsets(self) -> None:
        for name in ("zlib", "zip", "bz2", "hex", "rot13", "rot_13", "base64", "uu", "quopri"):
            self.assertIsNone(codec_name(name), name)
        for name in ("idna", "punycode", "unicode-escape", "raw_unicode_escape", "undefined"):
            self.assertIsNone(codec_name(name), name)
        self.assertEqual(decode_charset(b"\\u0041", "unicode_escape"), "\\u0041")

    def test_unknown_names_reach_no_codec_registry(self) -> None:
        asked: list[str] = []

        def search(name: str) -> None:
            asked.append(name)

        codecs.register(search)
        self.addCleanup(codecs.unregister, search)
        for name in ("x-nobody-knows-this-1", "../../etc", "a" * 100_000, "\0", "", "os", b"\xff"):
            self.assertEqual(decode_charset(b"a", name), "a")
        self.assertEqual(asked, [])

    def test_every_codec_takes_any_octets(self) -> None:
        octets = bytes(range(256)) * 3 + b"+2AA-~{\x1b$B\x0e\xff\xfe\x00"
        for name in set(encodings.aliases.aliases) | set(encodings.aliases.aliases.values()):
            decode_charset(octets, name).encode("utf-8")

    def test_pieces_make_no_difference(self) -> None:
        dice = random.Random(7)
        typical = bytes(range(256)) + b"+-/Aa~{}\x1b$B(J\xd8\x00\r\n" * 8
        for name in sorted({codec for codec in map(codec_name, aliases.values()) if codec}):
            texts = ["Grüße für Ωω 日本語 текст".encode(name, "replace"), b"\xff\xfea\0\0\0", b""]
            texts += [bytes(dice.choices(typical, k=dice.randrange(60))) for _ in range(20)]
            for text in texts:
                self.patch(words, "DECODE_PIECE", 1000)
                whole = decode_charset(text, name)
                self.patch(words, "DECODE_PIECE", dice.randrange(1, 9))
                self.assertEqual(decode_charset(text, name), whole, f"{name} {text!r}")

    def test_what_does_not_fit_holds_nobody_up(self) -> None:
        # A single call would take seconds for a large text, during which no other thread runs.
        decoders: list[int] = []
        make = codecs.getincrementaldecoder

        def count(name: str) -> type[codecs.IncrementalDecoder]:
            class Decoder(make(name)):  # type: ignore[misc]
                def decode(self, data: bytes, final: bool = False) -> str:
                    decoders.append(len(data))
                    return super().decode(data, final)

            return Decoder

        self.patch(codecs, "getincrementaldecoder", count)
        self.assertEqual(decode_charset(b"\x81" * 1_000_000, "cp1252"), "\ufffd" * 1_000_000)
        self.assertLessEqual(max(decoders), words.DECODE_PIECE)
        self.assertEqual(sum(decoders), 1_000_000)


class Base64Tests(SynchronousTestCase):
    def test_plain(self) -> None:
        self.assertEqual(decode_base64(b"SGVs\r\nbG8=\r\n"), b"Hello")

    def test_junk_and_missing_padding(self) -> None:
        self.assertEqual(decode_base64(b"S-G!V\0s\xffbG8"), b"Hello")
        self.assertEqual(decode_base64(b"SGVsbG8"), b"Hello")
        self.assertEqual(decode_base64(b"SGVsb"), b"Hel")
        self.assertEqual(decode_base64(b""), b"")
        self.assertEqual(decode_base64(b"===="), b"")

    def test_junk_everywhere_costs_no_memory(self) -> None:
        junk = b"=A" * 1_000_000
        tracemalloc.start()
        try:
            decoded = decode_base64(junk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertEqual(decoded, bytes((1_000_000 - words.MAX_BASE64_PIECES + 1) // 4 * 3))
        self.assertLess(peak, 10 * len(junk))

    def test_several_texts_one_after_the_other(self) -> None:
        self.assertEqual(decode_base64(b"SGU=\r\nbGxv\r\nIQ==\r\n"), b"Hello!")


class ParameterTests(SynchronousTestCase):
    def text(self, value: bytes, name: bytes) -> str | None:
        return parameter_text(parse_parameters(value), name)

    def test_rfc_2231_section_3(self) -> None:
        value = (
            b'; access-type=URL; URL*0="ftp://";'
            b' URL*1="cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"'
        )
        self.assertEqual(
            parse_parameters(value),
            (
                (b"access-type", b"URL"),
                (b"URL", b"ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"),
            ),
        )

    def test_rfc_2231_section_4(self) -> None:
        value = b"; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A"
        self.assertEqual(self.text(value, b"title"), "This is ***fun***")

    def test_rfc_2231_section_4_1(self) -> None:
        value = (
            b"; title*0*=us-ascii'en'This%20is%20even%20more%20;"
            b' title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2="isn\'t it!"'
        )
        self.assertEqual(
            parse_parameters(value),
            (
                (
                    b"title*",
                    b"us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun%2A%2A%2A%20isn%27t%20it!",
                ),
            ),
        )
        self.assertEqual(self.text(value, b"TITLE"), "This is even more ***fun*** isn't it!")

    def test_sections_out_of_order(self) -> None:
        self.assertEqual(self.text(b"; n*1=b; x=1; n*0=a; n*2=c", b"n"), "abc")

    def test_sections_with_a_gap(self) -> None:
        self.assertEqual(self.text(b"; n*0=a; n*2=c", b"n"), "a")
        self.assertEqual(parse_parameters(b"; n*1=b; m=1"), ((b"m", b"1"),))

    def test_first_section_without_charset(self) -> None:
        value = b"; n*0=a'b; n*1*=%41"
        self.assertEqual(self.text(value, b"n"), "a'bA")
        self.assertEqual(parse_parameters(value), ((b"n*", b"''a%27b%41"),))

    def test_extended_goes_before_plain(self) -> None:
        self.assertEqual(self.text(b"; f=fallback; f*=utf-8''%C3%A4", b"f"), "\xe4")

    def test_broken_extended(self) -> None:
        self.assertEqual(self.text(b"; f*=%41%4", b"f"), "A%4")
        self.assertEqual(self.text(b"; f*=utf-8'x", b"f"), "utf-8'x")
        self.assertEqual(self.text(b"; f*=zlib''%ff", b"f"), "\xff")

    def test_encoded_word(self) -> None:
        self.assertEqual(self.text(b'; f="=?utf-8?Q?=C3=A4.txt?="', b"f"), "\xe4.txt")

    def test_missing(self) -> None:
        self.assertIsNone(self.text(b"; f=1", b"g"))
