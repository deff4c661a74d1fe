#!/usr/bin/env python3
"""The outbound queue: messages a second to a sink, beside Postfix; and with dead destinations.

``relay``: servers take messages over ten connections and send them to Postfix's smtp-sink;
``mailkit-apart`` by two processes (``--relay-process``). ``far``: messages to
a sink that is a round trip of 20 ms away. ``dead``: what a healthy destination gets while the queue
is full of mail for dead ones, in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HOST = "127.0.0.1"
HEALTHY = "healthy.example"
SESSIONS = 10
#: Each measures both queues, one right after the other; the median of their quotients counts, which
#: other work on the machine changes least.
TURNS = 12
#: Seconds in which is looked what dead destinations take by themselves.
REST = 20
#: Seconds that octets take to a server that is far away, and as many back.
ONE_WAY = 0.01
MESSAGE = (
    b"From: ann@example.org\r\nTo: eve@example.net\r\nSubject: A sample\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"
) + (b"y" * 76 + b"\r\n") * 50
_POSTFIX_MASTER = """
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
_POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/lib
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtp_host_lookup = native
alias_maps =
local_recipient_maps =
relayhost = [127.0.0.1]:{sink}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
initial_destination_concurrency = 20
maillog_file_prefixes = {place}
maillog_file = {place}/mail.log
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise SystemExit("it takes too long")
        time.sleep(0.02)


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port)).close()
    except OSError:
        return False
    return True


class Sink:
    """Postfix's smtp-sink, which counts."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._counts = directory / "sink"
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        with self._counts.open("wb") as file:
            self.process = subprocess.Popen(
                ["smtp-sink", *user, "-c", f"{HOST}:{self.port}", "1024"], stdout=file
            )
        wait_for(lambda: listens(self.port))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()

    def messages(self) -> int:
        found = re.findall(rb"mesg=(\d+)", self._counts.read_bytes()[-200:])
        return int(found[-1]) if found else 0


def submit(port: int, count: int) -> None:
    """One session: so many messages, each with its envelope in one group (RFC 2920)."""
    with socket.create_connection((HOST, port)) as connection:
        file = connection.makefile("rb")

        def reply() -> bytes:
            while (line := file.readline())[3:4] == b"-":
                pass
            if line[:1] not in b"23" or not line:
                raise SystemExit(f"the server said {line!r}")
            return line

        reply()
        connection.sendall(b"EHLO client.example.org\r\n")
        reply()
        for number in range(count):
            connection.sendall(
                b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<u%d@example.net>\r\nDATA\r\n" % number
            )
            for _ in range(3):
                reply()
            connection.sendall(MESSAGE + b".\r\n")
            reply()


def cpu_of(process: int) -> float:
    """Seconds that a process and those below it have used, those too that have ended."""
    used: dict[int, tuple[int, int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    total = 0
    for number, (_, ticks) in used.items():
        above = number
        while above > 1 and above != process:
            above = used.get(above, (0, 0))[0]
        total += ticks if above == process else 0
    return total / os.sysconf("SC_CLK_TCK")


def relay_command(directory: Path, relay: str, *more: str) -> list[str]:
    """What starts a process of mailkit's with the store of that directory."""
    return [
        *(shutil.which("twistd") or "twistd", "-n", "--pidfile=", "mailkit-relay"),
        *("--store", f"sqlite:{directory}/store", "--relay-from", HOST, "--relay", relay, *more),
    ]


