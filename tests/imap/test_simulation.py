"""Many sessions on one mailbox: what each client believes must be true.

Each client keeps its own picture of the mailbox from the responses alone, as RFC 3501 has it. After
any command that lets the server tell everything, that picture must be the mailbox.
"""

from __future__ import annotations

import random
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.fakes import PlainAccount, Slow
from tests.imap.support import Client, Server, now, split_responses

KEYWORDS = ["\\Seen", "\\Deleted", "\\Flagged", "Junk", "mine"]
_FETCH = re.compile(rb"\* (\d+) FETCH \((.*)\)", re.DOTALL)
_NUMBER = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|RECENT)")


class Model:
    """What one client knows."""

    def __init__(self, client: Client, test: SynchronousTestCase) -> None:
        self.client = client
        self.test = test
        #: UID (0: not asked for yet) and flags (None: not known) by sequence number.
        self.messages: list[tuple[int, frozenset[bytes] | None]] = []
        self.idling = False

    def select(self) -> None:
        self.messages = []
        self.run("SELECT INBOX")

    def run(self, command: str) -> list[bytes]:
        lines = self.client.command(command)
        self.test.assertFalse(lines[-1].startswith(b"BAD"), (command, lines))
        self.read(lines, command)
        return lines

    def read(self, lines: list[bytes], command: str) -> None:
        quiet = command.split()[0] in ("FETCH", "STORE", "SEARCH")
        for line in lines:
            if found := _NUMBER.fullmatch(line):
                number = int(found[1])
                if found[2] == b"EXPUNGE":
                    self.test.assertFalse(quiet, (command, lines))
                    self.test.assertLessEqual(number, len(self.messages))
                    del self.messages[number - 1]
                elif found[2] == b"EXISTS":
                    # RFC 3501 section 7.3.1: never fewer without EXPUNGE.
                    self.test.assertGreaterEqual(number, len(self.messages))
                    self.messages.extend([(0, None)] * (number - len(self.messages)))
                else:
                    self.test.assertLessEqual(number, len(self.messages))
            elif found := _FETCH.match(line):
                self._fetched(int(found[1]), found[2])

    def _fetched(self, number: int, values: bytes) -> None:
        self.test.assertLessEqual(number, len(self.messages))
        uid, flags = self.messages[number - 1]
        if told := re.search(rb"UID (\d+)", values):
            # The number still means the same message.
            self.test.assertIn(uid, (0, int(told[1])))
            uid = int(told[1])
        if told := re.search(rb"FLAGS \(([^)]*)\)", values):
            flags = frozenset(told[1].split()) - {b"\\Recent"}
        self.messages[number - 1] = uid, flags

    def silent_store(self, number: int, operation: str, flag: str) -> None:
        """A client that asks for silence works the new flags out itself."""
        lines = self.run(f"STORE {number} {operation}FLAGS.SILENT ({flag})")
        uid, flags = self.messages[number - 1]
        if lines[-1].startswith(b"OK") and flags is not None:
            given = frozenset([flag.encode()])
            flags = flags | given if operation == "+" else flags - given
            self.messages[number - 1] = uid, flags


