"""NOTIFY as the client uses it (RFC 5465), and what it keeps of a server that never stops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.client import (
    ConnectionLost,
    EventGroup,
    Exists,
    Listing,
    MailboxStatus,
    Message,
    NotOffered,
    ProtocolError,
    Refused,
    answers,
)
from mailkit.imap.client import idle as idling
from mailkit.imap.patterns import Automaton, automaton
from mailkit.model import FlagOp
from tests.imap.client.support import SETTINGS, Client, Script, Wire, login
from tests.imap.support import Server, now

CAPABLE = b"* OK [CAPABILITY IMAP4rev1 LITERAL+ NOTIFY] hello\r\n"
OK = b"TAG OK x\r\n"
LOGGED_IN = (b"*", b"TAG OK [CAPABILITY IMAP4rev1 LITERAL+ NOTIFY UNSELECT] in\r\n")


class NotifyTests(SynchronousTestCase):
    """With our server."""

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(b"x")
        self.client: Client = login(self.server)
        self.client.run(self.client.session.select("INBOX"))
        self.heard: list[Any] = []

    async def listen(self, *groups: EventGroup, until: int, status: bool = False) -> None:
        async with self.client.session.notify(groups, status=status) as changes:
            while len(self.heard) < until:
                self.heard.append(await changes.next(None))

    def test_of_other_mailboxes(self) -> None:
        group = EventGroup("mailboxes", ["MessageNew", "MessageExpunge"], ["Sent", "Größe"])
        now(self.server.account.create_mailbox(name="Größe"))
        results = self.client.start(self.listen(group, until=4, status=True))
        self.assertEqual({each.name for each in self.heard}, {"Sent", "Größe"})
        self.server.add(b"y", mailbox="Größe")
        self.client.flush()
        # Other commands have their turn.
        self.assertEqual(self.client.run(self.client.session.search()), [1])
        self.server.add(b"y", mailbox="Sent")
        self.client.flush()
        self.assertEqual(results, [None])
        self.assertEqual([each.name for each in self.heard[2:]], ["Größe", "Sent"])
        self.assertIsInstance(self.heard[3], MailboxStatus)
        self.assertEqual(self.heard[3].items["MESSAGES"], 1)

    def test_of_the_mailbox_that_is_open(self) -> None:
        group = EventGroup("selected", ["MessageNew", "MessageExpunge"], items=["UID", "FLAGS"])
        results = self.client.start(self.listen(group, until=3))
        self.server.add(b"y", flags="\\Seen")
        self.client.flush()
        self.assertEqual(results, [None])
        self.assertIn(Exists(2), self.heard)
        (message,) = (each for each in self.heard if isinstance(each, Message))
        self.assertEqual((message.uid, message.flags), (2, {"\\Seen"}))
        # Behind the block all is as it was before.
        self.server.add(b"z", mailbox="Sent")
        now(self.server.mailbox().store_flags(uids=[1], op=FlagOp.ADD, flags={"\\Deleted"}))
        now(self.server.mailbox().expunge(uids=[1]))
        self.client.run(self.client.session.noop())
        selected = self.client.session.selected
        assert selected is not None
        self.assertEqual(selected.exists, 1)

    def test_of_names(self) -> None:
        results = self.client.start(self.listen(EventGroup("personal", ["MailboxName"]), until=2))
        now(self.server.account.create_mailbox(name="New"))
        self.client.flush()
        now(self.server.account.rename_mailbox(name="New", new_name="Newer"))
        self.client.flush()
        self.assertEqual(results, [None])
        self.assertIsInstance(self.heard[0], Listing)
        told = [(each.name, each.old_name) for each in self.heard]
        self.assertEqual(told, [("New", None), ("Newer", "New")])

    def test_a_connection_is_kept_alive(self) -> None:
        results = self.client.start(self.listen(EventGroup("selected-delayed"), until=1))
        for _ in range(4):
            self.client.clock.advance(SETTINGS.timeouts.idle)
            self.client.flush()
            self.assertEqual(results, [])
        self.server.add(b"y")
        self.client.flush()
        self.assertEqual(results, [None])

    def test_groups_that_make_no_sense(self) -> None:
        for group in (
            EventGroup("nowhere"),
            EventGroup("mailboxes"),
            EventGroup("personal", names=["INBOX"]),
            EventGroup("personal", items=["UID"]),
            EventGroup("selected", ["FlagChange"], items=["UID"]),
            EventGroup("selected", ["Message New"]),
            EventGroup("personal", ["MessageNew", "MailboxName"]),
            EventGroup("personal", ["messageexpunge"]),
            EventGroup("selected", ["FlagChange"]),
            EventGroup("selected", ["AnnotationChange", "MessageNew"]),
            EventGroup("selected", items=["UID)"]),
        ):
            with self.assertRaises(ValueError):
                self.client.session.notify([group])
        with self.assertRaises(ValueError):
            self.client.session.notify([])


class ScriptedTests(SynchronousTestCase):
    """With servers that say what we want them to say."""

    def open(self, *lines: tuple[bytes, bytes]) -> tuple[Wire, Any]:
        wire = Wire(Script(LOGGED_IN, *lines, greeting=CAPABLE))
        wire.run(wire.session.open())
        return wire, wire.session

    def test_what_is_sent(self) -> None:
        refusal = b"TAG NO [NOTIFICATIONOVERFLOW] no\r\n"
        wire, session = self.open((b'NOTIFY SET STATUS (subtree (a "b c") NONE)', refusal))
        group = EventGroup("subtree", (), ["a", "b c"])
        (failure,) = wire.start(session.notify([group], status=True).__aenter__())
        self.assertIsNotNone(failure.check(Refused))
        self.assertEqual(session._connection.listeners, [])

    def test_a_status_that_nobody_asked_for_is_no_answer(self) -> None:
        other = b"* STATUS Sent (MESSAGES 1)\r\n"
        answer = b"* STATUS inbox (MESSAGES 2)\r\n"
        wire, session = self.open((b"STATUS inbox (MESSAGES)", other + answer + other + OK))
        found = wire.run(session.status("inbox", ["MESSAGES"]))
        self.assertEqual((found.name, found.items), ("INBOX", {"MESSAGES": 2}))

    def listen_to(self, *lines: tuple[bytes, bytes]) -> tuple[Wire, Any, Any]:
        command = b"NOTIFY SET (personal (MailboxName MessageNew MessageExpunge))"
        wire, session = self.open((command, OK), *lines)
        events = ["MailboxName", "MessageNew", "MessageExpunge"]
        changes = session.notify([EventGroup("personal", events)])
        wire.run(changes.__aenter__())
        return wire, session, changes

    def told(self, wire: Wire, changes: Any) -> list[Any]:
        found = []
        while (results := wire.start(changes.next(0))) and results[0] is not None:
            found.append(results[0])
        return found

    def test_the_answer_to_status_is_no_change(self) -> None:
        news = b"* STATUS Sent (MESSAGES 1)\r\n* STATUS INBOX (MESSAGES 2 UIDNEXT 4)\r\n"
        answer = b"* STATUS INBOX (MESSAGES 3)\r\n"
        wire, session, changes = self.listen_to(
            (b"STATUS INBOX (MESSAGES)", news + answer + answer.replace(b"3", b"5") + OK)
        )
        self.assertEqual(wire.run(session.status("INBOX", ["messages"])).items, {"MESSAGES": 3})
        self.assertEqual(
            [(each.name, each.items["MESSAGES"]) for each in self.told(wire, changes)],
            [("Sent", 1), ("INBOX", 2), ("INBOX", 5)],
        )

    def test_a_name_that_the_server_writes_otherwise(self) -> None:
        wire, session, changes = self.listen_to(
            (b"STATUS x/ (MESSAGES)", b"* STATUS x (MESSAGES 3)\r\n" + OK)
        )
        self.assertEqual(wire.run(session.status("x/", ["MESSAGES"])).name, "x")
        self.assertEqual([each.name for each in self.told(wire, changes)], ["x"])

    def test_a_status_of_another_mailbox_alone(self) -> None:
        other = b"* STATUS INBOX.x (MESSAGES 9)\r\n"
        wire, session, _ = self.listen_to((b"STATUS x (MESSAGES)", other + OK))
        (failure,) = wire.start(session.status("x", ["MESSAGES"]))
        failure.trap(ProtocolError)

    def test_a_name_with_a_prefix(self) -> None:
        """Without NOTIFY the only STATUS is the answer."""
        other = b"* STATUS INBOX.x (MESSAGES 9)\r\n"
        command = b"STATUS x (MESSAGES)"
        wire, session = self.open((command, other + OK), (command, other + other + OK))
        self.assertEqual(wire.run(session.status("x", ["MESSAGES"])).items, {"MESSAGES": 9})
        (failure,) = wire.start(session.status("x", ["MESSAGES"]))
        failure.trap(ProtocolError)

    def test_names_with_changing_separators(self) -> None:
        """Patterns are not prepared anew for each name."""
        calls: list[object] = []

        def count(patterns: Iterable[str]) -> Automaton:
            calls.append(patterns)
            return automaton(patterns)

        self.patch(answers, "automaton", count)
        listed = answers.Listed(["a.*"], with_gone=False)
        for number in range(100):
            for separator in (*"./", None):
                name = f"a{separator or ','}{number}"
                listing = Listing(name, frozenset(), separator, False, None)
                self.assertEqual(listed.collect(listing), separator == ".", listing)
        self.assertEqual(len(calls), 3)
        for separator in map(chr, range(0x21, 0x7F)):
            listed.collect(Listing(f"x{separator}", frozenset(), separator, False, None))
        self.assertEqual(len(calls), answers.MAX_SEPARATORS)

    def test_the_answer_to_list_is_no_change(self) -> None:
        wire, session, changes = self.listen_to(
            (
                b'LIST a. "%"',
                b'* LIST () "." a.one\r\n* LIST () "." a.two.three\r\n* LIST () "." other\r\n'
                b'* LIST () "." a.new (OLDNAME (a.old))\r\n* LIST (\\NonExistent) "." a.gone\r\n'
                b'* LIST () "." a.four\r\n* LIST (\\NonExistent) "." a.one\r\n' + OK,
            )
        )
        found = wire.run(session.list("%", reference="a."))
        self.assertEqual([each.name for each in self.told(wire, changes)],
                         ["a.two.three", "other", "a.new", "a.gone", "a.one"])  # fmt: skip
        self.assertEqual([found[0].name, found[5].name, len(found)], ["a.one", "a.four", 7])

    def test_lists_of_names_without_mailboxes(self) -> None:
        gone = b'* LIST (\\Subscribed \\NonExistent) "/" x\r\n* LIST () "/" inbox\r\n'
        wire, session, changes = self.listen_to((b'LIST (SUBSCRIBED) "" ("inbox" "*")', gone + OK))
        session._connection.facts.announced |= {"LIST-EXTENDED"}
        wire.run(session.list(["inbox", "*"], selection=["SUBSCRIBED"]))
        self.assertEqual(self.told(wire, changes), [])

    def test_the_end_of_the_connection_is_heard(self) -> None:
        wire, session, changes = self.listen_to((b'LIST "" "*"', b'* LIST () "/" x\r\n'))
        waiting = wire.start(changes.next(None))
        wire.channel.dataReceived(b'* LIST () "/" x\r\n')
        self.assertEqual(waiting[0].name, "x")
        listing, waiting = wire.start(session.list()), wire.start(changes.next(None))
        wire.lose()
        self.assertEqual(waiting[0].condition, "BYE")
        self.assertIsNotNone(listing[0].check(ConnectionLost))

    def test_a_server_without_it(self) -> None:
        wire = Wire(Script((b"*", b"TAG OK in\r\n"), (b"CAPABILITY", b"TAG OK x\r\n")))
        wire.run(wire.session.open())
        with self.assertRaises(NotOffered):
            wire.session.notify([EventGroup("personal")])

    def test_it_has_to_wait_where_there_is_no_idle(self) -> None:
        wire, session = self.open()
        changes = session.idle()
        wire.run(changes.__aenter__())
        wire.channel.dataReceived(b"* 1 EXISTS\r\n" * idling.MAX_WAITING)
        self.assertEqual(wire.transport.producerState, "paused")
        for _ in range(idling.MAX_WAITING):
            wire.run(changes.next(None))
        self.assertEqual(wire.start(changes.next(None)), [])
        self.assertEqual(wire.transport.producerState, "producing")

    def test_it_is_left_where_a_command_waits_behind_that(self) -> None:
        self.patch(idling, "MAX_UNHELD", 3000)
        wire, session = self.open(
            (b"NOTIFY SET (personal (MessageNew MessageExpunge))", b"TAG OK x\r\n"), (b"NOOP", b"")
        )
        wire.run(session.notify([EventGroup("personal")]).__aenter__())
        results = wire.start(session.noop())
        wire.channel.dataReceived(b"* 1 EXISTS\r\n" * 2999)
        self.assertEqual((results, wire.transport.producerState), ([], "producing"))
        wire.channel.dataReceived(b"* 1 EXISTS\r\n" * 2)
        wire.flush()
        self.assertIsNotNone(results[0].check(ProtocolError))
        self.assertTrue(session.closed)

    def fetch_while_listening(self, answers: bytes) -> tuple[Wire, Any, Any]:
        wire, session = self.open(
            (b"SELECT INBOX", b"* 9 EXISTS\r\n" + OK),
            (b"NOTIFY SET (selected-delayed (MessageNew MessageExpunge))", OK),
            (b"UID FETCH 1:9 (ENVELOPE)", answers + OK),
        )
        wire.run(session.select("INBOX"))
        changes = session.notify([EventGroup("selected-delayed")])
        wire.run(changes.__aenter__())
        uids: list[int | None] = []

        async def fetch() -> None:
            async for message in session.fetch("1:9", ["ENVELOPE"]):
                uids.append(message.uid)

        wire.run(fetch())
        self.assertEqual(uids, [*range(1, 10)])
        return wire, session, changes

    def test_answers_are_no_changes(self) -> None:
        self.patch(idling, "MAX_UNHELD_OCTETS", 5000)
        envelope = b'(NIL "%b" NIL NIL NIL NIL NIL NIL NIL NIL)' % (b"x" * 900)
        answers = b"".join(
            b"* %d FETCH (UID %d ENVELOPE %b)\r\n" % (each, each, envelope) for each in range(1, 10)
        )
        wire, session, changes = self.fetch_while_listening(answers + b"* 10 EXISTS\r\n")
        self.assertFalse(session.closed)
        self.assertEqual(wire.run(changes.next(None)), Exists(10))
        self.assertEqual(wire.start(changes.next(None)), [])

    def test_flags_that_come_with_an_answer(self) -> None:
        """RFC 5465 section 5.2: they may be news, and are not told a second time."""
        self.patch(idling, "MAX_WAITING", 4)
        self.patch(idling, "MAX_UNHELD", 4)
        answers = b"".join(
            b"* %d FETCH (UID %d FLAGS (x%d) ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL))\r\n"
            % (each, each, each)
            for each in range(1, 10)
        )
        wire, session, changes = self.fetch_while_listening(answers + b"* 10 EXISTS\r\n")
        # Nobody reads the changes: neither the answers nor what comes behind them may wait for that.
        self.assertFalse(session.closed)
        self.assertEqual(wire.transport.producerState, "producing")
        for each in (1, 2):
            told = wire.run(changes.next(None))
            self.assertEqual((told.uid, told.flags, told.envelope), (each, {f"x{each}"}, None))
            self.assertEqual(told.items, {"UID", "FLAGS"})
        self.assertEqual(wire.run(changes.next(None)), Exists(10))
        self.assertEqual(wire.start(changes.next(None)), [])
