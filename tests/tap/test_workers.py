"""``--workers``: what can be served so, and how often a worker is replaced."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.logger import globalLogPublisher
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import imap, mail
from mailkit.tap.children import (
    FIRST_DELAY,
    KEEPS,
    MAX_DELAY,
    READY,
    SERVES,
    SETTLED,
    STOP_TIMEOUT,
)
from mailkit.tap.errors import SettingError
from mailkit.tap.twistd import TwistdService, TwistdWorkers
from mailkit.tap.workers import WorkersService, check_workers

from .processes import Process, ProcessTestCase

LISTEN = ("--imap", "tcp:0:interface=127.0.0.1")


class OptionTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> mail.Options:
        options = mail.Options()
        options.parseOptions([*LISTEN, *arguments])
        return options

    def refuse(self, *arguments: str) -> str:
        return str(self.assertRaises(usage.UsageError, self.parse, *arguments))

    def test_one_is_a_server_as_ever(self) -> None:
        store = f"sqlite:{self.mktemp()}"
        for arguments in ((), ("--workers", "1")):
            options = self.parse("--store", store, *arguments)
            self.assertIsInstance(mail.makeService(options), TwistdService)
        options = self.parse("--store", store, "--workers", "3")
        self.assertEqual(options.workers, 3)
        self.assertIsInstance(mail.makeService(options), TwistdWorkers)

    def test_what_several_cannot_serve(self) -> None:
        store = ("--store", f"sqlite:{self.mktemp()}")
        self.assertIn(
            "--workers: memory: is a store of one process; several can serve sqlite:DIR",
            self.refuse("--store", "memory:", "--workers", "2"),
        )
        for number in ("0", "-1", "x", "65"):
            self.assertIn("--workers: ", self.refuse(*store, "--workers", number))
        self.assertRaises(SettingError, check_workers, 2, store[1], ["ssl:993:privateKey=x"])

    def test_a_command_of_one_protocol(self) -> None:
        options = imap.Options()
        arguments = ["--listen", "tcp:0", "--store", f"sqlite:{self.mktemp()}", "--workers", "2"]
        options.parseOptions(arguments)
        self.assertEqual((options.arguments, options.origin), (arguments, os.getcwd()))
        self.assertIsInstance(imap.makeService(options), TwistdWorkers)


class WorkersTests(ProcessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.stopped: list[bool] = []
        self.reactor.running = True
        self.reactor.stop = lambda: self.stopped.append(True)
        self.service = WorkersService(2, {"options": "x"}, [], self.reactor)
        self.service.privilegedStartService()
        self.service.startService()
        self.keeper, self.first, self.second = self.processes

    def fail_with(self, process: Process, signalled: int | None = 9) -> None:
        process.protocol.processEnded(Failure(ProcessTerminated(None, signalled, 9)))

    def test_each_is_told_its_plan(self) -> None:
        self.assertTrue(self.first.input.endswith(b"\n"))
        self.assertIn(b'"options": "x"', self.first.input)
        self.assertIn(b'"families": []', self.first.input)
        roles = [json.loads(process.input)["role"] for process in self.processes]
        self.assertEqual(roles, [KEEPS, SERVES, SERVES])

    def test_the_more_often_it_ends_the_later_it_is_replaced(self) -> None:
        for process in self.processes:
            process.protocol.childDataReceived(1, READY + b"\n")
        delay, delays = FIRST_DELAY, []
        for _ in range(12):
            count = len(self.processes)
            self.fail_with(self.processes[-1])
            self.reactor.advance(delay * 0.99)
            self.assertEqual(len(self.processes), count)
            self.reactor.advance(delay * 0.02)
            self.assertEqual(len(self.processes), count + 1)
            delays.append(delay)
            delay = min(2 * delay, MAX_DELAY)
        self.assertEqual(delays[-1], MAX_DELAY)
        # After a long life it is as if it had never ended.
        self.reactor.advance(SETTLED + 1)
        count = len(self.processes)
        self.fail_with(self.processes[-1])
        self.reactor.advance(FIRST_DELAY * 1.01)
        self.assertEqual(len(self.processes), count + 1)
        self.assertEqual(self.stopped, [])

    def test_where_none_can_start_nobody_waits(self) -> None:
        self.first.protocol.childDataReceived(2, b"mailkit: --store x: in u")
        self.first.protocol.childDataReceived(2, b"se\n")
        self.fail_with(self.first)
        # The other one may be at work on the store still.
        self.assertEqual(self.stopped, [])
        self.fail_with(self.second)
        self.assertEqual(self.stopped, [True])

    def test_a_keeper_that_ends_is_replaced(self) -> None:
        self.fail_with(self.keeper)
        self.reactor.advance(FIRST_DELAY)
        self.assertEqual(json.loads(self.processes[-1].input)["role"], KEEPS)
        # The workers make the changes themselves where none can start.
        self.fail_with(self.processes[-1])
        self.fail_with(self.first)
        self.assertEqual(self.stopped, [])

    def test_a_hangup_is_passed_on(self) -> None:
        self.service.reload()
        self.assertEqual(self.first.signals, [signal.SIGHUP])

    def test_stopping(self) -> None:
        stopped = self.service.stopService()
        # Workers may have changes to make still.
        self.assertEqual([p.signals for p in self.processes], [[], ["end"], ["end"]])
        self.first.protocol.processEnded(Failure(ProcessDone(0)))
        self.assertNoResult(stopped)
        # One that does not end is made to.
        self.reactor.advance(STOP_TIMEOUT)
        self.assertEqual(self.second.signals, ["end", signal.SIGKILL])
        self.fail_with(self.second)
        self.assertNoResult(stopped)
        self.assertEqual(self.keeper.signals, ["end"])
        self.keeper.protocol.processEnded(Failure(ProcessDone(0)))
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_its_log_is_ours(self) -> None:
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        tell = self.first.protocol.childDataReceived
        tell(1, b'{"log_format": "{what} happened", "what": "much", "log_namespace": "n"')
        tell(1, b', "log_level": {"name": "warn", "__class_uuid__":')
        tell(1, b' "02E59486-F24D-46AD-8224-3ACDF2A5732A"}}\nnot JSON\n[1]\n')
        found = [event for event in events if event.get("log_namespace") == "n"]
        self.assertEqual([event["what"] for event in found], ["much"])
        self.assertEqual(found[0]["log_system"], "worker 1 n#warn")
        texts = [event.get("text") for event in events]
        self.assertEqual([text for text in texts if text], ["not JSON", "[1]"])
