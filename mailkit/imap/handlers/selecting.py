"""SELECT and EXAMINE (RFC 3501 sections 6.3.1, 6.3.2; RFC 7162, 8474)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailkit.errors import MailError
from mailkit.imap import render
from mailkit.imap.annotate import CAPABILITY
from mailkit.imap.condstore import SelectParameters, parse_select_parameters
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.annotate import support
from mailkit.imap.handlers.resync import resynchronize
from mailkit.imap.handlers.rev2 import tell_normalized
from mailkit.imap.handlers.table import AUTHENTICATED, Verb, Waiting
from mailkit.imap.listing import Listed
from mailkit.imap.session import Selection

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


def _select(connection: IMAPProtocol, command: Command, wants_write: bool) -> Waiting:
    arguments = command.arguments
    arguments.space()
    try:
        name = arguments.mailbox()
    except MailError:
        arguments.end()
        connection.unselect()
        raise
    parameters = SelectParameters()
    if not arguments.at_end():
        arguments.space()
        usable = connection.usable_extensions()
        if not connection.offers(CAPABILITY):
            usable -= {CAPABILITY}
        parameters = parse_select_parameters(arguments, usable)
        resync = parameters.resync
        if resync is not None and resync.numbers and b"UIDONLY" in connection.enabled:
            raise SyntaxFault("Messages have no numbers any more", b"UIDREQUIRED")
    arguments.end()
    if connection.selection is not None and (
        connection.rev2 or b"CONDSTORE" in connection.extensions
    ):
        # RFC 7162 section 3.2.11, RFC 9051 section 6.3.2
        connection.remark(b"* OK [CLOSED] The mailbox before is closed\r\n")
    # RFC 3501 section 6.3.1: the old mailbox is deselected even if the new one fails.
    connection.unselect()
    if parameters.condstore or parameters.resync is not None:
        connection.enable_condstore()
    return _open(connection, command, name, wants_write, parameters)


def select(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.3.1"""
    return _select(connection, command, True)


def examine(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.3.2"""
    return _select(connection, command, False)


async def _open(
    connection: IMAPProtocol,
    command: Command,
    name: str,
    wants_write: bool,
    parameters: SelectParameters,
) -> None:
    account = connection.account
    assert account is not None
    mailbox = await account.open_mailbox(name=name)
    selection = Selection(mailbox, wants_write, connection)
    selection.tells_annotations = parameters.annotate
    if connection.rev2:
        selection.use_rev2()
    opened = False
    try:
        uid_next, first_unseen = await selection.open()
        opened = True
    finally:
        if not opened:
            selection.close()
    connection.remark(_messages(selection))
    if connection.rev2:
        # RFC 9051 appendix E: LIST, but neither RECENT nor UNSEEN.
        _tell_name(connection, selection, name, command.arguments.denormalized)
        first_unseen = None
    connection.remark(_codes(connection, selection, uid_next, first_unseen))
    connection.select(selection)
    if parameters.resync is not None:
        await resynchronize(connection, selection, parameters.resync, uid_next)
    verb = command.verb.decode("ascii")
    connection.ok(f"{verb} completed", b"READ-WRITE" if selection.writable else b"READ-ONLY")


def _messages(selection: Selection) -> bytes:
    """FLAGS, and how many messages there are."""
    writable = selection.writable is not None
    flags = render.selected_flags(selection.keywords, writable, selection.rights)
    state = selection.state
    if not selection.tells_recent:
        return b"%b* %d EXISTS\r\n" % (flags, len(state))
    return b"%b* %d EXISTS\r\n* %d RECENT\r\n" % (flags, len(state), state.recent_count())


def _codes(
    connection: IMAPProtocol, selection: Selection, uid_next: int, first_unseen: int | None
) -> bytes:
    """What is told by response codes."""
    told = b""
    if first_unseen is not None and b"UIDONLY" not in connection.enabled:
        told = b"* OK [UNSEEN %d] First unseen message\r\n" % first_unseen
    told += b"* OK [UIDVALIDITY %d] UIDs are valid\r\n* OK [UIDNEXT %d] Next UID\r\n" % (
        selection.uid_validity,
        uid_next,
    )
    if connection.offers(b"OBJECTID"):
        # RFC 8474 section 4.2
        mailbox_id = selection.mailbox_id.encode("ascii")
        told += b"* OK [MAILBOXID (%b)] Its lasting name\r\n" % mailbox_id
    if connection.offers(b"URLAUTH"):
        # RFC 4467 section 8
        told += b"* OK [URLMECH INTERNAL] How URLs are authorized\r\n"
    if connection.offers(CAPABILITY):
        # RFC 5257 section 4.1
        code = support(selection.mailbox, selection.wants_write)
        told += b"* OK [%b] Annotations of messages\r\n" % code
    if b"CONDSTORE" in connection.extensions:
        told += selection.highest_modseq()
    return told


def _tell_name(
    connection: IMAPProtocol, selection: Selection, name: str, given: str | None
) -> None:
    """The LIST response of SELECT."""
    attributes = []
    use = selection.special_use
    if use and b"SPECIAL-USE" in connection.extensions and render.is_attribute(use):
        attributes.append(use)
    if selection.subscribed:
        attributes.append("\\Subscribed")
    if given is not None:
        tell_normalized(connection, name, given, attributes)
    else:
        connection.write(Listed(name, attributes).render(b"LIST", connection.utf8))


VERBS: Mapping[bytes, Verb] = {
    b"SELECT": Verb(AUTHENTICATED, select),
    b"EXAMINE": Verb(AUTHENTICATED, examine),
}
