"""Against guessed passwords: who fails to log in waits ever longer before the next try is judged.

Failures are counted by account, by address and by network, for all protocols of a portal together, and
of all processes of a store that has a channel between them.
The answer to a wrong password is held back, the next try waits for its time without a thread, and
what would wait too long is refused unjudged, for now. A client that has lately logged in to an
account from its address waits for nobody else's failures: whoever guesses cannot lock out whom the
password belongs to.
"""

from __future__ import annotations

import hashlib
import heapq
import ipaddress
import os
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailkit.coroutines import pause
from mailkit.errors import StoreUnavailable, TemporaryFailure
from mailkit.expiring import ExpiringMap
from mailkit.identity import LoginAttempt, LoginOutcome
from mailkit.interfaces import ILoginRecords, IProcessChannel
from mailkit.wire.domains import canonical_domain
from mailkit.wire.saslprep import fold_text

#: Accounts, addresses and networks whose failures are remembered, of each.
MAX_RECORDS = 20_000
#: Clients that are remembered because they have logged in.
MAX_KNOWN = 20_000
#: Seconds for which they are, after a login.
KNOWN_SECONDS = 14 * 86_400.0
#: Failures in a row after which such a client is treated like any other.
KNOWN_FAILURES = 5
#: Wrong passwords that are remembered, as digests: who repeats one learns nothing from it.
MAX_REPEATED = 20_000
#: Seconds for which they are.
REPEATED_SECONDS = 86_400.0
#: Accounts, addresses and networks that are written down for the next process, of each; those with
#: the most failures.
MAX_KEPT = 2000
#: Known clients that are, those that came last.
MAX_KEPT_KNOWN = 5000
#: Seconds in which half of the failures are forgotten.
HALF_LIFE = 600.0
#: Logins from one address, and to one account, that are judged at the same time.
MAX_PARALLEL = 8
#: Seconds between those above that, though nobody has failed; known clients do not wait.
PARALLEL_WAIT = 0.05
#: Seconds that a login may wait; one that would wait longer is refused.
MAX_WAIT = 20.0
#: Seconds for which the answer to a failed login is held back.
MAX_HOLD = 8.0
#: Logins and answers that may wait at the same time: of more, the logins are refused, and the
#: answers sent at once.
MAX_WAITING = 1000

# What other processes are told under.
_TOPIC = "login-guard"
# What is left of failures so small counts for nothing.
_FORGOTTEN = 0.5
# Clocks are not finer.
_INSTANT = 1e-6


class TooManyLogins(TemporaryFailure):
    """Too many logins have failed lately; this one was not judged."""

    default_text = "Too many logins have failed, please try again later"


def _nothing() -> None:
    """Where there is nothing to end."""


class Rate(NamedTuple):
    """How failures slow down what comes after them."""

    #: Failures that cost nothing.
    free: float
    #: Seconds between two tries after one more.
    first: float
    #: The most that it becomes.
    longest: float
    #: So many failures double it.
    doubling: float

    def spacing(self, failures: float) -> float:
        """Seconds between two tries."""
        over = failures - self.free
        if over < _FORGOTTEN:
            return 0.0
        return min(self.first * 2 ** min((over - 1) / self.doubling, 64), self.longest)

    @property
    def most(self) -> float:
        """Failures above which counting has no use: they would only be forgotten later."""
        doublings = 0
        while self.first * 2**doublings < self.longest:
            doublings += 1
        return self.free + 1 + self.doubling * (doublings + 1)


class GuardSettings(NamedTuple):
    """How a guard slows down logins."""

    address: Rate = Rate(free=0, first=1.0, longest=60.0, doubling=1)
    network: Rate = Rate(free=20, first=0.5, longest=15.0, doubling=10)
    account: Rate = Rate(free=10, first=0.5, longest=8.0, doubling=5)
    #: Bits of what counts as one address of IPv6, all of which one machine may have.
    ipv6_address: int = 64
    #: Bits of what counts as one network.
    ipv4_network: int = 24
    ipv6_network: int = 48
    #: Networks whose failures count for the account alone, besides loopback and UNIX sockets:
    #: web mail, proxies that do not tell who their client is.
    trusted: tuple[str, ...] = ()


