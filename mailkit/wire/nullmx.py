"""Domains that accept no mail at all (RFC 7505)."""

from __future__ import annotations

from collections.abc import Iterable


def is_null_mx(records: Iterable[tuple[int, str | bytes]]) -> bool:
    """Whether these MX records say that the domain accepts no mail.

    :param records: preference and name of each, as DNS gives them.
    """
    found = list(records)
    # RFC 7505 section 3: it stands alone, or it is none. lenient: the preference ought to be 0, but
    # what else could a record without a host mean?
    return len(found) == 1 and found[0][1] in (".", "", b".", b"")
