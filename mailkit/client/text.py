"""What servers say to people."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[^\t\x20-\x7e\x80-\U0010ffff]|[\x80-\x9f]")


def clean_text(octets: bytes) -> str:
    """A server's text, fit for logs and reports: UTF-8 where it is."""
    return _UNPRINTABLE.sub("?", octets.decode("utf-8", "replace"))
