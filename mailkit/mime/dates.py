"""Dates: of header fields (RFC 5322 section 3.3) and of IMAP (RFC 3501 section 9)."""

from __future__ import annotations

import datetime
import re
import time
from functools import lru_cache

from mailkit.mime.lexical import strip_comments

#: Octets of a Date field that are looked at.
MAX_DATE_OCTETS = 256

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH_NUMBERS = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}
#: By number of the month.
MONTH_NAMES = (b"", *(name.encode() for name in _MONTHS))

_UTC = datetime.timezone.utc
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_DAY = 86400
# Days, and zones, that are kept in memory.
_REMEMBERED = 512
# datetime.min and datetime.max as seconds since the epoch.
_FIRST_SECOND = (1 - _EPOCH_DAY) * _DAY
_LAST_SECOND = (datetime.date.max.toordinal() - _EPOCH_DAY) * _DAY + _DAY - 1

# RFC 5322 section 4.3: the zones that have a meaning; any other is -0000.
_ZONES = {
    b"edt": -4,
    b"est": -5,
    b"cdt": -5,
    b"cst": -6,
    b"mdt": -6,
    b"mst": -7,
    b"pdt": -7,
    b"pst": -8,
}

# A time at the end of a date that is a date without it.
_TIME_OF_DAY = re.compile(rb"\s\d{1,2}\s?[:.]\s?\d.*", re.DOTALL)
# RFC 5322 section 4.3: blanks may stand around the colons, and behind the name of the day.
_TIME = rb"(\d{1,2}) ?[:.] ?(\d{1,2})(?: ?[:.] ?(\d{1,2})(?:[.,]\d*)?)?"
# lenient: no comma, hyphens between day, month and year, one-digit times, fractions of seconds.
_DATE = re.compile(
    rb"(?:[A-Za-z]+ ?[,.]?\s*|,\s*)?(\d{1,2})[\s.-]+([A-Za-z]{3})[A-Za-z]*[\s.,-]+(\d{2,4})(?!\d)"
    rb"(?:[\s,T]+%b\s*([+-]\s?\d{1,2}:?\d{2}|[A-Za-z]{1,5}\b)?)?" % _TIME
)
# lenient: the order of C's asctime: Fri Nov 21 09:55:06 1997
_ASCTIME = re.compile(
    rb"(?:[A-Za-z]{3,9},?\s+)?([A-Za-z]{3})[a-z]*\s+(\d{1,2}),?\s+%b\s+"
    rb"(?:([A-Za-z]{1,5})\s+)?(\d{4})(?:\s*([+-]\d{4}))?" % _TIME
)
_IMAP_DATE = re.compile(rb"(\d{1,2})-([A-Za-z]{3})-(\d{4})")
_IMAP_DATE_TIME = re.compile(
    rb"([ \d]\d-[A-Za-z]{3}-\d{4}) ([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60) ([+-]\d\d[0-5]\d)"
)


def parse_date(value: bytes) -> datetime.datetime | None:
    """Read a Date field; None for what is none. The result has a zone, UTC if the field has none.

    Day names are not checked. A leap second is the second before it.
    """
    value = b" ".join(strip_comments(value[:MAX_DATE_OCTETS]).split())
    if found := _DATE.match(value):
        day, month, year, hour, minute, second, zone = found.groups()
    elif found := _ASCTIME.match(value):
        month, day, hour, minute, second, name, year, numeric = found.groups()
        zone = numeric or name
    else:
        return None
    number = _MONTH_NUMBERS.get(month.lower())
    if number is None:
        return None
    try:
        return datetime.datetime(
            _full_year(year),
            number,
            int(day),
            int(hour or 0),
            int(minute or 0),
            59 if second == b"60" else int(second or 0),
            tzinfo=_zone(zone),
        )
    except ValueError:
        return None


def parse_sent_date(value: bytes) -> datetime.datetime | None:
    """Read a Date field for those who ask for the day above all.

    As :func:`parse_date`; where the time is invalid, it is 00:00:00 (RFC 5256 section 2.2).
    """
    return parse_date(value) or parse_date(_TIME_OF_DAY.sub(b"", value))


