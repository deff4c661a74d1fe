"""``--relay-process``: what it is for, and what it makes of a server."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import mail, relaying
from mailkit.tap.children import FIRST_DELAY, SENDS, STOP_TIMEOUT
from mailkit.tap.twistd import SendingProcess, TwistdService, TwistdWorkers, make_service
from mailkit.tap.workers import WorkersService

from .processes import ProcessTestCase

LISTEN = ("--smtp", "tcp:0:interface=127.0.0.1")


class OptionTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> mail.Options:
        options = mail.Options()
        store = ("--store", f"sqlite:{self.mktemp()}")
        options.parseOptions([*LISTEN, *store, *arguments])
        return options

    def refuse(self, *arguments: str) -> str:
        return str(self.assertRaises(usage.UsageError, self.parse, *arguments))

    def test_who_sends(self) -> None:
        options = self.parse("--relay", "mx", "--relay-process")
        assert options.relay is not None
        self.assertTrue(options.relay.apart)
        service: Any = make_service(options)
        self.assertIsInstance(service, TwistdService)
        # Behind the ports: it begins when they are there.
        self.assertIsInstance(list(service)[-1], SendingProcess)
        # What the process itself makes of the same.
        options.send_alone()
        self.assertEqual((options.relay.apart, options.list_endpoints()), (False, []))
        self.assertEqual(list(make_service(options)), [])  # type: ignore[call-overload]

    def test_in_one_process(self) -> None:
        options = self.parse("--relay", "mx")
        service: Any = make_service(options)
        self.assertFalse([each for each in service if isinstance(each, SendingProcess)])

    def test_settings_file(self) -> None:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write("relay-process = true\n")
        options = relaying.Options()
        options.parseOptions(["--store", f"sqlite:{self.mktemp()}", "--config", path])
        assert options.relay is not None
        self.assertTrue(options.relay.apart)

    def test_where_it_makes_no_sense(self) -> None:
        self.assertIn("--relay-process: needs --relay", self.refuse("--relay-process"))
        self.assertIn(
            "--relay-process: relay queue leaves it to others already",
            self.refuse("--relay", "queue", "--relay-process"),
        )
        self.assertIn(
            "--relay-process: memory: is a store of one process",
            self.refuse("--relay", "mx", "--relay-process", "--store", "memory:"),
        )

    def test_what_twistd_forbids(self) -> None:
        options = mail.Options()
        options.parent = {"chroot": "/srv/mail"}
        store = ("--store", f"sqlite:{self.mktemp()}")
        for arguments in (["--relay", "mx", "--relay-process"], ["--workers", "2"]):
            error = self.assertRaises(
                usage.UsageError, options.parseOptions, [*LISTEN, *store, *arguments]
            )
            self.assertRegex(str(error), "^--(relay-process|workers): not with --chroot")

    def test_beside_workers(self) -> None:
        options = self.parse("--relay", "mx", "--relay-process", "--workers", "2")
        self.assertIsInstance(make_service(options), TwistdWorkers)


class ProcessTests(ProcessTestCase):
    def start(self) -> Any:
        options = mail.Options()
        self.arguments = [*LISTEN, "--store", f"sqlite:{self.mktemp()}", "--relay", "mx"]
        options.parseOptions(self.arguments)
        sender: Any = SendingProcess(options, self.reactor)
        sender.startService()
        return sender

    def test_it_is_told_what_we_were_told(self) -> None:
        self.start()
        plan = json.loads(self.processes[0].input)
        self.assertEqual(plan["role"], SENDS)
        self.assertEqual((plan["arguments"], plan["families"]), (self.arguments, []))
        self.assertEqual(
            (plan["options"], plan["origin"]), ("mailkit.tap.mail.Options", os.getcwd())
        )

    def test_it_is_replaced_when_it_ends(self) -> None:
        self.start()
        self.processes[0].protocol.processEnded(Failure(ProcessTerminated(None, 9, 9)))
        self.assertEqual(len(self.processes), 1)
        self.reactor.advance(FIRST_DELAY)
        self.assertEqual(json.loads(self.processes[1].input)["role"], SENDS)

    def test_we_wait_for_its_end(self) -> None:
        sender = self.start()
        stopped = sender.stopService()
        self.assertEqual(self.processes[0].signals, ["end"])
        self.assertNoResult(stopped)
        self.reactor.advance(STOP_TIMEOUT)
        self.assertEqual(self.processes[0].signals, ["end", signal.SIGKILL])
        self.processes[0].protocol.processEnded(Failure(ProcessDone(0)))
        self.assertIsNone(self.successResultOf(stopped))

    def test_beside_workers(self) -> None:
        service = WorkersService(1, {}, [], self.reactor, sends=True)
        service.startService()
        roles = [json.loads(process.input)["role"] for process in self.processes]
        self.assertEqual(roles, ["keeps", "serves", SENDS])
        # The keeper makes the changes of all, and ends last.
        stopped = service.stopService()
        signals = [process.signals for process in self.processes]
        self.assertEqual(signals, [[], ["end"], ["end"]])
        for process in self.processes[1:]:
            process.protocol.processEnded(Failure(ProcessDone(0)))
        self.processes[0].protocol.processEnded(Failure(ProcessDone(0)))
        self.assertIsNone(self.successResultOf(stopped))
