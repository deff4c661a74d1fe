"""A server that works on some messages at a time (RFC 9738): the client goes on with the rest."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.client import Numbers, ProtocolError, Refused, Session, WrongState
from mailkit.model import FlagOp
from tests.imap.client.support import ClientTestCase, login
from tests.imap.client.test_bounds import limited
from tests.imap.client.test_pipelining import SELECTED, Manual
from tests.imap.support import Server

UIDS = list(range(1, 11))


class OurServerTests(ClientTestCase):
    def setUp(self) -> None:
        self.server = Server(message_limit=3)
        self.server.add(*[b"Subject: %d\r\n\r\n" % uid for uid in UIDS])
        self.client = login(self.server)
        self.session = self.client.session
        self.assertTrue(self.session.has("MESSAGELIMIT=3"))
        self.run_it(self.session.select("INBOX"))

    def test_fetch(self) -> None:
        for text in ("1:*", "*:1", "1:4,5:99", [*UIDS]):
            found = self.run_it(self.session.fetch(text, "FLAGS"))
            self.assertEqual(sorted(each.uid for each in found), UIDS, text)
        found = self.run_it(self.session.fetch("4:8", "FLAGS"))
        self.assertEqual(sorted(each.uid for each in found), [4, 5, 6, 7, 8])

    def test_search(self) -> None:
        self.assertEqual(self.run_it(self.session.search()), UIDS)
        self.assertEqual(self.run_it(self.session.search("OR UID 1 UID 9")), [1, 9])
        self.session._connection.facts.announced -= {"ESEARCH"}
        self.assertEqual(self.run_it(self.session.search()), UIDS)
        self.session._connection.facts.announced |= {"ESEARCH"}
        error = self.fails(Refused, self.session.extended_search("ALL", ["MIN"]))
        self.assertEqual(error.code_name, "MESSAGELIMIT")

    def test_store(self) -> None:
        answer = self.run_it(self.session.store("1:*", FlagOp.ADD, ["\\Deleted"]))
        self.assertEqual(sorted(each.uid for each in answer.messages), UIDS)
        self.run_it(self.session.expunge("2:*"))
        self.assertEqual(self.run_it(self.session.search()), [1])

    def test_move(self) -> None:
        result = self.run_it(self.session.move("2:*", "Sent"))
        self.assertEqual(sorted(result.source_uids), UIDS[1:])
        self.assertEqual(self.run_it(self.session.search()), [1])
        self.assertEqual(
            self.run_it(self.session.status("Sent", ["MESSAGES"])).items["MESSAGES"], 9
        )

    def test_removing_with_modification_sequences(self) -> None:
        """The server's tagged OK has another code then."""
        self.run_it(self.session.select("INBOX", condstore=True))
        self.run_it(self.session.store("1:*", FlagOp.ADD, ["\\Deleted"], silent=True))
        self.run_it(self.session.expunge("2:*"))
        self.assertEqual(self.run_it(self.session.search()), [1])

    def test_what_cannot_go_on(self) -> None:
        for awaitable in (
            self.session.search(by_number=True),
            self.session.copy("1:*", "Sent"),
            self.session.fetch(Numbers("1:*"), "FLAGS"),
        ):
            self.assertEqual(self.fails(Refused, awaitable).code_name, "MESSAGELIMIT")


class LieTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wire: Manual = limited()
        self.wire.start(self.wire.session.select("INBOX"))
        self.wire.say(SELECTED)

    def announce(self, *names: str) -> None:
        self.wire.session._connection.facts.announced |= set(names)

    def test_an_untagged_limit(self) -> None:
        """RFC 9738 section 3.1, with EXPUNGEISSUED."""
        results = self.wire.start(self.wire.session.fetch("5:30", "FLAGS"))
        self.wire.say(b"* NO [MESSAGELIMIT 3 20] x\r\nm2 OK [EXPUNGEISSUED] x\r\n")
        self.assertEqual(self.wire.take()[-1], b"m3 UID FETCH 5:19 (FLAGS)")
        self.wire.say(b"m3 OK [MESSAGELIMIT 3 5] x\r\n")
        self.assertEqual(results, [[]])

    def test_an_untagged_limit_of_a_removal(self) -> None:
        """It is not of the command behind."""
        self.announce("UIDPLUS")
        expunged = self.wire.start(self.wire.session.expunge("5:30"))
        fetched = self.wire.start(self.wire.session.fetch("5:30", "FLAGS"))
        self.wire.say(b"* NO [MESSAGELIMIT 3 20] x\r\nm2 OK [HIGHESTMODSEQ 9] x\r\nm3 OK x\r\n")
        self.assertEqual(fetched, [[]])
        self.assertEqual(self.wire.take()[-1], b"m4 UID EXPUNGE 5:19")
        self.wire.say(b"m4 OK x\r\n")
        self.assertEqual(expunged, [None])

    def test_an_untagged_limit_of_what_ends_first(self) -> None:
        """It is not of the command before, which still goes on."""
        fetched = self.wire.start(self.wire.session.fetch("5:30", "FLAGS"))
        stored = self.wire.start(self.wire.session.store("40:90", FlagOp.ADD, ["x"], silent=True))
        ended = self.wire.start(self.wire.session.noop())
        self.wire.say(b"* NO [MESSAGELIMIT 3 60] x\r\nm4 OK x\r\n")
        self.assertEqual(ended, [None])
        self.wire.say(b"m3 OK [MODIFIED 61] x\r\nm2 OK x\r\n")
        self.assertEqual(fetched, [[]])
        self.assertEqual(self.wire.take()[-1], b"m5 UID STORE 40:59 +FLAGS.SILENT (x)")
        self.wire.say(b"m5 OK x\r\n")
        self.assertEqual(stored[0].modified, [61])

    def test_an_untagged_limit_of_what_does_not_go_on(self) -> None:
        """Nor is that of the command behind."""
        for call in (
            lambda session: session.sort("DATE"),
            lambda session: session.sort("DATE", by_number=True),
            lambda session: session.thread("REFS"),
            lambda session: session.append("x", b"a: b\r\n\r\n"),
        ):
            self.setUp()
            self.announce("SORT", "THREAD=REFS", "LITERAL+")
            self.wire.start(call(self.wire.session))
            fetched = self.wire.start(self.wire.session.fetch("5:30", "FLAGS"))
            self.wire.say(b"* NO [MESSAGELIMIT 3 20] x\r\nm2 NO x\r\nm3 OK x\r\n")
            self.assertEqual(fetched, [[]])
            self.assertEqual(self.wire.take()[-1][:3], b"m3 ")

    def test_a_limit_of_nothing(self) -> None:
        """Whoever comes next does not take it for his own."""
        self.wire.start(self.wire.session.noop())
        self.wire.say(b"* NO [MESSAGELIMIT 3 60] x\r\nm2 OK x\r\n* NO [MESSAGELIMIT 3 60] x\r\n")
        results = self.wire.start(self.wire.session.fetch("5:90", "FLAGS"))
        self.wire.say(b"m3 OK x\r\n")
        self.assertEqual(results, [[]])

    def test_an_untagged_limit_of_what_cannot_go_on(self) -> None:
        results = self.wire.start(self.wire.session.extended_search("SEEN", ["COUNT"]))
        self.wire.say(b'* ESEARCH (TAG "m2") UID COUNT 3\r\n* NO [MESSAGELIMIT 3 20] x\r\n')
        self.wire.say(b"m2 OK [EXPUNGEISSUED] x\r\n")
        results[0].trap(Refused)
        self.assertEqual(results[0].value.code_name, "MESSAGELIMIT")

    def test_a_limit_that_leaves_nothing_out(self) -> None:
        results = self.wire.start(self.wire.session.extended_search("SEEN", ["COUNT"]))
        self.wire.say(b'* ESEARCH (TAG "m2") UID COUNT 3\r\nm2 OK [MESSAGELIMIT 3 1] x\r\n')
        self.assertEqual(results[0].total, 3)

    def test_another_mailbox(self) -> None:
        """What is left of a command does not go to the mailbox that is open by then."""
        for call in (
            lambda session: session.expunge("5:30"),
            lambda session: session.move("5:30", "Trash"),
            lambda session: session.store("5:30", FlagOp.ADD, ["\\Deleted"]),
            lambda session: session.fetch("5:30", "FLAGS"),
            lambda session: session.search("SEEN"),
        ):
            self.setUp()
            self.announce("UIDPLUS", "MOVE")
            results = self.wire.start(call(self.wire.session))
            self.wire.start(self.wire.session.select("Other"))
            self.wire.say(b"m2 OK [MESSAGELIMIT 3 20] x\r\n* 9 EXISTS\r\nm3 OK x\r\n")
            self.assertEqual(self.wire.take()[-1], b"m3 SELECT Other")
            results[0].trap(WrongState)

    def test_several_sets_in_another_mailbox(self) -> None:
        self.announce("UIDPLUS")
        results = self.wire.start(self.wire.session.expunge(range(1, 9999, 2)))
        self.wire.start(self.wire.session.select("Other"))
        self.wire.say(b"m2 OK x\r\n* 9 EXISTS\r\nm3 OK x\r\n")
        self.assertEqual(self.wire.take()[-1], b"m3 SELECT Other")
        results[0].trap(WrongState)

    def test_a_mailbox_that_is_being_left(self) -> None:
        """What waits behind SELECT was meant for the mailbox before, or for none."""
        session = self.wire.session
        self.announce("UIDPLUS", "MOVE", "REPLACE", "SORT", "THREAD=REFERENCES")
        fetching = session.fetch([5], "FLAGS")

        async def read() -> bytes:
            return b"".join([piece async for piece in stream])

        stream = session.stream(5)
        first = self.wire.start(session.noop())
        self.wire.start(session.select("Other"))
        late = [
            self.wire.start(awaitable)
            for awaitable in (
                fetching,
                read(),
                session.expunge(),
                session.expunge([5]),
                session.copy([5], "Trash"),
                session.store([5], FlagOp.ADD, ["\\Deleted"]),
                session.move([5], "Trash"),
                session.replace(5, "INBOX", b"x"),
                session.search(),
                session.extended_search(),
                session.sort("DATE"),
                session.thread(),
                session.close_mailbox(),
            )
        ]
        self.wire.say(b"m2 OK x\r\n* 9 EXISTS\r\nm3 OK x\r\n")
        self.assertEqual(first, [None])
        self.assertEqual(self.wire.take()[-1], b"m3 SELECT Other")
        for results in late:
            results[0].trap(WrongState)

    def test_no_mailbox_instead(self) -> None:
        session = self.wire.session
        self.wire.start(session.noop())
        self.wire.start(session.select("Other"))
        late = self.wire.start(session.search())
        self.wire.say(b"m2 OK x\r\nm3 NO x\r\n")
        late[0].trap(WrongState)
        self.assertEqual(late[0].value.text, "The mailbox is not selected any more")

    def test_limits_that_make_no_sense(self) -> None:
        for code in (b"3 20", b"3 31", b"3 4294967295"):
            self.setUp()
            results = self.wire.start(self.wire.session.fetch("5:30", "FLAGS"))
            self.wire.say(b"m2 OK [MESSAGELIMIT 3 20] x\r\nm3 OK [MESSAGELIMIT %b] x\r\n" % code)
            results[0].trap(ProtocolError)
        for code in (b"3", b"3 0", b"3 x", b"3 99999999999"):
            self.setUp()
            results = self.wire.start(self.wire.session.fetch("5:30", "FLAGS"))
            self.wire.say(b"m2 OK [MESSAGELIMIT %b] x\r\n" % code)
            results[0].trap(Refused)
        self.setUp()
        results = self.wire.start(self.wire.session.search())
        self.wire.say(b"m2 OK [MESSAGELIMIT 3 20] x\r\nm3 OK [MESSAGELIMIT 3 20] x\r\n")
        results[0].trap(ProtocolError)