class SimulationTests(SynchronousTestCase):
    plain = False
    sessions = 4
    steps = 400

    def simulate(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = Server()
        if self.plain:
            self.server.realm.account = PlainAccount(self.server.account)
        self.server.add(*[b"x"] * self.random.randrange(20))
        self.models = [Model(self.server.login(), self) for _ in range(self.sessions)]
        for model in self.models:
            model.select()
        for _ in range(self.steps):
            model = self.random.choice(self.models)
            if model.idling:
                self.idle_step(model)
            else:
                self.step(model)
        for model in self.models:
            if model.idling:
                self.stop(model)
            self.compare(model)

    def idle_step(self, model: Model) -> None:
        self.server.clock.advance(31 if self.plain else 0)
        for other in self.models:
            if other.idling:
                other.read(other.client.take().split(b"\r\n"), "IDLE")
        if self.random.random() < 0.5:
            self.stop(model)

    def stop(self, model: Model) -> None:
        model.read(model.client.send(b"DONE\r\n").split(b"\r\n"), "IDLE")
        model.idling = False

    def numbers(self, model: Model) -> str:
        first = self.random.randint(1, len(model.messages))
        last = self.random.choice([first, first + self.random.randrange(5)])
        last = min(last, len(model.messages))
        return self.random.choice([f"{first}:{last}", f"{last}:{first}", f"{first},{last}"])

    def step(self, model: Model) -> None:
        choose = self.random.random()
        flag = self.random.choice(KEYWORDS)
        operation = self.random.choice("+-")
        if choose < 0.2:
            self.server.add(*[b"x"] * self.random.randint(1, 3))
        elif choose < 0.25:
            model.read(model.client.send(b"i IDLE\r\n").split(b"\r\n"), "IDLE")
            model.idling = True
        elif choose < 0.3:
            model.run("NOOP")
            self.compare(model)
        elif choose < 0.35:
            model.run("EXPUNGE")
        elif choose < 0.38:
            model.select()
        elif choose < 0.4:
            model.run("UID SEARCH ALL")
        elif not model.messages:
            model.run("CHECK")
        else:
            self.message_step(model, choose, operation, flag)

    def message_step(self, model: Model, choose: float, operation: str, flag: str) -> None:
        numbers = self.numbers(model)
        if choose < 0.5:
            model.run(f"FETCH {numbers} (UID FLAGS)")
        elif choose < 0.55:
            model.run(f"FETCH {numbers} (BODY[] UID)")
        elif choose < 0.65:
            model.run(f"STORE {numbers} {operation}FLAGS ({flag})")
        elif choose < 0.75:
            model.silent_store(self.random.randint(1, len(model.messages)), operation, flag)
        elif choose < 0.8:
            model.run(f"SEARCH {flag.strip(chr(92)).upper()}" if "\\" in flag else "SEARCH ALL")
        elif choose < 0.85:
            model.run(f"UID STORE {self.random.randint(1, 60)}:* +FLAGS ({flag})")
        elif choose < 0.9:
            model.run(f"COPY {numbers} {self.random.choice(['INBOX', 'Sent'])}")
        elif choose < 0.95:
            model.run(f"MOVE {numbers} {self.random.choice(['INBOX', 'Trash'])}")
        else:
            model.run(f"UID EXPUNGE {self.random.randint(1, 60)}:*")

    def compare(self, model: Model) -> None:
        """The picture is complete, and it is the mailbox."""
        model.run("NOOP")
        mailbox = self.server.mailbox()
        infos = now(mailbox.get_messages(uids=now(mailbox.list_uids())))
        self.assertEqual(len(model.messages), len(infos))
        for (uid, flags), info in zip(model.messages, infos, strict=True):
            self.assertIn(uid, (0, info.uid))
            if flags is not None:
                self.assertEqual(flags, {flag.encode() for flag in info.flags}, info.uid)

    def test_simulation(self) -> None:
        for seed in range(15):
            self.simulate(seed)


class PlainSimulationTests(SimulationTests):
    """With a backend that has no optional ability."""

    plain = True


class SlowSimulationTests(SimulationTests):
    """Commands of all sessions overlap: each call of the backend takes its time."""

    steps = 1000

    def simulate(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = Server()
        self.slow = Slow(self.server.account, after=True)
        self.server.realm.account = self.slow
        self.server.add(*[b"x"] * self.random.randrange(6))
        self.models = [Model(self.server.login(), self) for _ in range(self.sessions)]
        for model in self.models:
            model.select()
        self.slow.slow = True
        self.at_work: dict[Model, str] = {}
        for _ in range(self.steps):
            model = self.random.choice(self.models)
            if self.slow.calls and (model in self.at_work or self.random.random() < 0.5):
                self.slow.release(self.random.randrange(len(self.slow.calls)))
            elif model not in self.at_work:
                self.begin(model)
            self.server.clock.advance(0)
            self.listen()
        while self.slow.calls:
            self.slow.release()
            self.server.clock.advance(0)
            self.listen()
        self.slow.slow = False
        self.assertEqual(self.at_work, {})
        for model in self.models:
            self.compare(model)

    def begin(self, model: Model) -> None:
        choose = self.random.random()
        flag = self.random.choice(KEYWORDS)
        numbers = self.numbers(model) if model.messages else ""
        if choose < 0.2:
            self.server.add(b"x")
            command = "CHECK"
        elif choose < 0.3:
            command = "EXPUNGE"
        elif not numbers:
            command = "NOOP"
        else:
            command = self.random.choice(
                [
                    f"FETCH {numbers} (UID FLAGS)",
                    f"FETCH {numbers} (UID BODY[])",
                    f"UID FETCH {self.random.randint(1, 60)}:* (FLAGS)",
                    f"STORE {numbers} +FLAGS ({flag})",
                    f"STORE {numbers} -FLAGS ({flag})",
                    f"UID STORE {self.random.randint(1, 60)}:* +FLAGS ({flag})",
                    "SEARCH SEEN",
                    f"COPY {numbers} INBOX",
                    f"MOVE {numbers} Trash",
                    "NOOP",
                    "SELECT INBOX",
                ]
            )
        if command.startswith("SELECT"):
            model.messages = []
        self.at_work[model] = command
        model.client.protocol.dataReceived(b"t " + command.encode() + b"\r\n")

    def listen(self) -> None:
        """Let all clients read what has come."""
        for model in self.models:
            lines = split_responses(model.client.take())
            command = self.at_work.get(model, "NOOP")
            if lines and lines[-1].startswith(b"t "):
                self.assertFalse(lines[-1].startswith(b"t BAD"), (command, lines))
                del self.at_work[model]
            model.read(lines, command)
