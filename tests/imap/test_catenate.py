"""Messages that are put together of texts and parts of others (RFC 4469)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap import appending
from tests.imap.messages import NESTED
from tests.imap.support import Client, Server, ServerTestCase, now, split_responses

DRAFT = (
    b"Subject: draft\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="------------030308070208000400050907"\r\n\r\n'
    b"--------------030308070208000400050907\r\nContent-Type: text/plain\r\n\r\nold text\r\n"
    b"--------------030308070208000400050907\r\n"
    b"Content-Type: application/x-zip-compressed\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"UEsDBA==\r\n--------------030308070208000400050907--\r\n"
)
LINE = b"\r\n--------------030308070208000400050907\r\n"
END = b"\r\n--------------030308070208000400050907--\r\n"


def fetch(client: Client, number: bytes = b"*") -> bytes:
    """The octets of a message of the selected mailbox."""
    line = (client.command(b"FETCH %b BODY.PEEK[]" % number))[0]
    return line.partition(b"\r\n")[2][:-1]


class StoredTests(ServerTestCase):
    def drafts(self, *messages: bytes) -> tuple[Client, bytes]:
        """A client that has put messages into Drafts and selected it; and its UIDVALIDITY."""
        client = self.make_server().login()
        client.command(b"CREATE Drafts")
        for message in messages:
            data = b"a APPEND Drafts {%d+}\r\n%b\r\n" % (len(message), message)
            client.send(data)
        status = (client.command(b"STATUS Drafts (UIDVALIDITY)"))[0]
        client.command(b"SELECT Drafts")
        return client, status.rpartition(b" ")[2].rstrip(b")")

    def test_example_1(self) -> None:
        client, validity = self.drafts(DRAFT, b"A new attachment")
        url = b"/Drafts;UIDVALIDITY=%b/;UID=1" % validity
        more = b"+ Ready for the message\r\n"
        head = (
            b'A003 APPEND Drafts (\\Seen \\Draft $MDNSent) CATENATE (URL "%b/;section=HEADER"' % url
        )
        client.send(head)
        answer = client.send(b" TEXT {%d}\r\n" % len(LINE))
        self.assertEqual(answer, more)
        data = LINE + b' URL "%b/;section=1.MIME" URL "%b/;section=1"' % (url, url)
        answer = client.send(data + b" TEXT {%d}\r\n" % len(LINE))
        self.assertEqual(answer, more)
        data = LINE + b' URL "/Drafts;UIDVALIDITY=%b/;UID=2" TEXT {%d}\r\n' % (validity, len(END))
        self.assertEqual(client.send(data), more)
        answer = client.send(END + b")\r\n")
        self.assertIn(b"A003 OK [APPENDUID %b 3] APPEND completed\r\n" % validity, answer)
        header, _, _ = DRAFT.partition(LINE[2:])
        part = b"Content-Type: text/plain\r\n\r\nold text"
        self.assertEqual(fetch(client), header + LINE + part + LINE + b"A new attachment" + END)
        flags = (client.command(b"FETCH 1:3 FLAGS"))[:3]
        self.assertEqual([b"\\Seen" in line for line in flags], [False, False, True])

    def test_urls_alone(self) -> None:
        client, _ = self.drafts(DRAFT, b"other")
        answer = client.send(
            b'a APPEND INBOX CATENATE (URL "/Drafts/;UID=2" URL /Drafts/;UID=1)\r\n'
        )
        self.assertIn(b"a OK [APPENDUID ", answer)
        client.command(b"SELECT INBOX")
        self.assertEqual(fetch(client), b"other" + DRAFT)

    def test_large_parts(self) -> None:
        large = b"x" * 70 + b"\r\n"
        message = DRAFT.replace(b"old text", large * 6000)
        client, _ = self.drafts(message)
        url = b"/Drafts/;UID=1/;section=1/;PARTIAL=72.400000"
        answer = client.send(b"a APPEND Drafts CATENATE (URL %b URL %b)\r\n" % (url, url))
        self.assertIn(b"a OK [APPENDUID ", answer)
        self.assertEqual(fetch(client), (large * 6000)[:400_000] * 2)

    def test_bad_urls(self) -> None:
        client, _ = self.drafts(DRAFT)
        for url, text in (
            (b"/Drafts/;UID=9", b"No such message"),
            (b"/Nothing/;UID=1", b"No such mailbox"),
            (b"/Drafts/;UID=1/;section=7", b"The message has no such part"),
            (b"/Drafts;UIDVALIDITY=1/;UID=1", b"The mailbox has another UIDVALIDITY"),
            (b"/Drafts", b"It does not name a message"),
            (b"imap://h/Drafts/;UID=1", b"The URL must begin with the mailbox"),
            (b";UID=1", b"It does not name a message"),
            (b"/Drafts/;UID=1/;section=1]", b"It does not name a message"),
        ):
            data = b'a APPEND Drafts CATENATE (TEXT {1+}\r\nx URL "%b" TEXT {4+}\r\nb X )\r\n' % url
            lines = split_responses(client.send(data + b"b NOOP\r\n"))
            expected = b"a NO [BADURL %b] " % url.replace(b"]", b"") + text
            self.assertTrue(lines[0].startswith(expected), lines)
            self.assertEqual(lines[1:], [b"b OK NOOP completed"])
        self.assertIn(b" (MESSAGES 1)", (client.command(b"STATUS Drafts (MESSAGES)"))[0])

    def test_with_multiappend(self) -> None:
        client, validity = self.drafts(b"first")
        data = (
            b"a APPEND Drafts {3+}\r\none (\\Seen) CATENATE (TEXT {3+}\r\ntwo URL {14+}\r\n"
            b"/Drafts/;UID=1 TEXT {1+}\r\n!) CATENATE (URL /Drafts/;UID=1) {4+}\r\nfour\r\n"
        )
        self.assertIn(b"a OK [APPENDUID %b 2:5]" % validity, client.send(data))
        found = [fetch(client, b"%d" % number) for number in (2, 3, 4, 5)]
        self.assertEqual(found, [b"one", b"twofirst!", b"first", b"four"])


class StoredSQLiteTests(StoredTests):
    sqlite = True


class DialogueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(max_message_size=10_000)
        self.server.add(b"0123456789" * 500, NESTED)
        self.client = self.server.login("EXAMINE INBOX")

    def test_every_split_of_the_octets(self) -> None:
        data = (
            b"a APPEND INBOX CATENATE (TEXT {3+}\r\n{9} URL {12+}\r\n/INBOX/;UID=2 TEXT {1+}\r\n)"
            b' URL "/inbox/;UID=2/;SECTION=1")\r\nb NOOP\r\n'
        ).replace(b"{12+}", b"{13+}")
        for position in range(len(data)):
            answer = self.client.send(data[:position]) + self.client.send(data[position:])
            self.assertRegex(answer, rb"a OK \[APPENDUID \d+ \d+\] .*\r\nb OK", position)
        line = self.client.command("FETCH * BODY.PEEK[]")[0]
        self.assertTrue(line.endswith(b"{9}" + NESTED + b")first)"), line)

    def test_too_big(self) -> None:
        # RFC 4469 section 4.2
        url = b" URL /INBOX/;UID=1"
        lines = self.client.command(b"APPEND INBOX CATENATE (" + (url * 3)[1:] + b")")
        self.assertEqual(lines, [b"NO [TOOBIG] A message has at most 10000 octets here"])
        self.client.send(b"a APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {5001}\r\n")
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        self.assertEqual(now(self.server.mailbox().get_info()).messages, 2)

    def test_empty(self) -> None:
        (line,) = self.client.command(b"APPEND INBOX CATENATE (TEXT {0+}\r\n)")
        self.assertEqual(line, b"NO A message is not empty")
        lines = self.client.command(b"APPEND INBOX CATENATE (TEXT {0+}\r\n TEXT {1+}\r\nx)")
        self.assertTrue(lines[-1].startswith(b"OK [APPENDUID"), lines)

    def test_nul(self) -> None:
        (line,) = self.client.command(b"APPEND INBOX CATENATE (TEXT {1+}\r\n\0 TEXT {1+}\r\nx)")
        self.assertEqual(line, b"NO The message contains NUL octets")
        text = b"Content-Transfer-Encoding: binary\r\n\r\n"
        lines = self.client.command(
            b"APPEND INBOX CATENATE (TEXT {%d+}\r\n%b TEXT ~{1+}\r\n\0)" % (len(text), text)
        )
        self.assertTrue(lines[-1].startswith(b"OK [APPENDUID "), lines)

    def test_too_many_parts(self) -> None:
        self.patch(appending, "MAX_PARTS", 3)
        lines = self.client.command(b"APPEND INBOX CATENATE (TEXT" + b" {1+}\r\nx TEXT" * 4 + b"x)")
        self.assertEqual(lines, [b"NO [LIMIT] CATENATE takes at most 3 parts"])

    def test_a_url_that_is_too_long(self) -> None:
        client = Server().login()
        (line,) = client.command(b"APPEND INBOX CATENATE (URL {70000+}\r\n%b)" % (b"x" * 70000))
        self.assertEqual(line, b"BAD The literal is too large")
        (line,) = client.command(b"APPEND INBOX CATENATE (URL {5000+}\r\n%b)" % (b"x" * 5000))
        self.assertTrue(line.endswith(b"] A URL has at most 4096 octets"), line)

    def test_faults(self) -> None:
        for text in (
            b"CATENATE", b"CATENATE (", b"CATENATE ()", b"CATENATE(URL /INBOX/;UID=1)",
            b"CATENATE (URL)", b"CATENATE (URL /INBOX/;UID=1", b"CATENATE (URL /INBOX/;UID=1))",
            b"CATENATE (URL /INBOX/;UID=1) x", b"CATENATE (TEXT abc)", b"CATENATE (FOO {1+}\r\nx)",
            b"CATENATE (TEXT {1+}\r\nxTEXT {1+}\r\nx)", b"CATENATE (TEXT {1+}\r\nx",
            b"CATENATE (TEXT {1+}\r\nx )", b"CATENATE (TEXT x{1+}\r\nx)", b"CATENATE {1+}\r\nx",
            b"CATENATE (URL ~{14+}\r\n/INBOX/;UID=1 )", b"CATENATE (URL /INBOX/;UID=1 TEXT )",
        ):  # fmt: skip
            lines = self.client.command(b"APPEND INBOX " + text)
            self.assertTrue(lines[-1].startswith(b"BAD "), (text, lines))
            self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        self.assertEqual(now(self.server.mailbox().get_info()).messages, 2)
        self.assertIsNone(self.client.protocol.append)

    def test_missing_mailbox(self) -> None:
        (line,) = self.client.command(b"APPEND Nothing CATENATE (URL /INBOX/;UID=1)")
        self.assertEqual(line, b"NO [TRYCREATE] No such mailbox")

    def test_switched_off(self) -> None:
        server = Server(without=["CATENATE"])
        server.add(b"x")
        client = server.login()
        self.assertNotIn(b"CATENATE", client.command("CAPABILITY")[0])
        for text in (b"(URL /INBOX/;UID=1)", b"(TEXT {1+}\r\nx)"):
            (line,) = client.command(b"APPEND INBOX CATENATE " + text)
            self.assertTrue(line.startswith(b"BAD "), line)

    def test_the_connection_breaks_in_between(self) -> None:
        self.client.send(b"a APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {1000+}\r\nabc")
        self.assertIsNotNone(self.client.protocol.append)
        self.client.lose()
        self.assertIsNone(self.client.protocol.append)
