"""Finding messages in the selected mailbox, whatever it can do by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mailkit.annotations import Annotation
from mailkit.imap.annotate import AnnotationKey, KeyTest, find_keys, resolved
from mailkit.imap.condstore import within
from mailkit.imap.contexts import among, to_ranges
from mailkit.imap.fuzzy import SCORES, Tolerance, tighten
from mailkit.imap.handlers.labels import resolve_labels
from mailkit.imap.handlers.opened import opened
from mailkit.imap.handlers.progress import telling_progress
from mailkit.imap.labels import LabelNames
from mailkit.imap.session import BATCH, SUMMARY_BATCH, Selection
from mailkit.interfaces import (
    IAnnotatedMailbox,
    ISearchableMailbox,
    ISummarizingMailbox,
    IThreadNamingMailbox,
)
from mailkit.matching import Matcher, Need, asks_thread
from mailkit.model import MessageInfo
from mailkit.query import All, And, Query, UIDs

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


async def find(
    connection: IMAPProtocol, selection: Selection, query: Query, names: LabelNames | None = None
) -> Sequence[int]:
    """UIDs of the messages that match, ascending; perhaps some that are not in view.

    :param names: which label is which mailbox, for a command that searches many.
    """
    if isinstance(query, All):
        return selection.state.uids
    mailbox = selection.mailbox
    query = await resolve_labels(connection, selection, query, names)
    with telling_progress(connection):
        if keys := find_keys(query):
            query = await _resolve(connection, selection, query, keys)
        if ISearchableMailbox.providedBy(mailbox):
            return await mailbox.search(query=query)
        return await _Scan(connection, selection, query).run()


async def _resolve(
    connection: IMAPProtocol, selection: Selection, query: Query, keys: set[AnnotationKey]
) -> Query:
    """The search with the messages in place of keys about annotations."""
    mailbox = selection.mailbox
    uids: Sequence[int] = selection.state.uids
    if isinstance(query, And):
        for part in query.queries:
            if isinstance(part, UIDs):
                uids = within(uids, part.ranges)
    tests = {key: KeyTest(key) for key in keys}
    found: dict[AnnotationKey, list[int]] = {key: [] for key in keys}
    for start in range(0, len(uids), BATCH):
        await connection.drain()
        some = uids[start : start + BATCH]
        there: Mapping[int, Sequence[Annotation]] = {}
        if IAnnotatedMailbox.providedBy(mailbox):
            there = await mailbox.get_annotations(uids=some)
        for key, test in tests.items():
            without = test.matches(())
            found[key] += [uid for uid in some if _matches(test, there.get(uid), without)]
    return resolved(query, {key: UIDs(to_ranges(uids)) for key, uids in found.items()})


def _matches(test: KeyTest, annotations: Sequence[Annotation] | None, without: bool) -> bool:
    """:param without: what a message does that has none."""
    return without if annotations is None else test.matches(annotations)


class _Scan:
    """Looks at the messages one by one, for backends that do not search."""

    def __init__(self, connection: IMAPProtocol, selection: Selection, query: Query) -> None:
        self.connection = connection
        self.selection = selection
        self.matcher = Matcher(query)
        self.names_threads = asks_thread(query) and IThreadNamingMailbox.providedBy(
            selection.mailbox
        )

    async def run(self) -> list[int]:
        mailbox: Any = self.selection.mailbox
        matcher = self.matcher
        view = self.selection.state.uids
        found: list[int] = []
        for start in range(0, len(view), BATCH):
            await self.connection.drain()
            if self.names_threads:
                await mailbox.name_threads(uids=view[start : start + BATCH])
            infos = await mailbox.get_messages(uids=view[start : start + BATCH])
            undecided: list[MessageInfo] = []
            matching: list[int] = []
            for info in infos:
                answer = matcher.by_info(info)
                if answer is None:
                    undecided.append(info)
                elif answer:
                    matching.append(info.uid)
            if undecided:
                matching.extend(await self._by_summary(undecided))
                matching.sort()
            found.extend(matching)
        return found

    async def _by_summary(self, infos: list[MessageInfo]) -> list[int]:
        mailbox = self.selection.mailbox
        if not ISummarizingMailbox.providedBy(mailbox):
            return await self._by_message(infos)
        found: list[int] = []
        for start in range(0, len(infos), SUMMARY_BATCH):
            await self.connection.drain()
            some = infos[start : start + SUMMARY_BATCH]
            uids = [info.uid for info in some]
            summaries = await mailbox.get_summaries(uids=uids, structure=False)
            headers = {summary.uid: summary.header for summary in summaries}
            undecided = []
            for info in some:
                if info.uid not in headers:
                    continue
                answer = self.matcher.by_header(info, headers[info.uid], False)
                if answer is None:
                    undecided.append(info)
                elif answer:
                    found.append(info.uid)
            found.extend(await self._by_message(undecided))
        return found

    async def _by_message(self, infos: list[MessageInfo]) -> list[int]:
        return [info.uid for info in infos if await self._matches(info)]

    async def _matches(self, info: MessageInfo) -> bool:
        await self.connection.drain()
        async with opened(self.selection.mailbox, info.uid) as content:
            if content is None:
                return False
            if self.matcher.needs < Need.MESSAGE:
                header = content.read(0, content.header().body_start)
                return bool(self.matcher.by_header(info, header, True))
            await content.load(self.connection.drain)
            return self.matcher.by_message(info, content.octets())


async def score(
    connection: IMAPProtocol, selection: Selection, query: Query, uids: Sequence[int]
) -> dict[int, int]:
    """How relevant messages are that a fuzzy search has found (RFC 6203 section 4)."""
    scores = dict.fromkeys(uids, SCORES[Tolerance.STEMS])
    for tolerance in (Tolerance.WORDS, Tolerance.EXACT):
        found = await find(connection, selection, among(tighten(query, tolerance), sorted(uids)))
        scores.update((uid, SCORES[tolerance]) for uid in found if uid in scores)
    return scores


async def highest_modseq(
    connection: IMAPProtocol, selection: Selection, uids: Sequence[int]
) -> int | None:
    """Of some messages (RFC 7162 section 3.1.6); None where there is none."""
    if not uids:
        return None
    highest = 0
    for start in range(0, len(uids), BATCH):
        await connection.drain()
        infos = await selection.mailbox.get_messages(uids=uids[start : start + BATCH])
        highest = max([highest, *(info.modseq for info in infos)])
    return highest
