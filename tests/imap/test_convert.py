"""CONVERT (RFC 5259), on both stores."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.imap import content, conversion
from mailkit.imap.conversion import ConversionError, Request, convert, convert_header
from mailkit.imap.handlers import convert as handlers
from tests.imap.support import Server, ServerTestCase

RUSSIAN = "Привет, мир"
MESSAGE = (
    b"From: =?iso-8859-1?q?J=FCrgen?= <j@example.org>\r\n"
    b"Subject: =?koi8-r?b?" + b"8NLJ18XU" + b"?= =?x-unknown?q?odd?= end\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=koi8-r\r\nContent-Description: greeting\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n" + RUSSIAN.encode("koi8-r") + b"\r\n"
    b"--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>caf=E9</p>\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORwAA\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nnot \xff UTF-8\r\n"
    b"--b\r\nContent-Type: text/plain; charset=x-odd\r\n\r\nodd\r\n"
    b"--b--\r\n"
)
CAFE = "<p>café</p>".encode()


def request(**parameters: bytes) -> Request:
    named = {name.replace("_", "-"): value for name, value in parameters.items()}
    return Request("text/plain", named)


class TextTests(SynchronousTestCase):
    def converted(self, text: str, source: str, **parameters: bytes) -> bytes:
        octets = text.encode(source)
        results = {
            b"".join(convert(pieces, source, request(**parameters)))
            for pieces in ([octets], [octets[:1], octets[1:]], [bytes((o,)) for o in octets])
        }
        (result,) = results
        return result

    def test_what_every_server_converts(self) -> None:
        # RFC 5259 section 7.1
        for number, text in (
            (1, "é"), (2, "ł"), (3, "ħ"), (4, "ā"), (5, "ж"), (6, "ش"), (7, "ω"), (8, "ש"), (15, "€"),
        ):  # fmt: skip
            source = f"iso-8859-{number}"
            self.assertEqual(self.converted(text, source, charset=b"utf-8"), text.encode(), source)

    def test_charsets_with_state(self) -> None:
        text = "日本 x 語"
        for target in ("iso-2022-jp", "utf-16", "shift_jis", "gb18030"):
            octets = self.converted(text, "utf-8", charset=target.encode())
            self.assertEqual(octets.decode(target), text, target)
        self.assertEqual(self.converted(text, "iso-2022-jp"), text.encode())

    def test_characters_that_are_missing(self) -> None:
        fault = self.assertRaises(
            ConversionError, self.converted, "aé", "utf-8", charset=b"us-ascii"
        )
        self.assertEqual(list(fault.bad), ["charset"])
        for spare, result in ((b"?", b"a??b"), (b"", b"ab"), (b"[x]", b"a[x][x]b")):
            found = self.converted(
                "aéüb", "utf-8", charset=b"us-ascii", unknown_character_replacement=spare
            )
            self.assertEqual(found, result)
        found = self.converted(
            "日é本é", "utf-8", charset=b"iso-2022-jp", unknown_character_replacement=b"?"
        )
        self.assertEqual(found.decode("iso-2022-jp"), "日?本?")

    def test_replacements_that_do_not_fit(self) -> None:
        for spare in ("é".encode(), b"\xff", b"x" * 17):
            with self.assertRaises(ConversionError) as caught:
                parameters = request(charset=b"us-ascii", unknown_character_replacement=spare)
                list(convert([b"a"], "us-ascii", parameters))
            self.assertEqual(list(caught.exception.bad), ["unknown-character-replacement"])

    def test_unknown_charsets(self) -> None:
        for charset in (b"x-odd", b"", b"utf-8\r\n\r\n", b"zlib", b"a" * 65):
            with self.assertRaises(ConversionError) as caught:
                list(convert([b"a"], "us-ascii", request(charset=charset)))
            self.assertEqual(list(caught.exception.bad), ["charset"], charset)

    def test_headers(self) -> None:
        for header, charset, result in (
            (b"Subject: =?koi8-r?B?8NLJ18XU?=", b"utf-8", "=?utf-8?B?0J/RgNC40LLQtdGC?="),
            (b"Subject: =?iso-8859-1?q?J=FCr_gen?=", b"utf-8", "=?utf-8?Q?J=C3=BCr=20gen?="),
            (b"Subject: =?x-odd?q?J=FCrgen?=", b"utf-8", "=?x-odd?q?J=FCrgen?="),
            (b"Subject: =?utf-8?q?=FC?=", b"utf-8", "=?utf-8?q?=FC?="),
            (b"Subject: =?us-ascii*en?q?a?= b", b"utf-8", "=?utf-8?Q?a?= b"),
        ):
            found = convert_header(header, Request(None, {"charset": charset}))
            self.assertEqual(found.decode(), f"Subject: {result}")
        with self.assertRaises(ConversionError):
            convert_header(b"=?koi8-r?B?8NLJ18XU?=", Request(None, {"charset": b"us-ascii"}))

    def test_words_that_become_too_long(self) -> None:
        # RFC 2047 section 2
        text = "ж" * 60
        octets = b"=?koi8-r?q?" + b"".join(b"=%02X" % o for o in text.encode("koi8-r")) + b"?="
        for word in (octets, b"=?koi8-r?B?1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW?="):
            lines = convert_header(word, Request(None, {"charset": b"utf-8"})).split(b"\r\n ")
            self.assertGreater(len(lines), 1)
            self.assertLessEqual(max(map(len, lines)), 75)


class DialogueTests(ServerTestCase):
    @override
    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(MESSAGE, b"Subject: two\r\n\r\nplain\r\n")
        self.client = self.server.login("SELECT INBOX")

    def ask(self, text: str) -> list[bytes]:
        return self.client.command(text)

    def value(self, text: str, told: bytes = b"OK CONVERT completed") -> bytes:
        """What stands in the parentheses of the only response."""
        line, last = self.ask(text)
        self.assertEqual(last, told, line)
        begin = b'* 1 CONVERTED (TAG "t%d") (' % self.client._tags
        self.assertTrue(line.startswith(begin), line)
        return line[len(begin) : -1]

    def test_parts(self) -> None:
        octets = RUSSIAN.encode()
        for conversion_, item, value in (
            ('("text/plain" ("charset" "utf-8"))', "BINARY[1]", b"{%d}\r\n" % len(octets) + octets),
            ('("TEXT/PLAIN" (CHARSET UTF-8))', "BINARY.SIZE[1]", b"%d" % len(octets)),
            ("(NIL)", "(BINARY[2])", b"{%d}\r\n%b" % (len(CAFE), CAFE)),
            ("(NIL)", "BINARY[2]<3.4>", b"{4}\r\n" + CAFE[3:7]),
            ("(NIL)", "BINARY[2]<99.4>", b"{0}\r\n"),
        ):
            name = item.strip("()").replace("<3.4>", "<3>").replace("<99.4>", "<99>").encode()
            self.assertEqual(self.value(f"CONVERT 1 {conversion_} {item}"), name + b" " + value)
        wide = RUSSIAN.encode("utf-16")
        self.assertEqual(
            self.value('CONVERT 1 (NIL ("charset" "utf-16")) BINARY[1]'),
            b"BINARY[1] ~{%d}\r\n%b" % (len(wide), wide),
        )

    def test_structure_is_that_of_the_converted_part(self) -> None:
        value = self.value('CONVERT 1 (NIL ("charset" "utf-8")) (BODYPARTSTRUCTURE[1] BINARY[1])')
        size = len(RUSSIAN.encode())
        told = b'("text" "plain" ("charset" "utf-8") NIL "greeting" "8bit" %d 0 ' % size
        self.assertTrue(value.lower().startswith(b"bodypartstructure[1] " + told.lower()), value)
        self.assertIn(b" BINARY[1] {%d}\r\n" % size, value)

    def test_by_uid(self) -> None:
        lines = self.ask("UID CONVERT 1:9 (NIL) (BINARY.SIZE[2] UID)")
        self.assertEqual(lines[0].partition(b") ")[2], b"(UID 1 BINARY.SIZE[2] 12)")
        self.assertIn(b"(UID 2 BINARY.SIZE[2] (ERROR ", lines[1])
        self.assertEqual(lines[2], b"OK CONVERT completed")
        self.assertEqual(self.ask("UID CONVERT 9 (NIL) BINARY[1]"), [b"OK CONVERT completed"])
        self.assertEqual(self.value("CONVERT 1 (NIL) UID"), b"UID 1")

    def test_failures(self) -> None:
        failed = b"NO All conversions failed"
        for text, phrase in (
            (
                '("text/plain" ("charset" "us-ascii")) BINARY[1]',
                b'(ERROR "Some of the characters are not in that charset" BADPARAMETERS'
                b' "text/plain" "text/plain" ("charset" "us-ascii"))',
            ),
            (
                '("text/plain") BINARY[2]',
                b'(ERROR "There is no conversion between these types here" BADPARAMETERS'
                b' "text/html" "text/plain")',
            ),
            (
                "(NIL) BINARY[9]",
                b'(ERROR "There is no such part" BADPARAMETERS NIL "text/plain")',
            ),
            (
                '("text/plain" ("pix-x" "10")) BINARY.SIZE[1]',
                b'(ERROR "Some of the parameters are not known here" BADPARAMETERS'
                b' "text/plain" "text/plain" ("pix-x" "10"))',
            ),
        ):
            value = self.value(f"CONVERT 1 {text}", failed)
            self.assertEqual(value.partition(b" ")[2], phrase)
        for item, reason in (
            ("BINARY[]", b'"message/rfc822"'),
            ("BINARY[3]", b'"image/png"'),
            ("BINARY[4]", b"not in the charset that it names"),
            ("BODYPARTSTRUCTURE[5]", b"charset of the part is not known"),
        ):
            self.assertIn(reason, self.value(f"CONVERT 1 (NIL) {item}", failed))
        value = self.value('CONVERT 1 (NIL ("unknown-character-replacement" "?")) BINARY[4]')
        self.assertIn("not \ufffd UTF-8".encode(), value)
        value = self.value("CONVERT 1 (NIL) (BINARY.SIZE[3] BINARY.SIZE[2])")
        self.assertTrue(value.endswith(b" BINARY.SIZE[2] 12"), value)

    def test_reason_in_the_language_of_the_client(self) -> None:
        self.ask("LANGUAGE de")
        value = self.value("CONVERT 1 (NIL) BINARY[9]", b"NO Alle Umwandlungen sind fehlgeschlagen")
        self.assertIn(b'"Diesen Teil gibt es nicht"', value)

    def test_headers(self) -> None:
        value = self.value('CONVERT 1 (NIL ("charset" "utf-8")) BODY[HEADER]')
        self.assertTrue(value.startswith(b"BODY[HEADER] {"), value)
        self.assertIn(b"\r\nFrom: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>\r\n", value)
        self.assertIn(b"Subject: =?utf-8?B?0J/RgNC40LLQtdGC?= =?x-unknown?q?odd?= end\r\n", value)
        value = self.value('CONVERT 1 (NIL ("charset" "utf-8")) BODY[1.MIME]')
        self.assertIn(b"Content-Description: greeting\r\n", value)

    def test_what_there_is(self) -> None:
        for item, value in (("1", b'(("text/plain"))'), ("2", b'(("text/html"))'), ("3", b"(())")):
            found = self.value(f"CONVERT 1 (NIL) AVAILABLECONVERSIONS[{item}]")
            self.assertEqual(found, b"AVAILABLECONVERSIONS[%b] %b" % (item.encode(), value))
        line = b'* CONVERSION "text/plain" "text/plain" ("charset" "unknown-character-replacement")'
        done = b"OK CONVERSIONS completed"
        self.assertEqual(self.ask('CONVERSIONS "text/plain" "text/plain"'), [line, done])
        self.assertEqual(self.ask("CONVERSIONS text/plain TEXT/PLAIN"), [line, done])
        self.assertEqual(len(self.ask('CONVERSIONS "text/*" "*"')), 7)
        self.assertEqual(self.ask('CONVERSIONS "multipart/*" "*"'), [done])
        self.assertEqual(self.ask('CONVERSIONS "text/html" "text/plain"'), [done])

    def test_large_messages(self) -> None:
        for small in (content.SMALL, 10):
            self.patch(content, "SMALL", small)
            self.assertIn(RUSSIAN.encode(), self.value("CONVERT 1 (NIL) BINARY[1]"))

    def test_a_message_that_cannot_be_read_begins_no_response(self) -> None:
        self.patch(content, "SMALL", 10)

        async def load(*_: object) -> None:
            raise OSError(5, "I/O error")

        self.patch(content.MessageContent, "load", load)
        lines = self.ask("UID CONVERT 1 (NIL) BINARY[1]")
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith(b"NO [SERVERBUG] "), lines)
        self.assertFalse(self.client.closed)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_a_response_that_cannot_be_ended(self) -> None:
        """The tagged response would be taken for a part of it: the connection ends."""
        calls: list[str] = []

        def broken(octets: object, charset: str, request: Request) -> Iterator[bytes]:
            calls.append(charset)
            if len(calls) == 2:
                raise RuntimeError("bug")
            yield b"x"

        self.patch(handlers, "convert", broken)
        received = self.client.send(b"a CONVERT 1 (NIL) (BINARY[1] BINARY[2])\r\n")
        self.assertEqual(received, b'* 1 CONVERTED (TAG "a") (BINARY[1] {1}\r\nx')
        self.assertTrue(self.client.closed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_limits(self) -> None:
        self.patch(handlers, "MAX_MESSAGES", 1)
        line = self.ask("CONVERT 1:2 (NIL) BINARY[1]")[-1]
        self.assertTrue(line.startswith(b"NO [MAXCONVERTMESSAGES 1] "), line)
        many = " ".join(f"BINARY[{number}]" for number in range(1, 22))
        line = self.ask(f"CONVERT 1 (NIL) ({many})")[-1]
        self.assertTrue(line.startswith(b"NO [MAXCONVERTPARTS 20] "), line)
        for limit, item in ((3, 1), (12, 1), (4, 2)):
            self.patch(handlers, "MAX_OCTETS", limit)
            value = self.value(f"CONVERT 1 (NIL) BINARY[{item}]", b"NO All conversions failed")
            self.assertIn(b"has at most %d octets" % limit, value)
        self.patch(conversion, "MAX_HEADER", 10)
        value = self.value(
            'CONVERT 1 (NIL ("charset" "utf-8")) BODY[HEADER]', b"NO All conversions failed"
        )
        self.assertIn(b"too large", value)

    def test_nothing_is_marked(self) -> None:
        self.ask("CONVERT 1 (NIL) BINARY[1]")
        self.assertEqual(self.ask("SEARCH SEEN")[0], b"* SEARCH")

    def test_malformed(self) -> None:
        for text in (
            "CONVERT 1",
            "CONVERT 1 BINARY[1]",
            "CONVERT 1 () BINARY[1]",
            'CONVERT 1 ("text") BINARY[1]',
            'CONVERT 1 ("text/*") BINARY[1]',
            "CONVERT 1 (NIL (charset)) BINARY[1]",
            "CONVERT 1 (NIL) BODY[1]",
            "CONVERT 1 (NIL) BODY[TEXT]",
            "CONVERT 1 (NIL) BODY[HEADER]",
            'CONVERT 1 ("text/plain" (charset utf-8)) BODY[HEADER]',
            "CONVERT 1 (NIL (charset utf-8)) BODY[HEADER.FIELDS (FROM)]",
            "CONVERT 1 (NIL) BINARY[1.MIME]",
            "CONVERT 1 (NIL) BINARY.SIZE[1]<0.1>",
            "CONVERT 1 (NIL) FLAGS",
            "CONVERT 1 (NIL) ()",
            "CONVERT 9 (NIL) BINARY[1]",
            "CONVERT x (NIL) BINARY[1]",
            "CONVERSIONS text/plain",
            "CONVERSIONS text text",
            'CONVERSIONS "*/*" "*"',
            'CONVERSIONS "" "*"',
        ):
            self.assertTrue(self.ask(text)[-1].startswith(b"BAD "), text)
            self.ask("NOOP")
        line = self.ask('CONVERT 1 ("application/pdf") BINARY[1]')[-1]
        self.assertEqual(line, b"NO No part can be converted to that type")

    def test_states_and_switches(self) -> None:
        client = self.server.login()
        self.assertEqual(len(client.command("CONVERSIONS * text/html")), 1)
        self.assertTrue(client.command("CONVERT 1 (NIL) BINARY[1]")[0].startswith(b"BAD This"))
        client.command("ENABLE UIDONLY")
        client.command("SELECT INBOX")
        for command in ("CONVERT", "UID CONVERT"):
            line = client.command(f"{command} 1 (NIL) BINARY[1]")[-1]
            self.assertTrue(line.startswith(b"BAD [UIDREQUIRED] "), line)


class SQLiteDialogueTests(DialogueTests):
    sqlite = True


class SwitchTests(SynchronousTestCase):
    def test_off(self) -> None:
        for without in ("CONVERT", "BINARY"):
            client = Server(without=[without]).login()
            self.assertNotIn(b" CONVERT", client.command("CAPABILITY")[0])
            self.assertEqual(client.command("CONVERSIONS a b"), [b"BAD There is no such command"])
