"""Contract tests of mailboxes that search by themselves."""

from __future__ import annotations

import datetime
from typing import cast

from mailkit.interfaces import ISearchableMailbox, IWritableMailbox
from mailkit.model import AppendMessage
from mailkit.query import (
    All,
    And,
    ArrivedSince,
    BodyContains,
    Collation,
    Comparison,
    HasAttachment,
    HasFlag,
    HasObjectID,
    HeaderContains,
    InternalDate,
    Larger,
    ModifiedSince,
    Not,
    Or,
    Query,
    SentDate,
    Smaller,
    TextContains,
    UIDs,
)
from mailkit.testing.base import DAY, FIRST_DATE, spooled
from mailkit.testing.reading import ReadingContract

REPORT = (
    b"From: Ann Example <ann@example.org>\r\n"
    b"To: bob@example.org, carol@example.org\r\n"
    b"Subject: Quarterly\r\n report\r\n"
    b"Date: Mon, 01 Jan 2024 23:30:00 -0800\r\n"
    b"\r\n"
    b"Profit and loss. 100%_sure. " + b"x" * 2000 + b"\r\n"
)
GREETINGS = (
    b"From: =?iso-8859-1?q?J=FCrgen?= <juergen@example.net>\r\n"
    b"To: ann@example.org\r\n"
    b"Subject: =?utf-8?b?R3LDvMOfZQ==?= aus =?utf-8?q?M=C3=BCnchen?=\r\n"
    b"Date: Tue, 02 Jan 2024 00:30:00 +0100\r\n"
    b"List-Id: <friends.example.net>\r\n"
    b"X-Spam-Flag: YES\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"\r\n"
    b"U2Now7ZuZXMgV2V0dGVyIGluIEtyYWvDs3c=\r\n"
)
PARTS = (
    b"From: carol@example.org\r\n"
    b'Cc: "Example, Ann" <ann@example.org>\r\n'
    b"Content-Type: multipart/mixed; boundary=b\r\n"
    b"\r\n"
    b"preamble\r\n"
    b"--b\r\n"
    b"Content-Type: text/html; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n"
    b"\r\n"
    b"<p>caf=E9 au l=\r\nait</p>\r\n"
    b"--b\r\n"
    b"Content-Type: application/octet-stream\r\n"
    b"Content-Description: picture\r\n"
    b"\r\n"
    b"hidden in a file\0\r\n"
    b"--b--\r\n"
)
MESSAGES = (REPORT, GREETINGS, PARTS)
FLAGS = (frozenset({"\\Seen"}), frozenset({"\\Flagged", "$Forwarded"}), frozenset[str]())
_JANUARY = [datetime.date(2024, 1, day) for day in (1, 2)]


def _compared(
    subject: str, body: str, text: str, collation: Collation = Collation.OCTET
) -> list[Query]:
    return [
        HeaderContains("Subject", subject, collation),
        BodyContains(body, collation),
        TextContains(text, collation),
    ]


