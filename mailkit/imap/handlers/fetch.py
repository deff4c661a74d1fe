"""FETCH and UID FETCH (RFC 3501 sections 6.4.5, 6.4.8)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.internet.defer import CancelledError

from mailkit.connection import CHUNK
from mailkit.errors import NoSuchMessage, UnknownTransferEncoding
from mailkit.imap.condstore import FetchModifiers, parse_fetch_modifiers
from mailkit.imap.content import MessageContent
from mailkit.imap.decoded import Decodings, Slice
from mailkit.imap.fetch import GLOBAL, Attribute, Piece, Plan, parse_attributes
from mailkit.imap.grammar import Command
from mailkit.imap.handlers.finding import find
from mailkit.imap.handlers.labels import LabelReader
from mailkit.imap.handlers.messagelimit import (
    check_range,
    complete_limited,
    limit_spans,
    tell_limit,
)
from mailkit.imap.handlers.opened import opened
from mailkit.imap.handlers.resync import tell_vanished
from mailkit.imap.handlers.sets import resolve_ranges
from mailkit.imap.handlers.table import SELECTED, Capability, Verb, after_login
from mailkit.imap.search import uid_ranges
from mailkit.imap.session import BATCH, SUMMARY_BATCH, Selection
from mailkit.imap.spans import Spans, runs
from mailkit.imap.state import Batch
from mailkit.interfaces import (
    IAnnotatedMailbox,
    IBatchReadingMailbox,
    IReadyFields,
    ISummarizingMailbox,
    IThreadNamingMailbox,
)
from mailkit.model import SEEN, FlagOp, MessageInfo, MessageSummary
from mailkit.query import ModifiedSince

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Octets of small messages that are read, and sent, in one go.
READ_OCTETS = 512 * 1024
READ_MESSAGES = 64
#: Octets of messages that are marked \\Seen in one go before they are sent.
SEEN_OCTETS = 256 * 1024
SEEN_MESSAGES = 100


async def fetch(connection: IMAPProtocol, command: Command) -> None:
    """Both commands."""
    selection = connection.selection
    assert selection is not None
    command.arguments.space()
    ranges = command.arguments.sequence_set()
    by_uid = command.verb.startswith(b"UID ")
    spans = await resolve_ranges(connection, ranges, by_uid)
    command.arguments.space()
    attributes = parse_attributes(command.arguments, connection.offers)
    modifiers = FetchModifiers()
    if not command.arguments.at_end():
        command.arguments.space()
        usable = connection.usable_extensions()
        modifiers = parse_fetch_modifiers(command.arguments, usable, by_uid)
    command.arguments.end()
    changed_since = modifiers.changed_since
    if changed_since is not None or any(each.name == b"MODSEQ" for each in attributes):
        connection.enable_condstore()
    if modifiers.partial is not None:
        spans = modifiers.partial.pick_spans(spans)
        # RFC 9738 section 3.1: then nothing is done.
        check_range(connection, spans)
    if modifiers.vanished and changed_since is not None:
        await tell_vanished(connection, changed_since, uid_ranges(ranges, selection.state))
    if changed_since is not None:
        spans = await _changed(connection, selection, spans, changed_since)
    spans, lowest = limit_spans(connection, selection, spans)
    summaries = ISummarizingMailbox.providedBy(selection.mailbox)
    # RFC 7162 section 3.2.4: where \\Seen is set, UID and MODSEQ are told besides.
    marks = selection.tells_modseqs and any(each.sets_seen for each in attributes)
    told_modseq = marks or changed_since is not None
    uid_only = selection.state.uid_only
    plan = Plan(attributes, summaries, by_uid or marks, told_modseq, uid_only)
    fetcher = _Fetcher(connection, selection, plan, descending=lowest > 0)
    if plan.by_message:
        await fetcher.by_message(spans)
    else:
        await fetcher.by_columns(spans)
    if fetcher.undecodable is not None:
        tell_limit(connection, lowest)
        await connection.announce()
        connection.settle()
        raise fetcher.undecodable
    if fetcher.missing and not by_uid:
        tell_limit(connection, lowest)
        # RFC 2180 section 4.1.2: the client has asked for what is gone.
        await refuse_gone(connection)
    else:
        await complete_limited(connection, "FETCH completed", lowest)


async def refuse_gone(connection: IMAPProtocol, code: bytes = b"") -> None:
    """Numbers of the command name messages that somebody has expunged."""
    await connection.announce()
    connection.settle()
    connection.no("Some of the messages no longer exist", code or b"EXPUNGEISSUED")


async def send_items(
    connection: IMAPProtocol, attributes: Sequence[Attribute], uids: Sequence[int]
) -> None:
    """Tell items of messages that the client did not ask for just now (RFC 5465 section 5.2)."""
    selection = connection.selection
    assert selection is not None
    spans = runs([number - 1 for number in selection.state.numbers_of(uids)])
    summaries = ISummarizingMailbox.providedBy(selection.mailbox)
    # RFC 7162 section 3.2.4, RFC 9051 section 7.5.2: what nobody asked for just now tells both.
    modseq = selection.tells_modseqs
    uid = modseq or selection.tells_uids
    plan = Plan(attributes, summaries, uid, modseq, selection.state.uid_only)
    fetcher = _Fetcher(connection, selection, plan)
    await (fetcher.by_message(spans) if plan.by_message else fetcher.by_columns(spans))


async def send_news(
    connection: IMAPProtocol, attributes: Sequence[Attribute], uids: Sequence[int]
) -> None:
    """Tell items of messages that have just been announced."""
    await send_items(connection, attributes, uids)
    selection = connection.selection
    assert selection is not None
    if selection.tells_modseqs:
        # RFC 7162 section 6: what has changed since the announcement is in the items already, and
        # the client is not to believe that it knows all that was changed before.
        connection.remark(selection.highest_modseq())


async def _changed(
    connection: IMAPProtocol, selection: Selection, spans: Spans, since: int
) -> Spans:
    """Those of the messages that changed after a modification sequence (RFC 7162 3.1.4.1)."""
    found = await find(connection, selection, ModifiedSince(since + 1))
    return selection.state.spans_of(found, spans)


class _Fetcher:
    """Sends what a plan asks for.

    :param descending: the last messages first (RFC 9738 section 3.1).
    """

    def __init__(
        self,
        connection: IMAPProtocol,
        selection: Selection,
        plan: Plan,
        descending: bool = False,
    ) -> None:
        self.descending = descending
        self.connection = connection
        self.selection = selection
        self.plan = plan
        #: Some messages in view are no longer in the mailbox.
        self.missing = False
        self._labels: LabelReader | None = None
        mailbox = selection.mailbox
        self._ready = mailbox if IReadyFields.providedBy(mailbox) else None
        #: Why a part could not be sent (RFC 3516 section 4.3).
        self.undecodable: UnknownTransferEncoding | None = None

    def _is_recent(self, uids: Sequence[int]) -> Callable[[int], bool] | None:
        state = self.selection.state
        return state.is_recent if state.any_recent(uids) else None

    def _batches(self, spans: Spans, size: int) -> Iterable[Batch]:
        """The messages some at a time, in the order in which they are told."""
        batches = self.selection.state.batches(spans, size)
        return list(batches)[::-1] if self.descending else batches

    async def _get_infos(self, uids: Sequence[int]) -> Sequence[Any]:
        mailbox = self.selection.mailbox
        if self.plan.by_thread and IThreadNamingMailbox.providedBy(mailbox):
            await mailbox.name_threads(uids=uids)
        infos = await mailbox.get_messages(uids=uids)
        if self.plan.by_annotation:
            # Behind the details: whoever takes MODSEQ for what it knows misses no annotation.
            self.plan.annotations.clear()
            if IAnnotatedMailbox.providedBy(mailbox):
                self.plan.annotations.update(await mailbox.get_annotations(uids=uids))
        if self.plan.by_labels:
            self._labels = self._labels or LabelReader(self.connection, self.selection)
            return await self._labels.attach(infos)
        return infos

    # From details and summaries.

    async def by_columns(self, spans: Spans) -> None:
        connection, plan = self.connection, self.plan
        small = plan.by_summary or plan.by_annotation
        for batch in self._batches(spans, BATCH):
            await connection.drain()
            rows = self._ready_rows(batch)
            if rows is not None:
                self._write(rows)
                continue
            for part in self._parts(batch, SUMMARY_BATCH if small else BATCH):
                await connection.drain()
                self._write(await self._made_rows(part))

    def _write(self, rows: Iterator[bytes]) -> None:
        self.connection.write(b"".join(list(rows)[::-1] if self.descending else rows))

    def _parts(self, batch: Batch, size: int) -> list[Batch]:
        """A batch in pieces, in the order in which they are told."""
        parts = [
            Batch(batch.numbers[start : start + size], batch.uids[start : start + size])
            for start in range(0, len(batch.uids), size)
        ]
        return parts[::-1] if self.descending else parts

    def _ready_rows(self, batch: Batch) -> Iterator[bytes] | None:
        """The responses for messages of which all is at hand; None for others."""
        ready, plan = self._ready, self.plan
        if ready is None or plan.fields is None:
            return None
        numbers, uids = batch
        fields: Sequence[Sequence[Any]] | None = ()
        if plan.fields:
            fields = ready.read_fields(uids=uids, fields=plan.fields)
        if fields is None or (self.connection.rev2 and plan.has_global(fields)):
            return None
        return plan.ready_rows(
            uids if plan.uid_only else numbers, uids, fields, self._is_recent(uids)
        )

    async def _made_rows(self, batch: Batch) -> Iterator[bytes]:
        """The responses for messages, whatever has to be waited for."""
        plan = self.plan
        mailbox: Any = self.selection.mailbox
        numbers: Sequence[int] = batch.numbers
        infos: Sequence[Any] = ()
        summaries: Sequence[Any] = ()
        if plan.by_info:
            infos = await self._get_infos(batch.uids)
        if plan.by_summary:
            summaries = await mailbox.get_summaries(uids=batch.uids, structure=plan.by_structure)
            if plan.by_structure and self.connection.rev2:
                summaries = [await self._show_global(each) for each in summaries]
            if not plan.by_info:
                infos = summaries
        if not (plan.by_info or plan.by_summary):
            infos = [(uid,) for uid in batch.uids]
        elif len(infos) != len(numbers) or (plan.by_summary and len(summaries) != len(numbers)):
            self.missing = True
            numbers, infos, summaries = _align(batch, infos, summaries, plan.by_summary)
        if plan.uid_only:
            numbers = [info[0] for info in infos]
        return plan.rows(numbers, infos, summaries, self._is_recent(batch.uids))

    async def _show_global(self, summary: MessageSummary) -> MessageSummary:
        """The same with what is inside of message/global (RFC 9051 section 7.5.2).

        Summaries are kept for clients of RFC 3501, which has no syntax for it.
        """
        if GLOBAL not in summary.body_structure:
            return summary
        async with opened(self.selection.mailbox, summary.uid) as content:
            if content is None:
                return summary
            content.rev2 = True
            await content.load(self.connection.drain)
            await content.parse(self.connection.drain)
            return summary._replace(body_structure=content.body_structure())

    # From the messages.

    async def by_message(self, spans: Spans) -> None:
        # RFC 4314 section 4: not set, and no reason to refuse, without the right "s".
        selection = self.selection
        marks = self.plan.sets_seen and selection.writable is not None and selection.may("s")
        for batch in self._batches(spans, SUMMARY_BATCH if self.plan.by_annotation else BATCH):
            infos: Sequence[Any]
            if self.plan.by_info or marks:
                infos = await self._get_infos(batch.uids)
            else:
                infos = list(zip(batch.uids, strict=True))
            if len(infos) != len(batch.uids):
                self.missing = True
            if self.descending:
                infos = infos[::-1]
            if not marks:
                await self._send_messages(infos, set())
                continue
            for some in _by_size(infos):
                seen, changed = await self._mark_seen(some)
                await self._send_messages(seen, changed)

    async def _mark_seen(
        self, infos: Sequence[MessageInfo]
    ) -> tuple[Sequence[MessageInfo], set[int]]:
        """Set \\Seen where it is missing (RFC 3501 section 6.4.5).

        :returns: the messages as they are then, and the UIDs of those that were changed.
        """
        unseen = [info.uid for info in infos if SEEN not in info.flags]
        writable = self.selection.writable
        if not unseen or writable is None:
            return infos, set()
        result = await writable.store_flags(uids=unseen, op=FlagOp.ADD, flags=frozenset((SEEN,)))
        self.selection.state.note_own(result.messages)
        fresh = {info.uid: info for info in result.messages}
        marked = [
            # Not the new one: this one may know more.
            info._replace(flags=fresh[info.uid].flags, modseq=fresh[info.uid].modseq)
            if info.uid in fresh
            else info
            for info in infos
        ]
        return marked, fresh.keys() & set(unseen)

    async def _send_messages(self, infos: Sequence[Any], told: set[int]) -> None:
        """:param infos: may be any rows that begin with the UID if the plan is not ``by_info``.
        :param told: UIDs whose flags have to be told.
        """
        state = self.selection.state
        mailbox: Any = self.selection.mailbox
        uids = [info[0] for info in infos]
        details = list(self.plan.details(infos, self._is_recent(uids), told))
        together = IBatchReadingMailbox.providedBy(mailbox)
        done = 0
        while done < len(uids):
            read: Sequence[bytes] = ()
            if together:
                wanted = uids[done : done + READ_MESSAGES]
                read = await mailbox.read_messages(uids=wanted, octets=READ_OCTETS)
            if read:
                last = done + len(read)
                await self._send_read(uids[done:last], details[done:last], read)
                done = last
                continue
            number = state.number_of(uids[done])
            if number is not None:
                await self._send_message(number, uids[done], details[done])
            done += 1

    async def _send_read(
        self, uids: Sequence[int], details: Sequence[list[bytes | None]], read: Sequence[bytes]
    ) -> None:
        """Send messages that are in memory."""
        plan, numbers = self.plan, self.selection.state.numbers_or_zero(uids)
        if plan.whole is None:
            for number, uid, known, data in zip(numbers, uids, details, read, strict=True):
                await self._send_content(number, uid, known, io.BytesIO(data))
        else:
            shown = uids if plan.uid_only else numbers
            await self.connection.send_all(plan.wrap(shown, details, map(_clean, read)))

    async def _send_message(self, number: int, uid: int, known: list[bytes | None]) -> None:
        try:
            file = await self.selection.mailbox.open_message(uid=uid)
        except NoSuchMessage:
            self.missing = True
            return
        await self._send_content(number, uid, known, file)

    async def _send_content(
        self, number: int, uid: int, known: list[bytes | None], file: BinaryIO
    ) -> None:
        selection = self.selection
        cached = selection.structure
        content = MessageContent(file, cached[1] if cached and cached[0] == uid else None)
        content.rev2 = self.connection.rev2
        if self.plan.decoded:
            content.decodings = self._decodings(uid)
        try:
            if content.large and self.plan.needs_structure:
                if content.root is None or self.plan.needs_text:
                    await content.load(self.connection.drain)
                selection.structure = uid, await content.parse(self.connection.drain)
            for parts in self.plan.decoded:
                await content.measure(parts, self.connection.drain)
            shown = uid if self.plan.uid_only else number
            pieces = self.plan.pieces(shown, known, content)
            if content.large:
                await self._stream(content, pieces)
            else:
                octets = [_octets(content, piece) for piece in pieces]
                await self.connection.send(b"".join(octets))
        except UnknownTransferEncoding as error:
            self.undecodable = error
        finally:
            content.close()

    def _decodings(self, uid: int) -> Decodings:
        """What is known of a message's decoded parts."""
        selection = self.selection
        if selection.decodings is None or selection.decodings[0] != uid:
            selection.decodings = uid, Decodings()
        return selection.decodings[1]

    async def _stream(self, content: MessageContent, pieces: list[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                await self.connection.send(piece)
                continue
            if not await self._send_large(content, piece):
                # The size is promised already; nothing else can follow.
                self.connection.abort()
                return

    async def _send_large(self, content: MessageContent, piece: tuple[int, int] | Slice) -> bool:
        """False when less could be sent than was promised; the log tells why."""
        left = piece[-1] - piece[-2]
        try:
            for data in _read(content, piece):
                left -= len(data)
                await self.connection.send(data)
        except CancelledError:
            raise
        except Exception:
            self.connection.log.failure("a message could not be read to its end")
            return False
        if left:
            self.connection.log.error("a message is shorter than it was")
        return not left


def _read(content: MessageContent, piece: tuple[int, int] | Slice) -> Iterator[bytes]:
    """The octets of a large message's piece, some at a time."""
    if isinstance(piece, Slice):
        yield from content.slice(piece)
        return
    start, end = piece
    while start < end:
        data = content.read(start, min(start + CHUNK, end))
        if not data:
            return
        start += len(data)
        yield _clean(data)


def _octets(content: MessageContent, piece: Piece) -> bytes:
    """A small message's piece."""
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, Slice):
        return b"".join(content.slice(piece))
    return _clean(content.read(*piece))


def _clean(data: bytes) -> bytes:
    """RFC 3501 section 4.3.1: no NUL in a literal; 0x80 keeps the count."""
    return data.replace(b"\0", b"\x80") if b"\0" in data else data


def _align(
    batch: Batch, infos: Sequence[Any], summaries: Sequence[Any], both: bool
) -> tuple[list[int], list[Any], list[Any]]:
    """Leave out the messages that are gone; all results run in parallel."""
    numbers = dict(zip(batch.uids, batch.numbers, strict=True))
    by_uid = {summary[0]: summary for summary in summaries}
    kept = [info for info in infos if info[0] in numbers and (not both or info[0] in by_uid)]
    return (
        [numbers[info[0]] for info in kept],
        kept,
        [by_uid[info[0]] for info in kept] if both else [],
    )


def _by_size(infos: Sequence[MessageInfo]) -> list[list[MessageInfo]]:
    """Groups of messages that are marked and sent together."""
    groups: list[list[MessageInfo]] = []
    octets = SEEN_OCTETS
    for info in infos:
        if octets + info.size > SEEN_OCTETS or len(groups[-1]) >= SEEN_MESSAGES:
            groups.append([])
            octets = 0
        groups[-1].append(info)
        octets += info.size
    return groups


CAPABILITIES: Sequence[Capability] = (
    Capability(b"BINARY", after_login),
    Capability(b"PREVIEW", after_login),
)

VERBS: Mapping[bytes, Verb] = {
    b"FETCH": Verb(SELECTED, fetch, expunges=False),
    b"UID FETCH": Verb(SELECTED, fetch, by_uid=True),
}
