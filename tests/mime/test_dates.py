"""Dates of header fields and of IMAP."""

from __future__ import annotations

import datetime
import email.utils
import random

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime.dates import (
    format_date,
    format_imap_datetime,
    parse_date,
    parse_imap_date,
    parse_imap_datetime,
)


def moment(*fields: int, zone: int = 0) -> datetime.datetime:
    """A time with a zone of so many minutes."""
    offset = datetime.timezone(datetime.timedelta(minutes=zone))
    return datetime.datetime(*fields, tzinfo=offset)  # type: ignore[misc,arg-type]


class DateTests(SynchronousTestCase):
    def check(self, value: bytes, expected: datetime.datetime | None) -> None:
        found = parse_date(value)
        self.assertEqual(found, expected, value)
        if found is not None and expected is not None:
            self.assertEqual(found.utcoffset(), expected.utcoffset(), value)

    def test_rfc_5322_appendix_a(self) -> None:
        self.check(b"Fri, 21 Nov 1997 09:55:06 -0600", moment(1997, 11, 21, 9, 55, 6, zone=-360))
        self.check(b"Tue, 1 Jul 2003 10:52:37 +0200", moment(2003, 7, 1, 10, 52, 37, zone=120))
        self.check(
            b"Thu,      13        Feb    1969    23:32   -0330 (Newfoundland Time)",
            moment(1969, 2, 13, 23, 32, zone=-210),
        )
        self.check(b"21 Nov 97 09:55:06 GMT", moment(1997, 11, 21, 9, 55, 6))
        self.check(
            b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600",
            moment(1997, 11, 21, 9, 55, 6, zone=-360),
        )

    def test_zones(self) -> None:
        for zone, minutes in (
            (b"UT", 0),
            (b"Z", 0),
            (b"EST", -300),
            (b"edt", -240),
            (b"PST", -480),
            (b"-0000", 0),
            (b"+0530", 330),
            (b"+05:30", 330),
            (b"-1200", -720),
            (b"A", 0),
            (b"CEST", 0),
            (b"+9999", 0),
            (b"", 0),
        ):
            self.check(b"1 Jan 2020 00:00:00 " + zone, moment(2020, 1, 1, zone=minutes))

    def test_years(self) -> None:
        for year, full in (
            (b"49", 2049),
            (b"50", 1950),
            (b"00", 2000),
            (b"102", 2002),
            (b"1900", 1900),
        ):
            self.check(b"1 Jan " + year + b" 00:00:00 +0000", moment(full, 1, 1))

    def test_lenient_forms(self) -> None:
        for value in (
            b"Wed 5 Feb 2020 01:02:03 +0000",
            b"Wednesday, 05 February 2020 1:2:3 +0000",
            b"05-Feb-2020 01:02:03 GMT",
            b", 5 Feb 2020 01:02:03",
            b"5 feb 2020 01:02:03.456 +0000",
            b"Wed Feb  5 01:02:03 2020",
            b"Wed Feb 5 01:02:03 UTC 2020",
            b"\tWed, 5 Feb 2020\t01:02:03 +0000 (UTC)",
            b"Wed (day) , 5 Feb 2020 01 : 02 : 03 +0000",
            b"Wed, 5 Feb 2020 01.02.03 +0000",
        ):
            self.check(value, moment(2020, 2, 5, 1, 2, 3))
        self.check(b"5 Feb 2020", moment(2020, 2, 5))
        self.check(b"5 Feb 2020 01:02", moment(2020, 2, 5, 1, 2))

    def test_leap_second(self) -> None:
        self.check(b"31 Dec 2016 23:59:60 +0000", moment(2016, 12, 31, 23, 59, 59))

    def test_no_date(self) -> None:
        for value in (
            b"",
            b"yesterday",
            b"31 Feb 2020 00:00:00 +0000",
            b"0 Jan 2020 00:00:00",
            b"1 Foo 2020 00:00:00",
            b"1 Jan 2020 25:00:00",
            b"1 Jan 2020 00:61:00",
            b"1 Jan 2020 00:00:99",
            b"1 Jan 0000 00:00:00",
            b"1 Jan 12345",
            b"2020-01-01 00:00:00",
            b"\xff\0",
            b"(" * 1000,
        ):
            self.check(value, None)

    def test_agrees_with_the_standard_library(self) -> None:
        generator = random.Random(5322)
        for _ in range(300):
            zone = generator.randrange(-12 * 60, 14 * 60 + 1)
            expected = datetime.datetime.fromtimestamp(
                generator.randrange(2**32), datetime.timezone(datetime.timedelta(minutes=zone))
            )
            text = email.utils.format_datetime(expected)
            self.check(text.encode(), expected)
            self.assertEqual(format_date(expected), text)


