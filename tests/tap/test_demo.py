"""``make run``: ports, and what is printed."""

from __future__ import annotations

import contextlib
import io
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap.demo import HOST, MORE_PORTS, Demo, NearbyPort, Running, log_observer
from mailkit.tap.signals import stop_at_first_signal
from tests.support import PATIENCE, environment


class CrowdedReactor(MemoryReactorClock):
    """Some ports are taken."""

    def __init__(self, taken: set[int]) -> None:
        super().__init__()
        self.taken = taken

    def listenTCP(self, port, factory, backlog=50, interface=""):  # type: ignore[no-untyped-def]
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


class NearbyPortTests(SynchronousTestCase):
    """The wanted port, or another."""

    def listen(self, taken: set[int], wanted: int, avoid: frozenset[int] = frozenset()) -> int:
        reactor = CrowdedReactor(taken)
        endpoint = NearbyPort(reactor, wanted, avoid)
        self.successResultOf(endpoint.listen(Factory()))
        self.assertEqual(reactor.tcpServers[0][3], HOST)
        return endpoint.port

    def test_the_wanted_port_when_it_is_free(self) -> None:
        self.assertEqual(self.listen(set(), 2525), 2525)

    def test_the_next_one_when_it_is_taken(self) -> None:
        self.assertEqual(self.listen({2525, 2526}, 2525), 2527)

    def test_ports_that_others_want_are_left_alone(self) -> None:
        self.assertEqual(self.listen({2993, 2994}, 2993, frozenset({2993, 2995})), 2996)

    def test_no_port_at_all(self) -> None:
        taken = set(range(2525, 2525 + MORE_PORTS))
        endpoint = NearbyPort(CrowdedReactor(taken), 2525)
        self.failureResultOf(endpoint.listen(Factory()), CannotListenError)

    def test_a_real_port_that_is_taken(self) -> None:
        from twisted.internet import reactor

        with socket.socket() as taken:
            taken.bind((HOST, 0))
            taken.listen()
            wanted = taken.getsockname()[1]
            endpoint = NearbyPort(reactor, wanted)
            port = self.successResultOf(endpoint.listen(Factory()))
            self.assertNotEqual(endpoint.port, wanted)
            port.connectionLost(None)


class LogTests(SynchronousTestCase):
    def test_what_servers_say_and_nothing_of_the_machinery(self) -> None:
        stream = io.StringIO()
        publisher = LogPublisher(log_observer(stream))
        for namespace, shown in (
            ("mailkit.smtp.protocol.SMTPProtocol", True),
            ("mailkit.tap.services.MailService", False),
            ("twisted.internet.tcp.Port", False),
        ):
            Logger(namespace, observer=publisher).info("from {log_namespace}")
            self.assertIs(f"from {namespace}" in stream.getvalue(), shown)
        Logger("mailkit.tap.services.MailService", observer=publisher).warn("a warning")
        self.assertIn("a warning", stream.getvalue())


class CommandTests(SynchronousTestCase):
    def test_a_place_that_a_shell_would_take_apart(self) -> None:
        here = Path(self.mktemp()).absolute() / "Ann's place"
        here.mkdir(parents=True)
        (here / "mailkit").touch()
        self.patch(sys, "executable", str(here / "python"))
        demo = Demo(MemoryReactorClock(), str(here / "my data"))
        (last,) = demo.banner({}).splitlines()[-1:]
        words = shlex.split(last.removeprefix("More accounts: "))
        self.assertEqual(Path(words[0]).absolute().resolve(), (here / "mailkit").resolve())
        self.assertEqual(words[1:3], ["--store", f"sqlite:{here}/my data"])


class SlowDemo:
    """A demonstration whose accounts are made when a test says so."""

    def __init__(self) -> None:
        self.accounts: Deferred[dict[str, str]] = Deferred()
        self.service = self

    async def make_accounts(self) -> dict[str, str]:
        return await self.accounts

    def banner(self, accounts: dict[str, str]) -> str:
        return f"running with {len(accounts)}"

    def stopService(self) -> Deferred[None]:
        return succeed(None)


