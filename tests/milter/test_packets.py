"""Packets of the milter protocol, octet by octet."""

from __future__ import annotations

import random
import struct

from twisted.trial.unittest import SynchronousTestCase

from mailkit.milter import packets
from mailkit.milter.packets import (
    Action,
    Decoder,
    MilterError,
    Packet,
    Stage,
    Step,
    parse_modification,
    parse_options,
    parse_reply_text,
)


class CommandTests(SynchronousTestCase):
    """What a mail server sends."""

    def check(self, octets: bytes, expected: str) -> None:
        self.assertEqual(octets.hex(), expected.replace(" ", ""))

    def test_options(self) -> None:
        self.check(packets.options(), "0000000d 4f 00000006 000001ff 001ff7ff")

    def test_connect(self) -> None:
        self.check(
            packets.connect(b"a.b", "192.0.2.7", 25),
            "00000012 43 612e6200 34 0019 3139322e302e322e3700",
        )
        self.assertIn(b"a\x006\x00\x192001:db8::1\x00", packets.connect(b"a", "2001:db8::1", 25))
        self.check(packets.connect(b"localhost", "", 0), "0000000c 43 6c6f63616c686f737400 55")

    def test_envelope(self) -> None:
        self.check(packets.helo(b"x"), "00000003 48 7800")
        self.check(packets.mail(b"<>", [b"SIZE=1"]), "0000000b 4d 3c3e00 53495a453d3100")
        self.check(packets.rcpt(b"<a>"), "00000005 52 3c613e00")
        self.check(packets.DATA, "00000001 54")

    def test_content(self) -> None:
        self.check(packets.header(b"A", b" b\r\n\tc"), "00000009 4c 4100 20620a096300")
        self.check(packets.END_OF_HEADERS, "00000001 4e")
        self.check(packets.body(b"\x00\xff"), "00000003 42 00ff")
        self.check(packets.END_OF_MESSAGE, "00000001 45")
        self.check(packets.ABORT + packets.QUIT, "00000001 41 00000001 51")

    def test_macros(self) -> None:
        pairs = [(b"j", b"mx"), (b"{x}", b"y")]
        self.check(packets.macros(Stage.CONNECT, pairs), "0000000d 44 43 6a00 6d7800 7b787d00 7900")
        for stage, code in zip(Stage, b"CHMRTEN", strict=True):
            self.assertEqual(packets.macros(stage, pairs)[5], code)

    def test_nothing_smuggles_a_string(self) -> None:
        self.assertEqual(packets.helo(b"a\0b"), packets.helo(b"ab"))

    def test_long_headers_are_cut(self) -> None:
        octets = packets.header(b"Name", b"x" * 100_000)
        self.assertEqual(len(octets), 4 + 1 + packets.MAX_DATA)


class DecoderTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        octets = packets.packet(b"c") + packets.packet(b"h", b"A\0b\0") + packets.packet(b"a")
        expected = [Packet(b"c", b""), Packet(b"h", b"A\0b\0"), Packet(b"a", b"")]
        for at in range(len(octets)):
            decoder = Decoder()
            self.assertEqual(decoder.feed(octets[:at]) + decoder.feed(octets[at:]), expected)
        decoder = Decoder()
        found = [p for octet in octets for p in decoder.feed(bytes((octet,)))]
        self.assertEqual(found, expected)

    def test_bad_lengths(self) -> None:
        for length in (0, 101, 2**32 - 1):
            self.assertRaises(MilterError, Decoder(100).feed, struct.pack("!I", length))
        self.assertEqual(Decoder(100).feed(struct.pack("!I", 100)), [])


class OptionTests(SynchronousTestCase):
    def data(self, version: int = 6, actions: int = 1, steps: int = 2, rest: bytes = b"") -> bytes:
        return struct.pack("!III", version, actions, steps) + rest

    def test_what_is_wanted(self) -> None:
        found = parse_options(self.data(2, 0x13, 0x501))
        self.assertEqual(found.version, 2)
        self.assertEqual(
            found.actions, Action.ADD_HEADERS | Action.CHANGE_BODY | Action.CHANGE_HEADERS
        )
        self.assertEqual(found.steps, Step.NO_CONNECT | Step.NO_UNKNOWN | Step.SKIP)

    def test_macros(self) -> None:
        rest = b"\0\0\0\x01j {my}\0" + b"\0\0\0\x03k,{other}\0"
        found = parse_options(self.data(rest=rest)).macros
        self.assertEqual(found, {Stage.HELO: [b"j", b"{my}"], Stage.RCPT: [b"k", b"{other}"]})

    def test_wrong_answers(self) -> None:
        for data in (
            b"",
            self.data()[:11],
            self.data(version=1),
            self.data(version=7),
            self.data(actions=0x200),
            self.data(steps=0x800),
            self.data(steps=0x10000000),
            self.data(rest=b"\0\0\0\x01j"),
            self.data(rest=b"\0\0"),
            self.data(rest=b"\0\0\0\x09j\0"),
            self.data(rest=b"\0\0\0\x01" + b"j " * 101 + b"\0"),
        ):
            self.assertRaises(MilterError, parse_options, data)


