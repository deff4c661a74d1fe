"""Contract tests of mailboxes that sort and thread by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from mailkit.interfaces import (
    ICopyingMailbox,
    IMailbox,
    ISortingMailbox,
    IThreadingMailbox,
    IThreadNamingMailbox,
    IWritableMailbox,
)
from mailkit.model import AppendMessage
from mailkit.query import SortCriterion, SortKey, ThreadAlgorithm
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
#: Message-ID, References, In-Reply-To, Subject of messages that were sent a day after the other.
CONVERSATIONS = (
    (b"<1@x>", b"", b"", b"one"),
    (b"<2@x>", b"<1@x>", b"", b"Re: one"),
    (b"", b"", b"<2@x> from Monday", b"Re: one"),
    (b"<4@x>", b"", b"", b"two"),
    (b'<"5"@x>', b"<missing@x>", b"", b"three"),
    (b"<6@x>", b"<missing@x> <5@x>", b"", b"four"),
    (b"<6@x>", b"", b"", b"Re: [list] TWO (fwd)"),
    (b"<8@x>", b"<missing@x>", b"", b"five"),
)
#: UIDs by number of the message from 1, 0 for one that is missing, and how deep they are.
THREADS = {
    ThreadAlgorithm.REFERENCES: (
        [1, 2, 3, 4, 7, 0, 5, 6, 8],
        [0, 1, 2, 0, 1, 0, 1, 2, 1],
    ),
    ThreadAlgorithm.ORDEREDSUBJECT: ([1, 2, 3, 4, 7, 5, 6, 8], [0, 1, 1, 0, 1, 0, 0, 0]),
    ThreadAlgorithm.REFS: (
        [1, 2, 3, 4, 7, 0, 5, 6, 8],
        [0, 1, 2, 0, 0, 0, 1, 2, 1],
    ),
}
#: The second and third answer the first; the fourth does under a subject of its own.
RELATED = (
    b"Subject: One\r\nMessage-ID: <1@x>\r\n\r\n",
    b"Subject: Re: one\r\nMessage-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n\r\n",
    b"Subject: [list] ONE (fwd)\r\nReferences: <1@x>\r\n\r\n",
    b"Subject: Two\r\nMessage-ID: <3@x>\r\nReferences: <1@x>\r\n\r\n",
    b"Subject: One\r\n\r\n",
    b"Subject: One\r\nMessage-ID: <lonely@x>\r\n\r\n",
)


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


class ThreadContract(ReadingContract):
    """What a mailbox must do that provides IThreadingMailbox; part of ``MailboxContract``."""

    async def open_threading(self) -> tuple[IThreadingMailbox, list[int]]:
        """A mailbox with conversations, and the UIDs."""
        mailbox = await self.make_mailbox(
            messages=[
                AppendMessage(
                    spooled(
                        b"Message-ID: %b\r\nReferences: %b\r\nIn-Reply-To: %b\r\nSubject: %b\r\n"
                        b"Date: %d Jan 2024\r\n\r\n" % (*fields, day)
                    ),
                    frozenset(),
                    FIRST_DATE + day * _HOUR,
                )
                for day, fields in enumerate(CONVERSATIONS, 1)
            ]
        )
        self.need(IWritableMailbox, mailbox)
        uids = list(await mailbox.list_uids())
        return cast(IThreadingMailbox, self.need(IThreadingMailbox, mailbox)), uids

    async def test_threads(self) -> None:
        mailbox, uids = await self.open_threading()
        # The second time it may be remembered.
        for _ in range(2):
            for algorithm, (numbers, depths) in THREADS.items():
                found = await mailbox.thread_messages(uids=uids, algorithm=algorithm)
                expected = [number and uids[number - 1] for number in numbers]
                self.assertEqual((list(found.uids), list(found.depths)), (expected, depths))

    async def test_threads_of_some(self) -> None:
        mailbox, uids = await self.open_threading()
        for some, expected in (
            ([], []),
            ([uids[2]], [(uids[2], 0)]),
            ([uids[4], uids[7], 10_000_000], [(0, 0), (uids[4], 1), (uids[7], 1)]),
        ):
            found = await mailbox.thread_messages(uids=some, algorithm=ThreadAlgorithm.REFERENCES)
            self.assertEqual(list(zip(found.uids, found.depths, strict=True)), expected)

    async def test_threads_after_a_change(self) -> None:
        mailbox, uids = await self.open_threading()
        writable = cast(IWritableMailbox, mailbox)
        algorithm = ThreadAlgorithm.REFERENCES
        await mailbox.thread_messages(uids=uids, algorithm=algorithm)
        content = spooled(b"In-Reply-To: <4@x>\r\nDate: 30 Jan 2024\r\n\r\n")
        (new,) = (await writable.append(messages=[AppendMessage(content)])).uids
        await writable.expunge(uids=uids[4:])
        found = await mailbox.thread_messages(uids=[*uids, new], algorithm=algorithm)
        self.assertEqual(list(found.uids), [*uids[:4], new])
        self.assertEqual(list(found.depths), [0, 1, 2, 0, 1])


class ThreadNamingContract(ReadingContract):
    """What a mailbox must do that provides IThreadNamingMailbox; part of ``MailboxContract``."""

    async def open_naming(self) -> tuple[Any, list[int]]:
        """A mailbox with messages, and their UIDs."""
        mailbox = await self.make_mailbox(
            messages=[AppendMessage(spooled(content)) for content in RELATED]
        )
        self.need(IWritableMailbox, mailbox)
        return self.need(IThreadNamingMailbox, mailbox), list(await mailbox.list_uids())

    async def thread_names(self, mailbox: IMailbox, uids: Sequence[int]) -> list[str | None]:
        """Names of the threads of some messages."""
        return [info.thread_id for info in await mailbox.get_messages(uids=uids)]

    async def test_names_of_threads(self) -> None:
        mailbox, uids = await self.open_naming()
        await mailbox.name_threads(uids=[])
        await mailbox.name_threads(uids=uids)
        names = await self.thread_names(mailbox, uids)
        for name in names:
            self.assertRegex(str(name), r"\A[A-Za-z0-9_-]{1,255}\Z")
        first, answer, sibling, other_subject, alone, other = names
        self.assertEqual((answer, sibling), (first, first))
        self.assertEqual(len({first, other_subject, alone, other}), 4)
        # RFC 8474 section 5.2: never the same as an EMAILID.
        infos = await mailbox.get_messages(uids=uids)
        self.assertFalse(set(names) & {info.email_id for info in infos})

    async def test_names_of_threads_stay(self) -> None:
        mailbox, uids = await self.open_naming()
        await mailbox.name_threads(uids=uids[2:])
        before = await self.thread_names(mailbox, uids[2:])
        # The message that joins them comes last, and gets one of their names.
        joining = spooled(
            b"Subject: One\r\nMessage-ID: <9@x>\r\nReferences: <1@x> <lonely@x>\r\n\r\n"
        )
        new = (await mailbox.append(messages=[AppendMessage(joining)])).uids
        await mailbox.name_threads(uids=[*uids, *new])
        self.assertEqual(await self.thread_names(mailbox, uids[2:]), before)
        (name,) = await self.thread_names(mailbox, new)
        self.assertIn(name, before)

    async def test_copies_are_in_the_same_thread(self) -> None:
        mailbox, uids = await self.open_naming()
        self.need(ICopyingMailbox, mailbox)
        before = (await mailbox.copy_messages(uids=uids, destination=mailbox.name)).destination_uids
        await mailbox.name_threads(uids=uids)
        after = (await mailbox.copy_messages(uids=uids, destination=mailbox.name)).destination_uids
        await mailbox.name_threads(uids=[*before, *after])
        names = await self.thread_names(mailbox, uids)
        self.assertEqual(await self.thread_names(mailbox, before), names)
        self.assertEqual(await self.thread_names(mailbox, after), names)
