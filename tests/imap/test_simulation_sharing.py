"""Many clients of users who share mailboxes: what each of them believes must be true.

They select, change, make, rename and delete mailboxes, take rights away under each other, run into
quotas, annotate messages and mailboxes, go away and come back. ``MAILKIT_SEEDS=0:1000`` runs so
many worlds, rather than a few.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.imap.support import ServerTestCase
from tests.imap.world import World

CLIENTS = 5


class SharingSimulationTests(ServerTestCase):
    steps = 300
    seeds: Sequence[int] = range(3)

    def simulate(self, seed: int) -> None:
        dice = random.Random(seed)
        server = self.make_server(gmail_extensions=True)
        world = World(self, server, dice, CLIENTS, overlapping=bool(seed % 2))
        for _ in range(self.steps):
            world.act(dice.randrange(CLIENTS), random.Random(dice.random()))
        world.finish()
        server.close()

    def test_simulation(self) -> None:
        seeds = self.seeds
        if chosen := os.environ.get("MAILKIT_SEEDS"):
            seeds = range(*map(int, chosen.split(":")))
        for seed in seeds:
            self.simulate(seed)


class SQLiteSharingSimulationTests(SharingSimulationTests):
    sqlite = True
    steps = 200
    seeds = range(1)


class MachineTests(ServerTestCase):
    """The same by hypothesis, which makes the shortest history of a failure."""

    def test_machine(self) -> None:
        test = self

        class Machine(RuleBasedStateMachine):
            @initialize(seed=st.integers(0, 9999), overlapping=st.booleans())
            def begin(self, seed: int, overlapping: bool) -> None:
                self.server = test.make_server(gmail_extensions=True)
                self.world = World(test, self.server, random.Random(seed), CLIENTS, overlapping)

            @rule(place=st.integers(0, CLIENTS - 1), seed=st.integers(0, 9999))
            def act(self, place: int, seed: int) -> None:
                self.world.act(place, random.Random(seed))

            def teardown(self) -> None:
                if hasattr(self, "world"):
                    self.world.finish()

        machine: Any = Machine
        run_state_machine_as_test(
            machine, settings=settings(max_examples=6, stateful_step_count=40)
        )
