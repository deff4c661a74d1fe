"""Many sessions that use extensions on one mailbox: what each client believes must be true.

As in ``test_simulation``, but messages are known by UID alone (UIDONLY, QRESYNC), come without being
asked for (NOTIFY), and clients keep results of searches (CONTEXT, SEARCHRES).
"""

from __future__ import annotations

import random
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.fakes import Slow
from tests.imap.support import Server, now, split_responses

FLAGS = ["\\Seen", "\\Deleted", "\\Flagged", "mine"]
KINDS = ["plain", "qresync", "uidonly", "notify", "delayed"]
SEARCHES = ["DELETED", "UNSEEN FLAGGED", "NOT KEYWORD mine", "ALL", "OR SEEN DELETED"]
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

    def __init__(self, server: Server, kind: str, test: SynchronousTestCase) -> None:
        self.kind = kind
        self.test = test
        self.client = server.login()
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
        #: UIDs whose flags were told while it was.
        self.told: set[int] = set()
        for command in {
            "qresync": ["ENABLE QRESYNC"],
            "uidonly": ["ENABLE UIDONLY"],
            "notify": ["NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))"],
            "delayed": ["NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))"],
        }.get(kind, []):
            test.assertTrue(self.client.command(command)[-1].startswith(b"OK"))
        self.begin("SELECT INBOX")
        self.listen()

    @property
    def vanishes(self) -> bool:
        return self.kind in ("qresync", "uidonly")

    @property
    def numbered(self) -> bool:
        """Numbers hold for a command: nothing is expunged before it is read."""
        return self.kind not in ("uidonly", "notify")

    def begin(self, command: str) -> None:
        self.tags += 1
        self.tag = b"t%d" % self.tags
        self.command = command
        self.lines = []
        self.told = set()
        self.client.protocol.dataReceived(self.tag + b" " + command.encode() + b"\r\n")

    def listen(self) -> None:
        """Read what has come."""
        for line in split_responses(self.client.take()):
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
        self.test.assertEqual(by_uid, self.kind == "uidonly", where)
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


