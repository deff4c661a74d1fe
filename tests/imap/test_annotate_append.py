"""Annotations of messages that come: APPEND, REPLACE, COPY, MOVE (RFC 5257 4.6, 4.7), on both stores."""

from __future__ import annotations

from zope.interface import implementer

from mailkit._typing import override
from mailkit.imap.appending import MAX_ANNOTATIONS as MAX_OCTETS
from mailkit.interfaces import IAnnotatedMailbox
from mailkit.store.annotations import MAX_ANNOTATIONS, MAX_VALUE
from tests.imap.access import OTHERS, AccessTestCase
from tests.imap.annotate import AnnotateTestCase
from tests.imap.fakes import PlainAccount, PlainMailbox
from tests.imap.messages import NESTED, PLAIN
from tests.imap.support import Server

NOTE = b'(/comment (value.priv "x"))'


class AppendTests(AnnotateTestCase):
    @override
    def setUp(self) -> None:
        super().setUp()
        self.done("CREATE New")

    def append(self, *pieces: bytes, mailbox: bytes = b"New", verb: bytes = b"APPEND") -> bytes:
        """The tagged response of APPEND with these options, each followed by a message."""
        options = b" ".join(
            b"%b{%d+}\r\n%b" % (piece + b" " * bool(piece), len(PLAIN), PLAIN) for piece in pieces
        )
        lines = self.client.command(b"%b %b %b" % (verb, mailbox, options))
        return lines[-1]

    def shown(self, mailbox: str = "New") -> list[bytes]:
        """Annotations of all messages in a mailbox."""
        self.done(f"SELECT {mailbox}")
        lines = self.done("FETCH 1:* (UID ANNOTATION (* value))")
        return [line.partition(b" ANNOTATION ")[2][:-1] for line in lines]

    def test_the_example(self) -> None:
        # RFC 5257 section 4.7
        answer = self.append(b'ANNOTATION (/comment (value.priv "Don\'t send until I say so"))')
        self.assertTrue(answer.startswith(b"OK [APPENDUID "), answer)
        self.assertEqual(
            self.shown(),
            [b'(/comment (value.priv "Don\'t send until I say so" value.shared NIL))'],
        )

    def test_several_messages(self) -> None:
        date = b'"17-Jul-1996 02:44:25 -0700"'
        answer = self.append(
            b"(\\Seen) " + date + b" ANNOTATION " + NOTE,
            b"",
            b'annotation (/altsubject (value.shared "y" value.priv NIL) "/a b" (value.priv ""))',
            date,
        )
        self.assertTrue(answer.startswith(b"OK [APPENDUID "), answer)
        self.assertEqual(
            self.shown(),
            [
                b'(/comment (value.priv "x" value.shared NIL))',
                b"",
                b'("/a b" (value.priv "" value.shared NIL)'
                b' /altsubject (value.priv NIL value.shared "y"))',
                b"",
            ],
        )
        (line, *_) = self.done("FETCH 1 (FLAGS INTERNALDATE)")
        self.assertIn(b"\\Seen", line)
        self.assertIn(b"17-Jul-1996 09:44:25 +0000", line)

    def test_literals(self) -> None:
        """The server has to ask for strings before it asks for the message."""
        for sign, between in ((b"", b"+ "), (b"+", b"")):
            pieces = [
                b"a APPEND New ANNOTATION ({8%b}\r\n" % sign,
                b"/comment (value.priv {4%b}\r\n" % sign,
                b"a\r\nb value.shared ~{3%b}\r\n" % sign,
                b'\0{9) /altsubject (value.priv "}"))' + b" {%d%b}\r\n" % (len(PLAIN), sign),
                PLAIN + b"\r\n",
            ]
            for piece in pieces[:-1]:
                self.assertTrue(self.client.send(piece).startswith(between))
            answer = self.client.send(pieces[-1])
            self.assertTrue(answer.startswith(b"a OK [APPENDUID "), answer)
        # All at once.
        answer = self.client.send(b"".join(pieces))
        self.assertTrue(answer.startswith(b"a OK [APPENDUID "), answer)
        wanted = (
            b'(/altsubject (value.priv "}" value.shared NIL)'
            b" /comment (value.priv {4}\r\na\r\nb value.shared ~{3}\r\n\0{9))"
        )
        self.assertEqual(self.shown(), [wanted] * 3)

    def test_literals_between_messages(self) -> None:
        message = b"{%d+}\r\n%b" % (len(PLAIN), PLAIN)
        literal = b"ANNOTATION (/comment (value.priv {1+}\r\n%b)) "
        answer = self.client.command(
            b"APPEND New %b %b%b (\\Draft) %b%b"
            % (message, literal % b"1", message, literal % b"2", message)
        )[-1]
        self.assertTrue(answer.startswith(b"OK "), answer)
        self.assertEqual(
            self.shown(),
            [b""] + [b'(/comment (value.priv "%d" value.shared NIL))' % n for n in (1, 2)],
        )
        self.assertIn(b"\\Draft", self.done("FETCH 3 (FLAGS)")[0])

    def test_catenate(self) -> None:
        self.done("SELECT INBOX")
        (answer,) = self.client.command(
            b"APPEND New ANNOTATION (/comment (value.priv {1+}\r\nx))"
            b' CATENATE (URL "/INBOX/;UID=1" TEXT {3+}\r\nabc)'
            b' ANNOTATION (/comment (value.priv "y")) CATENATE (TEXT {3+}\r\nabc)'
        )
        self.assertTrue(answer.startswith(b"OK "), answer)
        self.assertEqual(
            self.shown(),
            [b'(/comment (value.priv "%b" value.shared NIL))' % value for value in (b"x", b"y")],
        )

    def test_replace(self) -> None:
        self.done("SELECT INBOX")
        self.done(b"STORE 1 ANNOTATION " + NOTE)
        answer = self.append(
            b'ANNOTATION (/altsubject (value.priv "y"))', verb=b"REPLACE 1", mailbox=b"INBOX"
        )
        self.assertTrue(answer.startswith(b"OK "), answer)
        self.assertEqual(
            self.shown("INBOX"), [b"", b"", b'(/altsubject (value.priv "y" value.shared NIL))']
        )

    def test_parts(self) -> None:
        nested = b"{%d+}\r\n%b" % (len(NESTED), NESTED)
        part = b'ANNOTATION (/2.1/comment (value.priv "x")) '
        (answer,) = self.client.command(b"APPEND New " + part + nested)
        self.assertTrue(answer.startswith(b"OK "), answer)
        # RFC 5257 section 3.2.1
        self.assertTrue(self.append(part[:-1]).startswith(b"BAD "))
        large = PLAIN + b"x" * 600_000
        (answer,) = self.client.command(b"APPEND New %b{%d+}\r\n%b" % (part, len(large), large))
        self.assertTrue(answer.startswith(b"BAD "), answer)
        self.assertEqual(len(self.shown()), 1)

    def test_bad_arguments(self) -> None:
        for options in (
            b"ANNOTATION",
            b"ANNOTATION ()",
            b"ANNOTATION /comment",
            b'ANNOTATION (/comment (value "x"))',
            b'ANNOTATION (/comment (size.priv "1"))',
            b'ANNOTATION (/comment (value.priv "x")) (\\Seen)',
            b'ANNOTATION (/comment (value.priv "x"))  ANNOTATION (/comment (value.priv "x"))',
            b'ANNOTATION (/flags (value.priv "x"))',
            b'ANNOTATION (/comment (value.priv "x")',
            b"ANNOTATION (/comment (value.priv {1+}\r\nx)",
            b"ANNOTATION (/comment (value.priv {1+}\r\n\0))",
            b"ANNOTATION (/comment (value.priv {1+}\r\nx) ",
            b"ANNOTATIONS (/comment (value.priv NIL))",
        ):
            answer = self.append(options)
            self.assertTrue(answer.startswith(b"BAD "), (options, answer))
            self.done("NOOP")
        for command in (
            b"APPEND New ANNOTATION " + NOTE,
            b"APPEND New ANNOTATION (/comment (value.priv {1+}\r\nx))",
            b"APPEND New ANNOTATION (/comment (value.priv {99999999}",
        ):
            self.refused(command, b"BAD ")
        self.assertEqual(self.done("STATUS New (MESSAGES)"), [b'* STATUS "New" (MESSAGES 0)'])

    def test_limits(self) -> None:
        large = b"x" * (MAX_VALUE + 1)
        literal = b"ANNOTATION (/comment (value.shared {%d+}\r\n%b))"
        answer = self.append(literal % (len(large), large))
        self.assertTrue(answer.startswith(b"NO [ANNOTATE TOOBIG] "), answer)
        many = b" ".join(
            b'/x/%d (value.priv "x")' % number for number in range(MAX_ANNOTATIONS + 1)
        )
        answer = self.append(b"ANNOTATION (%b)" % many)
        self.assertTrue(answer.startswith(b"NO [ANNOTATE TOOMANY] "), answer)
        fits = literal % (MAX_VALUE, large[1:])
        answer = self.append(*[fits] * (MAX_OCTETS // MAX_VALUE - 1))
        self.assertTrue(answer.startswith(b"OK "), answer)
        answer = self.append(*[fits] * (MAX_OCTETS // MAX_VALUE))
        self.assertTrue(answer.startswith(b"NO [LIMIT] "), answer)
        self.assertEqual(len(self.shown()), MAX_OCTETS // MAX_VALUE - 1)

    def test_a_connection_that_breaks(self) -> None:
        other = self.server.login()
        other.send(b"a APPEND New ANNOTATION (/comment (value.priv {10+}\r\nabc")
        other.lose()
        self.assertEqual(self.done("STATUS New (MESSAGES)"), [b'* STATUS "New" (MESSAGES 0)'])

    def test_copy_and_move(self) -> None:
        # RFC 5257 section 4.6
        self.done("SELECT INBOX")
        self.done('STORE 1 ANNOTATION (/comment (value.priv "x" value.shared "y"))')
        self.done("COPY 1:2 New")
        self.done("UID MOVE 1 New")
        note = b'(/comment (value.priv "x" value.shared "y"))'
        self.assertEqual(self.shown(), [note, b"", note])
        self.assertEqual(self.shown("INBOX"), [b"", b""])


@implementer(IAnnotatedMailbox)
class _AnnotatedMailbox(PlainMailbox):
    """One that can neither copy nor replace."""

    METHODS = (
        *PlainMailbox.METHODS,
        "get_annotations",
        "store_annotations",
        "get_annotation_changes",
    )
    max_annotation = 5
    private_annotations = True


class SlowCopyTests(AnnotateTestCase):
    """Copies by reading and appending."""

    @override
    def setUp(self) -> None:
        inner = self.make_server()
        inner.add(PLAIN, PLAIN)
        inner.login("CREATE New", "LOGOUT")
        self.server = Server(PlainAccount(inner.account, _AnnotatedMailbox), store=inner.store)
        setup = inner.login("SELECT INBOX")
        self.done(
            'STORE 1 ANNOTATION (/comment (value.priv "x" value.shared "y")'
            ' /altsubject (value.priv "too long"))',
            setup,
        )
        setup.command("LOGOUT")
        self.client = self.server.login("SELECT INBOX")
        self.inner = inner

    def test_copy(self) -> None:
        self.done("COPY 1:2 New")
        client = self.inner.login("SELECT New")
        self.assertEqual(
            self.fetched("* value", "1:2", client),
            [b'* 1 FETCH (ANNOTATION (/comment (value.priv "x" value.shared "y")))'],
        )


class PlainAppendTests(AnnotateTestCase):
    """Into a mailbox that keeps none."""

    def test_refused(self) -> None:
        server = Server(PlainAccount(self.server.account), store=self.server.store)
        server.factory.without = frozenset()
        client = server.login()
        # The account does not say that it keeps annotations: there is no such option.
        (line,) = client.command(b"APPEND INBOX ANNOTATION %b {3+}\r\nabc" % NOTE)
        self.assertTrue(line.startswith(b"BAD "), line)


class SharedAppendTests(AccessTestCase):
    def test_rights(self) -> None:
        self.start()
        self.grant("lri")
        bob = self.bob(f"APPEND INBOX {{{len(PLAIN)}+}}\r\n{PLAIN.decode()}", "SELECT INBOX")
        both = b'ANNOTATION (/comment (value.priv "x" value.shared "y"))'
        append = b'APPEND "%b/Plans" %%b {%d+}\r\n%b' % (OTHERS.encode(), len(PLAIN), PLAIN)
        (line,) = bob.command(append % both)
        self.assertTrue(line.startswith(b"NO [NOPERM] "), line)
        (line,) = bob.command(append % NOTE.join([b"ANNOTATION ", b""]))
        self.assertTrue(line.startswith(b"OK "), line)
        bob.command('STORE 1 ANNOTATION (/comment (value.priv "x" value.shared "y"))')
        bob.command(f'COPY 1 "{OTHERS}/Plans"')
        self.grant("lrin")
        bob.command(append % both)
        bob.command(f'COPY 1 "{OTHERS}/Plans"')
        lines = self.server.login("SELECT Plans").command("FETCH 4:* (UID ANNOTATION (* value))")
        shared = b'(/comment (value.priv NIL value.shared "y"))'
        self.assertEqual(
            [line.partition(b" ANNOTATION ")[2][:-1] for line in lines[:-1]],
            [b"", b"", shared, shared],
        )


class SQLiteAppendTests(AppendTests):
    sqlite = True


class SQLiteSlowCopyTests(SlowCopyTests):
    sqlite = True


class SQLiteSharedAppendTests(SharedAppendTests):
    sqlite = True
