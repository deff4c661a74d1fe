"""What a client believes of its mailbox, from the responses alone.

It may know messages by UID alone (UIDONLY, QRESYNC), be told of them without having asked (NOTIFY),
keep results of searches (CONTEXT) and annotations (ANNOTATE).
"""

from __future__ import annotations

import random
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.notes import Notes, notes_in
from tests.imap.support import Client, split_responses

FLAGS = ["\\Seen", "\\Deleted", "\\Flagged", "mine"]
KINDS = ["plain", "qresync", "uidonly", "notify", "delayed"]
SEARCHES = ["DELETED", "UNSEEN FLAGGED", "NOT KEYWORD mine", "ALL", "OR SEEN DELETED"]
EVENTS = "MessageNew MessageExpunge FlagChange AnnotationChange"
_COUNT = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|RECENT)")
_FETCH = re.compile(rb"\* (\d+) (UID)?FETCH \((.*)\)", re.DOTALL)
_VANISHED = re.compile(rb"\* VANISHED (\S+)")
_UPDATE = re.compile(rb'\* ESEARCH \(TAG "(\w+)"\)( UID)? (ADDTO|REMOVEFROM) \((.*)\)')
_RESULT = re.compile(rb'\* ESEARCH \(TAG "(\w+)"\)( UID)?(.*)')


def numbers_in(text: bytes) -> list[int]:
    """The numbers of a set, in its order."""
    found: list[int] = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        found.extend(range(int(first), int(last or first) + 1))
    return found


class Message:
    """What a client knows of one."""

    def __init__(self) -> None:
        self.uid = 0
        self.flags: frozenset[bytes] | None = None
        #: None where they are not known, or not any more.
        self.notes: Notes | None = None


class Context:
    """A search that the server keeps up to date."""

    def __init__(self, command: str, by_uid: bool, sorts: bool) -> None:
        self.command = command
        self.by_uid = by_uid
        self.sorts = sorts
        #: In order; UIDs or messages.
        self.results: list[object] = []
        self.known = False


