"""Messages in mailboxes by their Message-ID, for commands: no index is kept for so rare a question.

Texts of header fields that are kept (``field_text``) are looked at first; of bodies that have
none yet the newest ones are opened.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from mailkit.errors import MailError
from mailkit.fieldtexts import encode_text
from mailkit.folding import fold
from mailkit.mime import Header, decode_text, message_id, parse_header
from mailkit.model import Flags
from mailkit.store.sqlite.bodies import BodyFiles, BodyPlace
from mailkit.store.sqlite.flags import FlagSets

#: Texts that are looked at, and bodies that are opened; the newest.
MAX_TEXTS = 1_000_000
MAX_OPENED = 20_000
#: Octets of a body among which its header is.
MAX_HEADER = 64 * 1024
#: Bodies of one Message-ID, and places in mailboxes, that are told.
MAX_FOUND = 100

_PLACE = "SELECT b.id, b.segment, b.position, b.start, b.size FROM body b"
_WITH_TEXT = (
    f"{_PLACE} WHERE b.refs > 0 AND b.id IN (SELECT body_id FROM (SELECT body_id, message_id"
    f" FROM field_text ORDER BY body_id DESC LIMIT {MAX_TEXTS}) WHERE message_id = ?)"
    f" ORDER BY b.id LIMIT {MAX_FOUND}"
)
_WITHOUT_TEXT = (
    f"{_PLACE} WHERE b.refs > 0 AND NOT EXISTS (SELECT 1 FROM field_text WHERE body_id = b.id)"
    f" ORDER BY b.id DESC LIMIT {MAX_OPENED + 1}"
)
_MAILBOXES = (
    "SELECT a.name, x.name, m.uid, m.flags, m.internal_date, m.save_date, m.body_id FROM message m"
    " JOIN mailbox x ON x.id = m.mailbox_id JOIN account a ON a.id = x.account_id"
    f" WHERE m.body_id IN (SELECT value FROM json_each(?)) LIMIT {MAX_FOUND}"
)


class FoundMessage(NamedTuple):
    """Where a message is."""

    account: str
    mailbox: str
    uid: int
    flags: Flags
    #: Seconds since the epoch: when it arrived, and when it was put there.
    internal_date: int
    save_date: int
    header: Header


class Finding(NamedTuple):
    """What was found."""

    messages: list[FoundMessage]
    #: All messages were looked at, and not only the newest.
    complete: bool


def find_by_message_id(connection: sqlite3.Connection, directory: str, wanted: str) -> Finding:
    """Look for a message in all mailboxes.

    :param connection: to the index.
    :param directory: of the store.
    :param wanted: the Message-ID with its angle brackets.
    """
    octets = wanted.encode("utf-8", "replace")
    text = encode_text(fold(decode_text(octets)))
    files = BodyFiles(os.path.join(directory, "log"))
    try:
        headers = _open(files, connection.execute(_WITH_TEXT, (text,)).fetchall(), octets)
        rest = connection.execute(_WITHOUT_TEXT).fetchall()
        headers |= _open(files, rest[:MAX_OPENED], octets)
    finally:
        files.close()
    flags = FlagSets(connection)
    rows = connection.execute(_MAILBOXES, (json.dumps(list(headers)),)).fetchall()
    messages = [
        FoundMessage(account, mailbox, uid, flags[number], arrived, saved, headers[body_id])
        for account, mailbox, uid, number, arrived, saved, body_id in rows
    ]
    return Finding(messages, len(rest) <= MAX_OPENED)


def _open(files: BodyFiles, rows: Iterable[tuple[int, ...]], wanted: bytes) -> dict[int, Header]:
    """The headers of those bodies that have the Message-ID, by the bodies' numbers."""
    found: dict[int, Header] = {}
    for row in rows:
        place = BodyPlace._make(row)
        try:
            with files.open_view(place) as file:
                header = parse_header(file.read(MAX_HEADER))
        except (OSError, MailError):
            # Removed meanwhile, or damaged, which is for `mailkit check` to tell.
            continue
        if message_id(header) == wanted and len(found) < MAX_FOUND:
            found[place.body_id] = header
    return found
