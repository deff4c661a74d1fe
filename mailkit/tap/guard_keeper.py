"""What a guard knows of failed logins outlives the process: it lies in the store."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mailkit.coroutines import run
from mailkit.errors import MailError
from mailkit.guard import KNOWN_SECONDS, LoginGuard
from mailkit.interfaces import IKeyValueStore

#: Seconds between two times that it is written; a process that is killed loses what came since.
SAVE_SECONDS = 300.0

_KIND = "login-guard"
_KEY = "records"


class GuardKeeper:
    """Writes down what a guard knows, and reads it at the start.

    :param store: of all that use the guard; what it does not keep is forgotten, as ever.
    """

    log = Logger()

    def __init__(self, guard: LoginGuard, store: Any, clock: IReactorTime) -> None:
        self._guard = guard
        self._store = store
        self._clock = clock
        self._loop = LoopingCall(self._save)
        self._loop.clock = clock

    def start(self) -> None:
        if not IKeyValueStore.providedBy(self._store):
            return
        run(self._load()).addErrback(
            lambda failure: self.log.failure("what was known of failed logins is lost", failure)
        )
        self._loop.start(SAVE_SECONDS, now=False).addErrback(
            lambda failure: self.log.failure("failed logins are not written down any more", failure)
        )

    async def stop(self) -> None:
        """Write it down for the last time."""
        if self._loop.running:
            self._loop.stop()
            await self._write()

    async def _load(self) -> None:
        text = await self._store.get_value(kind=_KIND, key=_KEY)
        if text is not None:
            self._guard.restore(json.loads(text), self._clock)

    def _save(self) -> Deferred[None]:
        return run(self._write())

    async def _write(self) -> None:
        kept = self._guard.dump(self._clock)
        if kept is None:
            return
        text = json.dumps(kept)
        try:
            await self._store.set_value(kind=_KIND, key=_KEY, value=text, seconds=KNOWN_SECONDS)
        except MailError as error:
            # The next time, perhaps.
            self.log.warn("failed logins cannot be written down: {reason}", reason=error.text)
