"""GETMETADATA, SETMETADATA and LIST RETURN (METADATA ...) (RFC 5464, 6154, 9590)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import EntryTooLarge, PermissionDenied, TooManyEntries
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.authenticated import SPECIAL_USES
from mailkit.imap.handlers.filters import check_filters
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Enabling, ReturnOption, Verb
from mailkit.imap.metadata import (
    GetOptions,
    at_options,
    read_entries,
    read_mailbox,
    read_options,
    read_values,
    render_entries,
    render_names,
    select,
)
from mailkit.interfaces import IMetadataAccount
from mailkit.model import MailboxInfo, MetadataChange

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: RFC 5464 section 6.2.2: how the administrator is reached; nobody can change it.
ADMIN = "/shared/admin"
#: RFC 6154 section 4
SPECIAL_USE = "/private/specialuse"
#: Entries whose changes are kept for a client that does not ask; what exceeds them is not told.
MAX_UNTOLD = 1000


def _account(connection: IMAPProtocol, mailbox: str | None) -> IMetadataAccount:
    account = connection.account
    if not IMetadataAccount.providedBy(account):
        raise SyntaxFault("There are no entries in this account")
    if mailbox is not None and not connection.offers(b"METADATA"):
        raise SyntaxFault("There are only entries about the server here")
    return account


def _place(connection: IMAPProtocol, mailbox: str | None) -> bytes:
    """A mailbox, or the server, in a response."""
    return b'""' if mailbox is None else connection.mailbox_name(mailbox)


async def _read(connection: IMAPProtocol, mailbox: str | None) -> Mapping[str, bytes]:
    entries = dict(await _account(connection, mailbox).get_metadata(mailbox=mailbox))
    if mailbox is None:
        entries.pop(ADMIN, None)
        if connection.factory.admin_uri:
            entries[ADMIN] = connection.factory.admin_uri.encode("ascii")
    return entries


async def get_metadata(connection: IMAPProtocol, command: Command) -> None:
    """RFC 5464 section 4.2"""
    arguments = command.arguments
    options: GetOptions | None = None
    arguments.space()
    if at_options(arguments):
        options = read_options(arguments)
        arguments.space()
    mailbox = read_mailbox(arguments)
    arguments.space()
    if options is None and at_options(arguments):
        # lenient: the grammar has them before the mailbox, the examples of section 4.2 behind it.
        options = read_options(arguments)
        arguments.space()
    names = read_entries(arguments)
    arguments.end()
    selected = select(await _read(connection, mailbox), names, options or GetOptions())
    if selected.entries:
        await connection.send(render_entries(_place(connection, mailbox), selected.entries))
    code = b"METADATA LONGENTRIES %d" % selected.longest if selected.longest else b""
    await connection.complete("GETMETADATA completed", code)


async def set_metadata(connection: IMAPProtocol, command: Command) -> None:
    """RFC 5464 section 4.3"""
    arguments = command.arguments
    arguments.space()
    mailbox = read_mailbox(arguments)
    arguments.space()
    values = read_values(arguments)
    arguments.end()
    account = _account(connection, mailbox)
    if ADMIN in values and mailbox is None:
        raise PermissionDenied(f"{ADMIN} cannot be changed")
    if mailbox is None:
        check_filters(connection, values)
    use = values.get(SPECIAL_USE)
    if use is not None and use.decode("latin-1") not in SPECIAL_USES:
        # RFC 6154 section 4
        known = " ".join(sorted(SPECIAL_USES))
        connection.no(f"A mailbox can have one of {known}", b"USEATTR")
        return
    try:
        await account.set_metadata(mailbox=mailbox, entries=values, origin=connection)
    except EntryTooLarge as error:
        connection.no(error.text, b"METADATA MAXSIZE %d" % error.limit)
    except TooManyEntries as error:
        connection.no(error.text, b"METADATA TOOMANY")
    else:
        await connection.complete("SETMETADATA completed")


class MetadataAnnouncer:
    """Tells a client that has enabled METADATA of changes (RFC 5464 section 4.4)."""

    def __init__(self, connection: IMAPProtocol, account: IMetadataAccount) -> None:
        self._connection = connection
        self._untold: dict[str | None, dict[str, None]] = {}
        self._count = 0
        self._end = account.watch_metadata(callback=self._changed)

    def _changed(self, change: MetadataChange) -> None:
        connection = self._connection
        if change.origin is connection:
            return
        if change.mailbox is not None and not connection.offers(b"METADATA"):
            return
        entries = self._untold.setdefault(change.mailbox, {})
        for entry in change.entries:
            if entry not in entries and self._count < MAX_UNTOLD:
                entries[entry] = None
                self._count += 1
        if connection.idling:
            self.tell()
            connection.flush()

    def tell(self) -> None:
        """Write what has changed since the last time."""
        untold, self._untold = self._untold, {}
        self._count = 0
        for mailbox, entries in untold.items():
            if entries:
                place = _place(self._connection, mailbox)
                self._connection.write(render_names(place, list(entries)))

    def close(self) -> None:
        """The client is to hear no more."""
        self._end()


def _enable(connection: IMAPProtocol) -> None:
    """From now on the client is told of changes."""
    account = connection.account
    names = {b"METADATA", b"METADATA-SERVER"} & connection.extensions
    connection.enable(*names)
    if connection.metadata is None and IMetadataAccount.providedBy(account):
        connection.metadata = MetadataAnnouncer(connection, account)


# LIST


def _read_list_option(connection: IMAPProtocol, arguments: Arguments) -> Sequence[str]:
    arguments.space()
    if not arguments.looking_at(b"("):
        raise SyntaxFault("METADATA takes a list of entries")
    return read_entries(arguments)


async def _answer_list(connection: IMAPProtocol, info: MailboxInfo, names: Sequence[str]) -> bytes:
    """RFC 9590 section 3; entries that do not exist are NIL."""
    selected = select(await _read(connection, info.name), names, GetOptions())
    return render_entries(_place(connection, info.name), selected.entries)


VERBS: Mapping[bytes, Verb] = {
    b"GETMETADATA": Verb(AUTHENTICATED, get_metadata, extension=b"METADATA-SERVER"),
    b"SETMETADATA": Verb(AUTHENTICATED, set_metadata, extension=b"METADATA-SERVER"),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"METADATA", needs=b"METADATA-SERVER", provides=IMetadataAccount),
    Capability(b"METADATA-SERVER", provides=IMetadataAccount),
    Capability(b"LIST-METADATA", needs=b"METADATA", provides=IMetadataAccount),
)

LIST_OPTIONS: Mapping[bytes, ReturnOption] = {
    b"METADATA": ReturnOption(b"LIST-METADATA", _read_list_option, _answer_list),
}

ENABLEABLE: Enabling = {b"METADATA": _enable, b"METADATA-SERVER": _enable}
