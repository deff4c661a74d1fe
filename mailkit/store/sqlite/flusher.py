"""Flushes the log while the writer's own thread is busy with the index."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Flusher:
    """A thread that flushes while another one, which asks for it, is busy.

    :param flush: makes what was written durable; may raise OSError.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="mailkit-flusher", daemon=True)

    def start(self) -> None:
        """Begin the thread."""
        self._thread.start()

    def begin(self) -> None:
        """Flush, and go on meanwhile; :meth:`end` comes next."""
        self._requests.put(True)

    def end(self) -> None:
        """Wait until what was begun is done.

        :raises OSError: the disk refused.
        """
        if (error := self._answers.get()) is not None:
            raise error

    def stop(self) -> None:
        """End the thread; nothing is being flushed."""
        self._requests.put(False)
        self._thread.join()

    def _loop(self) -> None:
        while self._requests.get():
            try:
                self._flush()
            except OSError as error:
                self._answers.put(error)
            else:
                self._answers.put(None)