def _full_year(year: bytes) -> int:
    """RFC 5322 section 4.3: two digits mean 1950 to 2049, three digits count from 1900."""
    number = int(year)
    if len(year) == 2:
        return number + (2000 if number < 50 else 1900)
    return number + 1900 if len(year) == 3 else number


def _zone(zone: bytes | None) -> datetime.timezone:
    """The zone that a field names; UTC for an unknown or impossible one."""
    if not zone:
        return _UTC
    if zone[0] not in b"+-":
        hours = _ZONES.get(zone.lower())
        return datetime.timezone(datetime.timedelta(hours=hours)) if hours else _UTC
    digits = zone[1:].strip().replace(b":", b"")
    minutes = int(digits[:-2]) * 60 + int(digits[-2:])
    if minutes == 0 or minutes >= 24 * 60:
        return _UTC
    return datetime.timezone(datetime.timedelta(minutes=-minutes if zone[0] == 0x2D else minutes))


def format_date(moment: datetime.datetime | float) -> str:
    """Write a Date field (RFC 5322 section 3.3).

    :param moment: a time with its zone (without one it counts as UTC), or seconds since the epoch.
    """
    if not isinstance(moment, datetime.datetime):
        seconds = min(max(int(moment), _FIRST_SECOND), _LAST_SECOND)
        moment = datetime.datetime(1970, 1, 1, tzinfo=_UTC) + datetime.timedelta(seconds=seconds)
    offset = moment.utcoffset() or datetime.timedelta()
    minutes = offset // datetime.timedelta(minutes=1)
    sign = "-" if minutes < 0 else "+"
    hours, minutes = divmod(abs(minutes), 60)
    # No strftime: its names follow the locale.
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {_MONTHS[moment.month - 1]} "
        f"{moment.year:04d} {moment:%H:%M:%S} {sign}{hours:02d}{minutes:02d}"
    )


def parse_imap_date(value: bytes) -> datetime.date | None:
    """Read IMAP's ``date-text`` (``1-Feb-1994``), without quotes; None for what is none."""
    found = _IMAP_DATE.fullmatch(value)
    if found is None:
        return None
    try:
        return datetime.date(int(found[3]), _MONTH_NUMBERS[found[2].lower()], int(found[1]))
    except (KeyError, ValueError):
        return None


def parse_imap_datetime(value: bytes) -> int | None:
    """Read IMAP's ``date-time`` (``17-Jul-1996 02:44:25 -0700``), without quotes.

    :returns: seconds since the epoch, or None for what is no date-time; the nearest one in the years
        1 to 9999 of UTC, in which it can be told again.
    """
    found = _IMAP_DATE_TIME.fullmatch(value)
    if found is None:
        return None
    date, hour, minute, second, zone = found.groups()
    midnight = _midnight(date)
    if midnight is None:
        return None
    epoch = midnight + int(hour) * 3600 + int(minute) * 60 + int(second) - _offset(zone)
    return _within_years(epoch)


@lru_cache(maxsize=_REMEMBERED)
def _midnight(date: bytes) -> int | None:
    """The first second of a day in UTC (``17-Jul-1996``), which mailboxes have many messages of."""
    try:
        number = datetime.date(int(date[7:]), _MONTH_NUMBERS[date[3:6].lower()], int(date[:2]))
    except (KeyError, ValueError):
        return None
    return (number.toordinal() - _EPOCH_DAY) * _DAY


@lru_cache(maxsize=_REMEMBERED)
def _offset(zone: bytes) -> int:
    """Seconds that a zone (``-0700``) is ahead of UTC."""
    seconds = int(zone[1:3]) * 3600 + int(zone[3:]) * 60
    return -seconds if zone[:1] == b"-" else seconds


def _within_years(epoch: int) -> int:
    return min(max(epoch, _FIRST_SECOND), _LAST_SECOND)


def format_imap_datetime(epoch: int) -> bytes:
    """Write IMAP's ``date-time`` in UTC, without quotes; years 1 to 9999."""
    moment = time.gmtime(_within_years(epoch))
    return b"%02d-%b-%04d %02d:%02d:%02d +0000" % (
        moment[2],
        MONTH_NAMES[moment[1]],
        moment[0],
        moment[3],
        moment[4],
        moment[5],
    )
