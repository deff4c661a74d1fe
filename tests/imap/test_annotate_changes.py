"""ANNOTATE: SELECT, what clients are told of changes, and rights (RFC 5257), on both stores."""

from __future__ import annotations

from typing import Any
from unittest import mock

from mailkit.annotations import Annotation
from mailkit.model import FlagOp
from mailkit.store.annotations import MAX_VALUE
from tests.imap.access import OTHERS, AccessTestCase
from tests.imap.annotate import AnnotateTestCase
from tests.imap.support import Client

SIZE = MAX_VALUE


class SelectTests(AnnotateTestCase):
    def code(self, command: str) -> bytes:
        lines = [line for line in self.done(command) if b"[ANNOTATIONS " in line]
        self.assertEqual(len(lines), 1)
        return lines[0].partition(b"[")[2].partition(b"]")[0]

    def test_what_a_mailbox_takes(self) -> None:
        # RFC 5257 section 4.1
        self.assertEqual(self.code("SELECT INBOX"), b"ANNOTATIONS %d" % SIZE)
        self.assertEqual(self.code("SELECT INBOX (ANNOTATE)"), b"ANNOTATIONS %d" % SIZE)
        self.assertEqual(self.code("EXAMINE INBOX (ANNOTATE CONDSTORE)"), b"ANNOTATIONS READ-ONLY")
        self.refused("SELECT INBOX (ANNOTATE x)", b"BAD ")
        self.refused("SELECT INBOX (ANNOTATIONS)", b"BAD ")

    def test_no_private_annotations(self) -> None:
        box = type(self.server.mailbox())
        with mock.patch.object(box, "private_annotations", False):
            self.assertEqual(self.code("SELECT INBOX"), b"ANNOTATIONS %d NOPRIVATE" % SIZE)
            self.assertEqual(self.code("EXAMINE INBOX"), b"ANNOTATIONS READ-ONLY NOPRIVATE")
            self.done("SELECT INBOX")
            self.refused('STORE 1 ANNOTATION (/comment (value.priv "x"))', b"NO ")
            self.done('STORE 1 ANNOTATION (/comment (value.shared "x"))')

    def test_changes_by_others(self) -> None:
        # RFC 5257 section 4.4
        watching = self.server.login("SELECT INBOX (ANNOTATE)")
        other = self.server.login("SELECT INBOX")
        self.done('STORE 1 ANNOTATION (/comment (value.priv "x") /altsubject (value.shared "y"))')
        (line, _) = self.done("STORE 1 +FLAGS.SILENT (\\Answered)", watching)
        self.assertEqual(line, b"* 1 FETCH (FLAGS () ANNOTATION (/altsubject /comment))")
        self.assertNotIn(b"ANNOTATION", b"".join(self.done("NOOP", other)))
        self.done("STORE 1 ANNOTATION (/comment (value.priv NIL))")
        self.done("STORE 3 +FLAGS.SILENT (\\Flagged)")
        self.assertEqual(
            self.done("UID FETCH 2 (UID)", watching)[1:],
            [
                b"* 1 FETCH (UID 1 FLAGS (\\Answered) ANNOTATION (/comment))",
                b"* 3 FETCH (UID 3 FLAGS (\\Flagged))",
            ],
        )
        # It is said for each mailbox anew.
        self.done("SELECT INBOX", watching)
        self.done('STORE 1 ANNOTATION (/comment (value.priv "z"))')
        (line,) = self.done("NOOP", watching)
        self.assertNotIn(b"ANNOTATION", line)

    def test_changes_are_told_while_a_client_idles(self) -> None:
        watching = self.server.login("ENABLE CONDSTORE", "SELECT INBOX (ANNOTATE)")
        watching.send(b"i IDLE\r\n")
        watching.transport.clear()
        self.done('STORE 2 ANNOTATION (/comment (value.priv "x"))')
        self.server.clock.advance(1)
        self.assertRegex(
            watching.transport.value(),
            rb"\A\* 2 FETCH \(UID 2 FLAGS \(\) ANNOTATION \(/comment\) MODSEQ \(\d+\)\)\r\n\Z",
        )

    def test_changes_while_a_client_was_away(self) -> None:
        """RFC 7162 section 3.2.5, for a client that wants to hear of annotations."""
        lines = self.done("SELECT INBOX")
        code = b"".join(lines).partition(b"[UIDVALIDITY ")[2].partition(b"]")[0].decode()
        modseq = b"".join(lines).partition(b"[HIGHESTMODSEQ ")[2].partition(b"]")[0].decode()
        self.done('STORE 2 ANNOTATION (/comment (value.priv "x"))')
        self.done("STORE 3 +FLAGS.SILENT (\\Flagged)")
        resync = f"QRESYNC ({code} {modseq})"
        for parameters, annotation in (
            (f"({resync})", b""),
            (f"({resync} ANNOTATE)", rb" ANNOTATION \(/comment\)"),
        ):
            client = self.server.login("ENABLE QRESYNC")
            lines = [line for line in self.done(f"SELECT INBOX {parameters}", client)
                     if b" FETCH " in line]  # fmt: skip
            self.assertRegex(
                lines[0], rb"\A\* 2 FETCH \(UID 2 FLAGS \(\)%b MODSEQ \(\d+\)\)\Z" % annotation
            )
            self.assertEqual(len(lines), 2)
            self.assertNotIn(b"ANNOTATION", lines[1])

    def test_own_changes_are_not_told(self) -> None:
        self.done("SELECT INBOX (ANNOTATE)")
        self.assertEqual(self.done('STORE 1:3 ANNOTATION (/comment (value.priv "x"))'), [])
        self.assertEqual(self.done("NOOP"), [])

    def test_uidonly(self) -> None:
        watching = self.server.login("ENABLE UIDONLY", "SELECT INBOX (ANNOTATE)")
        self.done('STORE 2 ANNOTATION (/comment (value.priv "x"))')
        self.assertRegex(
            self.done("NOOP", watching)[0],
            rb"\A\* 2 UIDFETCH \(FLAGS \(\) ANNOTATION \(/comment\)",
        )

    def test_two_sessions_at_once(self) -> None:
        one, two = [self.server.login("SELECT INBOX (ANNOTATE)") for _ in range(2)]
        for number in range(10):
            value = f'(value.priv "{number}")'
            one.command(f"STORE 1:3 ANNOTATION (/vendor/x/one {value} /comment {value})")
            two.command(f"STORE 1:3 ANNOTATION (/vendor/x/two {value} /comment {value})")
            two.command("STORE 2 +FLAGS.SILENT (\\Flagged)" if number % 2 else
                        "STORE 2 -FLAGS.SILENT (\\Flagged)")  # fmt: skip
        one.command("NOOP")
        two.command("NOOP")
        for client in (one, two):
            self.assertEqual(self.done("NOOP", client), [])
            self.assertEqual(
                set(self.fetched("* value.priv", "1:3", client)),
                {
                    b'* %d FETCH (ANNOTATION (/comment (value.priv "9") /vendor/x/one'
                    b' (value.priv "9") /vendor/x/two (value.priv "9")))' % number
                    for number in (1, 2, 3)
                },
            )

    def test_a_change_of_flags_just_before_is_not_hidden(self) -> None:
        """Another session changes a message between two steps of STORE ANNOTATION."""
        self.done("SELECT INBOX (ANNOTATE)")
        mailbox = self.server.mailbox()
        kind, original = type(mailbox), type(mailbox).store_annotations
        raced: list[int] = []

        async def race(box: Any, uids: Any, annotations: Any, unchanged_since: Any = None) -> Any:
            if not raced:
                raced.append(1)
                flags = frozenset({"\\Flagged"})
                await mailbox.store_flags(uids=[1], op=FlagOp.ADD, flags=flags)
                note = [Annotation("/altsubject", b"theirs")]
                await original(mailbox, uids=[1], annotations=note)
            return await original(
                box, uids=uids, annotations=annotations, unchanged_since=unchanged_since
            )

        with mock.patch.object(kind, "store_annotations", race):
            lines = self.done('STORE 1:2 ANNOTATION (/comment (value.priv "x"))')
        self.assertEqual(
            lines, [b"* 1 FETCH (FLAGS (\\Flagged) ANNOTATION (/altsubject /comment))"]
        )
        self.assertEqual(
            self.fetched("* value.priv"),
            [
                b'* 1 FETCH (ANNOTATION (/altsubject (value.priv "theirs")'
                b' /comment (value.priv "x")))'
            ],
        )


