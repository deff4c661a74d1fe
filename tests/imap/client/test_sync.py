"""A cache that is brought up to date: by QRESYNC in one round trip, by CONDSTORE, by flags."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.client import Known, Refused, Synchronised, synchronise
from mailkit.model import FlagOp
from tests.imap.client.support import Client, login
from tests.imap.client.test_pipelining import Manual
from tests.imap.support import Server

SEEN = frozenset(("\\Seen",))


class SyncTests(SynchronousTestCase):
    """Against our own server."""

    by = "QRESYNC"
    without: list[str] = []

    def setUp(self) -> None:
        self.server = Server()
        self.other = self.client()
        self.other.run(self.other.session.select("INBOX"))

    def client(self) -> Client:
        client = login(self.server)
        facts = client.session._connection.facts
        facts.announced -= frozenset(self.without)
        return client

    def sync(self, known: Known | None = None) -> Synchronised:
        client = self.client()
        sent = client.answer
        self.commands: list[bytes] = []

        def listen(data: bytes) -> bytes:
            self.commands += data.split(b"\r\n")[:-1]
            return sent(data)

        client.answer = listen
        return client.run(synchronise(client.session, "INBOX", known))

    def change(self, *works: Any) -> None:
        for work in works:
            self.other.run(work)

    def test_from_nothing(self) -> None:
        self.server.add(b"1", b"2", flags="\\Seen")
        found = self.sync()
        self.assertEqual(found.added, {1: SEEN, 2: SEEN})
        self.assertEqual((found.changed, found.vanished, found.reset), ({}, [], False))
        self.assertEqual(found.known.flags, {1: SEEN, 2: SEEN})

    def test_an_empty_mailbox(self) -> None:
        found = self.sync()
        self.assertEqual(found.known.flags, {})
        found = self.sync(found.known)
        self.assertEqual((found.added, found.changed, found.vanished), ({}, {}, []))
        self.server.add(b"1")
        self.assertEqual(self.sync(found.known).added, {1: frozenset()})

    def test_nothing_has_changed(self) -> None:
        self.server.add(b"1", b"2")
        known = self.sync().known
        found = self.sync(known)
        self.assertEqual((found.by, found.known), (self.by, known))
        self.assertEqual((found.added, found.changed, found.vanished), ({}, {}, []))

    def test_changes_of_all_kinds(self) -> None:
        self.server.add(*[b"%d" % number for number in range(9)])
        known = self.sync().known
        session = self.other.session
        self.change(
            session.noop(),
            session.store([2, 4, 9], FlagOp.ADD, ["\\Deleted"]),
            session.expunge(),
            session.store([1, 5], FlagOp.ADD, ["\\Seen"]),
        )
        self.server.add(b"new", flags="\\Seen")
        found = self.sync(known)
        self.assertEqual(found.by, self.by)
        self.assertEqual(found.added, {10: SEEN})
        self.assertEqual(found.changed, {1: SEEN, 5: SEEN})
        self.assertEqual(found.vanished, [2, 4, 9])
        self.assertEqual(sorted(found.known.flags), [1, 3, 5, 6, 7, 8, 10])
        self.assertEqual(self.sync(found.known).known, found.known)

    def test_a_cache_that_is_wrong_is_healed(self) -> None:
        self.server.add(b"1", b"2", b"3")
        known = self.sync().known
        flags = {1: frozenset(), 7: SEEN}
        found = self.sync(Known(known.uid_validity, known.modseq, flags))
        self.assertEqual(found.known.flags, {uid: frozenset() for uid in (1, 2, 3)})
        self.assertEqual((sorted(found.added), found.vanished), ([2, 3], [7]))

    def test_other_uids(self) -> None:
        self.server.add(b"1")
        found = self.sync(Known(12345, 7, {9: SEEN}))
        self.assertTrue(found.reset)
        self.assertEqual((found.added, found.vanished), ({1: frozenset()}, []))

    def test_no_such_mailbox(self) -> None:
        client = self.client()
        client.start(synchronise(client.session, "nothing"))[0].trap(Refused)


class CondstoreTests(SyncTests):
    by = "CONDSTORE"
    without = ["QRESYNC"]


class FlagTests(SyncTests):
    by = "FLAGS"
    without = ["QRESYNC", "CONDSTORE"]


class QresyncTests(SynchronousTestCase):
    """What goes over the wire."""

    def test_one_round_trip(self) -> None:
        wire = Manual(b"* OK [CAPABILITY IMAP4rev1 ENABLE QRESYNC] x\r\n")
        wire.start(wire.session.enable("QRESYNC"))
        wire.say(b"* ENABLED QRESYNC\r\nm1 OK x\r\n")
        wire.take()
        known = Known(67890007, 20050715194045000, {uid: frozenset() for uid in range(41, 212)})
        results = wire.start(synchronise(wire.session, "INBOX", known))
        self.assertEqual(wire.take(), [b"m2 SELECT INBOX (QRESYNC (67890007 20050715194045000))"])
        # RFC 7162 section 3.2.5.2, with numbers that add up.
        wire.say(
            b"* 5 EXISTS\r\n* OK [CLOSED] before\r\n"
            b"* 170 EXISTS\r\n* OK [UIDVALIDITY 67890007] x\r\n* OK [UIDNEXT 600] x\r\n"
            b"* OK [HIGHESTMODSEQ 20060115205545359] x\r\n"
            b"* VANISHED (EARLIER) 41:42\r\n"
            b"* 49 FETCH (UID 117 FLAGS (\\Seen \\Answered) MODSEQ (20060115194045001))\r\n"
            b"* 170 FETCH (UID 599 FLAGS () MODSEQ (20060115194045027))\r\n"
            b"m2 OK [READ-WRITE] mailbox selected\r\n"
        )
        (found,) = results
        self.assertEqual(found.added, {599: frozenset()})
        self.assertEqual(found.changed, {117: {"\\Seen", "\\Answered"}})
        self.assertEqual(found.vanished, [41, 42])
        self.assertEqual(found.known.modseq, 20060115205545359)
        self.assertEqual(wire.take(), [b""])
        selected = wire.session.selected
        assert selected is not None
        self.assertEqual((selected.uid_of(1), selected.uid_of(170)), (43, 599))

    def test_what_goes_and_comes_while_it_opens(self) -> None:
        """As many as before say nothing where some went after the mailbox was opened."""
        for kind, parameters, gone in (
            ("QRESYNC", b"(QRESYNC (1 5))", b"* VANISHED 41\r\n"),
            ("CONDSTORE", b"(CONDSTORE)", b"* 1 EXPUNGE\r\n"),
        ):
            wire = Manual(b"* OK [CAPABILITY IMAP4rev1 ENABLE %b] x\r\n" % kind.encode())
            number = 1
            if kind == "QRESYNC":
                wire.start(wire.session.enable(kind))
                wire.say(b"* ENABLED QRESYNC\r\nm1 OK x\r\n")
                wire.take()
                number = 2
            known = Known(1, 5, {41: SEEN, 42: SEEN})
            results = wire.start(synchronise(wire.session, "INBOX", known))
            self.assertEqual(wire.take(), [b"m%d SELECT INBOX %b" % (number, parameters)])
            wire.say(
                b"* 2 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [HIGHESTMODSEQ 5] x\r\n"
                b"%b* 2 EXISTS\r\nm%d OK [READ-WRITE] x\r\n" % (gone, number)
            )
            self.assertEqual(results, [])
            (asked,) = wire.take()
            self.assertIn(b" UID FETCH 1:* (FLAGS) (CHANGEDSINCE 5", asked)
