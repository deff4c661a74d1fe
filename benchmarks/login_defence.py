"""Do wrong logins from many addresses keep users out, or fill the memory?

Starts a server whose clients tell their addresses by the PROXY protocol. Ten thousand logins with wrong
passwords, each from an address of its own, go half to the account of a user and half to names that do not
exist, over POP3, many at a time. Meanwhile users log in by IMAP: Ann, whose account is attacked,
from where she did before; users whose accounts are not attacked, from where nobody has seen them.
Then the same again from other addresses. Prints how long the users' logins took, and the server's
memory.

    python benchmarks/login_defence.py [LOGINS [ROUNDS]]
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mailkit.auth.passwords import hash_password  # noqa: E402
from mailkit.store.sqlite import SQLiteDirectory  # noqa: E402
from tests.support import HOST, ServerProcess, free_ports  # noqa: E402

ANN, NEW_USERS = "ann@example.org", [f"new{number}@example.org" for number in range(40)]
AT_A_TIME = 1500
#: Seconds after which who guesses hangs up.
PATIENCE = 3.0
SECONDS_BETWEEN_LOGINS = 0.2
#: Seconds after which the server has sent all answers that it has held back, and forgotten who has
#: hung up meanwhile: the memory that is left is what it remembers.
SETTLED = 25.0


class Attack:
    """Whoever guesses, and what came of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[str] = Counter()

    async def guess(self, address: str, user: str, password: str, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                reader, writer = await connect(self.port, address)
            except OSError:
                self.answers["no connection"] += 1
                return
            writer.write(f"USER {user}\r\nPASS {password}\r\n".encode())
            answer = "hung up"
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(reader.readline(), PATIENCE)
                line = (await asyncio.wait_for(reader.readline(), PATIENCE)).decode()
                answer = line.partition("]")[0] + "]"
            self.answers[answer] += 1
            writer.close()

    async def run(self, count: int, network: int) -> float:
        """Wrong logins, all from addresses of their own; the seconds that it took."""
        limit = asyncio.Semaphore(AT_A_TIME)
        started = time.monotonic()
        guesses = []
        for number in range(count):
            address = f"{network}.{number >> 14}.{number >> 7 & 127}.{number & 127}"
            user = ANN if number % 2 else f"nobody{number}@example.org"
            guesses.append(self.guess(address, user, f"guess {number}", limit))
        await asyncio.gather(*guesses)
        return time.monotonic() - started


async def connect(port: int, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that comes from there, its greeting read."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"PROXY TCP4 {address} {HOST} 50000 {port}\r\n".encode())
    await reader.readline()
    return reader, writer


async def log_in(port: int, address: str, user: str) -> float:
    """Seconds of a user's login; infinite when it is refused."""
    started = time.monotonic()
    reader, writer = await connect(port, address)
    writer.write(f'a LOGIN {user} "right {user}"\r\n'.encode())
    answer = await reader.readline()
    writer.close()
    if not answer.startswith(b"a OK"):
        print("refused:", user, answer)
        return float("inf")
    return time.monotonic() - started


def memory(server: ServerProcess) -> float:
    """Resident memory of the server, MiB."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def processor(server: ServerProcess) -> tuple[float, float]:
    """Seconds for which the server's reactor has used a processor, and has waited for one."""
    assert server.process is not None
    used, waited, _ = Path(f"/proc/{server.process.pid}/schedstat").read_text().split()
    return int(used) / 1e9, int(waited) / 1e9


def report(what: str, times: list[float]) -> None:
    if times:
        print(
            f"  {what}: {len(times)} logins, median {statistics.median(times) * 1000:.0f} ms,"
            f" longest {max(times) * 1000:.0f} ms",
            flush=True,
        )


async def attack(server: ServerProcess, count: int, rounds: int, pop3: int, imap: int) -> None:
    attacker = Attack(pop3)
    for number in range(rounds):
        attacker.answers.clear()
        before, used = memory(server), processor(server)
        users = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "users", str(imap), str(number)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert users.stdin is not None and users.stdout is not None
        await users.stdout.readline()
        seconds = await attacker.run(count, 10 + number)
        users.stdin.close()
        after = processor(server)
        print(
            f"{count} wrong logins in {seconds:.1f} s, in which the reactor used"
            f" {after[0] - used[0]:.1f} s of a processor and waited {after[1] - used[1]:.1f} s"
            f" for one: {dict(attacker.answers)}"
        )
        print((await users.stdout.read()).decode(), end="")
        await asyncio.sleep(SETTLED)
        print(f"  memory before {before:.1f}, after {memory(server):.1f} MiB", flush=True)


async def use(imap: int, number: int) -> None:
    """Log in as users do, in a process of its own, until the standard input ends."""
    loop = asyncio.get_running_loop()
    end = loop.run_in_executor(None, sys.stdin.read)
    new_users = iter(NEW_USERS[number * 20 :][:20])
    await log_in(imap, "198.51.100.7", ANN)
    quiet = [await log_in(imap, "198.51.100.7", ANN) for _ in range(20)]
    fresh = [await log_in(imap, f"203.0.{number}.{n}", next(new_users)) for n in range(200, 205)]
    print("ready", flush=True)
    report("before, known client", quiet)
    report("before, new clients", fresh)
    known: list[float] = []
    new: list[float] = []
    while not end.done():
        await asyncio.sleep(SECONDS_BETWEEN_LOGINS)
        known.append(await log_in(imap, "198.51.100.7", ANN))
        if (user := next(new_users, None)) is not None:
            new.append(await log_in(imap, f"203.0.{number}.{len(new) + 1}", user))
    report("attacked account, known client", known)
    report("other accounts, new clients", new)


async def make_accounts(path: str) -> None:
    directory = SQLiteDirectory(path)
    for user in (ANN, *NEW_USERS):
        await directory.add_account(name=user, password_hash=hash_password(f"right {user}"))
    directory.close()


def main() -> None:
    if sys.argv[1:2] == ["users"]:
        asyncio.run(use(*map(int, sys.argv[2:])))
        return
    count, rounds = (*map(int, sys.argv[1:]), *(10_000, 2)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite:{directory}/store"
        asyncio.run(make_accounts(f"{directory}/store"))
        pop3, imap = free_ports(2)
        arguments = [
            "mailkit",
            "--store",
            store,
            "--proxy-from",
            HOST,
            "--hostname",
            "mx.example.org",
        ]
        arguments += ["--allow-plaintext-passwords", "--max-connections-per-address", "10000"]
        for name, port in (("pop3", pop3), ("imap", imap)):
            arguments += [f"--{name}", f"tcp:{port}:interface={HOST}"]
        with ServerProcess(directory, [], *arguments) as server:
            server.wait_for_log("IMAPFactory (ProxyFactory) starting")
            time.sleep(2)
            asyncio.run(attack(server, count, rounds, pop3, imap))
            log = server.log
            print("log:", {word: log.count(f"login {word}") for word in ("failed", "blocked")})


if __name__ == "__main__":
    main()
