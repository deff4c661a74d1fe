"""Answers of the directory that were given lately: the same users come again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable
from typing import Any

from mailkit.ownership import acting_as_owner

#: Where changes are told, in the store's directory.
CHANGES = "changes"
#: Answers that are remembered.
SIZE = 10_000
#: Seconds after which each is looked up again, whatever happens.
SECONDS = 60.0
#: Seconds after a change in which nothing is remembered: it may be at work still.
SETTLED = 2.0
#: Seconds that another process's change may stay unseen: a busy server need not look each time.
UNSEEN = 0.001


def tell_change(directory: str) -> None:
    """Tell the server of this store that the directory's tables change, or have changed.

    Whatever is made in the directory for that changes the time of its last modification.
    """
    changes = os.path.join(directory, CHANGES)
    if not os.path.isdir(changes):
        with acting_as_owner(directory):
            os.makedirs(changes, mode=0o700, exist_ok=True)
    path = os.path.join(changes, str(os.getpid()))
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    os.unlink(path)


def last_change(directory: str) -> float:
    """When another process has last told of a change, in seconds since 1970; 0 if that is unknown."""
    try:
        return os.stat(os.path.join(directory, CHANGES)).st_mtime
    except OSError:
        return 0.0


class RecentAnswers:
    """Answers of the directory, forgotten as soon as another process changes it.

    Whoever changes it calls :func:`tell_change` before and after the commit. What is found while
    a change may be at work is not remembered, so that it makes no difference if a process dies
    between the two.

    :param directory: of the store.
    """

    def __init__(self, directory: str, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._found: dict[Hashable, Any] = {}
        self._modified = 0.0
        self._expiry = 0.0
        self._looked = 0.0
        self._settled = False

    def get(self, question: Hashable) -> Any:
        """The answer, or None."""
        now = self._clock()
        if not 0 <= now - self._looked < UNSEEN:
            self._look(now)
        return self._found.get(question) if self._settled else None

    def _look(self, now: float) -> None:
        """Forget what another process may have changed."""
        self._looked = now
        # Without a place for it, nobody could tell of a change.
        modified = last_change(self._directory) or now
        if modified != self._modified or not now < self._expiry:
            self._found.clear()
            self._modified = modified
            self._expiry = now + SECONDS
        self._settled = now - modified > SETTLED

    def add(self, question: Hashable, answer: Any) -> None:
        """What the directory has answered just after ``get`` knew nothing."""
        if self._settled:
            if len(self._found) >= SIZE:
                self._found.clear()
            self._found[question] = answer

    def clear(self) -> None:
        """This process has changed the directory."""
        self._found.clear()
