"""Two and twenty clients on one mailbox, on a virtual clock: no picture is ever wrong."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.strategies import integers, sampled_from
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.imap.client.crowd import ACTIONS, Crowd
from tests.imap.support import ServerTestCase

#: Of the long test, which runs where MAILKIT_LONG is set; a failure names the seed.
SEED = int(os.environ.get("MAILKIT_SEED", "1"))


class Maker(ServerTestCase):
    """Makes servers outside of a test of its own."""

    def runTest(self) -> None:  # noqa: N802
        """Nothing: it is made to make servers."""


class Machine(RuleBasedStateMachine):
    """What hypothesis looks for the shortest failure with."""

    count = 2
    sqlite = False

    @initialize()
    def begin(self) -> None:
        self.maker = Maker()
        self.maker.sqlite = self.sqlite
        server = self.maker.make_server()
        server.add(b"1", b"2", b"3")
        self.crowd = Crowd(server, self.count)

    @rule(index=integers(0, 19), name=sampled_from(sorted(set(ACTIONS))), choice=integers(0, 2**10))
    def act(self, index: int, name: str, choice: int) -> None:
        self.crowd.act(index % self.count, name, choice)

    @rule(index=integers(0, 19), size=integers(1, 300))
    def deliver(self, index: int, size: int) -> None:
        self.crowd.deliver(index % self.count, size)

    @rule()
    def compare(self) -> None:
        self.crowd.compare()

    def teardown(self) -> None:
        try:
            if hasattr(self, "crowd"):
                self.crowd.compare()
        finally:
            # Whatever went wrong: the next example would wait for what this one has left.
            if hasattr(self, "maker"):
                self.maker.doCleanups()


class SQLiteMachine(Machine):
    sqlite = True


MachineTests: Any = Machine.TestCase
MachineTests.settings = settings(max_examples=25, stateful_step_count=40)
SQLiteMachineTests: Any = SQLiteMachine.TestCase
SQLiteMachineTests.settings = settings(max_examples=5, stateful_step_count=25)


class CrowdTests(SynchronousTestCase):
    """By seed."""

    sqlite = False

    def simulate(self, seed: int, count: int, steps: int) -> None:
        maker = Maker()
        maker.sqlite = self.sqlite
        try:
            self.run_steps(Crowd(maker.make_server(), count), random.Random(seed), steps)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {count} clients, {steps} steps") from error
        finally:
            maker.doCleanups()

    def run_steps(self, crowd: Crowd, dice: random.Random, steps: int) -> None:
        count = len(crowd.actors)
        for step in range(steps):
            index = dice.randrange(count)
            if dice.random() < 0.5:
                crowd.act(index, dice.choice(ACTIONS), dice.randrange(2**10))
            else:
                crowd.deliver(index, dice.choice([1, 20, 100, 10_000]))
            if step % 200 == 199:
                crowd.compare()
        crowd.compare()

    def test_two(self) -> None:
        for seed in range(3):
            self.simulate(seed, 2, 300)

    def test_twenty(self) -> None:
        self.simulate(1, 20, 600)

    @pytest.mark.slow
    def test_long(self) -> None:
        if "MAILKIT_LONG" not in os.environ:
            raise SkipTest("MAILKIT_LONG is not set")
        for seed in range(SEED, SEED + 50):
            self.simulate(seed, 2, 2000)
            self.simulate(seed, 20, 4000)


class SQLiteCrowdTests(CrowdTests):
    sqlite = True
