"""Commands with random damage: always an answer, never a bug, and the server lives on."""

from __future__ import annotations

import random
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.messages import NESTED, PLAIN
from tests.imap.support import Server

COMMANDS = [
    b"CAPABILITY", b"NOOP", b'ID ("name" "x" "version" NIL)', b"LOGIN ann {6+}\r\nsecret",
    b"AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=", b"SELECT INBOX", b"EXAMINE {5+}\r\nINBOX",
    b"CREATE &Jjo-/x (USE (\\Sent))", b"DELETE x", b"RENAME x y/z", b"SUBSCRIBE x",
    b'LIST (SPECIAL-USE) "" (% "*") RETURN (CHILDREN SUBSCRIBED)', b'LSUB "a/" %*',
    b"STATUS INBOX (MESSAGES RECENT UIDNEXT)", b"NAMESPACE", b"ENABLE X Y",
    b'APPEND INBOX (\\Seen x) "17-Jul-1996 02:44:25 -0700" {4+}\r\nabcd', b"IDLE\r\nDONE",
    b"CHECK", b"CLOSE", b"UNSELECT", b"EXPUNGE", b"UID EXPUNGE 1:*",
    b'SEARCH CHARSET UTF-8 OR (FROM "a\\"b" NOT SEEN) UID 1:3,* SINCE 1-Feb-1994 LARGER 5',
    b"UID SEARCH TEXT {3+}\r\nabc 1:*", b"FETCH 1:2,* (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (A B)]<0.5>)",
    b"FETCH 1 (BODY[] ENVELOPE BODYSTRUCTURE BODY UID RFC822 RFC822.SIZE INTERNALDATE)",
    b"UID FETCH *:1 ALL", b"STORE 1 +FLAGS.SILENT (\\Deleted $x)", b"UID STORE 1:* FLAGS ()",
    b"COPY 1:2 Sent", b"UID MOVE 2 Sent",
    b'STORE 1 (UNCHANGEDSINCE 9) ANNOTATION (/1/comment (value.priv "x" value.shared {1+}\r\ny))',
    b"FETCH 1:* (UID ANNOTATION ((/comment /vendor/%) (value.priv size)))",
    b'APPEND INBOX (x) ANNOTATION (/x ("value.priv" {3+}\r\nabc) /y (value.priv NIL)) {4+}\r\nabcd',
    b'SEARCH ANNOTATION * value "x" NOT ANNOTATION /comment value.priv NIL',
    b"SORT (REVERSE ANNOTATION /comment value.priv SIZE) UTF-8 1:*",
    b'LANGUAGE de-AT "*"', b'COMPARATOR "i;*" i;octet', b'CONVERSIONS "text/*" "*"',
    b'CONVERT 1:2 ("text/plain" ("charset" "utf-8")) (BINARY[1]<0.5> BODYPARTSTRUCTURE[1] UID)',
    b"UID CONVERT 1:* (NIL (CHARSET utf-7)) (BODY[HEADER] BODY[1.MIME])",
    b'URLFETCH ("imap://a@b/INBOX/;uid=1;urlauth=anonymous:internal:01" BINARY BODYPARTSTRUCTURE)',
]  # fmt: skip
PIECES = [
    b"", b" ", b"  ", b"(", b")", b'"', b"\\", b"{", b"}", b"{3}", b"{3+}\r\n", b"{0+}\r\n", b"*",
    b"%", b":", b",", b"[", b"]", b"<", b">", b"\0", b"\x7f", b"\x80", b"\xff", b"\r", b"\n", b"0",
    b"1", b"4294967295", b"4294967296", b"99999999999", b"NIL", b"INBOX", b"\\Recent", b"&", b"~",
]  # fmt: skip
_RESPONSE = re.compile(rb"(?:\*|\+|[!-~]+) ?")


class DamageTests(SynchronousTestCase):
    def damage(self, chance: random.Random, command: bytes) -> bytes:
        for _ in range(chance.randint(1, 4)):
            position = chance.randint(0, len(command))
            end = position + chance.choice([0, 0, 1, 1, 3, 8])
            piece = chance.choice(PIECES)
            if chance.random() < 0.2:
                piece = command[position:end] * 2
            command = command[:position] + piece + command[end:]
        return command

    def test_damaged_commands(self) -> None:
        chance = random.Random(1)
        server = Server()
        server.add(PLAIN, NESTED)
        client = server.login("SELECT INBOX")
        for number in range(6000):
            if number % 10 == 0 or client.closed:
                client.lose()
                client = server.login(*chance.choice([("SELECT INBOX",), ()]))
            command = self.damage(chance, b"a " + chance.choice(COMMANDS))
            data = client.send(command + b"\r\n")
            if not data:
                # Inside of a literal, perhaps: give it what it may wait for.
                data = client.send(b"x" * 5000 + b"\r\n")
            if not data:
                # Of a literal that was refused before it came: it has its answer already.
                data = client.send(b"a NOOP\r\n")
            self.assertTrue(client.closed or _RESPONSE.match(data), (command, data))
            self.assertEqual(self.flushLoggedErrors(), [], command)
        self.assertEqual(server.login().command("NOOP"), [b"OK NOOP completed"])

    def test_junk(self) -> None:
        chance = random.Random(2)
        server = Server()
        for _ in range(300):
            client = server.connect()
            for _ in range(5):
                client.send(bytes(chance.randrange(256) for _ in range(chance.randrange(200))))
            client.lose()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(server.factory.connections), 0)
