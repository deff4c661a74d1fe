"""Commands for a selected mailbox, but FETCH and SEARCH (RFC 3501 6.4, 3691, 4315, 6851)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mailkit.errors import NoSuchMailbox, NoSuchMessage, PermissionDenied, ReadOnly
from mailkit.imap import render
from mailkit.imap.annotate import CAPABILITY
from mailkit.imap.condstore import parse_unchanged_since
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.annotate import annotations_to_copy, store_annotations
from mailkit.imap.handlers.append import refuse_destination
from mailkit.imap.handlers.fetch import refuse_gone
from mailkit.imap.handlers.finding import find
from mailkit.imap.handlers.labelling import find_operation, store_labels
from mailkit.imap.handlers.messagelimit import (
    check_count,
    complete_limited,
    limit_of,
    limit_spans,
    tell_limit,
)
from mailkit.imap.handlers.progress import telling_progress
from mailkit.imap.handlers.sets import find_uids, resolve
from mailkit.imap.handlers.storing import CHANGE_BATCH, Storing
from mailkit.imap.handlers.table import SELECTED, Capability, Verb, Waiting, after_login
from mailkit.imap.session import BATCH, Selection
from mailkit.interfaces import (
    ICopyingMailbox,
    IMailbox,
    IQuietMailbox,
    IReadyFields,
    ISpooling,
    IWritableMailbox,
)
from mailkit.model import DELETED, AppendMessage, CopyResult, FlagOp, Flags, MessageInfo
from mailkit.query import HasFlag
from mailkit.spool import READ_BUFFER, Spool

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Octets of messages that are copied in one step when the backend cannot copy.
COPY_OCTETS = 16 * 1024 * 1024

_OPERATIONS = {
    b"FLAGS": FlagOp.REPLACE,
    b"+FLAGS": FlagOp.ADD,
    b"-FLAGS": FlagOp.REMOVE,
}


def _selection(connection: IMAPProtocol) -> Selection:
    selection = connection.selection
    assert selection is not None
    return selection


# Ends.


async def check(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.4.1: every change is durable already."""
    command.arguments.end()
    await connection.complete("CHECK completed")