class FormatDateTests(SynchronousTestCase):
    def test_datetime(self) -> None:
        self.assertEqual(
            format_date(moment(1997, 11, 21, 9, 55, 6, zone=-360)),
            "Fri, 21 Nov 1997 09:55:06 -0600",
        )
        self.assertEqual(
            format_date(moment(1969, 2, 13, 23, 32, zone=-210)), "Thu, 13 Feb 1969 23:32:00 -0330"
        )

    def test_naive_datetime_is_utc(self) -> None:
        self.assertEqual(
            format_date(datetime.datetime(2020, 2, 5, 1, 2, 3)), "Wed, 05 Feb 2020 01:02:03 +0000"
        )

    def test_epoch(self) -> None:
        self.assertEqual(format_date(0), "Thu, 01 Jan 1970 00:00:00 +0000")
        self.assertEqual(format_date(880127706.9), "Fri, 21 Nov 1997 15:55:06 +0000")
        self.assertEqual(format_date(-1), "Wed, 31 Dec 1969 23:59:59 +0000")
        self.assertEqual(format_date(10**18), "Fri, 31 Dec 9999 23:59:59 +0000")


class IMAPDateTests(SynchronousTestCase):
    def test_date(self) -> None:
        self.assertEqual(parse_imap_date(b"1-Feb-1994"), datetime.date(1994, 2, 1))
        self.assertEqual(parse_imap_date(b"01-FEB-1994"), datetime.date(1994, 2, 1))

    def test_no_date(self) -> None:
        for value in (
            b"",
            b"1-Feb-94",
            b"31-Feb-1994",
            b"1-Foo-1994",
            b"1-Feb-1994 ",
            b"1-Feb-0000",
            b"1 Feb 1994",
            b"001-Feb-1994",
            "\u0661-Feb-1994".encode(),
        ):
            self.assertIsNone(parse_imap_date(value), value)

    def test_datetime(self) -> None:
        self.assertEqual(parse_imap_datetime(b"17-Jul-1996 02:44:25 -0700"), 837596665)
        self.assertEqual(parse_imap_datetime(b" 1-Jan-1970 00:00:00 +0000"), 0)
        self.assertEqual(parse_imap_datetime(b"01-jan-1970 05:30:00 +0530"), 0)

    def test_datetimes_outside_of_the_years_that_can_be_told(self) -> None:
        """What is kept is what is told: a search by date finds it where FETCH shows it."""
        for value, told in (
            (b"31-Dec-9999 23:59:59 -1200", b"31-Dec-9999 23:59:59 +0000"),
            (b"01-Jan-0001 00:00:00 +1400", b"01-Jan-0001 00:00:00 +0000"),
        ):
            self.assertEqual(parse_imap_datetime(value), parse_imap_datetime(told))

    def test_no_datetime(self) -> None:
        for value in (
            b"",
            b"1-Jan-1970 00:00:00 +0000",
            b" 1-Jan-1970 00:00:00",
            b" 1-Jan-1970 24:00:00 +0000",
            b" 1-Jan-1970 00:60:00 +0000",
            b" 1-Jan-1970 00:00:61 +0000",
            b" 1-Jan-1970 00:00:00 +0060",
            b"31-Feb-1970 00:00:00 +0000",
            b" 1-Foo-1970 00:00:00 +0000",
            b" 1-Jan-1970 00:00:00 +0000x",
        ):
            self.assertIsNone(parse_imap_datetime(value), value)

    def test_format(self) -> None:
        self.assertEqual(format_imap_datetime(837596665), b"17-Jul-1996 09:44:25 +0000")
        self.assertEqual(format_imap_datetime(0), b"01-Jan-1970 00:00:00 +0000")
        self.assertEqual(format_imap_datetime(10**18), b"31-Dec-9999 23:59:59 +0000")
        self.assertEqual(format_imap_datetime(-(10**18)), b"01-Jan-0001 00:00:00 +0000")

    def test_round_trip(self) -> None:
        generator = random.Random(3501)
        for _ in range(300):
            epoch = generator.randrange(-(2**33), 2**33)
            self.assertEqual(parse_imap_datetime(format_imap_datetime(epoch)), epoch)