class NotifyTests(AnnotateTestCase):
    """RFC 5465 section 5.1."""

    MESSAGES = "MessageNew MessageExpunge"

    def watch(self, events: str) -> Client:
        watching = self.server.login("SELECT INBOX")
        self.done(f"NOTIFY SET (SELECTED ({self.MESSAGES} {events}))", watching)
        return watching

    def told(self, watching: Client) -> bytes:
        """What comes without a command."""
        for _ in range(5):
            self.server.clock.advance(0)
        return watching.take()

    def test_annotations_alone(self) -> None:
        watching = self.watch("AnnotationChange")
        self.done('STORE 2 ANNOTATION (/comment (value.priv "x") "/a b" (value.shared "y"))')
        self.assertEqual(self.told(watching), b'* 2 FETCH (UID 2 ANNOTATION ("/a b" /comment))\r\n')
        self.done("STORE 3 +FLAGS.SILENT (\\Flagged)")
        self.assertEqual(self.told(watching), b"")

    def test_with_flags(self) -> None:
        watching = self.watch("FlagChange AnnotationChange")
        self.done('STORE 2 ANNOTATION (/comment (value.priv "x"))')
        self.assertEqual(
            self.told(watching), b"* 2 FETCH (UID 2 FLAGS () ANNOTATION (/comment))\r\n"
        )
        watching = self.watch("FlagChange")
        self.done('STORE 2 ANNOTATION (/comment (value.priv "y"))')
        self.assertEqual(self.told(watching), b"* 2 FETCH (UID 2 FLAGS ())\r\n")

    def test_another_mailbox(self) -> None:
        watching = self.server.login("ENABLE CONDSTORE")
        self.done(f"NOTIFY SET (PERSONAL ({self.MESSAGES} AnnotationChange))", watching)
        self.done('STORE 2 ANNOTATION (/comment (value.priv "x"))')
        self.assertRegex(
            self.told(watching),
            rb'\A\* STATUS "INBOX" \(HIGHESTMODSEQ \d+ UIDVALIDITY \d+\)\r\n\Z',
        )


