"""Whatever mailkit says is read by others: the ABNF, imaplib and imapclient."""

from __future__ import annotations

import email.message
import imaplib
from collections.abc import Iterator, Sequence
from typing import Any

from imapclient import IMAPClient
from imapclient.response_types import BodyData, Envelope
from twisted.trial.unittest import SynchronousTestCase

from tests.imap.fakes import PlainAccount
from tests.imap.messages import NESTED, PLAIN
from tests.imap.response_grammar import GrammarError, check_response
from tests.imap.support import PASSWORD, USER, Client, Server, split_responses
from tests.mime import corpus

#: Commands whose responses are read, in this order; whether they succeed does not matter.
COMMANDS = """
NOOP|CAPABILITY|ID NIL|ID ("name" "x")|ID|XYZZY|FETCH 1 FLAGS|AUTHENTICATE PLAIN =|LOGIN a b
LOGIN ann@example.org secret|CAPABILITY|NAMESPACE|ENABLE CONDSTORE X-Y|IDLE x|LOGIN a b
CREATE a/b/c|CREATE "q\\"uo\\\\te"|CREATE &AOQ-|CREATE "R&-D"|CREATE "%*"|CREATE NIL|CREATE a//b
CREATE INBOX|CREATE x (USE (\\Sent))|CREATE &AOQ|CREATE ""|SUBSCRIBE gone/away|SUBSCRIBE a/b
LIST "" ""|LIST "" *|LIST "" %|LIST "a/" %|LIST (SPECIAL-USE) "" *|LIST "" * RETURN (SUBSCRIBED)
LSUB "" *|LSUB "" %|LSUB "" ""|LIST "" (|STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)
STATUS inbox (RECENT)|STATUS nosuch (MESSAGES)|STATUS "q\\"uo\\\\te" (MESSAGES)|STATUS NIL (UNSEEN)
SELECT nosuch|EXAMINE INBOX|SEARCH ALL|FETCH 1:* FULL|EXPUNGE|STORE 1 FLAGS ()|CLOSE|SELECT INBOX
CHECK|FETCH 1:* ALL|FETCH 1:* FAST|FETCH 1:* FULL|FETCH 1:* (UID BODYSTRUCTURE RFC822.SIZE)
FETCH 1:* (RFC822 RFC822.HEADER RFC822.TEXT)|FETCH 2 (BODY[] BODY[1.MIME] BODY[2.HEADER] BODY[9])
FETCH 2 (BODY[2.1]<0.5> BODY[TEXT]<4294967295.4294967295> BODY[]<3.1>)|FETCH 1 BODY[]<4294967296.1>
FETCH 2 BODY[HEADER.FIELDS (From "X Y" {4+}|to"x)]|FETCH 2 BODY[2.HEADER.FIELDS.NOT (SUBJECT)]
FETCH 2 (BODY.PEEK[HEADER.FIELDS (SUBJECT "NIL" NIL "" "a]b" "a)b")]<1.5>)|UID FETCH 1:* FLAGS
UID FETCH 999 FLAGS|FETCH 9 FLAGS|FETCH 1 FOO|FETCH 1 BODY[|STORE 1 FLAGS (\\Seen $Junk mine [x)
STORE 1:* +FLAGS (\\Answered \\Flagged \\Draft)|UID STORE 2 -FLAGS.SILENT (mine)|STORE 1 FLAGS (\\x)
SEARCH SEEN|SEARCH KEYWORD nosuch|SEARCH CHARSET X-NO ALL|UID SEARCH SUBJECT "n"|SEARCH FOO
SEARCH CHARSET UTF-8 BODY {2+}|ü|COPY 1:2 a|COPY 1 nosuch|UID COPY 999 a|MOVE 1 a|UID MOVE 2 a/b
MOVE 9 a|STORE 1 +FLAGS (\\Deleted)|UID EXPUNGE 999|EXPUNGE|APPEND INBOX (\\Seen x) {3+}|abc
APPEND INBOX "01-Jan-2020 00:00:00 +0000" {3+}|abc|APPEND nosuch {3+}|abc|APPEND INBOX {0+}|
RENAME a z|RENAME INBOX old|RENAME z z/y|DELETE z|DELETE INBOX|UNSUBSCRIBE a/b|UNSELECT|STARTTLS
SELECT a/b|DELETE a/b|NOOP|LOGOUT
"""  # fmt: skip


