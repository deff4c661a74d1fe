"""Labels as Gmail has them (X-GM-EXT-1): mailboxes that hold copies of a message, and flags. No I/O.

https://developers.google.com/workspace/gmail/imap/imap-extensions
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailkit.errors import InvalidMailboxName
from mailkit.imap import render
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.model import FLAGGED, IMPORTANT, INBOX, SEPARATOR, Flags, MailboxInfo, MessageInfo
from mailkit.query import And, HasFlag, Not, Or, Query, conditions_in

#: Labels that one STORE names.
MAX_LABELS = 50
#: Different labels that one search names.
MAX_LABEL_KEYS = 20

#: Labels that stand for the mailbox with a special use.
_USES = {"\\Draft": "\\Drafts", "\\Sent": "\\Sent", "\\Spam": "\\Junk", "\\Trash": "\\Trash"}
#: Labels that stand for a flag.
_FLAGS = {"\\Starred": FLAGGED, "\\Important": IMPORTANT}
_INBOX_LABEL = "\\Inbox"
_KNOWN = {label.lower(): label for label in (_INBOX_LABEL, *_USES, *_FLAGS)} | {
    "\\drafts": "\\Draft"
}
_SYSTEM = re.compile(rb"\\[A-Za-z]{1,30}")
# What people write for these when they search for a label: what does not stand in its name.
_HYPHENS = re.compile(rf"[ {SEPARATOR}]")


class LabelledInfo(NamedTuple):
    """A :class:`~mailkit.model.MessageInfo` with its labels."""

    uid: int
    flags: Flags
    internal_date: int
    size: int
    modseq: int
    email_id: str | None
    thread_id: str | None
    save_date: int | None
    #: As FETCH tells them.
    labels: bytes


@dataclass(frozen=True)
class Labelled(Query):
    """The message has a label. Knowing its mailboxes, the handlers put another query in its place."""

    label: str
    #: A person wrote it: letter case does not matter, and ``-`` stands for blanks and separators.
    loose: bool = False


def has_label(label: str, loose: bool = False) -> Query:
    """The query for a label that :func:`to_label` gave."""
    return HasFlag(_FLAGS[label]) if label in _FLAGS else Labelled(label, loose)


# Reading.


def read_label(arguments: Arguments) -> str:
    """A label: the name of a mailbox, or one of the system's in canonical case.

    lenient: ``\\Inbox`` stands as it is too, though it is no astring: Gmail's documentation has it.

    :raises InvalidMailboxName: there is no such label.
    """
    match = _SYSTEM.match(arguments.data, arguments.position)
    if match is None:
        octets = arguments.astring("A label")
    else:
        octets = match.group()
        arguments.position = match.end()
    if not octets.startswith(b"\\"):
        return arguments.to_mailbox(octets)
    label = _KNOWN.get(octets.decode("ascii", "replace").lower())
    if label is None:
        raise InvalidMailboxName("There is no such label: a system label is \\Inbox or the like")
    return label


def read_labels(arguments: Arguments) -> list[str]:
    """The labels of a STORE: ``(foo "b c" \\Inbox)``, or some without parentheses."""
    if arguments.looking_at(b"("):
        labels = arguments.parenthesized(lambda: read_label(arguments), empty=True)
    else:
        labels = [read_label(arguments)]
        while len(labels) <= MAX_LABELS and arguments.accept(b" "):
            labels.append(read_label(arguments))
    if len(labels) > MAX_LABELS:
        raise SyntaxFault(f"At most {MAX_LABELS} labels can be given at once")
    return labels


# What labels mean.


class Wanted(NamedTuple):
    """What a STORE names."""

    #: Names of mailboxes.
    mailboxes: frozenset[str]
    flags: Flags


class LabelNames:
    """Which label is which mailbox.

    :param mailboxes: of the account.
    """

    def __init__(self, mailboxes: Iterable[MailboxInfo]) -> None:
        labels = {use: label for label, use in _USES.items()}
        self._names = [info.name for info in mailboxes if info.selectable]
        #: Names of mailboxes by system label, and the other way round.
        self._mailboxes = {_INBOX_LABEL: INBOX}
        for info in mailboxes:
            if info.special_use in labels and info.selectable:
                self._mailboxes.setdefault(labels[info.special_use], info.name)
        self._labels = {name: label for label, name in self._mailboxes.items()}

    def select(self, labels: Iterable[str], missing: bool) -> Wanted:
        """What labels stand for.

        :param missing: system labels without a mailbox mean nothing.
        :raises InvalidMailboxName: there is no mailbox for a system label.
        """
        names, flags = set(), set()
        for label in labels:
            if label in _FLAGS:
                flags.add(_FLAGS[label])
            elif not label.startswith("\\"):
                names.add(label)
            elif label in self._mailboxes:
                names.add(self._mailboxes[label])
            elif not missing:
                raise InvalidMailboxName(f"There is no mailbox for the label {label}")
        return Wanted(frozenset(names), frozenset(flags))

    def find(self, labelled: Labelled) -> Sequence[str]:
        """Names of the mailboxes that a search means."""
        label = labelled.label
        if label.startswith("\\"):
            return [self._mailboxes[label]] if label in self._mailboxes else []
        if not labelled.loose:
            return [label]
        wanted = _loosely(label)
        return [name for name in self._names if _loosely(name) == wanted]

    def render(self, names: Iterable[str], flags: Flags, utf8: bool) -> bytes:
        """What FETCH tells, without parentheses.

        :param names: of mailboxes; one that looks like a system label is passed over.
        """
        labels = [label for label, flag in _FLAGS.items() if flag in flags]
        for name in names:
            label = self._labels.get(name)
            if label is not None or not name.startswith("\\"):
                labels.append(label or name)
        labels.sort(key=lambda label: not label.startswith("\\"))
        return b" ".join(render.mailbox(label, utf8) for label in labels)


def _loosely(name: str) -> str:
    return _HYPHENS.sub("-", name).casefold()


# In searches.


def labels_in(query: Query) -> Iterator[Labelled]:
    """All labels that a search names."""
    return (each for each in conditions_in(query) if isinstance(each, Labelled))


def with_labels(query: Query, found: Mapping[Labelled, Query]) -> Query:
    """The search with other queries in place of its labels."""
    match query:
        case Labelled():
            return found[query]
        case And(queries=queries):
            return And(tuple(with_labels(part, found) for part in queries))
        case Or(queries=queries):
            return Or(tuple(with_labels(part, found) for part in queries))
        case Not(query=inner):
            return Not(with_labels(inner, found))
    return query


# Numbers of messages and threads.


def to_number(identifier: str) -> int:
    """The number that stands for an EMAILID or a THREADID of a labelling account."""
    return int(identifier[1:], 16)


def message_number(email_id: str | None) -> int:
    """X-GM-MSGID; 0 where it is not known."""
    return to_number(email_id) if email_id else 0


def thread_number(info: MessageInfo) -> int:
    """X-GM-THRID; a message whose thread is not known is one by itself."""
    return to_number(info.thread_id) if info.thread_id else message_number(info.email_id)