class MemoryTests(SynchronousTestCase):
    """The limits are of all rounds of a call together."""

    def open(self, **limits: int) -> Session:
        self.wire: Manual = limited(**limits)
        self.wire.start(self.wire.session.select("INBOX"))
        self.wire.say(SELECTED)
        self.wire.session._connection.facts.announced |= {"CONDSTORE"}
        return self.wire.session

    def rounds(self, awaitable: Any, octets: bytes, last: bytes = b"") -> Any:
        """Two of them, what comes of each is within the limits.

        :param last: the same in the last one.
        """
        results = self.wire.start(awaitable)
        self.wire.say(octets + b"* NO [MESSAGELIMIT 3 20] x\r\nm2 OK %b x\r\n" % last)
        self.assertEqual((results, self.wire.take()[-1][:3]), ([], b"m3 "))
        self.wire.say(octets.replace(b"m2", b"m3") + b"m3 OK %b x\r\n" % last)
        return results[0]

    def test_octets(self) -> None:
        octets = b"* 1 FETCH (UID 9 FLAGS (%b))\r\n" % (b"x" * 600)
        for call in (
            lambda session: session.fetch("5:30", "FLAGS")._all(),
            lambda session: session.store("5:30", FlagOp.ADD, ["\\Seen"]),
        ):
            result = self.rounds(call(self.open(answer=1000)), octets)
            result.trap(ProtocolError)
            self.assertTrue(self.wire.session.closed)
            result = self.rounds(call(self.open(answer=2000)), octets)
            self.assertEqual({each.uid for each in getattr(result, "messages", result)}, {9})

    def test_messages_one_by_one(self) -> None:
        """They do not stay, but their UIDs do."""
        octets = b"* 1 FETCH (UID 9 FLAGS (%b))\r\n" % (b"x" * 600)

        async def fetch(session: Session) -> int:
            return len([each async for each in session.fetch("5:30", "FLAGS")])

        self.assertEqual(self.rounds(fetch(self.open(answer=1000)), octets), 2)
        self.assertEqual(self.rounds(fetch(self.open(values=4)), octets * 2), 4)
        self.rounds(fetch(self.open(values=3)), octets * 2).trap(ProtocolError)

    def test_each_set_has_limits_of_its_own(self) -> None:
        octets = b"* 1 FETCH (UID 9 FLAGS (%b))\r\n" % (b"x" * 600)
        session = self.open(answer=1000)
        several = [9, *range(11, 3500, 2)]
        results = self.wire.start(session.fetch(several, "FLAGS")._all())
        self.wire.say(octets + b"m2 OK x\r\n")
        self.wire.say(octets.replace(b"* 1 FETCH (UID 9", b"* 2 FETCH (UID 3499") + b"m3 OK x\r\n")
        self.assertEqual([each.uid for each in results[0]], [9, 3499])

    def test_a_search(self) -> None:
        """The mailbox has five messages."""
        found = b'* ESEARCH (TAG "m2") UID ALL 1:60000\r\n'
        self.rounds(self.open().search("SEEN"), found).trap(ProtocolError)
        found = b'* ESEARCH (TAG "m2") UID ALL 1:6\r\n'
        self.assertEqual(self.rounds(self.open().search("SEEN"), found), [1, 2, 3, 4, 5, 6])

    def test_a_plain_search(self) -> None:
        session = self.open(numbers=60_000)
        session._connection.facts.announced -= {"ESEARCH"}
        results = self.wire.start(session.search("SEEN"))
        for tag in (2, 3):
            numbers = b" ".join(b"%d" % (tag * 60_000 + each) for each in range(60_000))
            self.wire.say(
                b"* SEARCH %b\r\nm%d OK [MESSAGELIMIT 3 9%d] x\r\n" % (numbers, tag, 9 - tag)
            )
        results[0].trap(ProtocolError)

    def test_messages_left_alone(self) -> None:
        session = self.open()
        store = session.store("5:30", FlagOp.ADD, ["\\Seen"], unchanged_since=1)
        self.rounds(store, b"", b"[MODIFIED 1:60000]").trap(ProtocolError)

    def test_copies(self) -> None:
        session = self.open()
        copied = b"* OK [COPYUID 1 1:60000 1:60000] x\r\n"
        self.rounds(session.copy("5:30", "x"), copied).trap(ProtocolError)
        copied = b"* OK [COPYUID 1 1:6 1:6] x\r\n"
        self.open()
        result = self.rounds(self.wire.session.copy("5:30", "x"), copied)
        self.assertEqual(len(result.source_uids), 12)
