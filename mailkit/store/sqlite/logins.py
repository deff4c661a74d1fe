"""Logins that were found lately: most clients come again soon, and several times at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from mailkit.model import Login

#: Logins that are remembered.
SIZE = 10_000
#: Seconds after which each is looked up again, whatever happens.
SECONDS = 60.0
#: Seconds after a change in which nothing is remembered: it may be at work still.
SETTLED = 2.0


def tell_change(directory: str) -> None:
    """Tell the server of this store that the directory's tables change, or have changed.

    Whatever is made in the store's directory changes the time of its last modification.
    """
    path = os.path.join(directory, f"changed-{os.getpid()}")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    os.unlink(path)


class RecentLogins:
    """Answers of the directory, forgotten as soon as another process changes it.

    Whoever changes it calls :func:`tell_change` before and after the commit. What is found while
    a change may be at work is not remembered, so that it makes no difference if a process dies
    between the two.

    :param directory: of the store.
    """

    def __init__(self, directory: str, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._found: dict[str, Login] = {}
        self._modified = 0.0
        self._expiry = 0.0
        self._settled = False

    def get(self, login: str) -> Login | None:
        """What is known of it."""
        now = self._clock()
        modified = os.stat(self._directory).st_mtime
        if modified != self._modified or not now < self._expiry:
            self._found.clear()
            self._modified = modified
            self._expiry = now + SECONDS
        self._settled = now - modified > SETTLED
        return self._found.get(login) if self._settled else None

    def add(self, login: str, found: Login) -> None:
        """What the directory has answered just after ``get`` knew nothing."""
        if self._settled:
            if len(self._found) >= SIZE:
                self._found.clear()
            self._found[login] = found

    def clear(self) -> None:
        """This process has changed the directory."""
        self._found.clear()
