"""Opening a body for reading, wherever the compaction may move it meanwhile."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from mailkit.errors import StoreCorrupt
from mailkit.store.sqlite.bodies import SMALL_BODY, BodyPlace, Cold

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core


async def open_body(
    core: Core, find: Callable[[], BodyPlace], place: BodyPlace | None = None
) -> BinaryIO:
    """A body as a seekable file, which the caller closes.

    :param find: asks the index where it is.
    :param place: what it has just said.
    :raises StoreCorrupt: it is not there.
    """
    place = place or find()
    while True:
        try:
            return await _open(core, place)
        except FileNotFoundError:
            # Moved by the compaction since we asked.
            now = find()
            if now == place:
                raise StoreCorrupt("A segment of the log is missing") from None
            place = now


async def _open(core: Core, place: BodyPlace) -> BinaryIO:
    bodies = core.bodies
    if place.size > SMALL_BODY:
        return bodies.open_view(place)
    try:
        return io.BytesIO(bodies.read(place, nowait=True))
    except Cold:
        return io.BytesIO(await core.in_thread(bodies.read, place))