def commands() -> Iterator[bytes]:
    """The commands, each with its literal if it has one."""
    whole = b""
    for text in COMMANDS.strip().replace("\n", "|").split("|"):
        whole += text.encode()
        if whole.endswith(b"+}"):
            whole += b"\r\n"
        else:
            yield whole
            whole = b""


class GrammarTests(SynchronousTestCase):
    def test_the_reader_refuses_what_is_no_response(self) -> None:
        for octets in (
            b"", b"*", b"* ", b"* OK", b"* OK ", b"* FOO bar", b"a+ OK x", b"a OK", b"a BYE x", b"+",
            b"* OK [UNSEEN 0] x", b"* OK [UIDNEXT x] x", b"* OK [ALERT]", b"* OK [ALERT] \xff",
            b"* OK [COPYUID 1 1:* 2] x", b"* OK [APPENDUID 0 1] x", b"* PREAUTH x", b"* SEARCH 0",
            b"* SEARCH 1  2", b"* SEARCH x", b"* FLAGS (\\Seen \\seen)", b"* FLAGS \\Seen",
            b"* OK [PERMANENTFLAGS (\\Seen \\* \\*)] x", b"* CAPABILITY IMAP4", b"* 0 EXPUNGE",
            b"* LIST () / a", b'* LIST () "/" a b', b'* LIST () "//" a', b'* LIST () "/" &AOQ',
            b'* LIST (\\Noselect \\Marked) "/" a', b'* LIST () "/" inbox', b"* STATUS a (SIZE 1)",
            b"* STATUS a (UNSEEN 1 UNSEEN 1)", b"* STATUS a (UNSEEN -1)", b"* 1 FETCH ()",
            b"* 1 FETCH (FLAGS (\\*))", b"* 1 FETCH (UID 0)", b"* 1 FETCH (UID 1 )", b"* 1 FETCH x",
            b"* 1 FETCH (BODY[0] NIL)", b"* 1 FETCH (BODY[MIME] NIL)", b"* 1 FETCH (BODY[] x)",
            b"* 1 FETCH (BODY[HEADER.FIELDS ()] NIL)", b"* 1 FETCH (BODY[]<4294967296> NIL)",
            b"* 1 FETCH (BODY[] {3}\r\nab)", b"* 1 FETCH (BODY[] {3}\r\na\0b)", b"* 1 EXISTS ",
            b'* 1 FETCH (INTERNALDATE "1-Jan-2020 00:00:00 +0000")', b"* 1 FETCH (RFC822.SIZE NIL)",
            b"* NAMESPACE NIL NIL", b'* ID ("a")', b"* ID (NIL NIL)", b"* 4294967296 EXISTS",
        ):  # fmt: skip
            self.assertRaises(GrammarError, check_response, octets)
        self.assertRaises(GrammarError, check_response, b"* NO x", greeting=True)

    def test_every_response(self) -> None:
        full = Server()
        for server in (full, Server(PlainAccount(full.account))):
            if server is full:
                server.add(PLAIN, NESTED, PLAIN, b"Subject: \xff\r\n\r\n\0\r\n", b"x")
            client = server.connect()
            check_response(client.greeting[:-2], greeting=True)
            seen = set()
            for command in commands():
                data = client.send(b"t " + command + b"\r\n")
                if not data:
                    # A wrong password is answered late.
                    server.clock.advance(60)
                    data = client.take()
                responses = split_responses(data)
                self.assertNotIn(b"SERVERBUG", responses[-1], command)
                for response in responses:
                    try:
                        check_response(response)
                    except GrammarError as error:
                        self.fail(f"{command!r}: {response!r}: {error}")
                    seen.add(response.split(b" ")[1])
            self.assertTrue(client.closed)
            self.assertTrue(seen.issuperset((b"LIST", b"LSUB", b"STATUS", b"SEARCH", b"FLAGS")))


