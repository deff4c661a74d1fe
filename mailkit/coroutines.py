"""Running coroutines that mostly have nothing to wait for."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed

_T = TypeVar("_T")


def run(coroutine: Coroutine[Any, Any, _T]) -> Deferred[_T]:
    """What ``Deferred.fromCoroutine`` does, several times faster when nothing is waited for."""
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return succeed(stop.value)
    except Exception:
        return fail()
    return Deferred.fromCoroutine(cast(Any, go_on(coroutine, awaited)))


@types.coroutine
def go_on(coroutine: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:
    """The rest of a coroutine that was begun by hand (``send(None)``) and waits for ``awaited``."""
    try:
        while True:
            try:
                result = yield awaited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                awaited = coroutine.throw(error)
            else:
                awaited = coroutine.send(result)
    except StopIteration as stop:
        return stop.value
