"""Maps of texts in the index: made when a search has taken a message apart, and kept."""

from __future__ import annotations

from mailkit.store.sqlite.derived import SaveRows


class SaveTextMaps(SaveRows):
    """Keep maps."""

    __slots__ = ()

    losable = True
    table = "text_map"
    columns = ("map",)
