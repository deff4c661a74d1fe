"""kill -9 at any moment: what was answered is there, and no operation is half done."""

from __future__ import annotations

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
    timeout = 120

    def run_and_kill(self, seed: str, lifetime: float) -> bytes:
        """Let a process work on the store for a while; gives what it said."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.store.sqlite.kill_child", self.directory, seed],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
        )
        assert child.stdout is not None
        said = b""
        end: float | None = None
        while end is None or time.monotonic() < end:
            wait = 20.0 if end is None else max(0.0, end - time.monotonic())
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
