"""Points in time as parameters have them (RFC 3339), and the rule that binds two of them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from mailkit.model import Envelope
from mailkit.smtp.grammar import Refused

_DATE_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?(?:Z|([+-])(\d\d):(\d\d))",
    re.ASCII | re.IGNORECASE,
)


def parse_date_time(text: str, *, fractions: bool = False, utc: bool = False) -> int:
    """Seconds since the epoch; fractions of one are rounded up.

    :param fractions: they are allowed.
    :param utc: only UTC is allowed.
    :raises ValueError: it is no point in time.
    """
    found = _DATE_TIME.fullmatch(text)
    if found is None or (found[7] and not fractions) or (found[8] and utc):
        raise ValueError("not a date and time as 2026-01-31T13:30:00Z")
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    offset = timedelta()
    if found[8]:
        if int(found[9]) > 23 or int(found[10]) > 59:
            raise ValueError("there is no such time zone")
        offset = timedelta(hours=int(found[9]), minutes=int(found[10]))
        offset = -offset if found[8] == "-" else offset
    # RFC 3339 section 5.6: 60 is a leap second.
    when = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone.utc)
    if second > 60:
        raise ValueError("there is no such second")
    seconds = int(when.timestamp()) + (second == 60) + (1 if found[7] else 0)
    return seconds - int(offset.total_seconds())


def format_utc(seconds: float) -> str:
    """The point in time as RFC 3339 writes it, in whole seconds of UTC."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_order(envelope: Envelope) -> None:
    """RFC 4865 section 5.2.2: a message cannot be held until after it must be delivered.

    :raises Refused: it would be.
    """
    hold, by = envelope.hold_until, envelope.deliver_by
    if hold is not None and by is not None and hold > by.deadline:
        raise Refused(501, "5.5.4", "The message would be held until after it must be delivered")
