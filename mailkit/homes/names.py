"""Names that are safe as those of files. No I/O."""

from __future__ import annotations

import re

_is_control = re.compile(r"[\x00-\x1f\x7f]").search


def can_be_named(name: str) -> bool:
    """Whether clients can send a file's name back, and it stays one line of a listing."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return not _is_control(name)