class StoppableReactor(MemoryReactorClock):
    """Runs until it is stopped, and does the rest of a test meanwhile."""

    def __init__(self, meanwhile: Any) -> None:
        super().__init__()
        self.meanwhile = meanwhile

    def run(self) -> None:
        # The first one is about signals of the whole process.
        for function, arguments, keywords in self.whenRunningHooks[1:]:
            function(*arguments, **keywords)
        self.meanwhile(self)

    def stop(self) -> None:
        if self.hasStopped:
            raise AssertionError("stopped twice")
        self.hasStopped = True
        (function, _, _) = self.triggers["before"]["shutdown"][0]
        function()


class RunningTests(SynchronousTestCase):
    def run_demo(self, meanwhile: Any) -> tuple[int, str, str]:
        """Exit code, and what was printed to both."""
        out, err = io.StringIO(), io.StringIO()
        demo = SlowDemo()
        reactor = StoppableReactor(lambda reactor: meanwhile(demo, reactor))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = Running(cast(Demo, demo), reactor).run()
        return code, out.getvalue(), err.getvalue()

    def test_until_it_is_stopped(self) -> None:
        def meanwhile(demo: SlowDemo, reactor: StoppableReactor) -> None:
            demo.accounts.callback({"ann": "a"})
            reactor.stop()

        self.assertEqual(
            self.run_demo(meanwhile), (0, "running with 1\n\nmailkit has stopped.\n", "")
        )

    def test_accounts_that_cannot_be_made(self) -> None:
        def meanwhile(demo: SlowDemo, reactor: StoppableReactor) -> None:
            demo.accounts.errback(OSError("no room"))

        self.assertEqual(self.run_demo(meanwhile), (1, "", "mailkit: no room\n"))

    def test_stopped_while_accounts_are_made(self) -> None:
        def fail(demo: SlowDemo, reactor: StoppableReactor) -> None:
            reactor.stop()
            demo.accounts.errback(OSError("the store is closed"))

        def succeed(demo: SlowDemo, reactor: StoppableReactor) -> None:
            reactor.stop()
            demo.accounts.callback({})

        for meanwhile in (fail, succeed):
            self.assertEqual(self.run_demo(meanwhile), (0, "\nmailkit has stopped.\n", ""))


class DirectoryTests(SynchronousTestCase):
    def test_one_that_cannot_be(self) -> None:
        here = Path(self.mktemp())
        here.mkdir()
        (here / "mailkit-data").touch()
        # An empty name is what `make run DATA=` gives.
        done = subprocess.run(
            [sys.executable, "-m", "mailkit.tap", ""],
            cwd=here,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(
            (done.returncode, done.stderr), (1, "mailkit: mailkit-data/tls: Not a directory\n")
        )


class SignalTests(SynchronousTestCase):
    def setUp(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def test_the_first_one_stops_and_others_are_ignored(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        calls: list[Any] = []
        stop = lambda: None  # noqa: E731
        reactor = type("Reactor", (), {"callFromThread": staticmethod(calls.append), "stop": stop})
        stop_at_first_signal(reactor)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(calls, [stop])

    def test_what_a_background_job_ignores_stays_ignored(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop_at_first_signal(None)
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)

    def test_no_traceback_while_it_loads(self) -> None:
        # Ctrl-C, at the moment at which the first of its modules is looked for.
        program = """if 1:
            import os, runpy, signal, sys

            class Impatient:
                def find_spec(self, name, path=None, target=None):
                    if name == "mailkit.tap.demo":
                        os.kill(os.getpid(), signal.SIGINT)

            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.meta_path.insert(0, Impatient())
            runpy.run_module("mailkit.tap", run_name="__main__", alter_sys=True)
        """
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.returncode, done.stderr), (-signal.SIGINT, ""))