class ExtensionSimulationTests(SynchronousTestCase):
    steps = 700

    def simulate(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.limited = self.random.random() < 0.3
        self.server = Server(message_limit=3) if self.limited else Server()
        self.slow = Slow(self.server.account, after=True)
        self.server.realm.account = self.slow
        self.server.add(*[b"Subject: %d\r\n\r\n" % n for n in range(self.random.randrange(8))])
        kinds = [self.random.choice(KINDS) for _ in range(5)]
        self.models = [Model(self.server, kind, self) for kind in kinds]
        self.slow.slow = True
        for _ in range(self.steps):
            model = self.random.choice(self.models)
            if self.slow.calls and (model.tag or self.random.random() < 0.5):
                self.slow.release(self.random.randrange(len(self.slow.calls)))
            elif not model.tag:
                model.begin(self.choose(model))
            self.turn()
        self.slow.release_all()
        for _ in range(5):
            self.turn()
        for model in self.models:
            self.assertEqual(model.tag, b"", model.command)
            self.compare(model)

    def turn(self) -> None:
        self.server.clock.advance(0)
        for model in self.models:
            model.listen()

    def uids(self) -> str:
        first = self.random.randint(1, 40)
        return self.random.choice([f"{first}", f"{first}:{first + 3}", f"{first}:*", "1:*"])

    def choose(self, model: Model) -> str:
        dice = self.random
        if dice.random() < 0.15:
            number = dice.randrange(100)
            self.server.add(b"Subject: %d\r\n\r\n" % number)
        flag, sign = dice.choice(FLAGS), dice.choice("+-")
        silent = dice.choice(["", ".SILENT"]) if model.vanishes and not self.limited else ""
        commands = [
            "NOOP",
            f"UID FETCH {self.uids()} (FLAGS)",
            # Not "*": what that is the client need not know.
            f"UID STORE {self.uids().replace('*', '99')} {sign}FLAGS{silent} ({flag})",
            f"UID STORE {self.uids()} {sign}FLAGS ({flag})",
            f"UID SEARCH RETURN (SAVE) {dice.choice(SEARCHES)}",
            "UID FETCH $ (FLAGS)",
            "UID STORE $ +FLAGS (mine)",
            f"UID EXPUNGE {self.uids()}",
            "EXPUNGE",
            "UIDBATCHES 500",
            f"UID SEARCH RETURN (PARTIAL 1:{dice.randint(1, 5)}) {dice.choice(SEARCHES)}",
            f"UID FETCH 1:* (FLAGS) (PARTIAL -1:-{dice.randint(1, 3)})",
            f"UID SEARCH RETURN (SAVE MIN MAX) {dice.choice(SEARCHES)}",
            "UID COPY $ INBOX",
            f"UID MOVE {dice.randint(1, 40)} {dice.choice(['INBOX', 'Trash'])}",
            f"UID REPLACE {dice.randint(1, 40)} INBOX {{14+}}\r\nSubject: 5\r\n\r\n",
            f'APPEND INBOX CATENATE (URL "/INBOX/;UID={dice.randint(1, 40)}" TEXT {{1+}}\r\nx)',
            "SELECT INBOX" if dice.random() < 0.3 else "NOOP",
        ]
        if model.numbered and model.count:
            number = dice.randint(1, model.count)
            commands += [
                f"FETCH {number}:* (UID FLAGS)",
                f"STORE {number} {sign}FLAGS ({flag})",
                f"SEARCH RETURN (COUNT) {number}:* {dice.choice(SEARCHES)}",
                f"COPY {number} INBOX",
                f"MOVE {number} Trash",
                f"REPLACE {number} INBOX {{14+}}\r\nSubject: 3\r\n\r\n",
            ]
        if len(model.contexts) < 4 and not self.limited and dice.random() < 0.4:
            return self.make_context(model)
        return dice.choice(commands)

    def make_context(self, model: Model) -> str:
        dice = self.random
        sorts = dice.random() < 0.5
        # What is told by number is for who can count.
        by_uid = model.vanishes or model.kind == "notify" or dice.random() < 0.5
        search = dice.choice(SEARCHES)
        command = f"SORT RETURN (ALL UPDATE) (SUBJECT) UTF-8 {search}"
        if not sorts:
            command = f"SEARCH RETURN (ALL UPDATE) {search}"
        command = f"UID {command}" if by_uid else command
        model.contexts[b"t%d" % (model.tags + 1)] = Context(command, by_uid, sorts)
        return command

    def compare(self, model: Model) -> None:
        """What the client believes is complete, and it is the mailbox."""
        for _ in range(2):
            model.begin("NOOP")
            self.turn()
        box = self.server.mailbox()
        infos = now(box.get_messages(uids=now(box.list_uids())))
        self.assertEqual(model.count, len(infos), model.kind)
        known = list(model.by_uid.values()) if model.vanishes else model.messages
        by_uid = {info.uid: info for info in infos}
        places = zip(model.messages, infos, strict=True) if not model.vanishes else ()
        for message, info in places:
            self.assertIn(message.uid, (0, info.uid), model.kind)
            message.uid = info.uid
        for message in known:
            if message.flags is not None:
                flags = {flag.encode() for flag in by_uid[message.uid].flags}
                self.assertEqual(message.flags, flags, (model.kind, message.uid))
        for context in model.contexts.values():
            again = context.command.replace(" UPDATE", "")
            model.begin(again if context.by_uid else f"UID {again}")
            self.turn()
            (found,) = [line for line in model.lines if line.startswith(b"* ESEARCH")]
            text = re.search(rb"ALL (\S+)", found)
            expected = numbers_in(text[1]) if text else []
            held = [item.uid if isinstance(item, Message) else item for item in context.results]
            if context.sorts:
                self.assertEqual(held, expected, (model.kind, context.command))
            else:
                self.assertEqual(sorted(held), expected, (model.kind, context.command))

    def test_simulation(self) -> None:
        for seed in range(8):
            self.simulate(seed)
