"""The journal: every change that is not a new body, so that a lost index can be made again.

It is written before the index commits but not flushed on its own: it is needed only together with
a loss of the index. Each record holds the notes of one batch; a note is a JSON list that begins
with its kind:

``["account", name]`` and ``["no-account", name]``
    An account was made, or removed with its mail.
``["mailbox", id, account, name, uid_validity, special_use, selectable]``
    A mailbox was made, or changed its name or its attributes.
``["no-mailbox", id]``
    It was deleted.
``["subscribed", account, name, bool]``
    A name was subscribed, or not any more.
``["acl", mailbox, identifier, rights]``
    An identifier has these rights now, or none.
``["public", account, bool]``
    An account's mailboxes are in the shared namespace, or not any more.
``["metadata", mailbox, account, {entry: value, ...}]``
    Entries about a mailbox (0 for the server) have these values, in base64, or none any more. They
    are shared where there is no account.
``["annotations", mailbox, account, modseq, [[uids, {entry: value, ...}], ...]]``
    Annotations of messages have these values, in base64, or none any more; shared ones without an
    account.
``["access-key", mailbox, key]``
    A mailbox has this access key now, in hexadecimal, or none.
``["fetched", account, source, time, [unique_id, ...], [digest, ...]]``
    These messages of another server's maildrop were taken, or are forgotten where there is no time.
``["fetched-gone", account, source, bool, [unique_id, ...]]``
    They are gone from there, or not.
``["put", mailbox, modseq, account, name, uid_validity, rows]``
    Messages came whose bodies were there already; a row is
    ``[uid, body, bits, keywords, internal_date, save_date, size]``.
``["copied", mailbox, modseq, account, name, uid_validity, first_uid, save_date, columns]``
    The same for messages without keywords whose UIDs have no gap: a column each of bodies, bits,
    internal dates and sizes.
``["flags", mailbox, modseq, [[bits, keywords, uids], ...]]``
    Messages have these flags now. UIDs are a string as in IMAP: ``1:5,7``.
``["gone", mailbox, modseq, uids]``
    Messages were removed.
``["threads", account, mailbox, [[uid, thread], ...], [[key, thread], ...]]``
    Messages belong to these conversations, and so do later ones with these keys.
``["queued", [message, body, skip, prefix, size, envelope, created, expires, header_id, key], rows]``
    A message is to be sent; a row is ``[recipient, domain, address, state, next_time]``.
``["attempted", time, [[recipient, message, state, next_time, attempts, warned, attempt], ...]]``
    This became of recipients; ``attempt`` tells of the last one where there was one.
``["postponed", time, attempt, [[recipient, message, next_time, attempts, warned], ...]]``
    The same for recipients that one attempt put off.
``["forgotten", [message, ...]]``
    Nothing more is known of these messages that were queued.
``["events", [[id, time, message, recipient, state, attempt], ...]]``
    This happened in the outbound queue, and somebody is to hear of it.
``["listeners", [[name, id], ...]]``
    These are to hear of events, and have heard of those up to a number.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mailkit.store.sqlite.records import NOTE, encode_header
from mailkit.store.sqlite.segments import scan_records

#: A change as the journal has it.
Note = list[Any]


class JSONText(str):
    """What is JSON already; the last of a note."""

    __slots__ = ()


# json.dumps makes one for each call that has separators.
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_JOURNAL_NAME = re.compile(r"([0-9a-f]{8})\.notes\Z")


def journal_name(number: int) -> str:
    return f"{number:08x}.notes"


def list_journals(directory: str) -> list[int]:
    """Numbers of the journal files that are there, ascending."""
    found = (_JOURNAL_NAME.match(name) for name in os.listdir(directory))
    return sorted(int(match[1], 16) for match in found if match)


def to_ranges(uids: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of ascending numbers, as first and last."""
    if isinstance(uids, Sequence) and uids and uids[-1] - uids[0] + 1 == len(uids):
        return [(uids[0], uids[-1])]
    ranges: list[tuple[int, int]] = []
    first = last = -1
    for uid in uids:
        if uid == last + 1 and first >= 0:
            last = uid
            continue
        if first >= 0:
            ranges.append((first, last))
        first = last = uid
    if first >= 0:
        ranges.append((first, last))
    return ranges


def format_uids(uids: Iterable[int]) -> str:
    """Ascending UIDs as in IMAP: ``1:5,7``."""
    return ",".join(
        f"{first}:{last}" if last > first else str(first) for first, last in to_ranges(uids)
    )


def parse_uids(text: str) -> list[tuple[int, int]]:
    """What :func:`format_uids` made, as ranges."""
    ranges = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        ranges.append((int(first), int(last or first)))
    return ranges


def encode_entries(entries: Mapping[str, bytes | None]) -> dict[str, str | None]:
    """Entries for a note."""
    return {
        entry: None if value is None else base64.b64encode(value).decode("ascii")
        for entry, value in entries.items()
    }


def decode_entries(encoded: Mapping[str, str | None]) -> dict[str, bytes | None]:
    """Entries of a note."""
    return {
        entry: None if value is None else base64.b64decode(value)
        for entry, value in encoded.items()
    }


class Journal:
    """The end of the journal that is written; used by the writer's thread alone."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._descriptor = -1
        #: Number of the current file.
        self.number = 0
        #: Octets of the current file.
        self.size = 0
        self._committed = 0

    def open(self, number: int, size: int) -> None:
        """Go on in a file, cutting off what was not committed; a missing file is made."""
        self.close()
        path = os.path.join(self._directory, journal_name(number))
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        present = os.fstat(self._descriptor).st_size
        if present > size:
            os.ftruncate(self._descriptor, size)
        self.number = number
        # After a power loss there may be less than was written: begin after what is left.
        self.size = self._committed = min(present, size)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def append(self, notes: Sequence[Note], lsn: int, batch: int) -> None:
        """Write the notes of a batch.

        :raises OSError: the disk refuses.
        """
        meta = f"[{','.join(map(_encode_note, notes))}]".encode()
        data = encode_header(NOTE, meta, 0, 0, lsn, batch) + meta
        while data:
            done = os.pwrite(self._descriptor, data, self.size)
            self.size += done
            data = data[done:]

    def rotate(self) -> None:
        """Go on in a new file; a batch that is rolled back leaves it empty."""
        self.open(self.number + 1, 0)

    def finish(self) -> None:
        """The index has taken the batch."""
        self._committed = self.size

    def rollback(self) -> None:
        """Take back what the batch wrote."""
        if self.size > self._committed:
            self.size = self._committed
            try:
                os.ftruncate(self._descriptor, self.size)
            except OSError:
                # Overwritten by the next batch, or cut off when the store is opened.
                pass


def _encode_note(note: Note) -> str:
    last = note[-1]
    if isinstance(last, JSONText):
        return f"{_to_json(note[:-1])[:-1]},{last}]"
    return _to_json(note)


def read_notes(path: str) -> Iterator[tuple[int, Note]]:
    """Notes of a journal file with their LSN, in the order of writing."""
    with open(path, "rb", buffering=1 << 16) as file:
        for record in scan_records(file):
            if record.header.kind == NOTE:
                for note in json.loads(record.meta):
                    yield record.header.lsn, note