class _Record:
    """Failures of one account, address or network."""

    __slots__ = ("failures", "judging", "ready", "updated")

    def __init__(self, now: float) -> None:
        self.failures = 0.0
        self.updated = now
        # When it is the next login's turn.
        self.ready = 0.0
        # Logins that wait for their turn or are being judged, also of clients that have gone.
        self.judging = 0

    def forget(self, now: float) -> float:
        """The failures that are left."""
        # It may be a time to come, when a login's turn is.
        passed = max(now - self.updated, 0.0)
        self.failures *= 0.5 ** (passed / HALF_LIFE)
        self.updated = max(now, self.updated)
        return self.failures


class _Records:
    """Records of one kind: those that were not used for longest go first."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._most = rate.most
        self._records: OrderedDict[bytes | str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: bytes | str) -> _Record | None:
        return self._records.get(key)

    def use(self, key: bytes | str, now: float) -> _Record:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(now)
            if len(self._records) > MAX_RECORDS:
                self._records.popitem(last=False)
        else:
            self._records.move_to_end(key)
        return record

    def wait(self, key: bytes | str, now: float) -> float:
        """Seconds until the turn of the next login."""
        record = self._records.get(key)
        return 0.0 if record is None else record.ready - now

    def take_turn(self, key: bytes | str, when: float) -> None:
        """A login is judged then; the one after it has to wait for its time."""
        record = self._records.get(key)
        if record is not None:
            spacing = self.rate.spacing(record.forget(when))
            if record.judging + 1 >= MAX_PARALLEL:
                spacing = max(spacing, PARALLEL_WAIT)
            record.ready = max(record.ready, when + spacing)

    def dump(self, now: float) -> list[tuple[bytes | str, float, float]]:
        """Keys with their failures, and when it is the next login's turn: the worst of them."""
        found = [
            (key, round(failures, 2), round(record.ready, 1))
            for key, record in self._records.items()
            if (failures := record.forget(now)) >= _FORGOTTEN
        ]
        return heapq.nlargest(MAX_KEPT, found, key=itemgetter(1))

    def restore(
        self, key: bytes | str, failures: float, ready: float, then: float, now: float
    ) -> None:
        """What was dumped then; never less than is known now, nor more than there may be."""
        if not 0 <= failures <= self._most:
            raise ValueError("more failures than there may be")
        record = self.use(key, min(then, now))
        if failures > record.forget(now):
            record.failures, record.updated = failures, min(then, now)
            record.forget(now)
        record.ready = max(record.ready, min(ready, now + self.rate.longest))

    def fail(self, key: bytes | str, now: float, repeated: bool) -> float:
        """A login has failed; the seconds for which its answer is to be held back."""
        record = self.use(key, now)
        record.forget(now)
        if not repeated:
            record.failures = min(record.failures + 1, self._most)
        elif not self.rate.free:
            # It costs us the same time as any other.
            record.failures = max(record.failures, 1.0)
        spacing = self.rate.spacing(record.failures)
        record.ready = max(record.ready, now + spacing)
        return spacing


class _Keys(NamedTuple):
    """What a login counts for."""

    #: Digest of the name; empty without one.
    account: bytes
    address: str
    #: Empty for an address whose failures count for nobody else.
    network: str
    #: Of name and address together.
    pair: bytes