class ThroughIMAPLib(imaplib.IMAP4):
    """imaplib on a client of the tests instead of a socket."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._received = client.greeting
        super().__init__()

    def open(self, *arguments: Any, **keywords: Any) -> None:
        """There is nothing to open."""

    def _create_socket(self, timeout: float | None) -> Any:
        return None

    def send(self, data: bytes) -> None:
        self._received += self._client.send(data)

    def read(self, size: int) -> bytes:
        data, self._received = self._received[:size], self._received[size:]
        return data

    def readline(self) -> bytes:
        return self.read(self._received.index(b"\n") + 1)

    def shutdown(self) -> None:
        """There is nothing to close."""


class ThroughIMAPClient(IMAPClient):
    """imapclient on the same."""

    def __init__(self, client: Client) -> None:
        self._client = client
        super().__init__("", ssl=False)

    def _create_IMAP4(self) -> imaplib.IMAP4:  # noqa: N802
        return ThroughIMAPLib(self._client)

    def _set_read_timeout(self) -> None:
        """There is no socket."""


def part_numbers(body: Any, above: tuple[str, ...] = ()) -> list[str]:
    """Numbers of the parts that imapclient finds in a BODYSTRUCTURE."""
    if isinstance(body, BodyData) and body.is_multipart:
        children = [(*above, str(number)) for number in range(1, len(body[0]) + 1)]
        found = []
        for number, child in zip(children, body[0], strict=True):
            found += [".".join(number), *part_numbers(child, number)]
        return found
    return [] if above else ["1"]


class ClientTests(SynchronousTestCase):
    """Real clients' readers on the corpus, whose messages are broken in every way."""

    if corpus.MISSING:
        skip = corpus.MISSING

    def setUp(self) -> None:
        self.server = Server(max_literal=64 * 1024)
        self.names = []
        self.messages = []
        for name, data in corpus.messages():
            crlf = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(b"\0", b"?")
            self.names.append(name)
            self.messages.append(crlf)
        self.server.add(*self.messages)

    def test_every_fetch_response_of_the_corpus(self) -> None:
        client = self.server.login("SELECT INBOX")
        fields = "HEADER.FIELDS (Subject From X-Foo Received Content-Type)"
        items = (
            f"UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[{fields}]"
            " BODY.PEEK[HEADER.FIELDS.NOT (Subject)] RFC822.HEADER RFC822.TEXT BODY.PEEK[]<7.100>"
            " BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2.HEADER] BODY.PEEK[1.2.TEXT]"
            f" BODY.PEEK[2.{fields}]"
        )
        responses = client.command(f"FETCH 1:* ({items})")
        self.assertEqual(len(responses) - 1, len(self.names))
        for name, response in zip(self.names, responses, strict=False):
            try:
                check_response(response)
            except GrammarError as error:
                self.fail(f"{name}: {error}")

    def test_imaplib(self) -> None:
        imap = ThroughIMAPLib(self.server.connect())
        imap.login(USER, PASSWORD.decode())
        self.assertEqual(imap.select(), ("OK", [b"%d" % len(self.messages)]))
        kind, data = imap.fetch("1:*", "(RFC822.SIZE BODY.PEEK[])")
        self.assertEqual(kind, "OK")
        octets = [item[1] for item in data if isinstance(item, tuple)]
        self.assertEqual(octets, self.messages)

    def test_imapclient(self) -> None:
        imap = ThroughIMAPClient(self.server.connect())
        imap.login(USER, PASSWORD.decode())
        imap.select_folder("INBOX")
        found = imap.fetch(
            range(1, len(self.messages) + 1),
            ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE"],
        )
        self.assertEqual(len(found), len(self.messages))
        parts = 0
        for uid, (name, message) in enumerate(zip(self.names, self.messages, strict=True), 1):
            self.assertEqual(found[uid][b"RFC822.SIZE"], len(message), name)
            self.assertIsInstance(found[uid][b"ENVELOPE"], Envelope, name)
            numbers = part_numbers(found[uid][b"BODYSTRUCTURE"])
            parts += self.check_parts(imap, uid, message, numbers[:30])
        self.assertGreater(parts, 400)

    def check_parts(
        self, imap: IMAPClient, uid: int, message: bytes, numbers: Sequence[str]
    ) -> int:
        """Every part that BODYSTRUCTURE shows can be fetched, and stands in the message."""
        items = [item for n in numbers for item in (f"BODY.PEEK[{n}]", f"BODY.PEEK[{n}.MIME]")]
        data = imap.fetch(uid, items)[uid]
        for number in numbers:
            body = data[f"BODY[{number}]".encode()]
            self.assertIsNotNone(body, (self.names[uid - 1], number))
            self.assertIn(body, message)
            # RFC 3501 section 6.4.5: the header of the part.
            header = data[f"BODY[{number}.MIME]".encode()]
            self.assertIsInstance(email.message_from_bytes(header or b""), email.message.Message)
        return len(numbers)
