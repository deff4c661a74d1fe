"""What clients believe of annotations and entries, and the orders that they ask for.

Annotations of messages (RFC 5257) and entries about mailboxes (RFC 5464) are told by name when they
change: what a client has asked for since then, and was not told of, must be true.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

#: Of a message: the private value and the shared one, None where there is none.
Notes = tuple[bytes | None, bytes | None]

SCOPES = ("value.priv", "value.shared")
ENTRIES = ("/private/comment", "/shared/comment", "/private/vendor/acme/plan")
_NOTES = re.compile(
    rb"ANNOTATION \(/comment \(value\.priv (NIL|\"\d+\") value\.shared (NIL|\"\d+\")\)\)"
)
_CHANGED = re.compile(rb"ANNOTATION \((?:/comment)?\)")
_METADATA = re.compile(rb"\* METADATA (\"[^\"]*\"|\S+) (?:\((.*)\)|(/.*))")
_VALUE = re.compile(rb"(/\S+) (NIL|\"\d+\")")
_SUBJECT = re.compile(rb"Subject: (\d+)")
_REFERENCE = re.compile(rb"<(\d+)@x>")
_UID = re.compile(rb"\A\* (\d+) UIDFETCH |\bUID (\d+)")


def _string(octets: bytes) -> bytes | None:
    return None if octets == b"NIL" else octets.strip(b'"')


def notes_in(values: bytes) -> tuple[bool, Notes | None]:
    """Whether a FETCH response speaks of annotations; and the values, where it has them."""
    if found := _NOTES.search(values):
        return True, (_string(found[1]), _string(found[2]))
    return bool(_CHANGED.search(values)), None


class Entries:
    """What a client believes of the entries of mailboxes, by their name, and of the server."""

    def __init__(self) -> None:
        self.known: dict[tuple[bytes, bytes], bytes | None] = {}

    def begin(self, command: str) -> None:
        """A command of its own: what it changes is not told."""
        if found := re.match(r'SETMETADATA "([^"]*)" \((\S+)', command):
            self.known.pop((found[1].encode(), found[2].encode()), None)

    def read(self, line: bytes) -> None:
        found = _METADATA.fullmatch(line)
        if found is None:
            return
        name = found[1].strip(b'"')
        for entry in found[3].split() if found[3] else ():
            self.known.pop((name, entry), None)
        for entry, value in _VALUE.findall(found[2] or b""):
            self.known[name, entry] = _string(value)


def note_commands(uids: str, dice: random.Random) -> list[str]:
    """About annotations of the selected mailbox."""
    scope, value = dice.choice(SCOPES), dice.randrange(4)
    given = f'"{value}"' if value else "NIL"
    return [
        f"UID STORE {uids} ANNOTATION (/comment ({scope} {given}))",
        f"UID STORE {uids} ANNOTATION (/comment ({scope} {given}))",
        f"UID FETCH {uids} (ANNOTATION (/comment value))",
        "UID FETCH 1:* (FLAGS ANNOTATION (/comment value))",
        f'UID SEARCH ANNOTATION /comment value "{value}"',
        f"UID SORT (ANNOTATION /comment {scope}) UTF-8 ALL",
        "UID THREAD REFERENCES UTF-8 ALL",
    ]


def entry_commands(name: str, dice: random.Random) -> list[tuple[int, str]]:
    """About entries of a mailbox, or of the server, with weights."""
    name = name if dice.random() < 0.8 else ""
    entry, value = dice.choice(ENTRIES), dice.randrange(50)
    given = f'"{value}"' if value % 5 else "NIL"
    return [
        (3, f'SETMETADATA "{name}" ({entry} {given})'),
        (3, f'GETMETADATA "{name}" ({" ".join(ENTRIES)})'),
        (1, f'GETMETADATA (DEPTH infinity) "{name}" (/private /shared)'),
    ]


# Orders.

HEADERS = "UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT REFERENCES)])"
NOTED = "UID FETCH 1:* (UID ANNOTATION (/comment value))"


class Header(NamedTuple):
    number: int
    #: The numbers of those that it answers.
    references: tuple[int, ...]


def headers_in(lines: Iterable[bytes]) -> dict[int, Header]:
    """By UID, in the order of the mailbox, from the answer to :data:`HEADERS`."""
    found = {}
    for line in lines:
        uid, subject = _UID.search(line), _SUBJECT.search(line)
        if uid and subject:
            references = tuple(map(int, _REFERENCE.findall(line)))
            found[int(uid[1] or uid[2])] = Header(int(subject[1]), references)
    return found


def noted_in(lines: Iterable[bytes]) -> dict[int, Notes]:
    """By UID, from the answer to :data:`NOTED`."""
    found = {}
    for line in lines:
        uid, notes = _UID.search(line), notes_in(line)[1]
        if uid and notes is not None:
            found[int(uid[1] or uid[2])] = notes
    return found


def by_subject(headers: Mapping[int, Header]) -> list[int]:
    """UIDs as ``SORT (REVERSE SUBJECT)`` has them: equal ones in the order of the mailbox."""
    return sorted(headers, key=lambda uid: str(headers[uid].number), reverse=True)


def by_note(notes: Mapping[int, Notes], place: int) -> list[int]:
    """UIDs as ``SORT (ANNOTATION /comment ...)`` has them: those without a value first."""
    return sorted(notes, key=lambda uid: notes[uid][place] or b"")


def noted_with(notes: Mapping[int, Notes], value: bytes) -> list[int]:
    """UIDs of messages with this value in either scope."""
    return [uid for uid, some in notes.items() if value in some]


def conversations(headers: Mapping[int, Header]) -> list[list[int]]:
    """UIDs that belong together: they answer each other, or the same message, or are the same."""
    parents: dict[int, int] = {}

    def find(number: int) -> int:
        while parents.setdefault(number, number) != number:
            number = parents[number]
        return number

    for header in headers.values():
        for other in header.references:
            parents[find(header.number)] = find(other)
    groups: dict[int, list[int]] = {}
    for uid, header in headers.items():
        groups.setdefault(find(header.number), []).append(uid)
    return sorted(groups.values())


def threads_in(test: SynchronousTestCase, lines: Iterable[bytes]) -> list[list[int]]:
    """The same from the answer to THREAD."""
    (line,) = [line for line in lines if line.startswith(b"* THREAD")]
    groups: list[list[int]] = []
    depth = 0
    for mark in re.findall(rb"[()]|\d+", line):
        if mark == b"(":
            if not depth:
                groups.append([])
            depth += 1
        elif mark == b")":
            depth -= 1
        else:
            groups[-1].append(int(mark))
    test.assertEqual(depth, 0, line)
    return sorted(sorted(group) for group in groups)
