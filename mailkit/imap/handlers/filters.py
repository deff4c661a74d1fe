"""Named searches, kept as entries about the server (RFC 5466)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import MailError
from mailkit.imap.filters import ROOTS, find_filters
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.imap.handlers.table import Capability
from mailkit.imap.search import parse_search
from mailkit.imap.state import SelectedState
from mailkit.interfaces import IMetadataAccount

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


async def load_filters(connection: IMAPProtocol, arguments: Arguments) -> Mapping[str, bytes]:
    """The user's filters, if the arguments of a search may name some."""
    account = connection.account
    if (
        b"FILTER" in arguments.data.upper()
        and connection.offers(b"FILTERS")
        and IMetadataAccount.providedBy(account)
    ):
        return find_filters(await account.get_metadata(mailbox=None))
    return {}


def check_filters(connection: IMAPProtocol, entries: Mapping[str, bytes | None]) -> None:
    """Look whether entries about the server that are filters can be used as such.

    Filters that they name may be missing still.

    :raises MailError: one is no search (RFC 5466 section 3.2).
    """
    if not connection.offers(b"FILTERS"):
        return
    now = connection.clock.seconds()
    for entry, value in entries.items():
        if value is not None and entry.startswith(ROOTS):
            arguments = Arguments(value)
            try:
                if arguments.accept_word(b"CHARSET"):
                    raise SyntaxFault("a filter has no charset but UTF-8")
                parse_search(arguments, SelectedState((), 0), now, connection.offers, None)
            except (SyntaxFault, MailError) as error:
                raise MailError(f"{entry} is no search: {error.text}") from None


CAPABILITIES: Sequence[Capability] = (
    Capability(b"FILTERS", needs=b"METADATA-SERVER", provides=IMetadataAccount),
)
