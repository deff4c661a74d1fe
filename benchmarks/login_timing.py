"""Does the time of a refused login tell whether the user exists?

Compares wrong passwords of a user who exists with those of one who does not, through the portal and the
checkers of a store in SQLite: PLAIN with a cheap hash (so that the rest is not drowned in argon2id),
with any password, with what has the form of an app password, and with a code of a device where the user
needs one; for an account whose password is not taken by IMAP, and one without a password; both of
the server's steps of SCRAM; CRAM-MD5 and APOP, of a user whose password is kept as it is; and for
users of a passwd-file and a database. All protocols ask this portal, FTP too. Tries alternate, so
that a machine that grows slower does so for both. Prints the processor's time of one try: median,
mean, and their differences.

    python benchmarks/login_timing.py [TRIES]
"""

from __future__ import annotations

import base64
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mailkit.auth import passwd_file, sql
from mailkit.auth.app_passwords import new_app_password
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.portal import make_portal
from mailkit.auth.scram import ScramChecker, keys_of
from mailkit.auth.shared_secrets import SharedSecretChecker
from mailkit.auth.totp import new_second_factor
from mailkit.coroutines import run
from mailkit.interfaces import IMailAccount
from mailkit.model import ConnectionInfo
from mailkit.sasl.cram import DigestLogin, new_challenge
from mailkit.sasl.scram import ScramSHA256
from mailkit.store.memory import MemoryStore
from mailkit.store.sqlite import SQLiteDirectory, SQLiteStore
from mailkit.wire.sasl import Lookup, SASLContext, Success

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
NAMES = ("ann@example.org", "eve@example.org")


def report(what: str, times: dict[str, list[float]]) -> None:
    """One line for people, in microseconds."""
    known, unknown = (times[name] for name in NAMES)
    medians = statistics.median(known), statistics.median(unknown)
    spread = statistics.quantiles(known, n=4)
    print(
        f"{what}: known {medians[0]:.1f}, unknown {medians[1]:.1f} us (medians of {len(known)}),"
        f" difference {medians[1] - medians[0]:+.1f} us;"
        f" half of all tries of the known user lie within {spread[2] - spread[0]:.1f} us;"
        f" means differ by {statistics.fmean(unknown) - statistics.fmean(known):+.1f} us"
    )


async def measure(tries: int, attempt: Callable[[str], Any]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for number in range(tries + 50):
        # Not always the same one first.
        for name in NAMES if number % 2 else NAMES[::-1]:
            before = time.process_time()
            await attempt(name)
            if number >= 50:
                times[name].append((time.process_time() - before) * 1e6)
    return times


async def refuse(login: Awaitable[object]) -> None:
    """Wait for a login, which must be refused."""
    try:
        await login
    except LoginFailed:
        return
    raise AssertionError("let in")


class ScramAttempt:
    """A client that answers with a proof that is wrong."""

    def __init__(self, checker: ScramChecker) -> None:
        self._checker = checker
        self.server = ScramSHA256(SASLContext())
        self.asked = b""

    async def begin(self, name: str) -> None:
        lookup = self.server.step(f"n,,n={name},r=abc".encode())
        assert isinstance(lookup, Lookup)
        asked = self.server.resume(await lookup.ask(self._checker))
        assert isinstance(asked, bytes)
        self.asked = asked

    async def end(self) -> None:
        nonce = self.asked.split(b",")[0]
        proof = base64.b64encode(b"x" * 32)
        success = self.server.step(b"c=biws," + nonce + b",p=" + proof)
        assert isinstance(success, Success)
        await refuse(self._checker.requestAvatarId(success.credentials))


async def send_digest(
    checker: SharedSecretChecker, kind: Literal["CRAM-MD5", "APOP"], name: str
) -> None:
    """Send a digest that is wrong."""
    await refuse(checker.requestAvatarId(DigestLogin(name, new_challenge(), b"0" * 32, kind)))


async def send_password(portal: Any, name: str, password: bytes = b"wrong") -> None:
    """Send a password that is not taken."""
    credentials = UsernamePassword(name.encode(), password)
    await refuse(portal.login(credentials, ConnectionInfo("imap", "192.0.2.1"), IMailAccount))


async def measure_closed_accounts(tries: int, store: SQLiteStore, portal: Any) -> None:
    """Ann is there, and not let in."""
    right = partial(send_password, portal, password=b"secret")
    await store.set_password_scopes(account=NAMES[0], scopes=["web"])
    report("Password right, not taken by IMAP", await measure(tries, right))
    await store.set_password_scopes(account=NAMES[0], scopes=None)
    await store.set_password_hash(account=NAMES[0], password_hash=None)
    report("No password of its own", await measure(tries, right))


async def measure_bases(tries: int, path: str, hashed: str) -> None:
    """Ann is known elsewhere than in a store."""
    users = {NAMES[0]: hashed, **{f"user{number}@example.org": hashed for number in range(1000)}}
    file, database = f"{path}/users", f"{path}/users.db"
    closed = NAMES[0].replace("ann", "closed")
    with open(file, "w") as lines:
        lines.writelines(f"{name}:{stored}\n" for name, stored in users.items())
        lines.write(f"{closed}:{hashed}::::::nologin\n")
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT)")
        connection.executemany("INSERT INTO users VALUES (?, ?)", users.items())
    connection.close()
    query = "SELECT password FROM users WHERE name = %u"
    for what, base in (
        ("A passwd-file", passwd_file.make(file)),
        ("SQL", sql.make(query, database)),
    ):
        hasher = PasswordHasher(**CHEAP)  # type: ignore[arg-type]
        portal = make_portal(MemoryStore(), [UserBaseChecker(base, hasher)])
        attempt = partial(send_password, portal)
        # As a server that has seen its users: somebody unknown takes the time of one of them.
        await attempt("user1@example.org")
        report(what, await measure(tries, attempt))
        if base.__class__ is passwd_file.PasswdFile:
            renamed = {NAMES[0]: closed, NAMES[1]: NAMES[1]}
            times = await measure(tries, lambda name, a=attempt, r=renamed: a(r[name]))  # type: ignore[misc]
            report(f"{what}, nologin", times)
        await base.close()


