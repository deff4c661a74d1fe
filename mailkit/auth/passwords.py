"""Password hashes in threads of their own, behind a cache of verified logins. Ours are argon2id."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

import argon2
from twisted.cred.error import LoginFailed
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger

from mailkit.auth import schemes
from mailkit.auth.turns import Turns
from mailkit.errors import MailError, TemporaryFailure
from mailkit.wire.saslprep import Unprepared, saslprep

#: Parameters of new hashes (OWASP's second choice for argon2id; 39 ms on our machine).
TIME_COST = 2
#: KiB.
MEMORY_COST = 19 * 1024
PARALLELISM = 1
_SALT_LENGTH = 16
_HASH_LENGTH = 32

#: Hashes that are computed at the same time; each takes :data:`MEMORY_COST` and one core.
THREADS = 2
#: Hashes that may wait; more logins than that are told to come back later.
MAX_PENDING = 256
#: Seconds that a verified login is remembered after its last use: longer than clients' polls.
CACHE_SECONDS = 900.0
#: Verified logins that are remembered.
CACHE_SIZE = 10_000

#: Starts a stored password that is not hashed at all: for CRAM-MD5 and APOP, and for tests.
PLAIN_PREFIX = "{PLAIN}"


#: Octets of a password that is normalised: NFC takes quadratic time to sort combining marks.
MAX_PREPARED = 4096

# What SASLprep changes, so that a password with it has two forms.
_LIGATURE = "\ufb01".encode()

_T = TypeVar("_T")


def prepare_password(password: str | bytes) -> bytes:
    """The octets to hash: NFC, and any kind of space is U+0020 (RFC 8265 section 4.2.2).

    Octets that are no UTF-8 stay as they are, and so do more than :data:`MAX_PREPARED`.
    """
    if isinstance(password, str):
        password = password.encode("utf-8", "surrogatepass")
    if password.isascii() or len(password) > MAX_PREPARED:
        return password
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        return password
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    return unicodedata.normalize("NFC", spaced).encode("utf-8")


def forms_of(password: str | bytes) -> list[bytes]:
    """What may have been hashed of a password: its octets as :func:`prepare_password` has them, and those
    of SASLprep, where they differ.

    SASLprep is what RFC 4616 section 2 wants, and other servers have made of passwords that came
    from there; RFC 8265 has replaced it.
    """
    octets = prepare_password(password)
    if octets.isascii():
        return [octets]
    try:
        prepared = saslprep(octets.decode("utf-8"), query=True).encode("utf-8")
    except (UnicodeDecodeError, Unprepared):
        return [octets]
    return [octets, prepared] if prepared and prepared != octets else [octets]


def hash_password(
    password: str | bytes,
    *,
    time_cost: int = TIME_COST,
    memory_cost: int = MEMORY_COST,
    parallelism: int = PARALLELISM,
) -> str:
    """A new hash in PHC string format. Takes some 40 ms, so not for the reactor's thread."""
    hasher = argon2.PasswordHasher(
        time_cost=time_cost,
        memory_cost=memory_cost,
        parallelism=parallelism,
        hash_len=_HASH_LENGTH,
        salt_len=_SALT_LENGTH,
    )
    return hasher.hash(prepare_password(password))


def verify_password(stored: str, password: str | bytes) -> bool:
    """Whether the password is the stored one. As slow as the hash was made to be.

    :param stored: an argon2 hash in PHC string format, or what :mod:`mailkit.auth.schemes` reads.
    :raises UnreadableHash: it is neither.
    """
    forms = forms_of(password)
    if stored.startswith(PLAIN_PREFIX):
        known = prepare_password(stored[len(PLAIN_PREFIX) :])
        return any(hmac.compare_digest(known, octets) for octets in forms)
    return any(schemes.verify(stored, octets) for octets in forms)


