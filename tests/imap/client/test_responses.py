"""Responses of all kinds, split anywhere, and what is none."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.content import CONTENT_MEMORY, Content
from mailkit.client.errors import ProtocolError
from mailkit.imap.client.reader import Response, ResponseLimits, ResponseReader
from mailkit.imap.client.responses import parse_response
from mailkit.imap.client.values import (
    BodyPart,
    Capabilities,
    Continuation,
    Enabled,
    Exists,
    Expunge,
    ExtendedSearch,
    Identification,
    Listing,
    MailboxFlags,
    MailboxStatus,
    Message,
    Namespace,
    Namespaces,
    QuotaRoots,
    Recent,
    ResponseCode,
    SearchNumbers,
    Status,
    Tagged,
    Unknown,
    Vanished,
)
from mailkit.mime.envelope import read_envelope, render_envelope
from mailkit.mime.headers import parse_header
from mailkit.mime.parts import parse_message
from mailkit.mime.structure import bodystructure_octets

#: What a server sends, and what it means.
EXAMPLES: list[tuple[bytes, Any]] = [
    (b"* OK hello {3}", Status("OK", None, "hello {3}")),
    (b"* PREAUTH hello", Status("PREAUTH", None, "hello")),
    (b"* BYE", Status("BYE", None, "")),
    (
        b"* OK [CAPABILITY IMAP4rev1 IDLE] ready",
        Status("OK", ResponseCode("CAPABILITY", b"IMAP4rev1 IDLE"), "ready"),
    ),
    (
        b'* NO [BADCHARSET ("a]b" utf-8)] no',
        Status("NO", ResponseCode("BADCHARSET", b'("a]b" utf-8)'), "no"),
    ),
    (b'* NO [X a"b] no', Status("NO", ResponseCode("X", b'a"b'), "no")),
    (b"* OK [UIDNEXT 4392] x", Status("OK", ResponseCode("UIDNEXT", b"4392"), "x")),
    (b"A1 OK done", Tagged(b"A1", Status("OK", None, "done"))),
    (
        b"A1 no [TRYCREATE] none",
        Tagged(b"A1", Status("NO", ResponseCode("TRYCREATE"), "none")),
    ),
    (b"+ go on", Continuation(b"go on")),
    (b"+", Continuation(b"")),
    (b"* CAPABILITY IMAP4rev1 Idle", Capabilities(frozenset(("IMAP4REV1", "IDLE")))),
    (b"* ENABLED CONDSTORE", Enabled(frozenset(("CONDSTORE",)))),
    (b"* ENABLED", Enabled(frozenset())),
    (
        b"* FLAGS (\\answered \\Flagged Custom $Junk)",
        MailboxFlags(frozenset(("\\Answered", "\\Flagged", "Custom", "$Junk"))),
    ),
    (b"* 23 EXISTS", Exists(23)),
    (b"* 5 recent", Recent(5)),
    (b"* 44 EXPUNGE", Expunge(44)),
    (b"* VANISHED 300:303,405", Vanished(((300, 303), (405, 405)), False)),
    (b"* VANISHED (EARLIER) 4:1", Vanished(((1, 4),), True)),
    (b"* SEARCH 2 3 6 ", SearchNumbers((2, 3, 6))),
    (b"* SEARCH", SearchNumbers(())),
    (b"* SEARCH 2 5 (MODSEQ 917162500)", SearchNumbers((2, 5), 917162500)),
    (
        b'* ESEARCH (TAG "A282") MIN 2 COUNT 3',
        ExtendedSearch(b"A282", False, minimum=2, total=3),
    ),
    (
        b'* ESEARCH (TAG "a") UID ALL 2,10:11 MAX 11 MODSEQ 1236 PARTIAL (1:10 2,4)',
        ExtendedSearch(
            b"a", True, maximum=11, all=((2, 2), (10, 11)), modseq=1236, partial=((2, 2), (4, 4))
        ),
    ),
    (b"* ESEARCH", ExtendedSearch(None, False)),
    (
        b'* LIST (\\Noselect) "/" ~/Mail/foo',
        Listing("~/Mail/foo", frozenset(("\\Noselect",)), "/"),
    ),
    (
        b'* LIST (\\HasNoChildren \\Sent) NIL {5}\r\ninBOX ("CHILDINFO" ("SUBSCRIBED"))',
        Listing("INBOX", frozenset(("\\HasNoChildren", "\\Sent")), None),
    ),
    (b'* LSUB () "\\\\" "a\\"b"', Listing('a"b', frozenset(), "\\", True)),
    (b'* LIST () "." "Entw&APw-rfe"', Listing("Entwürfe", frozenset(), ".")),
    ('* LIST () "." "Entwürfe"'.encode(), Listing("Entwürfe", frozenset(), ".")),
    (b'* LIST () "." "broken & name"', Listing("broken & name", frozenset(), ".")),
    (
        b"* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292 MAILBOXID (F22))",
        MailboxStatus("blurdybloop", {"MESSAGES": 231, "UIDNEXT": 44292, "MAILBOXID": "F22"}),
    ),
    (b"* STATUS x ()", MailboxStatus("x", {})),
    (
        b'* NAMESPACE (("" "/")) NIL (("#shared/" "/" "X" ("a"))("#public/" NIL))',
        Namespaces(
            (Namespace("", "/"),),
            (),
            (Namespace("#shared/", "/"), Namespace("#public/", None)),
        ),
    ),
    (b'* ID ("name" "Cyrus" "os" NIL)', Identification({"name": "Cyrus", "os": None})),
    (b"* ID NIL", Identification({})),
    (b'* QUOTAROOT INBOX ""', QuotaRoots("INBOX", ("",))),
    (b'* XNEW INBOX ""', Unknown("XNEW", b'INBOX ""')),
    (
        b"* 12 FETCH (FLAGS (\\Seen \\Recent) UID 4827313 RFC822.SIZE 44827 MODSEQ (65402))",
        Message(
            12,
            uid=4827313,
            flags=frozenset(("\\Seen",)),
            recent=True,
            size=44827,
            modseq=65402,
            items={"FLAGS", "UID", "RFC822.SIZE", "MODSEQ"},
        ),
    ),
    (
        b'* 3 FETCH (INTERNALDATE "17-Jul-1996 02:44:25 -0700" EMAILID (M1) THREADID NIL'
        b' SAVEDATE NIL PREVIEW "hi" X-NEW-LIST ("\\\\Inbox" a))',
        Message(
            3,
            internal_date=837596665,
            email_id="M1",
            preview="hi",
            others={"X-NEW-LIST": b'("\\\\Inbox" a)'},
            items={"INTERNALDATE", "EMAILID", "THREADID", "SAVEDATE", "PREVIEW", "X-NEW-LIST"},
        ),
    ),
]

#: What no server may send.
WRONG = [
    b"",
    b"*",
    b"* ",
    b"A1",
    b"A1 BYE x",
    b"A1 MAYBE x",
    b"* OK [UNFINISHED x",
    b"* 99999999999 EXISTS",
    b"* 1 FETCH",
    b"* 1 FETCH (",
    b"* 1 FETCH (FLAGS",
    b"* 1 FETCH (UID 0)",
    b"* 1 FETCH (UID x)",
    b"* 1 FETCH (ENVELOPE (1 2 3))",
    b"* 1 FETCH (ENVELOPE NIL)",
    b"* 1 FETCH (BODYSTRUCTURE ())",
    b'* 1 FETCH (BODYSTRUCTURE ("text" "plain" ("odd") NIL NIL "7bit" 1 1))',
    b'* 1 FETCH (INTERNALDATE "yesterday")',
    b"* SEARCH one",
    b"* VANISHED x",
    b"* LIST ( x",
    b'* LIST () "/"',
    b"* STATUS x (MESSAGES)",
    b"* NAMESPACE NIL NIL",
]


def read_all(*pieces: bytes, limits: ResponseLimits | None = None) -> list[Any]:
    reader = ResponseReader(limits or ResponseLimits())
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (response := reader.read()) is not None:
            found.append(parse_response(response))
    return found


class ExampleTests(SynchronousTestCase):
    def test_each(self) -> None:
        for octets, wanted in EXAMPLES:
            self.assertEqual(read_all(octets + b"\r\n"), [wanted], octets)

    def test_bare_line_feeds_end_lines_too(self) -> None:
        self.assertEqual(read_all(b"* 3 EXISTS\n"), [Exists(3)])

    def test_all_splits_give_the_same(self) -> None:
        octets = b"".join(each + b"\r\n" for each, _ in EXAMPLES)
        wanted = [each for _, each in EXAMPLES]
        for size in (1, 2, 3, 7, 100):
            pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
            self.assertEqual(read_all(*pieces), wanted)

    def test_wrong_ones(self) -> None:
        for octets in WRONG:
            self.assertRaises(ProtocolError, read_all, octets + b"\r\n")

    def test_damaged_ones_end_in_a_protocol_error_or_a_value(self) -> None:
        dice = random.Random(1)
        for _ in range(4000):
            octets = bytearray(dice.choice(EXAMPLES)[0] + b"\r\n")
            for _ in range(dice.randint(1, 3)):
                octets[dice.randrange(len(octets))] = dice.choice(b'()"\\{}[] \r\n*09aZ\x00\xff+')
            try:
                read_all(bytes(octets))
            except ProtocolError:
                pass


class ContentTests(SynchronousTestCase):
    def content(self, *pieces: bytes) -> Content:
        (message,) = read_all(*pieces)
        (content,) = message.sections.values()
        assert isinstance(content, Content)
        return content

    def test_small_and_large(self) -> None:
        for size in (0, 1, CONTENT_MEMORY, CONTENT_MEMORY + 1, 3 * CONTENT_MEMORY):
            octets = bytes(range(256)) * (size // 256) + b"\r\n"[: size % 256]
            size = len(octets)
            content = self.content(b"* 1 FETCH (BODY[] {%d}\r\n" % size, octets, b" UID 3)\r\n")
            self.assertEqual((content.size, content.octets()), (size, octets))
            with content.open() as reader:
                self.assertEqual(reader.read(), octets)
            content.close()
            content.close()

    def test_its_file_goes_with_it(self) -> None:
        octets = b"x" * (CONTENT_MEMORY + 1)
        content = self.content(b"* 1 FETCH (BODY[1] {%d}\r\n%b)\r\n" % (len(octets), octets))
        path = content._spool.path
        assert path is not None
        self.assertTrue(Path(path).exists())
        del content
        self.assertFalse(Path(path).exists())

    def test_other_forms(self) -> None:
        for octets, wanted in (
            (b'BODY[HEADER.FIELDS (FROM "TO")] "x\\"y"', b'x"y'),
            (b"BINARY[1.2] ~{3}\r\na\0b", b"a\0b"),
            (b"RFC822.TEXT {1}\r\n(", b"("),
            (b"BODY[]<5> {2}\r\n\r\n", b"\r\n"),
        ):
            found = self.content(b"* 1 FETCH (" + octets + b")\r\n")
            self.assertEqual(found.octets(), wanted)

    def test_nothing_there(self) -> None:
        (message,) = read_all(b"* 1 FETCH (BODY[9] NIL)\r\n")
        self.assertEqual(message.sections, {"BODY[9]": None})
        self.assertIsNone(message.content("9"))

    def test_a_literal_elsewhere_is_no_content(self) -> None:
        (message,) = read_all(
            b"* 1 FETCH (ENVELOPE (NIL {6}\r\nBODY[] NIL NIL NIL NIL NIL NIL NIL NIL) UID 2)\r\n"
        )
        self.assertEqual((message.envelope.subject, message.uid), (b"BODY[]", 2))


class LimitTests(SynchronousTestCase):
    def check(self, octets: bytes, **limits: int) -> None:
        self.assertRaises(ProtocolError, read_all, octets, limits=ResponseLimits(**limits))

    def test_numbers_of_any_length(self) -> None:
        self.check(b"* 1 FETCH (BODY[] {99999999999999999999}\r\n")

    def test_depth(self) -> None:
        deep = b"(" * 101 + b")" * 101
        self.check(b"* 1 FETCH (X " + deep + b")\r\n")
        self.check(b"* 1 FETCH (BODYSTRUCTURE " + deep + b")\r\n")


class StructureTests(SynchronousTestCase):
    """What the server side of the project makes of a message, read back."""

    MESSAGE = (
        b"From: Ann <ann@example.org>\r\nTo: x: a@b, c@d;\r\nSubject: =?utf-8?q?=C3=BC?=\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Language: de, en\r\n\r\nhi\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n"
        b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
        b"--c\r\n\r\none\r\n--c\r\nContent-Type: text/html\r\n\r\ntwo\r\n--c--\r\n\r\n"
        b"--b\r\nContent-Type: image/png; name=x\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="a b"\r\n\r\nAAAA\r\n--b--\r\n'
    )

    def test_sections(self) -> None:
        octets = bodystructure_octets(self.MESSAGE, parse_message(self.MESSAGE))
        (message,) = read_all(b"* 1 FETCH (BODYSTRUCTURE " + octets + b")\r\n")
        parts = list(message.structure.walk())
        self.assertEqual(
            [(part.section, f"{part.type}/{part.subtype}") for part in parts],
            [
                ("", "multipart/mixed"),
                ("1", "text/plain"),
                ("2", "message/rfc822"),
                ("2", "multipart/alternative"),
                ("2.1", "text/plain"),
                ("2.2", "text/html"),
                ("3", "image/png"),
            ],
        )
        self.assertEqual(parts[0].parameters, {"boundary": b"b"})
        self.assertEqual(parts[1].languages, ("de", "en"))
        self.assertEqual(parts[2].envelope.subject, b"inner")
        self.assertEqual(parts[6].disposition, "attachment")
        self.assertEqual(parts[6].disposition_parameters, {"filename": b"a b"})
        self.assertEqual(parts[6].encoding, "base64")

    def test_envelope(self) -> None:
        wanted = read_envelope(parse_header(self.MESSAGE))
        octets = render_envelope(wanted)
        (message,) = read_all(b"* 1 FETCH (ENVELOPE " + octets + b")\r\n")
        self.assertEqual(message.envelope, wanted)


class TextTests(SynchronousTestCase):
    """Of octets, as people read them."""

    def part(self, octets: bytes) -> BodyPart:
        message: Any = parse_response(Response(b"* 1 FETCH (BODYSTRUCTURE (%b))" % octets, {}))
        part: BodyPart = message.structure
        return part

    def test_subject(self) -> None:
        fields = b'NIL "=?utf-8?q?=C3=BCber?= x" ' + b" ".join([b"NIL"] * 8)
        message: Any = parse_response(Response(b"* 1 FETCH (ENVELOPE (%b))" % fields, {}))
        self.assertEqual(message.subject, "über x")
        self.assertEqual(Message(1).subject, "")

    def test_file_names(self) -> None:
        head = b'"text" "plain" (%b) NIL NIL "base64" 10 1 NIL (%b)'
        for of_type, disposition, name in (
            (b'"name" "a"', b'"attachment" ("filename*" "utf-8\'\'%C3%BC" "filename" "u")', "ü"),
            (b'"name" "=?utf-8?q?=C3=BC?="', b'"inline" NIL', "ü"),
            (b'"charset" "x"', b'"attachment" NIL', None),
        ):
            self.assertEqual(self.part(head % (of_type, disposition)).filename, name)

    def test_decoding(self) -> None:
        line = b'"text" "plain" ("charset" "iso-8859-1") NIL NIL "%b" 10 1'
        for encoding, octets, decoded in (
            (b"BASE64", b"/A==", b"\xfc"),
            (b"quoted-printable", b"=FC", b"\xfc"),
            (b"8bit", b"\xfc", b"\xfc"),
            (b"x-unknown", b"\xfc", b"\xfc"),
        ):
            part = self.part(line % encoding)
            self.assertEqual(part.decode(octets), decoded)
            self.assertEqual(part.text(octets), "ü")

    def test_a_decoded_section(self) -> None:
        message: Any = parse_response(Response(b'* 1 FETCH (BINARY[1.2] "x")', {}))
        self.assertEqual(message.content("1.2").octets(), b"x")
