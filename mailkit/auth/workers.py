"""Threads for libraries that wait: for a disk, a database, a directory server."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from mailkit._typing import override
from mailkit.errors import TemporaryFailure

#: Questions that a user base is asked at the same time.
THREADS = 4
#: The same, whatever the operator says.
MAX_THREADS = 64
#: Questions that may wait for their turn; more are told to come back later.
MAX_PENDING = 256
#: Seconds until a question must have been answered.
TIMEOUT = 20.0

T = TypeVar("T")
C = TypeVar("C")


class UnusableAnswer(Exception):
    """The question is answered, but not in a way that can be used: another connection would be told the
    same."""


class Workers:
    """A few threads that end with the process, even when a library never comes back.

    They are started when they are needed first, which is after twistd has become a daemon.

    :param name: of the threads.
    :param reactor: where results are delivered; Twisted's own when None.
    :param threads: questions at the same time.
    :param max_pending: questions that wait.
    :param timeout: seconds until there must be an answer, waiting included.
    """

    def __init__(
        self,
        name: str,
        reactor: Any = None,
        *,
        threads: int = THREADS,
        max_pending: int = MAX_PENDING,
        timeout: float = TIMEOUT,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._name = name
        self._reactor = reactor
        self._most = threads
        self._max_pending = max_pending
        self._timeout = timeout
        self._waiting: deque[_Job[Any]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        #: How often this has been closed: threads of an earlier time end.
        self._age = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What a function gives or raises, called in one of the threads.

        :raises TemporaryFailure: too many wait, or there was no answer in time.
        """
        answer: Deferred[T] = Deferred()
        job = _Job(work, answer)
        with self._changed:
            if len(self._waiting) >= self._max_pending:
                raise TemporaryFailure
            self._waiting.append(job)
            if len(self._waiting) > self._idle and self._threads < self._most:
                self._threads += 1
                threading.Thread(
                    target=self._work, args=(self._age,), name=self._name, daemon=True
                ).start()
            else:
                self._changed.notify()
        answer.addTimeout(self._timeout, self._reactor)
        try:
            return await answer
        except TimeoutError:
            raise TemporaryFailure from None
        finally:
            with self._changed:
                if job in self._waiting:
                    self._waiting.remove(job)

    def close(self) -> None:
        """Let the threads end when they have answered; what waits fails. Another question begins
        anew."""
        with self._changed:
            self._age += 1
            self._threads = self._idle = 0
            waiting, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for job in waiting:
            if not job.answer.called:
                job.answer.errback(TemporaryFailure())

    def _work(self, age: int) -> None:
        """What each thread does."""
        while (job := self._next(age)) is not None:
            try:
                result: Any = job.work()
            except Exception:
                result = Failure()
            cast(IReactorFromThreads, self._reactor).callFromThread(job.finish, result)
            del job, result
        self.thread_ends()

    def _next(self, age: int) -> _Job[Any] | None:
        with self._changed:
            while self._age == age and not self._waiting:
                self._idle += 1
                self._changed.wait()
                if self._age == age:
                    self._idle -= 1
            return self._waiting.popleft() if self._age == age else None

    def thread_ends(self) -> None:
        """Called in a thread that ends: a subclass may release what the thread has held."""


class ConnectedWorkers(Workers, ABC, Generic[C]):
    """Threads that keep a connection each, as servers are slow to take new ones."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._local = threading.local()

    @abstractmethod
    def connect(self) -> C:
        """A new connection. Called in a thread."""

    @abstractmethod
    def disconnect(self, connection: C) -> None:
        """End a connection, which may be broken; what this raises does not matter."""

    def use(self, work: Callable[[C], T]) -> T:
        """What a function gives or raises, called with this thread's connection. In a thread.

        One that fails is not used again, but for :class:`UnusableAnswer`. When it was kept from
        earlier, the server has ended it meanwhile, perhaps: then there is a second try with a new one.
        """
        kept = getattr(self._local, "connection", None) is not None
        try:
            return self._try(work)
        except UnusableAnswer:
            raise
        except Exception:
            if not kept:
                raise
        return self._try(work)

    def _try(self, work: Callable[[C], T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self.connect()
        try:
            return work(connection)
        except UnusableAnswer:
            raise
        except Exception:
            self._drop()
            raise

    def _drop(self) -> None:
        connection, self._local.connection = getattr(self._local, "connection", None), None
        if connection is not None:
            try:
                self.disconnect(connection)
            except Exception:
                # It is broken; what else it says does not matter.
                pass

    @override
    def thread_ends(self) -> None:
        self._drop()


class _Job(Generic[T]):
    """A question."""

    __slots__ = ("answer", "work")

    def __init__(self, work: Callable[[], T], answer: Deferred[T]) -> None:
        self.work = work
        self.answer = answer

    def finish(self, result: Any) -> None:
        """On the reactor's thread."""
        if not self.answer.called:
            self.answer.callback(result)