class PasswordHasher:
    """Hashes and verifies passwords without blocking the reactor.

    A verified login is remembered, as a hash under a key that only this process has, so that
    polling clients don't pay for the hash each time. The stored hash is part of what is
    remembered: a changed password is asked for at once.

    :param reactor: where results are delivered; the global one when None.
    :param clock: source of time for the cache; the reactor when None.
    :param executor: runs the hashing instead of own threads; the caller shuts it down.
    :param threads: hashes computed at the same time.
    :param max_pending: hashes running and waiting at the same time.
    :param cache_seconds: how long an unused verified login is remembered; 0 for not at all.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads | None = None,
        *,
        clock: IReactorTime | None = None,
        executor: Executor | None = None,
        threads: int = THREADS,
        max_pending: int = MAX_PENDING,
        cache_seconds: float = CACHE_SECONDS,
        cache_size: int = CACHE_SIZE,
        time_cost: int = TIME_COST,
        memory_cost: int = MEMORY_COST,
        parallelism: int = PARALLELISM,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor as global_reactor

            reactor = cast(IReactorFromThreads, global_reactor)
        self._reactor = reactor
        self._clock = clock if clock is not None else cast(IReactorTime, reactor)
        # Not a Twisted thread pool: that one must be stopped by hand, or the process never ends.
        self._executor = executor or ThreadPoolExecutor(threads, "mailkit-password")
        self._threads = threads
        self._max_pending = max_pending
        self._waiting: Turns[_Job] = Turns(max_pending)
        self._at_work: set[_Job] = set()
        self._costs = {
            "time_cost": time_cost,
            "memory_cost": memory_cost,
            "parallelism": parallelism,
        }
        # Keyed BLAKE2 is a MAC (RFC 7693 section 2.9), in a fifth of an HMAC's time.
        self._key = os.urandom(32)
        self._mac = hashlib.blake2b(digest_size=32, key=self._key)
        self._verified = _ExpiringSet(cache_size, cache_seconds)
        self._running: dict[bytes, _Verification] = {}
        self._nobody = _hash_of_nobody(time_cost, memory_cost, parallelism)

    def hash(self, password: str | bytes) -> Deferred[str]:
        """A new argon2id hash in PHC string format.

        The Deferred fails with TemporaryFailure when too many wait.
        """

        return self.compute(lambda: hash_password(password, **self._costs))

    def compute(self, work: Callable[[], _T]) -> Deferred[_T]:
        """What a function returns that takes a while, called where passwords are hashed.

        The Deferred fails with TemporaryFailure when too many wait, or with what it raises.
        """

        def finished(future: Future[_T] | None) -> None:
            if result.called:
                return
            try:
                if future is None:
                    raise TemporaryFailure
                result.callback(future.result())
            except FutureCancelled:
                result.errback(TemporaryFailure())
            except Exception:
                # TemporaryFailure, or whatever argon2 raises: the caller's to judge.
                result.errback()

        job = _Job("", work, finished)
        result: Deferred[_T] = Deferred(lambda _: self._give_up(job))
        self._submit(job)
        return result

    def verify(
        self, stored: str, password: str | bytes, address: str = "", *, anew: bool = False
    ) -> Deferred[bool]:
        """Whether the password is the one of that hash; false for a hash that nobody can read.

        The Deferred fails with TemporaryFailure when too many wait.

        :param address: the client's; addresses take turns.
        :param anew: take the time of a wrong password also for one that was right lately.
        """
        octets = prepare_password(password)
        if stored.startswith(PLAIN_PREFIX):
            return succeed(verify_password(stored, octets))
        now = self._clock.seconds()
        login = self._digest(stored, octets)
        if not anew:
            if self._verified.use(login, now):
                return succeed(True)
            # The five connections that a client opens at once share one hash.
            shared = self._running.get(login)
            if shared is not None:
                return shared.new_waiter()

        def work() -> bool:
            return verify_password(stored, octets)

        def given_up() -> None:
            self._forget(login, verification)
            self._give_up(job)

        def decided(future: Future[bool] | None) -> None:
            self._forget(login, verification)
            correct = self._result(future)
            if correct is None:
                verification.fail(TemporaryFailure())
                return
            self._waiting.note(address, correct)
            if correct:
                self._verified.add(login, self._clock.seconds())
            verification.tell(correct)

        job = _Job(address, work, decided)
        verification = _Verification(given_up)
        if not anew:
            self._running[login] = verification
        waiter = verification.new_waiter()
        self._submit(job)
        return waiter

    async def judge(
        self,
        stored: str,
        password: str | bytes,
        address: str,
        confirm: Callable[[], Awaitable[None]],
        *,
        anew: bool = False,
    ) -> bool:
        """Whether the password is the one of that hash; where it is, what else is needed is asked.

        :param address: the client's; addresses take turns.
        :param confirm: asks; what it refuses takes the time of a wrong password.
        :param anew: it will refuse.
        :raises LoginFailed: ``confirm`` has refused.
        :raises TemporaryFailure: too many wait.
        """
        remembered = self.remembers(stored, password)
        if not remembered and not await self.verify(stored, password, address, anew=anew):
            return False
        try:
            # What counts does so at once, as what is right is taken at once.
            await confirm()
        except LoginFailed:
            if remembered:
                await self.verify(stored, password, address, anew=True)
            raise
        return True

    def _forget(self, login: bytes, verification: _Verification) -> None:
        # After one that was given up, another for the same login may run already.
        if self._running.get(login) is verification:
            del self._running[login]

    def remembers(self, stored: str, password: str | bytes) -> bool:
        """Whether the password has been verified lately as the one of that hash."""
        login = self._digest(stored, prepare_password(password))
        return self._verified.use(login, self._clock.seconds())

    def verify_nobody(
        self, password: str | bytes, address: str = "", like: str | None = None
    ) -> Deferred[bool]:
        """False, after the time that a wrong password takes: for a user that does not exist.

        :param like: a stored hash that takes as long as those of users; one of ours when None.
        """
        if like is None:
            # As for a user who is there.
            self.remembers(self._nobody, password)
            return self.verify(self._nobody, password, address)
        # Of the same length, for some schemes look at it again and again; never the right one.
        forms = forms_of(password)
        octets = forms[0]
        digest = hashlib.shake_256(self._key + octets).digest(len(octets))
        other = base64.b64encode(digest)[: len(octets)]
        if len(forms) > 1:
            other = other[: -len(_LIGATURE)] + _LIGATURE
        return self.verify(like, other, address).addCallback(lambda _: False)

    def close(self) -> None:
        """Drop what waits and forget verified logins. Not needed for the process to end."""
        self._executor.shutdown(wait=False)
        while (job := self._waiting.take()) is not None:
            job.finished(None)
        self._verified.clear()

    def _digest(self, stored: str, password: bytes) -> bytes:
        octets = stored.encode("utf-8", "surrogatepass")
        mac = self._mac.copy()
        mac.update(b"%d:%b%b" % (len(octets), octets, password))
        return mac.digest()

    def _submit(self, job: _Job) -> None:
        self._waiting.limit = self._max_pending - len(self._at_work)
        dropped = self._waiting.put(job.address, job)
        if dropped is not None:
            self.log.warn("{count} password hashes wait already", count=len(self._waiting))
            dropped.finished(None)
        self._start()

    def _start(self) -> None:
        """Give the threads something to do."""
        while len(self._at_work) < self._threads:
            job = self._waiting.take()
            if job is None:
                return
            try:
                job.future = self._executor.submit(job.work)
            except RuntimeError:
                # It is shut down.
                job.finished(None)
                continue
            self._at_work.add(job)
            job.future.add_done_callback(self._done_in_thread(job))

    def _done_in_thread(self, job: _Job) -> Callable[[Future[Any]], object]:
        return lambda future: self._reactor.callFromThread(self._done, job, future)

    def _done(self, job: _Job, future: Future[Any]) -> None:
        self._at_work.discard(job)
        self._start()
        job.finished(future)

    def _give_up(self, job: _Job) -> None:
        """Nobody waits for it any more."""
        if job.future is not None:
            job.future.cancel()
        else:
            self._waiting.remove(job.address, job)

    def _result(self, future: Future[bool] | None) -> bool | None:
        """Whether the password was right; None when nobody knows."""
        try:
            return None if future is None else future.result()
        except FutureCancelled:
            return None
        except schemes.UnreadableHash as error:
            self.log.error("a stored password cannot be read: {reason}", reason=str(error))
            return False
        except schemes.MissingLibrary as error:
            self.log.error("{reason}", reason=str(error))
            return None
        except Exception:
            # Whatever argon2 or a foreign executor raises.
            self.log.failure("a password could not be verified")
            return None


class _Job:
    """A hash to compute.

    :param finished: called on the reactor's thread, with None when it will not be computed.
    """

    __slots__ = ("address", "finished", "future", "work")

    def __init__(
        self,
        address: str,
        work: Callable[[], object],
        finished: Callable[[Future[Any] | None], None],
    ) -> None:
        self.address = address
        self.work = work
        self.finished = finished
        #: Once a thread has it.
        self.future: Future[Any] | None = None


class _Verification:
    """One hash being verified, for everybody who asked for the same login meanwhile.

    :param given_up: called when nobody waits for it any more.
    """

    def __init__(self, given_up: Callable[[], None]) -> None:
        self._given_up = given_up
        self._waiters: list[Deferred[bool]] = []

    def new_waiter(self) -> Deferred[bool]:
        waiter: Deferred[bool] = Deferred(self._give_up)
        self._waiters.append(waiter)
        return waiter

    def _give_up(self, waiter: Deferred[bool]) -> None:
        self._waiters.remove(waiter)
        if not self._waiters:
            self._given_up()

    def tell(self, correct: bool) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(correct)

    def fail(self, error: MailError) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(error)


class _ExpiringSet:
    """Digests seen lately: at most ``size``, each until ``seconds`` after its last use."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._expiry: OrderedDict[bytes, float] = OrderedDict()
        # Found once, and not for each login.
        self._find, self._move_to_end = self._expiry.get, self._expiry.move_to_end

    def use(self, digest: bytes, now: float) -> bool:
        expiry = self._find(digest)
        if expiry is None:
            return False
        if expiry <= now:
            del self._expiry[digest]
            return False
        self._expiry[digest] = now + self._seconds
        self._move_to_end(digest)
        return True

    def add(self, digest: bytes, now: float) -> None:
        self._expiry[digest] = now + self._seconds
        self._expiry.move_to_end(digest)
        # The order of use is the order of expiry.
        while self._expiry and (
            len(self._expiry) > self._size or next(iter(self._expiry.values())) <= now
        ):
            self._expiry.popitem(last=False)

    def clear(self) -> None:
        self._expiry.clear()


def _hash_of_nobody(time_cost: int, memory_cost: int, parallelism: int) -> str:
    """A hash that no password has, without the time to compute one."""

    def random_base64(count: int) -> str:
        return base64.b64encode(os.urandom(count)).decode("ascii").rstrip("=")

    return (
        f"$argon2id$v={argon2.low_level.ARGON2_VERSION}$m={memory_cost},t={time_cost}"
        f",p={parallelism}${random_base64(_SALT_LENGTH)}${random_base64(_HASH_LENGTH)}"
    )
