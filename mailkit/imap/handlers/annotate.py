"""ANNOTATE: what users say about messages (RFC 5257)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.annotations import Annotation
from mailkit.errors import EntryTooLarge, MailError, ReadOnly, TooManyEntries
from mailkit.imap.annotate import CAPABILITY, part_of, read_values, support_code
from mailkit.imap.content import MessageContent
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.messagelimit import complete_limited, limit_spans
from mailkit.imap.handlers.opened import opened
from mailkit.imap.handlers.sets import find_uids
from mailkit.imap.handlers.storing import CHANGE_BATCH, Storing
from mailkit.imap.handlers.table import Capability
from mailkit.imap.spans import Spans
from mailkit.interfaces import IAnnotatedMailbox, IAnnotatingAccount, IMailbox, IRestrictedMailbox

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


def support(mailbox: IMailbox, writable: bool) -> bytes:
    """The response code that SELECT tells of a mailbox (RFC 5257 section 4.1)."""
    if not IAnnotatedMailbox.providedBy(mailbox):
        return b"ANNOTATIONS NONE"
    return support_code(mailbox.max_annotation, mailbox.private_annotations, writable)


def check_mailbox(mailbox: object, annotations: Sequence[Annotation]) -> None:
    """:raises MailError: the mailbox does not take such annotations (RFC 5257 section 4.1)."""
    if not IAnnotatedMailbox.providedBy(mailbox):
        raise MailError("This mailbox keeps no annotations")
    if not mailbox.private_annotations and not all(each.shared for each in annotations):
        raise MailError("This mailbox keeps no private annotations")


def refusal_code(error: MailError) -> bytes:
    """The response code for annotations that are not taken; none for other errors."""
    if isinstance(error, EntryTooLarge):
        return b"ANNOTATE TOOBIG"
    return b"ANNOTATE TOOMANY" if isinstance(error, TooManyEntries) else b""


def parts_of(annotations: Sequence[Annotation]) -> set[tuple[int, ...]]:
    """Numbers of the parts that are annotated."""
    return {parts for each in annotations if (parts := part_of(each.entry))}


async def check_parts(
    connection: IMAPProtocol, content: MessageContent, parts: set[tuple[int, ...]]
) -> None:
    """Whether a message has these parts.

    :raises SyntaxFault: it lacks one (RFC 5257 section 3.2.1).
    """
    await content.load(connection.drain)
    await content.parse(connection.drain)
    for each in parts:
        if content.find(each, "") is None:
            number = ".".join(map(str, each))
            raise SyntaxFault(f"There is no part {number} in the message")


async def _check_messages(
    connection: IMAPProtocol,
    mailbox: IMailbox,
    uids: Sequence[int],
    annotations: Sequence[Annotation],
) -> None:
    parts = parts_of([each for each in annotations if each.value is not None])
    for uid in uids if parts else ():
        await connection.drain()
        async with opened(mailbox, uid) as content:
            if content is not None:
                await check_parts(connection, content, parts)


async def store_annotations(
    connection: IMAPProtocol, command: Command, spans: Spans, unchanged_since: int | None
) -> None:
    """STORE ANNOTATION, silent by itself (RFC 5257 section 4.5)."""
    arguments = command.arguments
    arguments.space()
    annotations = read_values(arguments)
    arguments.end()
    selection = connection.selection
    assert selection is not None
    if not selection.wants_write:
        raise ReadOnly("The mailbox is selected read-only")
    check_mailbox(selection.mailbox, annotations)
    await connection.announce(expunges=False)
    if unchanged_since is not None:
        connection.enable_condstore()
    spans, lowest = limit_spans(connection, selection, spans)
    uids = await find_uids(connection, spans)
    await _check_messages(connection, selection.mailbox, uids, annotations)
    storing = _Storing(connection, selection, command.verb.startswith(b"UID "))
    try:
        await storing.run(uids, annotations, unchanged_since)
    except (EntryTooLarge, TooManyEntries) as error:
        connection.no(error.text, refusal_code(error))
        return
    await complete_limited(connection, "STORE completed", lowest, storing.modified_code())


class _Storing(Storing):
    async def run(
        self, uids: Sequence[int], annotations: Sequence[Annotation], unchanged_since: int | None
    ) -> None:
        mailbox = self.selection.mailbox
        assert IAnnotatedMailbox.providedBy(mailbox)
        state = self.selection.state
        for start in range(0, len(uids), CHANGE_BATCH):
            some = uids[start : start + CHANGE_BATCH]
            self.selection.dirty = True
            since = state.modseq if unchanged_since is None else unchanged_since
            result = await mailbox.store_annotations(
                uids=some, annotations=annotations, unchanged_since=since
            )
            if unchanged_since is not None:
                self.take(result, some)
                await self.tell_modseqs(result.messages)
                await self.tell_modified(result.modified)
                continue
            state.note_own(result.messages)
            await self.tell_modseqs(result.messages)
            if result.modified:
                # Changed by others just now: that is told with the change of this session.
                again = await mailbox.store_annotations(
                    uids=result.modified, annotations=annotations
                )
                await self.tell_modseqs(again.messages)


async def annotations_to_copy(
    source: IMailbox, destination: IMailbox, uids: Sequence[int]
) -> Mapping[int, Sequence[Annotation]]:
    """What goes along with copies, by UID (RFC 5257 section 4.6).

    That is what the user sees, as far as the destination takes it from this user.
    """
    if not (IAnnotatedMailbox.providedBy(source) and IAnnotatedMailbox.providedBy(destination)):
        return {}
    scopes = {False, True} if destination.private_annotations else {True}
    if IRestrictedMailbox.providedBy(destination):
        rights = destination.get_rights()
        scopes -= {shared for shared, right in ((False, "r"), (True, "n")) if right not in rights}
    limit = destination.max_annotation
    found = await source.get_annotations(uids=uids)
    return {
        uid: [each for each in some if each.shared in scopes and len(each.value or b"") <= limit]
        for uid, some in found.items()
    }


CAPABILITIES: Sequence[Capability] = (Capability(CAPABILITY, provides=IAnnotatingAccount),)