class ModificationTests(SynchronousTestCase):
    def parse(self, octets: bytes, actions: Action = packets.ALL_ACTIONS) -> object:
        (found,) = Decoder().feed(packets.packet(octets[:1], octets[1:]))
        self.assertTrue(packets.is_modification(found.code))
        return parse_modification(found, actions)

    def test_all(self) -> None:
        for octets, expected in (
            (b"hX\0 y\0", packets.AddField(None, "X", " y")),
            (b"i\0\0\0\x02X\0y\0", packets.AddField(2, "X", "y")),
            (b"m\0\0\0\x01X\0\0", packets.ChangeField(1, "X", "")),
            (b"e<a@b>\0", packets.Sender(b"<a@b>")),
            (b"e<a@b>\0SIZE=1\0", packets.Sender(b"<a@b>")),
            (b"+<a@b>\0", packets.NewRecipient(b"<a@b>", b"")),
            (b"2<a@b>\0", packets.NewRecipient(b"<a@b>", b"")),
            (b"2<a@b>\0NOTIFY=NEVER\0", packets.NewRecipient(b"<a@b>", b"NOTIFY=NEVER")),
            (b"-<a@b>\0", packets.OldRecipient(b"<a@b>")),
            (b"b\0\xff\r\n", packets.BodyPiece(b"\0\xff\r\n")),
            (b"qspam\0", packets.Hold("spam")),
            (b"hX\0\xff\0", packets.AddField(None, "X", "\udcff")),
        ):
            self.assertEqual(self.parse(octets), expected)

    def test_what_was_not_negotiated(self) -> None:
        for code in b"himb+2-eq":
            needed = packets._NEEDED[bytes((code,))]
            octets = bytes((code,)) + b"\0\0\0\x01X\0y\0"
            self.assertRaises(MilterError, self.parse, octets, packets.ALL_ACTIONS & ~needed)

    def test_bad_data(self) -> None:
        for octets in (
            b"h", b"hX", b"hX\0y", b"hX\0y\0z\0", b"i\0\0", b"i\0\0\0\0X\0", b"m\0\0\0\0X",
            b"q", b"qx\0y\0", b"-", b"+x", b"e", b"ea\0b\0c\0", b"2a\0b\0c\0",
        ):  # fmt: skip
            self.assertRaises(MilterError, self.parse, octets)

    def test_junk_raises_nothing_else(self) -> None:
        chance = random.Random(1)
        for _ in range(3000):
            octets = bytes(chance.choice(b"himb+2-eq") for _ in range(1))
            octets += bytes(
                chance.choice(b"\0\0\x01aX <>@\xff") for _ in range(chance.randrange(12))
            )
            try:
                self.parse(octets)
            except MilterError:
                pass


class ReplyTests(SynchronousTestCase):
    def test_codes_and_text(self) -> None:
        for octets, expected in (
            (b"550 5.7.1 Go away\0", (550, "5.7.1", "Go away")),
            (b"451 later\0", (451, "", "later")),
            (b"550 5.7.1 100%% sure\0", (550, "5.7.1", "100% sure")),
            (b"550-5.7.1 one\r\n550 5.7.1 two\0", (550, "5.7.1", "one\ntwo")),
            (b"421 4.7.0\0", (421, "4.7.0", "")),
            (b"554 1.2 is no code\0", (554, "", "1.2 is no code")),
        ):
            self.assertEqual(tuple(parse_reply_text(octets)), expected)

    def test_what_is_no_refusal(self) -> None:
        for octets in (b"", b"\0", b"250 OK\0", b"5x0 x\0", b"550", b"550x\0", b"550 4.7.1 x\0",
                       b"99\0", b"550 x\0y\0"):  # fmt: skip
            self.assertRaises(MilterError, parse_reply_text, octets)
