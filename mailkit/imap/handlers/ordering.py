"""Sorting and threading messages for backends that do not, by reading their headers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.annotations import Annotation
from mailkit.collation import collate
from mailkit.imap.handlers.opened import opened
from mailkit.imap.session import BATCH, SUMMARY_BATCH, Selection
from mailkit.imap.sort import AnnotationCriterion, Criterion
from mailkit.interfaces import (
    IAnnotatedMailbox,
    ISortingMailbox,
    ISummarizingMailbox,
    IThreadingMailbox,
)
from mailkit.model import MessageInfo
from mailkit.query import Collation, SortCriterion, SortKey, ThreadAlgorithm, Threads
from mailkit.sorting import (
    DETAILS,
    MAX_SORT_TEXT,
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
    criteria: Sequence[Criterion],
    collation: Collation = Collation.UNICODE_CASEMAP,
) -> Sequence[int]:
    """Those of the ascending UIDs that exist, in the order that is wanted."""
    mailbox = selection.mailbox
    annotated = [n for n, each in enumerate(criteria) if isinstance(each, AnnotationCriterion)]
    # What comes behind the last annotation can be left to the backend: what is equal by all that
    # comes before keeps its place.
    split = annotated[-1] + 1 if annotated else 0
    head = criteria[:split]
    tail = [each for each in criteria[split:] if isinstance(each, SortCriterion)]
    # Backends know the order of one collation alone.
    by_backend = collation is Collation.UNICODE_CASEMAP or TEXTS.isdisjoint(
        criterion.key for criterion in tail
    )
    order = uids
    if by_backend and ISortingMailbox.providedBy(mailbox):
        if tail:
            order = await mailbox.sort_messages(uids=uids, criteria=tail)
        if not head:
            return order
    else:
        head = criteria
    return await _sort_columns(connection, selection, uids, order, head, collation)


async def _sort_columns(
    connection: IMAPProtocol,
    selection: Selection,
    uids: Sequence[int],
    order: Sequence[int],
    criteria: Sequence[Criterion],
    collation: Collation,
) -> Sequence[int]:
    """Sort messages by what they are asked for here.

    :param order: of those that are equal by all criteria.
    """
    present: list[int] = array("I")  # type: ignore[assignment]
    columns: list[Column] = [[] for _ in criteria]
    by_details = not any(
        isinstance(each, SortCriterion) and each.key not in DETAILS for each in criteria
    )
    annotated = any(isinstance(each, AnnotationCriterion) for each in criteria)
    mailbox = selection.mailbox
    for start in range(0, len(uids), BATCH):
        await connection.drain()
        infos = await mailbox.get_messages(uids=uids[start : start + BATCH])
        values: dict[int, SortValues] = {}
        if not by_details:
            values = await read_values(connection, selection, infos, collation)
            # The others were removed meanwhile.
            infos = [info for info in infos if info.uid in values]
        some = [info.uid for info in infos]
        present.extend(some)
        there: Mapping[int, Sequence[Annotation]] = {}
        if annotated and IAnnotatedMailbox.providedBy(mailbox):
            there = await mailbox.get_annotations(uids=some)
        for criterion, column in zip(criteria, columns, strict=True):
            if isinstance(criterion, AnnotationCriterion):
                column.extend(
                    [_annotation_value(criterion, there.get(uid, ()), collation) for uid in some]
                )
            else:
                key = criterion.key
                column.extend([sort_value(key, info, values.get(info.uid)) for info in infos])
    if order is not uids:
        places = {uid: place for place, uid in enumerate(present)}
        present = [uid for uid in order if uid in places]
        columns = [[column[places[uid]] for uid in present] for column in columns]
    directions = [(each, each.reverse) for each in criteria]
    ordered: list[int] = []
    for step in sort_steps(present, directions, columns):
        await connection.drain()
        ordered = step or ordered
    return ordered


def _annotation_value(
    criterion: AnnotationCriterion, annotations: Sequence[Annotation], collation: Collation
) -> bytes:
    """What counts of a message; nothing comes first (RFC 5257 section 4.9)."""
    for entry, value, shared in annotations:
        if entry == criterion.entry and shared is criterion.shared and value is not None:
            return collate(value.decode("utf-8", "replace")[:MAX_SORT_TEXT], collation)
    return b""


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
            async with opened(mailbox, uid) as content:
                if content is not None:
                    header = content.read(0, content.header().body_start)
                    values[uid] = read_sort_values(header, collation)
    return values


def _parts(uids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(uids), SUMMARY_BATCH):
        yield uids[start : start + SUMMARY_BATCH]
