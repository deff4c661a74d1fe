"""What goes wrong again and again for a while, told to the log once, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.logger import Logger

#: Seconds after which a trouble that goes on is logged again.
TELL_INTERVAL = 300.0
#: Seconds without it after which what goes well shows that it is over: a disk that is nearly full
#: takes one thing and refuses the next.
CALM = 10.0


class Trouble:
    """One that may go on; used by one thread.

    :param text: of the error that is logged, with the names of fields; ``times`` is one of them:
        how often it was met since it was logged before.
    :param over: of the line about its end.
    :param clock: seconds.
    """

    def __init__(
        self, log: Logger, text: str, over: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._text = text
        self._over = over
        self._clock = clock
        #: It was met, and nothing shows that it is over.
        self.going_on = False
        self._reason = ""
        self._told = self._met = 0.0
        self._times = 0

    def meet(self, reason: str, **fields: object) -> None:
        """It is here.

        :param reason: is told too, and another one at once.
        """
        now = self._met = self._clock()
        self._times += 1
        if self.going_on and reason == self._reason and now - self._told < TELL_INTERVAL:
            return
        self._log.error(self._text, reason=reason, times=self._times, **fields)
        self.going_on, self._reason, self._told, self._times = True, reason, now, 0

    def pass_over(self, **fields: object) -> None:
        """What it was about has gone well."""
        if self.going_on and self._clock() - self._met >= CALM:
            self.going_on, self._times = False, 0
            self._log.info(self._over, reason=self._reason, **fields)