async def close(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.4.2: expunges without telling, and never fails for a read-only mailbox."""
    command.arguments.end()
    selection = _selection(connection)
    # RFC 4314 section 4: without the right "e" CLOSE does not expunge, and does not fail. Nor does
    # it where somebody has deleted the mailbox: the client is leaving it.
    if selection.writable is not None and selection.may("e"):
        with suppress(NoSuchMailbox, PermissionDenied):
            await _remove(selection, await _find_deleted(connection, selection.state.uids))
    connection.unselect()
    connection.ok("CLOSE completed")


def unselect(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3691 section 2"""
    command.arguments.end()
    connection.unselect()
    connection.ok("UNSELECT completed")
    return None


# Expunging.


async def expunge(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.4.3"""
    command.arguments.end()
    selection = _selection(connection)
    # RFC 9738 section 3.1: there is no limit for EXPUNGE and CLOSE.
    deleted = await _find_deleted(connection, selection.state.uids)
    await _remove(selection, deleted)
    await connection.complete("EXPUNGE completed", modseq=bool(deleted))


async def uid_expunge(connection: IMAPProtocol, command: Command) -> None:
    """RFC 4315 section 2.1"""
    spans = await resolve(connection, command)
    command.arguments.end()
    selection = _selection(connection)
    deleted = await _find_deleted(connection, await find_uids(connection, spans))
    limit, lowest = limit_of(connection), 0
    if limit and len(deleted) > limit:
        deleted = deleted[-limit:]
        lowest = deleted[0]
    await _remove(selection, deleted)
    await complete_limited(connection, "UID EXPUNGE completed", lowest, modseq=bool(deleted))


async def _find_deleted(connection: IMAPProtocol, uids: Sequence[int]) -> Sequence[int]:
    """Those of the messages that are \\Deleted; only such as the client knows of.

    :raises MailError: they may not be removed.
    """
    selection = _selection(connection)
    mailbox = selection.to_write()
    selection.check_right("e")
    if len(uids) > BATCH:
        # Found by the backend's index, where it has one.
        found = await find(connection, selection, HasFlag(DELETED))
        deleted: list[int] = []
        for start in range(0, len(uids), CHANGE_BATCH):
            await connection.drain()
            some = uids[start : start + CHANGE_BATCH]
            these = set(found[bisect_left(found, some[0]) : bisect_right(found, some[-1])])
            deleted += [uid for uid in some if uid in these]
        return deleted
    infos = await mailbox.get_messages(uids=uids)
    return [info.uid for info in infos if DELETED in info.flags]


async def _remove(selection: Selection, uids: Sequence[int]) -> None:
    """Remove messages that are \\Deleted, as far as they are still."""
    mailbox = selection.to_write()
    for start in range(0, len(uids), CHANGE_BATCH):
        some = uids[start : start + CHANGE_BATCH]
        await mailbox.expunge(uids=some, only_deleted=True)
        selection.dirty = True


# Flags.


async def store(connection: IMAPProtocol, command: Command) -> None:
    """STORE and UID STORE (RFC 3501 section 6.4.6)"""
    selection = _selection(connection)
    spans = await resolve(connection, command)
    arguments = command.arguments
    arguments.space()
    unchanged_since = None
    if arguments.looking_at(b"(") and b"CONDSTORE" in connection.extensions:
        unchanged_since = parse_unchanged_since(arguments)
        arguments.space()
    word = arguments.word("What to store")
    if (labelling := find_operation(connection, word)) is not None:
        if unchanged_since is not None:
            raise SyntaxFault("UNCHANGEDSINCE goes with flags")
        await store_labels(connection, command, spans, *labelling)
        return
    if word == b"ANNOTATION" and connection.offers(CAPABILITY):
        await store_annotations(connection, command, spans, unchanged_since)
        return
    op, silent = _read_operation(word)
    arguments.space()
    flags = arguments.store_flags()
    arguments.end()
    mailbox = selection.to_write()
    by_uid = command.verb.startswith(b"UID ")
    # What others have changed is told first, or .SILENT would hide it.
    await connection.announce(expunges=False)
    if selection.may_store(op, flags):
        keywords = selection.state.new_keywords(flags, render.COMMON_KEYWORDS)
        if keywords and op is not FlagOp.REMOVE:
            connection.write(render.flag_line((*render.COMMON_KEYWORDS, *keywords)))
    else:
        # RFC 4314 section 4: what may be changed is, and the client has to know what was not.
        silent = False
    if unchanged_since is not None:
        connection.enable_condstore()
    spans, lowest = limit_spans(connection, selection, spans)
    storing = _Storing(connection, selection, mailbox, silent, by_uid)
    await storing.run(await find_uids(connection, spans), op, flags, unchanged_since)
    code = storing.modified_code()
    if storing.missing and not (by_uid or silent):
        # RFC 2180 sections 4.2.1 to 4.2.3
        tell_limit(connection, lowest)
        await refuse_gone(connection, code)
    else:
        await complete_limited(connection, "STORE completed", lowest, code)


class _Storing(Storing):
    """One STORE of flags."""

    def __init__(
        self,
        connection: IMAPProtocol,
        selection: Selection,
        mailbox: IWritableMailbox,
        silent: bool,
        by_uid: bool,
    ) -> None:
        super().__init__(connection, selection, by_uid)
        self.mailbox = mailbox
        self.silent = silent

    async def run(
        self, uids: Sequence[int], op: FlagOp, flags: Flags, unchanged_since: int | None
    ) -> None:
        for start in range(0, len(uids), CHANGE_BATCH):
            some = uids[start : start + CHANGE_BATCH]
            silent = self.silent
            if silent and unchanged_since is None:
                # Nobody could tell whether flags that are told meanwhile are those from before.
                told = self.selection.told
                known = [uid for uid in some if uid not in told] if told else some
                changed = await self._store_known(known, op, flags)
                some = sorted([*changed, *told.intersection(some)]) if told else changed
                if not some:
                    continue
                silent = False
            elif unchanged_since is None and self._tells_quickly():
                await self._store_and_tell(some, op, flags)
                continue
            result = await self.mailbox.store_flags(
                uids=some, op=op, flags=flags, unchanged_since=unchanged_since
            )
            self.take(result, some)
            if silent:
                await self.tell_modseqs(result.messages)
            else:
                await self.tell(result.messages, self.flags)
            await self.tell_modified(result.modified)

    def _tells_quickly(self) -> bool:
        """What has become of the flags is told from the mailbox, not message by message."""
        mailbox = self.mailbox
        quick = IQuietMailbox.providedBy(mailbox) and IReadyFields.providedBy(mailbox)
        return quick and not self.selection.tells_modseqs

    async def _store_and_tell(self, uids: Sequence[int], op: FlagOp, flags: Flags) -> None:
        mailbox: Any = self.mailbox
        quiet = await mailbox.store_quietly(uids=uids, op=op, flags=flags)
        self.missing = self.missing or quiet.found < len(uids)
        self.selection.note_quiet(quiet)
        for start in range(0, len(uids), BATCH):
            await self.connection.drain()
            some = uids[start : start + BATCH]
            ready = mailbox.read_fields(uids=some, fields=["flags"])
            if ready is None:
                # Some are gone, or they have to be waited for.
                self.connection.write(self.flags(await mailbox.get_messages(uids=some)))
            else:
                self.connection.write(
                    self.selection.ready_flag_updates(some, ready[0], self.by_uid)
                )

    async def _store_known(self, uids: Sequence[int], op: FlagOp, flags: Flags) -> Sequence[int]:
        """Change, in silence, those whose flags the client knows: it can work the new ones out.

        :returns: UIDs of the others, which another session has changed just now: were their flags
            not told, the client would never hear of that (RFC 3501 section 6.4.6).
        """
        if not uids:
            return ()
        selection = self.selection
        if IQuietMailbox.providedBy(self.mailbox) and not selection.tells_modseqs:
            quiet = await self.mailbox.store_quietly(
                uids=uids, op=op, flags=flags, unchanged_since=selection.state.modseq
            )
            self.missing = self.missing or quiet.found + len(quiet.modified) < len(uids)
            selection.note_quiet(quiet)
            return quiet.modified
        result = await self.mailbox.store_flags(
            uids=uids, op=op, flags=flags, unchanged_since=selection.state.modseq
        )
        self.take(result._replace(modified=()), uids[: len(uids) - len(result.modified)])
        await self.tell_modseqs(result.messages)
        return result.modified


def _read_operation(word: bytes) -> tuple[FlagOp, bool]:
    """``+FLAGS.SILENT`` and the like."""
    name, dot, suffix = word.partition(b".")
    op = _OPERATIONS.get(name)
    if op is None or (dot and suffix != b"SILENT"):
        raise SyntaxFault("STORE takes FLAGS, +FLAGS or -FLAGS, with or without .SILENT")
    return op, bool(dot)


# Copying and moving.


async def copy(connection: IMAPProtocol, command: Command) -> None:
    """COPY and UID COPY (RFC 3501 section 6.4.7)"""
    await _transfer(connection, command, move=False)


async def move(connection: IMAPProtocol, command: Command) -> None:
    """MOVE and UID MOVE (RFC 6851)"""
    await _transfer(connection, command, move=True)


async def _transfer(connection: IMAPProtocol, command: Command, move: bool) -> None:
    selection = _selection(connection)
    spans = await resolve(connection, command)
    command.arguments.space()
    name = command.arguments.mailbox()
    command.arguments.end()
    if move:
        selection.to_write()
    lowest = 0
    if move:
        spans, lowest = limit_spans(connection, selection, spans)
    uids = await find_uids(connection, spans)
    if not move:
        check_count(connection, uids)
    by_number = not command.verb.startswith(b"UID ")
    if by_number:
        # RFC 2180 section 4.4.1: what the client may still count, but is gone, is not left out.
        await connection.announce(expunges=False)
        if selection.state.gone_among(uids):
            await refuse_gone(connection)
            return
    try:
        with telling_progress(connection):
            result = await _run_transfer(connection, selection, uids, name, move)
    except NoSuchMailbox as error:
        if await _exists(connection, name):
            raise
        refuse_destination(connection, error)
        return
    finally:
        selection.dirty = True
    missing = by_number and len(result.source_uids) < len(uids)
    if missing and not move:
        # RFC 3501 section 6.4.7: the destination is as it was before a COPY that fails.
        await _take_back(connection, name, result)
        await refuse_gone(connection)
        return
    if not result.source_uids:
        await connection.complete("No messages were there to be copied or moved")
        return
    code = await _copyuid(connection, result) if connection.offers(b"UIDPLUS") else b""
    if move:
        # RFC 6851 section 4.3: before the EXPUNGE responses.
        if code:
            connection.remark(b"* OK [%b] Moved\r\n" % code)
        if missing:
            tell_limit(connection, lowest)
            await refuse_gone(connection)
        else:
            await complete_limited(connection, "MOVE completed", lowest, modseq=True)
    else:
        await connection.complete("COPY completed", code)


async def _copyuid(connection: IMAPProtocol, result: CopyResult) -> bytes:
    # RFC 4315 section 3: both sets are in the same order.
    sets = []
    for uids in (result.source_uids, result.destination_uids):
        parts = []
        # A range is told at once, however long it is.
        at_once = len(uids) if isinstance(uids, range) else CHANGE_BATCH
        for start in range(0, len(uids), at_once):
            parts.append(render.uid_set(uids[start : start + at_once]))
            await connection.drain()
        sets.append(b",".join(parts))
    return b"COPYUID %d " % result.uid_validity + b" ".join(sets)


async def _take_back(connection: IMAPProtocol, name: str, result: CopyResult) -> None:
    """Remove copies again."""
    assert connection.account is not None
    destination = await connection.account.open_mailbox(name=name)
    if result.destination_uids and IWritableMailbox.providedBy(destination):
        # In somebody else's mailbox there may be no right to: then they stay.
        with suppress(PermissionDenied):
            await destination.expunge(uids=result.destination_uids)


async def _exists(connection: IMAPProtocol, name: str) -> bool:
    assert connection.account is not None
    try:
        await connection.account.open_mailbox(name=name)
    except NoSuchMailbox:
        return False
    return True


async def _run_transfer(
    connection: IMAPProtocol, selection: Selection, uids: Sequence[int], name: str, move: bool
) -> CopyResult:
    mailbox = selection.mailbox
    if ICopyingMailbox.providedBy(mailbox):
        if move:
            return await mailbox.move_messages(uids=uids, destination=name)
        return await mailbox.copy_messages(uids=uids, destination=name)
    assert connection.account is not None
    destination = await connection.account.open_mailbox(name=name)
    if not IWritableMailbox.providedBy(destination):
        raise ReadOnly
    return await _Copier(connection, selection, destination).run(uids, move)


class _Copier:
    """Copies by reading and appending, for backends that cannot do better."""

    def __init__(
        self, connection: IMAPProtocol, selection: Selection, destination: IWritableMailbox
    ) -> None:
        self.connection = connection
        self.mailbox: IMailbox = selection.mailbox
        self.selection = selection
        self.destination = destination

    async def run(self, uids: Sequence[int], move: bool) -> CopyResult:
        """All or none is beyond this: each step appends many messages at once."""
        uid_validity = 0
        sources: list[int] = []
        copies: list[int] = []
        for start in range(0, len(uids), BATCH):
            infos = await self.mailbox.get_messages(uids=uids[start : start + BATCH])
            for some in self._steps(infos):
                done, uid_validity, new = await self._copy(some, uid_validity)
                sources.extend(done)
                copies.extend(new)
                if move and done:
                    # A message is in one of the mailboxes at least (RFC 6851 section 3.3).
                    await self.selection.to_write().expunge(uids=done)
        return CopyResult(uid_validity, sources, copies)

    def _steps(self, infos: Sequence[MessageInfo]) -> list[list[MessageInfo]]:
        steps: list[list[MessageInfo]] = []
        octets = COPY_OCTETS
        for info in infos:
            if octets + info.size > COPY_OCTETS:
                steps.append([])
                octets = 0
            steps[-1].append(info)
            octets += info.size
        return steps

    async def _copy(
        self, infos: Sequence[MessageInfo], uid_validity: int
    ) -> tuple[list[int], int, Sequence[int]]:
        messages: list[AppendMessage] = []
        done: list[int] = []
        annotations = await annotations_to_copy(
            self.mailbox, self.destination, [info.uid for info in infos]
        )
        try:
            for info in infos:
                flags: Flags = info.flags
                spool = self._new_spool()
                notes = annotations.get(info.uid, ())
                messages.append(AppendMessage(spool, flags, info.internal_date, notes))
                try:
                    await self._fill(spool, info.uid)
                except NoSuchMessage:
                    messages.pop().content.close()
                else:
                    done.append(info.uid)
            if not messages:
                return [], uid_validity, []
            result = await self.destination.append(messages=messages)
            return done, result.uid_validity, result.uids
        finally:
            for message in messages:
                message.content.close()

    def _new_spool(self) -> Spool:
        account = self.connection.account
        return account.new_spool() if ISpooling.providedBy(account) else Spool()

    async def _fill(self, spool: Spool, uid: int) -> None:
        file = await self.mailbox.open_message(uid=uid)
        try:
            while data := file.read(READ_BUFFER):
                spool.write(data)
                await self.connection.drain()
        finally:
            file.close()


VERBS: Mapping[bytes, Verb] = {
    b"CHECK": Verb(SELECTED, check, arrivals=True),
    b"CLOSE": Verb(SELECTED, close),
    b"UNSELECT": Verb(SELECTED, unselect, extension=b"UNSELECT"),
    b"EXPUNGE": Verb(SELECTED, expunge, removes=True),
    b"UID EXPUNGE": Verb(SELECTED, uid_expunge, removes=True, by_uid=True, extension=b"UIDPLUS"),
    b"STORE": Verb(SELECTED, store, expunges=False),
    b"UID STORE": Verb(SELECTED, store, by_uid=True),
    b"COPY": Verb(SELECTED, copy),
    b"UID COPY": Verb(SELECTED, copy, by_uid=True),
    b"MOVE": Verb(SELECTED, move, removes=True, extension=b"MOVE"),
    b"UID MOVE": Verb(SELECTED, move, removes=True, by_uid=True, extension=b"MOVE"),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"UIDPLUS", after_login),
    Capability(b"UNSELECT", after_login),
    Capability(b"MOVE", after_login),
)
