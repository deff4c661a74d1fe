"""Contract tests of mailboxes that sort by themselves."""

from __future__ import annotations

from typing import cast

from mailkit.interfaces import ISortingMailbox, IWritableMailbox
from mailkit.model import AppendMessage
from mailkit.query import SortCriterion, SortKey
from mailkit.testing.base import FIRST_DATE, spooled
from mailkit.testing.reading import ReadingContract

_HOUR = 3600


def _message(date: bytes, author: bytes, to: bytes, subject: bytes, size: int) -> bytes:
    return b"Date: %b\r\nFrom: %b\r\nTo: %b\r\nSubject: %b\r\n\r\n%b\r\n" % (
        date,
        author,
        to,
        subject,
        b"x" * size,
    )


#: Messages that differ in all that is sorted by; each with its internal date.
MESSAGES = (
    # Numbers in the comments below count from 0.
    (
        _message(
            b"Mon, 01 Jan 2024 23:30:00 -0800", b"Zoe <ann@a.example>", b"x", b"Re: beta", 300
        ),
        FIRST_DATE + 3 * _HOUR,
    ),
    (
        _message(
            b"Tue, 02 Jan 2024 07:00:00 +0000",
            b"=?utf-8?q?=C3=84rger?= <Bob@a.example>",
            b'"m" <y@x>',
            b"alpha",
            200,
        ),
        FIRST_DATE + 2 * _HOUR,
    ),
    (
        _message(b"no date", b"carl@b.example", b"group: z@x;", b"BETA (fwd)", 100),
        FIRST_DATE + _HOUR,
    ),
    (b"X-Empty: yes\r\n\r\n", FIRST_DATE),
)
#: Criteria with the order of the messages.
ORDERS: list[tuple[list[SortCriterion], list[int]]] = [
    ([SortCriterion(SortKey.ARRIVAL)], [3, 2, 1, 0]),
    ([SortCriterion(SortKey.ARRIVAL, True)], [0, 1, 2, 3]),
    ([SortCriterion(SortKey.SIZE)], [3, 2, 1, 0]),
    # RFC 5256 section 2.2: by UTC; the internal date where there is no date.
    ([SortCriterion(SortKey.DATE)], [3, 2, 1, 0]),
    ([SortCriterion(SortKey.DATE, True)], [0, 1, 2, 3]),
    ([SortCriterion(SortKey.SUBJECT)], [3, 1, 0, 2]),
    # Those that are equal stay in mailbox order.
    ([SortCriterion(SortKey.SUBJECT, True)], [0, 2, 1, 3]),
    ([SortCriterion(SortKey.SUBJECT), SortCriterion(SortKey.DATE)], [3, 1, 2, 0]),
    ([SortCriterion(SortKey.FROM)], [3, 0, 1, 2]),
    ([SortCriterion(SortKey.DISPLAYFROM)], [3, 1, 2, 0]),
    ([SortCriterion(SortKey.TO)], [3, 2, 0, 1]),
    ([SortCriterion(SortKey.DISPLAYTO)], [3, 2, 1, 0]),
    ([SortCriterion(SortKey.CC)], [0, 1, 2, 3]),
    ([SortCriterion(SortKey.CC, True), SortCriterion(SortKey.SIZE)], [3, 2, 1, 0]),
]


class SortContract(ReadingContract):
    """What a mailbox must do that provides ISortingMailbox; part of ``MailboxContract``."""

    async def open_sorting(self) -> tuple[ISortingMailbox, list[int]]:
        """A mailbox with the messages to be sorted, and their UIDs."""
        mailbox = await self.make_mailbox(
            messages=[
                AppendMessage(spooled(content), frozenset(), date) for content, date in MESSAGES
            ]
        )
        self.need(IWritableMailbox, mailbox)
        uids = list(await mailbox.list_uids())
        return cast(ISortingMailbox, self.need(ISortingMailbox, mailbox)), uids

    async def test_sort(self) -> None:
        mailbox, uids = await self.open_sorting()
        for criteria, order in ORDERS:
            found = await mailbox.sort_messages(uids=uids, criteria=criteria)
            self.assertEqual(list(found), [uids[number] for number in order], criteria)

    async def test_sort_some(self) -> None:
        mailbox, uids = await self.open_sorting()
        criteria = [SortCriterion(SortKey.ARRIVAL)]
        for some, order in (
            ([], []),
            ([uids[0], uids[2]], [uids[2], uids[0]]),
            ([uids[1], 10_000_000], [uids[1]]),
            ([10_000_000], []),
        ):
            found = await mailbox.sort_messages(uids=some, criteria=criteria)
            self.assertEqual(list(found), order)

    async def test_sort_after_a_change(self) -> None:
        mailbox, uids = await self.open_sorting()
        writable = cast(IWritableMailbox, mailbox)
        criteria = [SortCriterion(SortKey.SUBJECT)]
        await mailbox.sort_messages(uids=uids, criteria=criteria)
        content = spooled(b"Subject: Aardvark\r\n\r\n")
        (new,) = (await writable.append(messages=[AppendMessage(content)])).uids
        await writable.expunge(uids=[uids[1]])
        found = await mailbox.sort_messages(uids=[*uids, new], criteria=criteria)
        self.assertEqual(list(found), [uids[3], new, uids[0], uids[2]])
