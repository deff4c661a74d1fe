"""NOTIFY: what a client wants to be told of, and what that makes of changes (RFC 5465). No I/O."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from mailkit.imap.annotate import CAPABILITY
from mailkit.imap.fetch import Attribute, parse_attributes
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.model import SEPARATOR, MailboxInfo

#: Event groups of one command.
MAX_GROUPS = 100
#: Renamed mailboxes that are told as such at a time; of more, their new names are told.
MAX_RENAMED = 10
#: Mailboxes that the groups of one command name together.
MAX_NAMES = 1000


class Event(enum.Enum):
    """RFC 5465 section 5, by the names of section 8."""

    MESSAGE_NEW = "MessageNew"
    MESSAGE_EXPUNGE = "MessageExpunge"
    FLAG_CHANGE = "FlagChange"
    ANNOTATION_CHANGE = "AnnotationChange"
    MAILBOX_NAME = "MailboxName"
    SUBSCRIPTION_CHANGE = "SubscriptionChange"
    MAILBOX_METADATA_CHANGE = "MailboxMetadataChange"
    SERVER_METADATA_CHANGE = "ServerMetadataChange"


#: Events by their names in capitals: those that the server knows of.
EVENTS: Mapping[bytes, Event] = {event.value.upper().encode("ascii"): event for event in Event}
#: Events of messages, the only ones for the selected mailbox.
MESSAGE_EVENTS = frozenset(
    (Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE, Event.ANNOTATION_CHANGE)
)
#: Events that change no number of messages (RFC 5465 section 5.1).
_DETAILS = frozenset((Event.FLAG_CHANGE, Event.ANNOTATION_CHANGE))
#: Capabilities without which there are no such events.
_NEEDS: Mapping[Event, bytes] = {
    Event.ANNOTATION_CHANGE: CAPABILITY,
    Event.MAILBOX_METADATA_CHANGE: b"METADATA",
    Event.SERVER_METADATA_CHANGE: b"METADATA-SERVER",
}

ALL_EVENTS = frozenset(Event)
NO_EVENTS: frozenset[Event] = frozenset()


class UnsupportedEvent(Exception):
    """The client wants to be told of something that the server does not watch."""


def watched_events(offers: Callable[[bytes], bool]) -> list[Event]:
    """The events that a client may ask for.

    :param offers: tells whether a capability is offered.
    """
    return [event for event in Event if event not in _NEEDS or offers(_NEEDS[event])]


class Group(NamedTuple):
    """Mailboxes, and what of them the client is told."""

    #: PERSONAL, INBOXES, SUBSCRIBED, SUBTREE or MAILBOXES.
    kind: bytes
    events: frozenset[Event]
    #: For SUBTREE and MAILBOXES.
    names: frozenset[str] = frozenset()

    def matches(self, name: str, subscribed: bool, personal: bool) -> bool:
        """Whether a mailbox is meant (RFC 5465 section 6)."""
        if self.kind == b"SUBSCRIBED":
            return subscribed
        if self.kind == b"MAILBOXES":
            return name in self.names
        if self.kind == b"SUBTREE":
            return any(name == top or name.startswith(top + SEPARATOR) for top in self.names)
        # RFC 5465 section 6.3: INBOXES means these too, where it is not easily known into which of
        # them mail may be delivered.
        return personal


class Wanted(NamedTuple):
    """What one NOTIFY SET asks for."""

    #: What the client is told of the selected mailbox.
    selected: frozenset[Event] = NO_EVENTS
    #: It is not told of EXPUNGE between commands (RFC 5465 section 6.1.2).
    delayed: bool = False
    #: What it is told of new messages there.
    attributes: Sequence[Attribute] = ()
    groups: Sequence[Group] = ()
    #: STATUS responses are wanted at once.
    status: bool = False

    def events(
        self, name: str, subscribed: bool, personal: bool, among: frozenset[Event]
    ) -> frozenset[Event]:
        """Those of some events that the client is told of a mailbox that is not selected.

        :param personal: it is not in a namespace of others.
        """
        found = NO_EVENTS
        for group in self.groups:
            if group.events & among and group.matches(name, subscribed, personal):
                found |= group.events & among
        return found


#: What NOTIFY NONE asks for.
NOTHING = Wanted()


# Reading the command.


def parse_notify(arguments: Arguments, offers: Callable[[bytes], bool]) -> Wanted:
    """What stands behind NOTIFY.

    :param offers: tells whether a capability is offered.
    :raises UnsupportedEvent: an event is none that is watched.
    """
    arguments.space()
    word = arguments.word("SET or NONE")
    if word == b"NONE":
        arguments.end()
        return NOTHING
    if word != b"SET":
        raise SyntaxFault("NOTIFY takes SET or NONE")
    arguments.space()
    status = arguments.accept_word(b"STATUS")
    if status:
        arguments.space()
    return _Parser(arguments, offers).groups()._replace(status=status)


class _Parser:
    """Reads the event groups."""

    def __init__(self, arguments: Arguments, offers: Callable[[bytes], bool]) -> None:
        self.arguments = arguments
        self.offers = offers
        self.selected: tuple[frozenset[Event], bool] | None = None
        self.attributes: Sequence[Attribute] = ()
        self.others: list[Group] = []
        self.names = 0
        self.unsupported = False

    def groups(self) -> Wanted:
        arguments = self.arguments
        self.group()
        while not arguments.at_end():
            arguments.space()
            self.group()
        arguments.end()
        if self.unsupported:
            raise UnsupportedEvent
        events, delayed = self.selected or (NO_EVENTS, False)
        return Wanted(events, delayed, self.attributes, self.others)

    def group(self) -> None:
        """``(filter events)``"""
        arguments = self.arguments
        if len(self.others) >= MAX_GROUPS:
            raise SyntaxFault(f"NOTIFY takes at most {MAX_GROUPS} groups of events")
        arguments.expect(b"(")
        kind = arguments.word("Which mailboxes")
        arguments.space()
        if kind in (b"SELECTED", b"SELECTED-DELAYED"):
            if self.selected is not None:
                raise SyntaxFault("The selected mailbox stands in one group of events alone")
            self.selected = self.events(True), kind == b"SELECTED-DELAYED"
        elif kind in (b"INBOXES", b"PERSONAL", b"SUBSCRIBED"):
            self.others.append(Group(kind, self.events(False)))
        elif kind in (b"SUBTREE", b"MAILBOXES"):
            names = self.mailboxes()
            arguments.space()
            self.others.append(Group(kind, self.events(False), names))
        else:
            raise SyntaxFault(f"{kind.decode('ascii')} does not say which mailboxes are meant")
        arguments.expect(b")")

    def mailboxes(self) -> frozenset[str]:
        arguments = self.arguments
        if arguments.looking_at(b"("):
            names = arguments.parenthesized(arguments.mailbox)
        else:
            names = [arguments.mailbox()]
        self.names += len(names)
        if self.names > MAX_NAMES:
            raise SyntaxFault(f"NOTIFY takes at most {MAX_NAMES} names of mailboxes")
        return frozenset(names)

    def events(self, is_selected: bool) -> frozenset[Event]:
        """``NONE``, or ``(event event ...)``."""
        arguments = self.arguments
        if arguments.accept_word(b"NONE"):
            return NO_EVENTS
        if arguments.looking_at(b"("):
            names = arguments.parenthesized(lambda: self.event(is_selected))
        else:
            # lenient: RFC 5465 section 8 wants parentheses, its examples do without.
            names = [self.event(is_selected)]
            while not arguments.looking_at(b")"):
                arguments.space()
                names.append(self.event(is_selected))
        found = frozenset(EVENTS[name] for name in names if name in EVENTS)
        messages = {Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE}
        if found & MESSAGE_EVENTS and not found >= messages:
            # RFC 5465 section 5
            raise SyntaxFault("MessageNew and MessageExpunge come together")
        if is_selected and not found <= MESSAGE_EVENTS:
            raise SyntaxFault("Of the selected mailbox only events of messages can be told")
        return found

    def event(self, is_selected: bool) -> bytes:
        arguments = self.arguments
        name = arguments.word("An event")
        event = EVENTS.get(name)
        if event is None or (event in _NEEDS and not self.offers(_NEEDS[event])):
            # RFC 5465 section 3.1: refused with NO, so the rest has to be right.
            self.unsupported = True
        if name == b"MESSAGENEW" and arguments.looking_at(b" ("):
            if not is_selected:
                raise SyntaxFault("Items to fetch can be told of the selected mailbox alone")
            arguments.space()
            self.attributes = parse_attributes(arguments, self.offers)
        return name


# What changes come to.


class Known(NamedTuple):
    """What the client may believe of a mailbox that it is told of."""

    name: str
    uid_validity: int
    uid_next: int
    messages: int
    unseen: int
    highest_modseq: int
    selectable: bool

    @classmethod
    def of(cls, info: MailboxInfo) -> Known:
        return cls(
            info.name,
            info.uid_validity,
            info.uid_next,
            info.messages,
            info.unseen,
            info.highest_modseq,
            info.selectable,
        )


def status_items(
    old: Known, new: Known, events: frozenset[Event], enabled: frozenset[bytes]
) -> list[bytes]:
    """What STATUS tells of a mailbox that has changed; nothing when there is nothing to tell.

    :param enabled: extensions that the client has switched on.
    """
    items: list[bytes] = []
    knows_modseqs = b"CONDSTORE" in enabled
    if (old.uid_next, old.messages) != (new.uid_next, new.messages):
        if events & {Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE}:
            # RFC 5465 sections 5.2 and 5.3
            items = [b"UIDNEXT", b"MESSAGES"]
            if knows_modseqs:
                items.append(b"HIGHESTMODSEQ")
    elif old.highest_modseq == new.highest_modseq:
        return []
    if events & _DETAILS:
        # RFC 5465 section 5.1
        if old.unseen != new.unseen:
            items.append(b"UNSEEN")
        if knows_modseqs:
            items.extend((b"HIGHESTMODSEQ", b"UIDVALIDITY"))
        if old.uid_validity != new.uid_validity:
            items.append(b"UIDVALIDITY")
    return list(dict.fromkeys(items))


def first_items(events: frozenset[Event], has_modseqs: bool) -> list[bytes]:
    """What STATUS tells before the answer to NOTIFY SET STATUS (RFC 5465 section 3.1)."""
    items = [b"MESSAGES", b"UIDNEXT", b"UIDVALIDITY"]
    if events & _DETAILS and has_modseqs:
        items.append(b"HIGHESTMODSEQ")
    return items


class Renamed(NamedTuple):
    """A mailbox has another name."""

    old: str
    new: str


class NameChanges(NamedTuple):
    """What has become of the names of mailboxes, to be told in this order."""

    deleted: Sequence[str]
    renamed: Sequence[Renamed]
    #: Made, or another than before; or, where renaming has left a name that is none any more, gone.
    others: Sequence[str]


def compare_names(old: Mapping[str, Known], new: Mapping[str, Known]) -> NameChanges:
    """What to tell, one by one, so that a client that knew the old names knows the new ones.

    :param old: by identifier, as ``new``.
    """
    goal = {known.name: mailbox_id for mailbox_id, known in new.items()}
    held = {known.name: mailbox_id for mailbox_id, known in old.items()}
    deleted = sorted(held.keys() - goal.keys() - _moved(held, new).keys())
    for name in deleted:
        del held[name]
    renamed: list[Renamed] = []
    while len(renamed) < MAX_RENAMED and (pending := _moved(held, new)):
        # From below: what stood under another name leaves it before that goes. What goes with its
        # parent is there then (RFC 5465 section 5.4), and no name is taken that is still needed.
        own = [pair for pair in pending.items() if not _goes_with_parent(*pair, pending)]
        own.sort(key=lambda pair: (-pair[0].count(SEPARATOR), pair))
        free = (pair for pair in own if pair[1] not in pending)
        former, name = next(free, own[0])
        renamed.append(Renamed(former, name))
        held = {_after_rename(other, former, name): held[other] for other in _last(held, former)}
    others = {name for name in held.keys() | goal.keys() if held.get(name) != goal.get(name)}
    for mailbox_id, known in new.items():
        # Somebody else's, of which the right to read has come or gone: \Noselect, or no more.
        if mailbox_id in old and old[mailbox_id].selectable != known.selectable:
            others.add(known.name)
    return NameChanges(deleted, renamed, sorted(others))


def _moved(held: Mapping[str, str], new: Mapping[str, Known]) -> dict[str, str]:
    """New names of mailboxes that have another one, by the name that they are known by."""
    return {
        name: new[mailbox_id].name
        for name, mailbox_id in held.items()
        if mailbox_id in new and new[mailbox_id].name != name
    }


def _last(held: Mapping[str, str], former: str) -> list[str]:
    """The names, and those that take the place of others behind these."""
    return sorted(held, key=lambda name: name == former or name.startswith(former + SEPARATOR))


def _after_rename(name: str, former: str, new: str) -> str:
    """What a name is after one has been renamed."""
    if name == former or name.startswith(former + SEPARATOR):
        return new + name[len(former) :]
    return name


def _goes_with_parent(former: str, name: str, moved: Mapping[str, str]) -> bool:
    """RFC 5465 section 5.4: nothing is told of the children of a mailbox that is renamed."""
    end = former.rfind(SEPARATOR)
    while end > 0:
        parent = moved.get(former[:end])
        if parent is not None and name == parent + former[end:]:
            return True
        end = former.rfind(SEPARATOR, 0, end)
    return False


def with_parents(names: Iterable[str]) -> list[str]:
    """RFC 5465 section 5.4: the direct parent of a mailbox is affected, too."""
    affected: dict[str, None] = {}
    for name in names:
        parent, separator, _ = name.rpartition(SEPARATOR)
        if separator:
            affected[parent] = None
        affected[name] = None
    return list(affected)
