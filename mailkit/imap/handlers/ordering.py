"""Sorting and threading messages for backends that do not, by reading their headers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import NoSuchMessage
from mailkit.imap.content import MessageContent
from mailkit.imap.session import BATCH, SUMMARY_BATCH, Selection
from mailkit.interfaces import ISortingMailbox, ISummarizingMailbox, IThreadingMailbox
from mailkit.model import MessageInfo
from mailkit.query import Collation, SortCriterion, SortKey, ThreadAlgorithm, Threads
from mailkit.sorting import (
    DETAILS,
    TEXTS,
    Column,
    SortValues,
    read_sort_values,
    sort_steps,
    sort_value,
)
from mailkit.threads import ThreadInput, thread_steps

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


async def sort_messages(
    connection: IMAPProtocol,
    selection: Selection,
    uids: Sequence[int],
    criteria: Sequence[SortCriterion],
    collation: Collation = Collation.UNICODE_CASEMAP,
) -> Sequence[int]:
    """Those of the ascending UIDs that exist, in the order that is wanted."""
    mailbox = selection.mailbox
    # Backends know the order of one collation alone.
    by_backend = collation is Collation.UNICODE_CASEMAP or TEXTS.isdisjoint(
        criterion.key for criterion in criteria
    )
    if by_backend and ISortingMailbox.providedBy(mailbox):
        return await mailbox.sort_messages(uids=uids, criteria=criteria)
    present: list[int] = array("I")  # type: ignore[assignment]
    columns: list[Column] = [[] for _ in criteria]
    by_details = all(criterion.key in DETAILS for criterion in criteria)
    for start in range(0, len(uids), BATCH):
        await connection.drain()
        infos = await mailbox.get_messages(uids=uids[start : start + BATCH])
        values: dict[int, SortValues] = {}
        if not by_details:
            values = await read_values(connection, selection, infos, collation)
            # The others were removed meanwhile.
            infos = [info for info in infos if info.uid in values]
        present.extend([info.uid for info in infos])
        for (key, _), column in zip(criteria, columns, strict=True):
            column.extend([sort_value(key, info, values.get(info.uid)) for info in infos])
    order: list[int] = []
    for step in sort_steps(present, criteria, columns):
        await connection.drain()
        order = step or order
    return order


async def thread_messages(
    connection: IMAPProtocol,
    selection: Selection,
    uids: Sequence[int],
    algorithm: ThreadAlgorithm,
    collation: Collation = Collation.UNICODE_CASEMAP,
) -> Threads:
    """Those of the ascending UIDs that exist, in threads."""
    mailbox = selection.mailbox
    by_backend = collation is Collation.UNICODE_CASEMAP or algorithm is ThreadAlgorithm.REFS
    if by_backend and IThreadingMailbox.providedBy(mailbox):
        return await mailbox.thread_messages(uids=uids, algorithm=algorithm)
    given = ThreadInput()
    for start in range(0, len(uids), BATCH):
        await connection.drain()
        infos = await mailbox.get_messages(uids=uids[start : start + BATCH])
        found = await read_values(connection, selection, infos, collation)
        for info in infos:
            values = found.get(info.uid)
            if values is not None:
                sent = sort_value(SortKey.DATE, info, values)
                row = (sent, values.is_reply, values.subject_id, values.ids)
                for column, value in zip(given.columns(), (info.uid, *row), strict=True):
                    column.append(value)
    threads = Threads(array("I"), array("I"))
    for step in thread_steps(algorithm, given):
        await connection.drain()
        threads = step or threads
    return threads


async def read_values(
    connection: IMAPProtocol,
    selection: Selection,
    infos: Sequence[MessageInfo],
    collation: Collation,
) -> dict[int, SortValues]:
    """What messages are sorted by; those that do not exist any more are left out."""
    mailbox = selection.mailbox
    values: dict[int, SortValues] = {}
    for some in _parts([info.uid for info in infos]):
        await connection.drain()
        if ISummarizingMailbox.providedBy(mailbox):
            for summary in await mailbox.get_summaries(uids=some, structure=False):
                values[summary.uid] = read_sort_values(summary.header, collation)
            continue
        for uid in some:
            await connection.drain()
            try:
                content = MessageContent(await mailbox.open_message(uid=uid))
            except NoSuchMessage:
                continue
            try:
                header = content.read(0, content.header().body_start)
            finally:
                content.close()
            values[uid] = read_sort_values(header, collation)
    return values


def _parts(uids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(uids), SUMMARY_BATCH):
        yield uids[start : start + SUMMARY_BATCH]