def start(directory: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=directory,
        stdout=(directory / "log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run_mailkit(directory: Path, sink: Sink, port: int) -> subprocess.Popen[bytes]:
    listen = "--listen", f"tcp:{port}:interface={HOST}"
    return start(directory, relay_command(directory, f"{HOST}:{sink.port}", *listen))


def run_apart(directory: Path, sink: Sink, port: int) -> subprocess.Popen[bytes]:
    """One process takes messages, and another one sends them."""
    listen = "--listen", f"tcp:{port}:interface={HOST}", "--relay-process"
    return start(directory, relay_command(directory, f"{HOST}:{sink.port}", *listen))


def run_postfix(directory: Path, sink: Sink, port: int) -> subprocess.Popen[bytes]:
    place = directory / "postfix"
    for part in ("etc", "queue", "lib"):
        (place / part).mkdir(parents=True)
    shutil.chown(place / "lib", "postfix")
    for name in ("postfix-files", "postfix-script", "post-install"):
        if (source := Path("/etc/postfix", name)).exists():
            shutil.copy(source, place / "etc")
    (place / "etc/master.cf").write_text(_POSTFIX_MASTER.format(port=port))
    (place / "etc/main.cf").write_text(_POSTFIX_MAIN.format(place=place, sink=sink.port))
    return subprocess.Popen(
        ["postfix", "-c", str(place / "etc"), "start-fg"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def relay(name: str, directory: Path, count: int) -> None:
    """Measure one server."""
    directory.mkdir()
    directory.chmod(0o755)
    sink, port = Sink(directory), free_port()
    run = {"mailkit": run_mailkit, "mailkit-apart": run_apart, "postfix": run_postfix}[name]
    server = run(directory, sink, port)
    try:
        wait_for(lambda: listens(port))
        submit(port, 10)
        wait_for(lambda: sink.messages() >= 10)
        before, began = cpu_of(server.pid), time.monotonic()
        threads = [
            threading.Thread(target=submit, args=(port, count // SESSIONS)) for _ in range(SESSIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        accepted = time.monotonic() - began
        total = count // SESSIONS * SESSIONS
        wait_for(lambda: sink.messages() >= total + 10, 300)
        sent = time.monotonic() - began
        cpu = (cpu_of(server.pid) - before) * 1e6 / total
        print(
            f"{name:10} accepted {total / accepted:7.0f}/s, sent {total / sent:7.0f}/s,"
            f" {cpu:6.0f} us of CPU a message"
        )
    finally:
        if name == "postfix":
            subprocess.run(["postfix", "-c", str(directory / "postfix/etc"), "stop"], check=False)
        server.terminate()
        server.wait()
        sink.close()


class FarAway:
    """What comes to its port goes to another one later, and what is answered as well."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait()

    def _run(self) -> None:
        serving = asyncio.start_server(self._connected, HOST, self.port)
        self._loop.run_until_complete(serving)
        self._loop.call_soon(self._started.set)
        self._loop.run_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, self._target)
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self._loop.call_later(ONE_WAY, writer.write, data)
        self._loop.call_later(ONE_WAY, writer.close)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class OwnQueue:
    """A queue in this process that sends to where a function says.

    :param place: gives the address and port of a domain.
    """

    def __init__(
        self, directory: Path, place: Callable[[str], tuple[str, int]], **pace: Any
    ) -> None:
        from twisted.internet import reactor

        from mailkit.queue.hosts import Host, HostFinder
        from mailkit.queue.manager import QueueManager
        from mailkit.queue.pacing import PaceSettings
        from mailkit.queue.relay import RelayTransport
        from mailkit.queue.reports import Reporter
        from mailkit.smtp.client import ClientSettings
        from mailkit.store.sqlite import SQLiteStore

        class Finder(HostFinder):
            async def find(self, domain: str) -> Sequence[Host]:
                return [Host(domain, *place(domain))]

        self.reactor: Any = reactor
        self.store = SQLiteStore(str(directory))
        settings = ClientSettings(helo="mx.example.org")
        self._transport = RelayTransport(
            Finder(), settings, self.reactor, pace=PaceSettings(**pace)
        )

        async def find(domain: str) -> RelayTransport:
            return self._transport

        reporter = Reporter("mx.example.org", self.reactor.seconds)
        self.manager = QueueManager(self.store.queue, find, reporter)
        self.manager.start()

    async def wait(self, seconds: float) -> None:
        from twisted.internet.task import deferLater

        await deferLater(self.reactor, seconds)

    async def fill(self, domain_of: Callable[[int], str], count: int) -> None:
        """Submit so many messages, two hundred at a time."""
        from twisted.internet.defer import Deferred, gatherResults

        from mailkit.queue.manager import Outgoing
        from mailkit.smtp.client import make_envelope
        from mailkit.spool import Spool

        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                envelope = make_envelope("ann@example.org", f"eve@{domain_of(number)}")
                await self.manager.submit(Spool.from_bytes(MESSAGE), [Outgoing(envelope)])

        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(200)])

    async def send(self, sink: Sink, count: int) -> float:
        """Seconds until a sink has got so many messages."""
        first, began = sink.messages(), time.monotonic()
        await self.fill(lambda number: HEALTHY, count)
        while sink.messages() < first + count:
            await self.wait(0.01)
        return time.monotonic() - began

    async def close(self) -> None:
        await self.manager.stop()
        await self._transport.close()
        await self.store.close()


class Cost(NamedTuple):
    """What a message to a healthy destination takes."""

    #: Seconds by the wall's clock, and of CPU.
    took: float
    cpu: float


async def measure(label: str, queue: OwnQueue, sink: Sink, count: int) -> Cost:
    """Send so many messages to a healthy destination, and some before that are not counted.

    The first ones after the other queue's turn cost more, for the processor's caches are full of that.
    """
    await queue.send(sink, max(1, count // 4))
    before = time.process_time()
    took = await queue.send(sink, count)
    cost = Cost(took / count, (time.process_time() - before) / count)
    rate = f"{1 / cost.took:6.0f}/s, {cost.cpu * 1e6:6.0f} us of CPU a message"
    print(f"{label:28} {rate}, {resident()} MiB", flush=True)
    return cost


def resident() -> int:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


async def use_up(queue: OwnQueue, messages: int, domains: int) -> None:
    """Fill a queue with mail for dead destinations, until all of it is due again."""
    from mailkit.store.sqlite.queue_operations import MAX_FLUSHED

    await queue.fill(lambda number: f"{number % domains}.dead.example", messages)
    # Each domain has been tried once; from now on they are tried again.
    untried = "SELECT 1 FROM queue_recipient WHERE state = 'queued' LIMIT 1"
    while queue.store.queue.connection.execute(untried).fetchone() is not None:
        await queue.wait(0.2)
    # The worst moment: all are due at once.
    for _ in range(messages // MAX_FLUSHED + 1):
        await queue.manager.flush()


async def rest(queue: OwnQueue) -> float:
    """The share of a processor that is used while nothing comes for a healthy destination."""
    cpu, began = time.process_time(), time.monotonic()
    await queue.wait(REST)
    return (time.process_time() - cpu) / (time.monotonic() - began)


async def dead(directory: Path, messages: int, domains: int, healthy: int) -> None:
    """Measure a healthy destination with an empty queue, and with one full of mail for dead ones."""
    sink = Sink(directory)

    def place(domain: str) -> tuple[str, int]:
        if domain == HEALTHY:
            return HOST, sink.port
        number = int(domain.split(".")[0])
        return f"127.1.{number // 250}.{number % 250 + 1}", 1

    empty, full = (OwnQueue(directory / name, place) for name in ("empty", "full"))
    await measure("warming up", empty, sink, healthy)
    await use_up(full, messages, domains)
    share = await rest(full)
    # By turns, for the machine is not the same from minute to minute; each of them comes first as often.
    costs: dict[OwnQueue, list[Cost]] = {empty: [], full: []}
    names = {empty: "empty queue", full: f"{messages} dead"}
    for turn in range(TURNS):
        for queue in (empty, full) if turn % 2 else (full, empty):
            costs[queue].append(await measure(names[queue], queue, sink, healthy))
    print(f"dead ones that are due take {share:.1%} of a processor by themselves")
    pairs = list(zip(costs[full], costs[empty], strict=True))
    # The tries take their share for as long as it lasts, however little is sent meanwhile.
    beside = [(one.cpu - share * one.took) / other.cpu for one, other in pairs]
    compare("beside that the CPU of a message to the healthy one", beside)
    compare("the time of one", [one.took / other.took for one, other in pairs])
    for queue in costs:
        await queue.close()
    sink.close()


def compare(what: str, times: Sequence[float]) -> None:
    """Tell how many times as much something takes with dead destinations."""
    low, middle, high = statistics.quantiles(times, n=4)
    print(f"{what}: {middle:.2f} times as much (half of the turns {low:.2f} to {high:.2f})")


async def far(directory: Path, messages: int) -> None:
    """Measure a destination that is far away, message after message and right behind each other."""
    sink = Sink(directory)
    line = FarAway(sink.port)
    for connections in (1, 5, 20):
        for pipelined in (False, True):
            queue = OwnQueue(
                directory / f"store-{connections}-{pipelined}",
                lambda domain: (HOST, line.port),
                max_connections=connections,
                pipelined_messages=pipelined,
            )
            # As many connections as there may be are open from then on.
            await queue.send(sink, connections * 5)
            how = "behind each other" if pipelined else "one by one"
            label = f"{connections} connections, {how}"
            await measure(label, queue, sink, min(messages, 100 * connections))
            await queue.close()
    line.close()
    sink.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=("relay", "far", "dead"))
    parser.add_argument("--messages", type=int, help="default: 2000, or 2000 dead ones")
    parser.add_argument("--domains", type=int, default=200, help="dead ones")
    parser.add_argument("--healthy", type=int, default=500, help="messages beside dead ones")
    parser.add_argument("--peers", default="mailkit,postfix")
    arguments = parser.parse_args()
    if shutil.which("smtp-sink") is None:
        raise SystemExit("smtp-sink is missing; it is part of Postfix")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        count = arguments.messages or 2000
        if arguments.workload == "relay":
            for peer in arguments.peers.split(","):
                if peer == "postfix" and os.getuid() != 0:
                    print("postfix is left out: it needs root, to switch users")
                    continue
                relay(peer, Path(name, peer), count)
            return
        from twisted.internet.defer import Deferred
        from twisted.internet.task import react

        directory = Path(name, "queue")
        directory.mkdir(mode=0o755)
        if arguments.workload == "far":
            react(lambda _: Deferred.fromCoroutine(far(directory, count)))
        sizes = count, arguments.domains, arguments.healthy
        react(lambda _: Deferred.fromCoroutine(dead(directory, *sizes)))


if __name__ == "__main__":
    main()
