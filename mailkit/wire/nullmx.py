"""Domains that accept no mail at all (RFC 7505)."""

from __future__ import annotations

from collections.abc import Iterable


def is_null_mx(records: Iterable[tuple[int, str | bytes]]) -> bool:
    """Whether these MX records say that the domain accepts no mail.

    :param records: preference and name of each, as DNS gives them.
    """
    found = list(records)
    if len(found) != 1:
        # RFC 7505 section 3: it stands alone, or it is none.
        return False
    preference, name = found[0]
    return preference == 0 and name in (".", "", b".", b"")