@implementer(ILoginRecords)
class MemoryLoginRecords:
    """Remembers in this process, and within bounds, whoever tries whatever."""

    def __init__(self, settings: GuardSettings | None = None) -> None:
        self._settings = settings = settings or GuardSettings()
        self._accounts = _Records(settings.account)
        self._addresses = _Records(settings.address)
        self._networks = _Records(settings.network)
        self._trusted = [ipaddress.ip_network(each, strict=False) for each in settings.trusted]
        # Names and passwords are kept as digests that nobody can recompute.
        self._key = os.urandom(32)
        self._now = 0.0
        self._known: ExpiringMap[bytes, int] = ExpiringMap(MAX_KNOWN, lambda: self._now)
        self._repeated: ExpiringMap[bytes, bool] = ExpiringMap(MAX_REPEATED, lambda: self._now)
        self._locate = lru_cache(maxsize=1024)(self._look_up)
        # Of the last ones only: names stand there as they are.
        self._keys_of = lru_cache(maxsize=256)(self._make_keys)
        # The last login that has begun: most often it is the next to end.
        self._begun: tuple[LoginAttempt, _Keys] | None = None
        self._channel: IProcessChannel | None = None

    def share(self, channel: IProcessChannel) -> Callable[[], None]:
        """Tell other processes what becomes of logins, and hear of it from them.

        Each counts the logins that it is judging by itself, which may be lost with it. Passwords are
        not told.

        :returns: a function that ends that.
        """
        self._channel = channel
        end_listening = channel.listen(topic=_TOPIC, callback=self._heard)

        def end() -> None:
            end_listening()
            self._channel = None

        return end

    def _heard(self, message: Any) -> None:
        login, address, outcome, repeated, now = message
        attempt = LoginAttempt(login, address)
        self._now = max(self._now, now)
        self._note(self._keys(attempt), LoginOutcome(outcome), repeated, now)

    def __len__(self) -> int:
        """All that is remembered."""
        records = sum(len(each) for each in (self._accounts, self._addresses, self._networks))
        return records + len(self._known) + len(self._repeated)

    def recognize(self, login: str, address: str, now: float) -> bytes | None:
        """As :meth:`LoginGuard.recognize`."""
        self._now = now
        pair = self._keys_of(login, address).pair
        return pair if self._known.get(pair) == 0 else None

    def welcome(self, known: bytes) -> None:
        """As :meth:`LoginGuard.welcome`."""
        self._known.set(known, 0, KNOWN_SECONDS)

    def dump(self, now: float) -> dict[str, Any]:
        """As :meth:`LoginGuard.dump`."""
        known = self._known.list_entries()[-MAX_KEPT_KNOWN:]
        return {
            "key": self._key.hex(),
            "time": int(now),
            "accounts": [(_text(key), *rest) for key, *rest in self._accounts.dump(now)],
            "addresses": self._addresses.dump(now),
            "networks": self._networks.dump(now),
            "known": [(_text(key), failures, int(expires)) for key, failures, expires in known],
        }

    def restore(self, kept: dict[str, Any], now: float) -> None:
        """As :meth:`LoginGuard.restore`."""
        self._now = now
        key, then = bytes.fromhex(kept["key"]), float(kept["time"])
        if not len(self) and 0 < len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            # Or digests would mean nobody.
            self._key = key
            self._keys_of.cache_clear()
        if key == self._key:
            for account, failures, ready in kept["accounts"]:
                self._accounts.restore(bytes.fromhex(account), failures, ready, then, now)
            for pair, failures, expires in kept["known"]:
                seconds = min(expires - now, KNOWN_SECONDS)
                self._known.set(bytes.fromhex(pair), int(failures), seconds)
        for table, name in ((self._addresses, "addresses"), (self._networks, "networks")):
            for address, failures, ready in kept[name]:
                table.restore(str(address), failures, ready, then, now)

    async def begin(self, attempt: LoginAttempt, now: float) -> float | None:
        self._now = now
        keys = self._keys(attempt)
        tables = self._tables(keys)
        wait = 0.0
        if self._known.get(keys.pair) is None:
            wait = max((records.wait(key, now) for records, key in tables), default=0.0)
            if wait > MAX_WAIT:
                return None
            for records, key in tables:
                records.take_turn(key, now + wait)
        for records, key in tables:
            # Not in a network: neighbours have nothing to do with each other.
            if records is not self._networks:
                records.use(key, now).judging += 1
        self._begun = attempt, keys
        return wait if wait > _INSTANT else 0.0

    async def end(self, attempt: LoginAttempt, outcome: LoginOutcome, now: float) -> float:
        self._now = now
        begun, self._begun = self._begun, None
        keys = begun[1] if begun is not None and begun[0] is attempt else self._keys(attempt)
        for records, key in self._tables(keys):
            record = records.get(key)
            if record is not None and record.judging:
                record.judging -= 1
        repeated = False
        if outcome is LoginOutcome.FAILURE:
            repeated = self._is_repeated(keys.account, attempt.secret)
        wait, news = self._note(keys, outcome, repeated, now)
        if news and self._channel is not None:
            message = [attempt.login, attempt.address, outcome.value, repeated, now]
            # A store that is closed, or a name that is far too long for one.
            with suppress(StoreUnavailable, ValueError):
                self._channel.send_message(topic=_TOPIC, message=message)
        return wait

    def _note(
        self, keys: _Keys, outcome: LoginOutcome, repeated: bool, now: float
    ) -> tuple[float, bool]:
        """Remember what became of a login.

        :returns: seconds for which the answer is to be held back, and whether that is new.
        """
        pair = keys.pair
        failures = self._known.get(pair)
        if outcome is LoginOutcome.SUCCESS:
            self._known.set(pair, 0, KNOWN_SECONDS)
            return 0.0, failures != 0
        if outcome is LoginOutcome.FAILURE:
            if failures is None:
                tables = self._tables(keys)
                holds = [records.fail(key, now, repeated) for records, key in tables]
                return max(holds, default=0.0), True
            if not repeated:
                self._known.replace(pair, failures + 1)
                if failures + 1 >= KNOWN_FAILURES:
                    self._known.set(pair, 0, 0)
                return 0.0, True
        return 0.0, False

    def _is_repeated(self, account: bytes, secret: bytes) -> bool:
        """A program with an old password tries it again and again, which is no guessing."""
        if not secret:
            return False
        digest = self._digest(account, secret)
        if self._repeated.get(digest):
            return True
        self._repeated.set(digest, True, REPEATED_SECONDS)
        return False

    def _tables(self, keys: _Keys) -> list[tuple[_Records, bytes | str]]:
        account, address, network, _ = keys
        tables: list[tuple[_Records, bytes | str]] = []
        if account:
            tables.append((self._accounts, account))
        if network:
            tables += [(self._addresses, address), (self._networks, network)]
        return tables

    def _keys(self, attempt: LoginAttempt) -> _Keys:
        return self._keys_of(attempt.login, attempt.address)

    def _make_keys(self, login: str, address: str) -> _Keys:
        name = _name_of(login)
        # Tokens need no name: those who give none have nothing in common.
        account = self._digest(name.encode("utf-8", "surrogatepass")) if name else b""
        whole, network = self._locate(address)
        return _Keys(account, whole, network, self._digest(account, whole.encode()))

    def _digest(self, *parts: bytes) -> bytes:
        mac = hashlib.blake2b(digest_size=16, key=self._key)
        for part in parts:
            mac.update(b"%d:%b" % (len(part), part))
        return mac.digest()

    def _look_up(self, text: str) -> tuple[str, str]:
        """An address, and its network; no network for one whose failures count for nobody else."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return text, ""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        exempt = address.is_loopback or any(address in each for each in self._trusted)
        settings = self._settings
        if isinstance(address, ipaddress.IPv6Address):
            whole, bits = _prefix(address, settings.ipv6_address), settings.ipv6_network
        else:
            whole, bits = str(address), settings.ipv4_network
        return whole, "" if exempt else _prefix(address, bits)


def _name_of(login: str) -> str:
    """A user name in the one form that stands for all ways to write its characters.

    They would be tried as if they were many otherwise, as with characters that nobody sees. A name
    without its domain stays one of its own: what completes it, if anything does, is not known here.
    """
    name = (login if login.isascii() else fold_text(login)).strip()
    local, at, domain = name.rpartition("@")
    return f"{local.casefold()}@{canonical_domain(domain)}" if at else name.casefold()


def _text(digest: bytes | str) -> str:
    return digest if isinstance(digest, str) else digest.hex()


def _prefix(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> str:
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))


class LoginGuard:
    """Slows down logins.

    A portal's ``guard`` is asked by all factories that use the portal; a factory whose portal has
    none has one of its own.

    :param settings: how much; None for the defaults.
    :param records: what is remembered; in this process when None.
    """

    def __init__(
        self, settings: GuardSettings | None = None, records: ILoginRecords | None = None
    ) -> None:
        if records is None:
            records = MemoryLoginRecords(settings)
        self._records: ILoginRecords = records
        self._waiting = 0

    def share(self, channel: IProcessChannel) -> Callable[[], None]:
        """Let the guards of all processes of a store know the same, unless they have other records.

        :returns: a function that ends that.
        """
        if isinstance(self._records, MemoryLoginRecords):
            return self._records.share(channel)
        return _nothing

    def dump(self, clock: IReactorTime) -> dict[str, Any] | None:
        """What is worth knowing after a restart, as JSON has it; None for nothing, and where others
        keep the records.

        Addresses stand there as they are, names as digests under a key that stands there too, and
        nothing of passwords.
        """
        records = self._records
        if not isinstance(records, MemoryLoginRecords) or not len(records):
            return None
        return records.dump(clock.seconds())

    def restore(self, kept: Any, clock: IReactorTime) -> None:
        """Go on from what was dumped.

        :raises ValueError: it is none.
        """
        if isinstance(self._records, MemoryLoginRecords):
            try:
                self._records.restore(kept, clock.seconds())
            except (ArithmeticError, LookupError, TypeError) as error:
                raise ValueError("that was never dumped") from error

    def recognize(self, login: str, address: str, clock: IReactorTime) -> bytes | None:
        """A client that has logged in to the account from there, and has not failed since.

        It would be admitted at once, whatever others do. If it logs in again without waiting for
        anything, :meth:`welcome` stands for :meth:`admit` and :meth:`settle`.

        :returns: None for any other client, and where records are not kept in this process.
        """
        records = self._records
        if isinstance(records, MemoryLoginRecords):
            return records.recognize(login, address, clock.seconds())
        return None

    def welcome(self, known: bytes) -> None:
        """A client that was just recognized has logged in."""
        if isinstance(self._records, MemoryLoginRecords):
            self._records.welcome(known)

    async def admit(self, attempt: LoginAttempt, clock: IReactorTime) -> None:
        """Wait until a login may be judged; then :meth:`settle` must be called.

        :raises TooManyLogins: it would take too long.
        """
        wait = await self._records.begin(attempt=attempt, now=clock.seconds())
        if wait == 0:
            return
        if wait is None:
            raise TooManyLogins
        try:
            if self._waiting >= MAX_WAITING:
                raise TooManyLogins
            self._waiting += 1
            try:
                await pause(clock, wait)
            finally:
                self._waiting -= 1
        except (TooManyLogins, CancelledError):
            await self._records.end(attempt=attempt, outcome=LoginOutcome.NONE, now=clock.seconds())
            raise

    async def settle(
        self,
        attempt: LoginAttempt,
        outcome: LoginOutcome,
        clock: IReactorTime,
        *,
        answered: bool = True,
    ) -> None:
        """Remember what became of a login that was admitted; returns when it may be answered.

        :param answered: False where the client has gone, so that there is nothing to hold back.
        """
        wait = await self._records.end(attempt=attempt, outcome=outcome, now=clock.seconds())
        if answered and wait > _INSTANT and self._waiting < MAX_WAITING:
            self._waiting += 1
            try:
                await pause(clock, min(wait, MAX_HOLD))
            finally:
                self._waiting -= 1
