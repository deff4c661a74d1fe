"""Running coroutines that mostly have nothing to wait for."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import copy_context
from typing import Any, Generic, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

_T = TypeVar("_T")

_OF_ASYNCIO = (
    "code of asyncio was awaited, which only asyncio can wait for; make a Deferred of it:"
    " Deferred.fromFuture(asyncio.ensure_future(...)), under Twisted's asyncio reactor"
)


def run(coroutine: Coroutine[Any, Any, _T]) -> Deferred[_T]:
    """What ``Deferred.fromCoroutine`` does, several times faster when nothing is waited for."""
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return succeed(stop.value)
    except Exception:
        # As Deferred.fromCoroutine does.
        return fail()
    return Deferred.fromCoroutine(cast(Any, go_on(coroutine, awaited)))


@types.coroutine
def go_on(coroutine: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """The rest of a coroutine that was begun by hand (``send(None)``) and waits for ``awaited``."""
    try:
        while True:
            try:
                if isinstance(awaited, Deferred):
                    result = yield awaited
                else:
                    result = _what_is_no_deferred(awaited)
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                awaited = coroutine.throw(error)
            else:
                awaited = coroutine.send(result)
    except StopIteration as stop:
        return stop.value


def _what_is_no_deferred(awaited: Any) -> Any:
    """What a coroutine gets for awaiting it: the same, as Twisted does.

    :raises RuntimeError: nothing else would tell what is wrong.
    """
    if hasattr(awaited, "_asyncio_future_blocking"):
        # How asyncio itself knows its futures.
        raise RuntimeError(_OF_ASYNCIO)
    return awaited


class Task(Generic[_T]):
    """The rest of a coroutine that was begun by hand: what a Deferred does, in half of the steps.

    :param done: called once, with what the coroutine returns, or with a Failure.
    """

    __slots__ = ("_awaited", "_cancelled", "_context", "_coroutine", "_done")

    def __init__(
        self, coroutine: Coroutine[Any, Any, _T], done: Callable[[_T | Failure], object]
    ) -> None:
        self._coroutine = coroutine
        self._done = done
        self._awaited: Deferred[Any] | None = None
        self._cancelled = False
        # As Twisted does: what the coroutine has set is its own from here on.
        self._context = copy_context()

    def wait_for(self, awaited: Any) -> None:
        """Go on with the coroutine when what it waits for is there.

        :param awaited: what it has yielded.
        """
        if not isinstance(awaited, Deferred):
            self._resume(*self._answer(awaited))
            return
        self._awaited = awaited
        awaited.addCallbacks(self._go_on, self._fail)
        if self._cancelled:
            self._cancelled = False
            awaited.cancel()

    def cancel(self) -> None:
        """Cancel what the coroutine waits for, or will wait for next."""
        if self._awaited is None:
            self._cancelled = True
        else:
            self._awaited.cancel()

    def _go_on(self, result: Any) -> None:
        self._resume(self._coroutine.send, result)

    def _fail(self, failure: Failure) -> None:
        self._resume(failure.throwExceptionIntoGenerator, cast(Any, self._coroutine))

    def _resume(self, step: Callable[[Any], Any], value: Any) -> None:
        self._awaited = None
        outcome: _T | Failure
        while True:
            try:
                awaited = self._context.run(step, value)
            except StopIteration as stop:
                outcome = stop.value
                break
            except BaseException:
                outcome = Failure()
                break
            if isinstance(awaited, Deferred):
                self.wait_for(awaited)
                return
            step, value = self._answer(awaited)
        self._done(outcome)

    def _answer(self, awaited: Any) -> tuple[Callable[[Any], Any], Any]:
        """How the coroutine goes on that awaits what is no Deferred."""
        try:
            return self._coroutine.send, _what_is_no_deferred(awaited)
        except RuntimeError as error:
            return self._coroutine.throw, error


async def gather(coroutines: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run coroutines beside each other until all have ended.

    The first exception ends the others, and is raised.
    """
    tasks: list[Task[object]] = []
    failure: Failure | None = None
    ended = 0

    def cancel(_: object = None) -> None:
        for task in tasks:
            task.cancel()

    def end(outcome: object) -> None:
        nonlocal ended, failure
        ended += 1
        if isinstance(outcome, Failure) and failure is None:
            failure = outcome
            cancel()
        if waiting and ended == len(tasks) and not done.called:
            done.callback(None)

    done: Deferred[None] = Deferred(cancel)
    waiting = False
    for coroutine in coroutines:
        if failure is not None:
            coroutine.close()
            continue
        try:
            awaited = coroutine.send(None)
        except StopIteration:
            continue
        except BaseException:
            failure = Failure()
            cancel()
            continue
        task = Task(coroutine, end)
        tasks.append(task)
        task.wait_for(awaited)
    if ended < len(tasks):
        waiting = True
        await done
    if failure is not None:
        failure.raiseException()


async def gather_all(coroutines: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run coroutines beside each other, each to its own end.

    The first exception is raised when all have ended.
    """
    failures: list[Exception] = []

    async def run(coroutine: Coroutine[Any, Any, object]) -> None:
        try:
            await coroutine
        except Exception as error:
            failures.append(error)

    await gather(run(coroutine) for coroutine in coroutines)
    if failures:
        raise failures[0]


class Shared(Generic[_T]):
    """A coroutine that runs by itself, and whose result any number of others may wait for.

    Whoever gives up waiting disturbs neither the coroutine nor the others.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        #: It has ended, with a result or an exception.
        self.done = False
        self._outcome: _T | Failure | None = None
        self._waiting: list[Deferred[_T]] = []
        run(coroutine).addBoth(self._finish)

    def _finish(self, outcome: _T | Failure) -> None:
        self.done = True
        self._outcome = outcome
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            if not deferred.called:
                deferred.callback(cast(_T, outcome))

    async def result(self) -> _T:
        """What the coroutine returns, or raises."""
        if not self.done:
            deferred: Deferred[_T] = Deferred()
            self._waiting.append(deferred)
            return await deferred
        if isinstance(self._outcome, Failure):
            self._outcome.raiseException()
        return cast(_T, self._outcome)


async def pause(clock: IReactorTime, seconds: float) -> None:
    """Wait; whoever is cancelled meanwhile leaves no timer behind."""
    done: Deferred[None] = Deferred()
    call = clock.callLater(seconds, done.callback, None)
    try:
        await done
    finally:
        if call.active():
            call.cancel()
