"""Short messages between the processes that have one store open.

For what must be known soon everywhere and is not worth keeping, such as that an address has
failed to log in. Whoever sends is not told its own message; a message is lost where a process is just
starting, or where the one that passes all messages on has just ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from mailkit._typing import override
from mailkit.store.metadata import MetadataWatchers

# Topic of changes of entries.
_METADATA = "metadata"
#: Octets of a message, as JSON.
MAX_MESSAGE = 64 * 1024


class Channel:
    """See :class:`~mailkit.interfaces.IProcessChannel`. For the reactor's thread.

    :param forward: gives a topic and a message to the other processes.
    """

    log = Logger()

    def __init__(self, forward: Callable[[str, str], None]) -> None:
        self._forward = forward
        self._listeners: dict[str, list[Callable[[Any], None]]] = {}

    def send_message(self, topic: str, message: Any) -> None:
        text = json.dumps(message, separators=(",", ":"))
        if len(text) > MAX_MESSAGE:
            raise ValueError(f"a message of more than {MAX_MESSAGE} octets")
        self._forward(topic, text)

    def listen(self, topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        callbacks = self._listeners.setdefault(topic, [])
        callbacks.append(callback)

        def end() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return end

    def receive(self, topic: str, text: str) -> None:
        """A message of another process has come."""
        callbacks = self._listeners.get(topic)
        if not callbacks:
            return
        message = json.loads(text)
        for callback in list(callbacks):
            try:
                callback(message)
            except Exception:
                self.log.failure("a listener to {topic} failed", topic=topic)


class SharedMetadataWatchers(MetadataWatchers):
    """Those of all processes who want to know of changes of entries."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        channel.listen(_METADATA, self._told)

    @override
    def tell(
        self, user: str, place: tuple[str, str] | None, entries: Sequence[str], origin: object
    ) -> None:
        super().tell(user, place, entries, origin)
        self._channel.send_message(_METADATA, [user, place, list(entries)])

    def _told(self, message: Any) -> None:
        user, place, entries = message
        super().tell(user, None if place is None else (place[0], place[1]), entries, None)
