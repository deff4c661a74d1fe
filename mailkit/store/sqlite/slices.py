"""Working in slices, so that others are served between them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Seconds of work after which other work has its turn.
SLICE = 0.003


class Slices:
    """Work on the reactor's thread that goes on in several functions, each of which may be quick."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._end = time.monotonic() + SLICE

    @property
    def over(self) -> bool:
        """It is time to :meth:`pause`."""
        return time.monotonic() > self._end

    async def pause(self) -> None:
        """Let the reactor do other work before going on."""
        await self._core.pause()
        self._end = time.monotonic() + SLICE