class Model:
    """One client."""

    def __init__(self, client: Client, kind: str, test: SynchronousTestCase) -> None:
        self.kind = kind
        self.test = test
        self.client = client
        self.messages: list[Message] = []
        #: Of a client that is told VANISHED: messages by UID, and how many there are.
        self.by_uid: dict[int, Message] = {}
        self.exists = 0
        self.contexts: dict[bytes, Context] = {}
        self.tag = b""
        self.command = ""
        self.tags = 0
        #: Answers of the command at work.
        self.lines: list[bytes] = []
        #: It is told which annotations change.
        self.annotates = False
        #: UIDs whose flags were told while it was.
        self.told: set[int] = set()
        for command in {
            "qresync": ["ENABLE QRESYNC"],
            "uidonly": ["ENABLE UIDONLY"],
            "both": ["ENABLE QRESYNC UIDONLY"],
            "condstore": ["ENABLE CONDSTORE"],
            "rev2": ["ENABLE IMAP4rev2"],
            "notify": [f"NOTIFY SET (selected ({EVENTS}))"],
            "delayed": [f"NOTIFY SET (selected-delayed ({EVENTS}))"],
        }.get(kind, []):
            test.assertTrue(self.client.command(command)[-1].startswith(b"OK"))

    @property
    def vanishes(self) -> bool:
        return self.kind in ("qresync", "uidonly", "both")

    @property
    def uid_only(self) -> bool:
        return self.kind in ("uidonly", "both")

    @property
    def numbered(self) -> bool:
        """Numbers hold for a command: nothing is expunged before it is read."""
        return not self.uid_only and self.kind != "notify"

    def begin(self, command: str) -> None:
        self.tags += 1
        self.tag = b"t%d" % self.tags
        self.command = command
        self.lines = []
        self.told = set()
        if " ANNOTATION (/comment (" in command and command.startswith("UID STORE"):
            # What it changes itself is not told.
            for message in (*self.messages, *self.by_uid.values()):
                message.notes = None
        self.send(self.tag + b" " + command.encode() + b"\r\n")

    def send(self, data: bytes) -> None:
        self.client.protocol.dataReceived(data)

    def take(self) -> bytes:
        return self.client.take()

    def listen(self) -> None:
        """Read what has come."""
        for line in split_responses(self.take()):
            self.read(line)
            if self.tag and line.startswith(self.tag + b" "):
                self.end(line[len(self.tag) + 1 :])

    def end(self, answer: bytes) -> None:
        self.test.assertFalse(answer.startswith(b"BAD"), (self.kind, self.command, answer))
        if context := self.contexts.get(self.tag):
            if not answer.startswith(b"OK"):
                del self.contexts[self.tag]
            context.known = True
        self.store_silently(answer)
        self.tag = b""

    def store_silently(self, answer: bytes) -> None:
        """A client that asks for silence works out itself what it is not told."""
        found = re.fullmatch(r"UID STORE (\S+) ([+-])FLAGS\.SILENT \((\S+)\)", self.command)
        if found is None or not answer.startswith(b"OK"):
            return
        wanted = numbers_in(found[1].encode())
        flag = frozenset([found[3].encode()])
        for uid in self.by_uid.keys() & set(wanted) - self.told:
            message = self.by_uid[uid]
            if message.flags is not None:
                given = message.flags | flag if found[2] == "+" else message.flags - flag
                message.flags = given

    def read(self, line: bytes) -> None:
        self.lines.append(line)
        where = (self.kind, self.tag, self.command, self.lines[-8:])
        verb = self.command.split()[0] if self.tag else ""
        if line.startswith(b"* OK [CLOSED]"):
            self.messages, self.by_uid, self.exists = [], {}, 0
            self.contexts = {}
        if found := _COUNT.fullmatch(line):
            number = int(found[1])
            if found[2] == b"EXISTS":
                self.test.assertGreaterEqual(number, self.count, where)
                self.exists = number
                fresh = number - len(self.messages)
                self.messages.extend(Message() for _ in range(fresh))
            elif found[2] == b"EXPUNGE":
                self.test.assertFalse(self.vanishes, where)
                self.test.assertNotIn(verb, ("FETCH", "STORE", "SEARCH", "SORT"), where)
                if self.kind == "delayed":
                    self.test.assertTrue(self.tag, where)
                self.test.assertLessEqual(number, len(self.messages), where)
                del self.messages[number - 1]
        elif found := _VANISHED.fullmatch(line):
            self.test.assertTrue(self.vanishes, where)
            self.test.assertNotIn(verb, ("FETCH", "STORE", "SEARCH", "SORT"), where)
            for uid in numbers_in(found[1]):
                self.by_uid.pop(uid, None)
                self.exists -= 1
            self.test.assertGreaterEqual(self.exists, len(self.by_uid), where)
        elif found := _FETCH.fullmatch(line):
            self.fetched(int(found[1]), bool(found[2]), found[3])
        elif found := _UPDATE.fullmatch(line):
            self.update(self.contexts[found[1]], found[3], found[4], where)
        elif (found := _RESULT.fullmatch(line)) and found[1] == self.tag:
            self.result(found[3])

    @property
    def count(self) -> int:
        return self.exists if self.vanishes else len(self.messages)

    def fetched(self, number: int, by_uid: bool, values: bytes) -> None:
        where = (self.kind, self.command, number, values)
        told = re.search(rb"UID (\d+)", values)
        uid = number if by_uid else int(told[1]) if told else 0
        self.test.assertEqual(by_uid, self.uid_only, where)
        if self.vanishes:
            self.test.assertTrue(uid, where)
            message = self.by_uid.setdefault(uid, Message())
            self.test.assertLessEqual(len(self.by_uid), self.exists, where)
            if not by_uid and len(self.by_uid) == self.exists:
                self.test.assertEqual(sorted(self.by_uid)[number - 1], uid, where)
        else:
            self.test.assertLessEqual(number, len(self.messages), where)
            message = self.messages[number - 1]
            if uid:
                self.test.assertIn(message.uid, (0, uid), where)
        message.uid = uid or message.uid
        if flags := re.search(rb"FLAGS \(([^)]*)\)", values):
            self.told.add(message.uid)
            message.flags = frozenset(flags[1].split()) - {b"\\Recent"}
        speaks, notes = notes_in(values)
        if speaks and self.annotates:
            message.notes = notes

    # Results that are kept.

    def items(self, context: Context, numbers: list[int]) -> list[object]:
        if context.by_uid or self.vanishes:
            return list(numbers)
        for number in numbers:
            self.test.assertTrue(0 < number <= len(self.messages), (self.kind, number))
        return [self.messages[number - 1] for number in numbers]

    def result(self, values: bytes) -> None:
        if (context := self.contexts.get(self.tag)) and not context.known:
            found = re.search(rb"ALL (\S+)", values)
            context.results = self.items(context, numbers_in(found[1]) if found else [])

    def update(self, context: Context, kind: bytes, pairs: bytes, where: object) -> None:
        words = pairs.split()
        for position, text in zip(map(int, words[::2]), words[1::2], strict=True):
            place = position
            for item in self.items(context, numbers_in(text)):
                if kind == b"REMOVEFROM":
                    self.test.assertIn(item, context.results, where)
                    if place:
                        self.test.assertIs(context.results[place - 1], item) if not isinstance(
                            item, int
                        ) else self.test.assertEqual(context.results[place - 1], item, where)
                    context.results.remove(item)
                    continue
                self.test.assertNotIn(item, context.results, where)
                if place:
                    context.results.insert(place - 1, item)
                    place += 1
                else:
                    context.results.append(item)


def make_context(client: Model, dice: random.Random) -> str:
    """The command with which a client begins to be told what a search finds."""
    sorts = dice.random() < 0.5
    # What is told by number is for who can count.
    by_uid = client.vanishes or client.kind == "notify" or dice.random() < 0.5
    search = dice.choice([*SEARCHES, 'ANNOTATION /comment value.shared "1"'])
    command = f"SORT RETURN (ALL UPDATE) (SUBJECT) UTF-8 {search}"
    if not sorts:
        command = f"SEARCH RETURN (ALL UPDATE) {search}"
    command = f"UID {command}" if by_uid else command
    client.contexts[b"t%d" % (client.tags + 1)] = Context(command, by_uid, sorts)
    return command