class SharedTests(AccessTestCase):
    """RFC 5257 sections 3.3, 3.4."""

    def test_private_and_shared(self) -> None:
        self.start()
        self.grant("lrn")
        ann = self.server.login("SELECT Plans (ANNOTATE)")
        bob = self.bob(f'SELECT "{OTHERS}/Plans" (ANNOTATE)')
        ann.command('STORE 1 ANNOTATION (/comment (value.priv "Ann\'s"))')
        # Somebody else's private values are nobody's business.
        self.assertNotIn(b"ANNOTATION", b"".join(bob.command("NOOP")))
        bob.command('STORE 1 ANNOTATION (/comment (value.priv "Bob\'s" value.shared "all"))')
        told = ann.command("NOOP")
        self.assertIn(b"ANNOTATION (/comment)", told[0])
        for client, value in ((ann, b"Ann's"), (bob, b"Bob's")):
            (line, _) = client.command("FETCH 1 (ANNOTATION (/comment value))")
            self.assertEqual(
                line,
                b'* 1 FETCH (ANNOTATION (/comment (value.priv "%b" value.shared "all")))' % value,
            )

    def test_rights(self) -> None:
        self.start()
        self.grant("lr")
        bob = self.server.connect()
        bob.command("LOGIN bob@example.org secret")
        lines = bob.command(f'SELECT "{OTHERS}/Plans"')
        # The private ones can be changed all the same.
        self.assertIn(b"* OK [ANNOTATIONS %d] Annotations of messages" % SIZE, lines)
        self.assertTrue(lines[-1].startswith(b"OK [READ-ONLY]"), lines)
        shared = 'STORE 1 ANNOTATION (/comment (value.priv "x" value.shared "y"))'
        (line,) = bob.command(shared)
        self.assertTrue(line.startswith(b"NO [NOPERM] "), line)
        (line, _) = bob.command("FETCH 1 (ANNOTATION (/comment value))")
        self.assertIn(b"(value.priv NIL value.shared NIL)", line)
        (line,) = bob.command('STORE 1 ANNOTATION (/comment (value.priv "x"))')
        self.assertTrue(line.startswith(b"OK "), line)
        self.grant("lrn")
        lines = bob.command(f'SELECT "{OTHERS}/Plans"')
        self.assertTrue(lines[-1].startswith(b"OK [READ-WRITE]"), lines)
        (line,) = bob.command(shared)
        self.assertTrue(line.startswith(b"OK "), line)
        bob.command(f'EXAMINE "{OTHERS}/Plans"')
        (line,) = bob.command('STORE 1 ANNOTATION (/comment (value.priv "x"))')
        self.assertTrue(line.startswith(b"NO "), line)


class SQLiteSelectTests(SelectTests):
    sqlite = True


class SQLiteNotifyTests(NotifyTests):
    sqlite = True


class SQLiteSharedTests(SharedTests):
    sqlite = True
