"""kill -9 at any moment: what was answered is there, and no operation is half done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mailkit.store.sqlite import SQLiteStore
from mailkit.store.sqlite.repair import repair_store
from mailkit.store.sqlite.schema import INDEX_NAME
from tests.support import PATIENCE

from .helpers import StoreTestCase
from .kill_child import SETTINGS, WORKERS, content

ROUNDS = 15
ROOT = Path(__file__).resolve().parents[3]

#: Digest and flags of the messages of one mailbox, in order.
State = list[tuple[str, frozenset[str]]]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def apply(state: State, kind: str, what: list[Any], flags: list[str]) -> State:
    """What an operation makes of a mailbox."""
    if kind == "add":
        return state + [(digest(content(key)), frozenset(flags)) for key in what]
    if kind == "expunge":
        return [item for position, item in enumerate(state) if position not in set(what)]
    if kind == "copy":
        return state + [state[position] for position in what]
    changed = set(what)
    return [
        (body, old | set(flags)) if position in changed else (body, old)
        for position, (body, old) in enumerate(state)
    ]


@pytest.mark.slow
class KillTests(StoreTestCase):
    #: Seconds, for what starts a process a round: only one that hangs takes as long.
    timeout = 900

    def start_child(self, seed: str, *numbers: int, stdout: Any = subprocess.PIPE) -> Any:
        """A process that works on the store."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.store.sqlite.kill_child", self.directory, seed),
                *map(str, numbers),
            ],
            stdout=stdout,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def run_and_kill(self, seed: str, lifetime: float) -> bytes:
        """Let a process work on the store for a while; gives what it said."""
        child = self.start_child(seed)
        said = b""
        end: float | None = None
        while end is None or time.monotonic() < end:
            wait = PATIENCE if end is None else max(0.0, end - time.monotonic())
            if select.select([child.stdout], [], [], wait)[0]:
                chunk = os.read(child.stdout.fileno(), 1 << 16)
                if not chunk:
                    break
                said += chunk
            elif end is None:
                break
            if end is None:
                # The moment is counted from the first operation on.
                end = time.monotonic() + lifetime
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read()
        child.stdout.close()
        self.assertEqual(child.wait(), -signal.SIGKILL, said[-2000:])
        return said

    async def read_state(self, store: SQLiteStore, number: int) -> State:
        mailbox = await self.mailbox(store, f"user{number}@example.org")
        uids = await mailbox.list_uids()
        infos = await mailbox.get_messages(uids=uids)
        self.assertEqual([info.uid for info in infos], list(uids))
        return [(digest(await self.read(mailbox, info.uid)), info.flags) for info in infos]

    async def test_nothing_acknowledged_is_lost(self) -> None:
        self.directory = os.path.abspath(self.directory)
        names = [f"user{number}@example.org" for number in range(WORKERS)]
        await self.close_store(await self.make_store(*names, settings=SETTINGS))
        dice = random.Random(4711)
        states: list[State] = [[] for _ in range(WORKERS)]
        answered = 0
        for turn in range(ROUNDS):
            said = self.run_and_kill(f"round{turn}", dice.uniform(0.005, 0.25))
            pending: dict[int, list[Any]] = {}
            for line in said.split(b"\n")[:-1]:
                word, number, *operation = json.loads(line)
                if word == "do":
                    pending[number] = operation
                elif word == "done":
                    states[number] = apply(states[number], *pending.pop(number))
                    answered += 1
                else:
                    self.fail(number)
            store = self.open_store(SETTINGS)
            for number in range(WORKERS):
                found = await self.read_state(store, number)
                possible = [states[number]]
                if number in pending:
                    possible.append(apply(states[number], *pending[number]))
                self.assertIn(found, possible, f"round {turn}, mailbox {number}")
                states[number] = found
            await self.close_store(store)
            self.check()
        self.assertGreater(answered, 100)
        # After all that, log and journal still know everything.
        os.unlink(os.path.join(self.directory, INDEX_NAME))
        repair_store(self.directory)
        self.check()
        store = self.open_store(SETTINGS)
        for number in range(WORKERS):
            self.assertEqual(await self.read_state(store, number), states[number])

    async def test_nothing_acknowledged_is_lost_whichever_process_dies(self) -> None:
        self.directory = os.path.abspath(self.directory)
        names = [f"user{number}@example.org" for number in range(WORKERS)]
        await self.close_store(await self.make_store(*names, settings=SETTINGS))
        groups = [range(2), range(2, 4), range(4, 6)]
        logs = [Path(f"{self.directory}-{number}.log") for number in range(len(groups))]
        children: list[Any] = []
        for number, group in enumerate(groups):
            with logs[number].open("wb") as log:
                children.append(self.start_child(f"group{number}", *group, stdout=log))
            self.addCleanup(children[-1].wait)
            self.addCleanup(children[-1].kill)
        # First a guest, then owners.
        for victim_owns in (False, True, True):
            done = [self.count_done(log) for log in logs]
            alive = [number for number, child in enumerate(children) if child.poll() is None]
            # Each of them works, also after another one has died.
            await self.wait_until(
                lambda done=done, alive=alive: all(
                    self.count_done(logs[number]) > done[number] + 20 for number in alive
                )
            )
            owner = int(Path(self.directory, "lock").read_text().split()[0])
            victims = [each for each in alive if (children[each].pid == owner) is victim_owns]
            children[victims[0]].kill()
            children[victims[0]].wait()
        store = self.open_store(SETTINGS)
        for number, group in enumerate(groups):
            lines = [json.loads(line) for line in logs[number].read_bytes().split(b"\n")[:-1]]
            for worker in group:
                said = [(word, rest) for word, each, *rest in lines if each == worker]
                self.assertIn(await self.read_state(store, worker), self.possible_states(said))
        await self.close_store(store)
        self.check()

    @staticmethod
    def count_done(log: Path) -> int:
        return log.read_bytes().count(b'["done"')

    @staticmethod
    def possible_states(said: list[tuple[str, list[Any]]]) -> list[State]:
        """What a mailbox may be, given what its worker has said of it."""
        states: list[State] = [[]]
        pending: list[Any] = []
        # What was under way at the end may have been done, or not.
        for word, what in [*said, ("unknown", [])]:
            if word == "do":
                pending = what
            elif pending:
                after = []
                for state in states:
                    # Where it does not fit, that is not what had happened.
                    with contextlib.suppress(IndexError):
                        after.append(apply(state, *pending))
                states = after + (states if word == "unknown" else [])
                pending = []
        return states