#: Queries with the numbers (from 0) of the messages that match; they need flags and dates.
STATE_SEARCHES: list[tuple[Query, set[int]]] = [
    (HasFlag("\\Seen"), {0}),
    (Not(HasFlag("\\Seen")), {1, 2}),
    (HasFlag("$FORWARDED"), {1}),
    (HasFlag("Unheard-Of"), set()),
    (InternalDate(Comparison.BEFORE, _JANUARY[1]), {0}),
    (InternalDate(Comparison.ON, _JANUARY[1]), {1}),
    (InternalDate(Comparison.SINCE, _JANUARY[1]), {1, 2}),
    (ArrivedSince(FIRST_DATE + DAY), {1, 2}),
    (ArrivedSince(FIRST_DATE + DAY + 1), {2}),
    (Not(ArrivedSince(FIRST_DATE + 1)), {0}),
    (ArrivedSince(-(2**70)), {0, 1, 2}),
    (HasObjectID("no-such-id"), set()),
    (Not(HasObjectID("Mffffffffffffffffffff")), {0, 1, 2}),
    (HasObjectID("T1", thread=True), set()),
    (ModifiedSince(0), {0, 1, 2}),
    (And([HasFlag("\\Flagged"), HeaderContains("From", "jürgen")]), {1}),
    (Or([HasFlag("\\Seen"), BodyContains("café")]), {0, 2}),
]
#: The same, for every mailbox.
CONTENT_SEARCHES: list[tuple[Query, set[int]]] = [
    (All(), {0, 1, 2}),
    (Not(All()), set()),
    (And([]), {0, 1, 2}),
    (Or([]), set()),
    (HasAttachment(), {2}),
    (Not(HasAttachment()), {0, 1}),
    (And([HasAttachment(), BodyContains("café")]), {2}),
    (Larger(len(REPORT) - 1), {0}),
    (Larger(len(REPORT)), set()),
    (Smaller(len(REPORT)), {1, 2}),
    # RFC 3501 section 6.4.4: the date in the header, time and zone disregarded.
    (SentDate(Comparison.ON, _JANUARY[0]), {0}),
    (SentDate(Comparison.ON, _JANUARY[1]), {1}),
    (SentDate(Comparison.SINCE, _JANUARY[0]), {0, 1}),
    (SentDate(Comparison.BEFORE, _JANUARY[1]), {0}),
    (HeaderContains("From", "ANN example"), {0}),
    (HeaderContains("from", "JÜRGEN <"), {1}),
    (HeaderContains("From", "ju\u0308rgen"), {1}),
    (HeaderContains("From", "=?iso"), set()),
    (HeaderContains("To", "carol"), {0}),
    (HeaderContains("Cc", "example, ann"), {2}),
    (HeaderContains("Subject", "quarterly report"), {0}),
    (HeaderContains("Subject", "grüße AUS münchen"), {1}),
    (HeaderContains("Subject", ""), {0, 1}),
    (HeaderContains("X-Spam-Flag", "yes"), {1}),
    (HeaderContains("X-Spam-Flag", ""), {1}),
    (HeaderContains("Content-Description", ""), set()),
    (Not(HeaderContains("X-Spam-Flag", "")), {0, 2}),
    (BodyContains("profit AND"), {0}),
    (BodyContains("100%_sure"), {0}),
    (BodyContains("100%sure"), set()),
    (BodyContains("wetter in kraków"), {1}),
    (BodyContains("KRAKO\u0301W"), {1}),
    (BodyContains("CAFÉ au lait"), {2}),
    (BodyContains("<p>"), {2}),
    (BodyContains("hidden"), set()),
    (BodyContains("preamble"), set()),
    (BodyContains("quarterly"), set()),
    (BodyContains("U2Now7"), set()),
    (BodyContains("a"), {0, 1, 2}),
    (BodyContains(""), {0, 1, 2}),
    (TextContains("jürgen"), {1}),
    (TextContains("picture"), {2}),
    (TextContains("au lait"), {2}),
    (TextContains("ann@example.org"), {0, 1, 2}),
    (TextContains("zebra"), set()),
    (Not(TextContains("ann example")), {1, 2}),
    (And([TextContains("example.org"), Not(BodyContains("profit"))]), {1, 2}),
    (Or([HeaderContains("Subject", "report"), Or([BodyContains("café"), Not(All())])]), {0, 2}),
    *((query, {0}) for query in _compared("uarterly", "Profit", "Quarterly")),
    *((query, set()) for query in _compared("UARTERLY", "PROFIT", "QUARTERLY", Collation.OCTET)),
    *(
        (query, {0})
        for query in _compared("UARTERLY", "PROFIT", "QUARTERLY", Collation.ASCII_CASEMAP)
    ),
    (HeaderContains("Subject", "GRÜSSE AUS", Collation.ASCII_CASEMAP), set()),
    (HeaderContains("Subject", "GRüßE AUS", Collation.ASCII_CASEMAP), {1}),
    (BodyContains("KrakÓw", Collation.ASCII_CASEMAP), set()),
    (BodyContains("KRAKóW", Collation.ASCII_CASEMAP), {1}),
    (BodyContains("Kraków", Collation.OCTET), {1}),
    (TextContains("München", Collation.OCTET), {1}),
    (TextContains("münchen", Collation.OCTET), set()),
    (Not(BodyContains("CAFÉ", Collation.OCTET)), {0, 1, 2}),
    (Not(TextContains("café", Collation.OCTET)), {0, 1}),
    (HeaderContains("X-Spam-Flag", "", Collation.OCTET), {1}),
]


class SearchContract(ReadingContract):
    """What a mailbox must do that provides ISearchableMailbox; part of ``MailboxContract``."""

    async def open_searchable(self) -> tuple[ISearchableMailbox, list[int]]:
        """A mailbox with the messages to be found, and their UIDs."""
        mailbox = await self.make_mailbox(
            messages=[
                AppendMessage(spooled(content), flags, FIRST_DATE + number * DAY)
                for number, (content, flags) in enumerate(zip(MESSAGES, FLAGS, strict=True))
            ]
        )
        uids = list(await mailbox.list_uids())
        return cast(ISearchableMailbox, self.need(ISearchableMailbox, mailbox)), uids

    async def check_searches(self, searches: list[tuple[Query, set[int]]]) -> None:
        """Each search finds just what it must, by ascending UID."""
        mailbox, uids = await self.open_searchable()
        for query, numbers in searches:
            found = list(await mailbox.search(query=query))
            self.assertEqual(found, [uids[number] for number in sorted(numbers)], query)

    async def test_search_by_content(self) -> None:
        await self.check_searches(CONTENT_SEARCHES)

    async def test_search_by_state(self) -> None:
        mailbox, _ = await self.open_searchable()
        self.need(IWritableMailbox, mailbox)
        await self.check_searches(STATE_SEARCHES)

    async def test_search_by_uid(self) -> None:
        mailbox, uids = await self.open_searchable()
        for ranges, expected in (
            ([(uids[1], uids[1])], [uids[1]]),
            ([(uids[2], uids[2] + 1000), (1, uids[0])], [uids[0], uids[2]]),
            ([(uids[2] + 1, 2**32 - 1)], []),
            ([], []),
        ):
            self.assertEqual(list(await mailbox.search(query=UIDs(ranges))), expected)
        query = And([UIDs([(uids[1], uids[2])]), HeaderContains("From", "carol")])
        self.assertEqual(list(await mailbox.search(query=query)), [uids[2]])