async def main(tries: int) -> None:
    with tempfile.TemporaryDirectory() as path:
        directory = SQLiteDirectory(path)
        for number in range(1000):
            await directory.add_account(name=f"user{number}@example.org")
        hashed = hash_password("secret", **CHEAP)
        await directory.add_account(name=NAMES[0])
        keys = keys_of("secret", ["SCRAM-SHA-256"])
        await directory.set_password(account=NAMES[0], password_hash=hashed, scram_keys=keys)
        directory.close()
        store = SQLiteStore(path)
        store.open()
        portal = make_portal(store, hasher=PasswordHasher(**CHEAP))  # type: ignore[arg-type]
        checker = ScramChecker(store)

        plain = partial(send_password, portal)
        report("PLAIN, cheap hash", await measure(tries, plain))
        shown, kept = new_app_password(["imap"], 0)
        await store.add_app_password(account=NAMES[0], password=kept)
        wrong = shown[:-1].encode() + (b"a" if shown[-1] != "a" else b"b")
        report(
            "App password, its prefix right", await measure(tries, partial(plain, password=wrong))
        )
        other = b"abcd" + wrong[4:]
        report(
            "App password, its prefix wrong", await measure(tries, partial(plain, password=other))
        )
        await store.remove_app_password(account=NAMES[0], prefix=kept.prefix)
        factor, _ = new_second_factor()
        await store.set_second_factor(account=NAMES[0], factor=factor)
        coded = await measure(tries, partial(plain, password=b"secret000000"))
        report("Password right, code wrong", coded)
        await store.set_second_factor(account=NAMES[0], factor=None)
        await measure_closed_accounts(tries, store, portal)
        await store.set_password(account=NAMES[0], password_hash=hashed, scram_keys=keys)
        # In order: each try has its two steps measured on their own.
        first: dict[str, list[float]] = {name: [] for name in NAMES}
        last: dict[str, list[float]] = {name: [] for name in NAMES}
        for number in range(tries + 50):
            for name in NAMES if number % 2 else NAMES[::-1]:
                attempt = ScramAttempt(checker)
                times = [time.process_time()]
                await attempt.begin(name)
                times.append(time.process_time())
                await attempt.end()
                times.append(time.process_time())
                if number >= 50:
                    first[name].append((times[1] - times[0]) * 1e6)
                    last[name].append((times[2] - times[1]) * 1e6)
        report("SCRAM-SHA-256, first step", first)
        report("SCRAM-SHA-256, last step", last)
        await store.set_password_hash(account=NAMES[0], password_hash="{PLAIN}secret")
        sharing = SharedSecretChecker(store)
        report("CRAM-MD5", await measure(tries, partial(send_digest, sharing, "CRAM-MD5")))
        report("APOP", await measure(tries, partial(send_digest, sharing, "APOP")))
        await store.close()
        await measure_bases(tries, path, hashed)


def begin(tries: int) -> None:
    loop: Any = reactor

    def finish(result: Any) -> None:
        if result is not None:
            result.printTraceback()
        loop.stop()

    done: Deferred[None] = run(main(tries))
    done.addBoth(finish)


if __name__ == "__main__":
    loop: Any = reactor
    loop.callWhenRunning(begin, int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
    loop.run()
