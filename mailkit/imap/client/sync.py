"""Bringing a cache up to date with the mailbox: in one round trip where the server has QRESYNC
(RFC 7162 section 3.2.5), by modification sequences where it has CONDSTORE, else by all flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailkit.client.errors import ProtocolError
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.session import Session
from mailkit.imap.client.sets import RangeSet
from mailkit.imap.client.values import Expunge, Message, Status, Vanished
from mailkit.model import Flags


@dataclass(frozen=True)
class Known:
    """What a cache knows of a mailbox; nothing to begin with."""

    uid_validity: int = 0
    #: Modification sequence up to which it knows everything; None where the server had none.
    modseq: int | None = None
    #: Flags by UID, of all messages that it knows.
    flags: Mapping[int, Flags] = field(default_factory=dict)


@dataclass
class Synchronised:
    """What has changed since, and how things stand now."""

    #: The mailbox, which is selected now.
    selected: Selected
    #: ``QRESYNC``, ``CONDSTORE`` or ``FLAGS``: how it was found out.
    by: str
    #: The UIDs mean other messages than before: everything that was known is void.
    reset: bool
    #: To be remembered for the next time.
    known: Known
    #: Flags by UID, of new messages.
    added: dict[int, Flags] = field(default_factory=dict)
    #: Flags by UID, of known messages whose flags are others now.
    changed: dict[int, Flags] = field(default_factory=dict)
    #: UIDs of known messages that are gone, ascending.
    vanished: list[int] = field(default_factory=list)


async def synchronise(
    session: Session, mailbox: str, known: Known | None = None, *, read_only: bool = False
) -> Synchronised:
    """Select a mailbox and find out what has changed.

    ::

        found = await synchronise(session, "INBOX", known)
        for uid in found.vanished: ...
        known = found.known

    :param known: what was known the last time.
    :raises ClientError: as SELECT and FETCH.
    """
    known = known or Known()
    if session.has("QRESYNC") and session.has("ENABLE"):
        if "QRESYNC" not in session.facts.enabled:
            await session.enable("QRESYNC")
        if known.uid_validity and known.modseq:
            found = await _resynchronise(session, mailbox, known, read_only)
            if found is not None:
                return found
        else:
            await session.select(mailbox, read_only=read_only, condstore=True)
    else:
        condstore = session.has("CONDSTORE")
        await session.select(mailbox, read_only=read_only, condstore=condstore)
    selected = session.selected
    if selected is None:
        raise ProtocolError("The mailbox was closed", command="SELECT")
    same = known.uid_validity == selected.uid_validity
    has_modseqs = session.has("CONDSTORE", "QRESYNC") and selected.highest_modseq
    if same and known.modseq and has_modseqs:
        return await _by_modseq(session, selected, known)
    return await _by_flags(session, selected, known)


async def _resynchronise(
    session: Session, mailbox: str, known: Known, read_only: bool
) -> Synchronised | None:
    """All in the answer to SELECT; None where that told too little."""
    messages: dict[int, Flags] = {}
    vanished: list[tuple[int, int]] = []

    def collect(response: Typed) -> bool:
        if isinstance(response, Status) and response.code and response.code.name == "CLOSED":
            # All before came late, and speaks of the mailbox that was selected before.
            messages.clear()
            vanished.clear()
        if isinstance(response, Message) and response.uid and response.flags is not None:
            messages[response.uid] = response.flags
            return True
        if isinstance(response, Vanished) and response.earlier:
            vanished.extend(response.uids)
            return True
        return False

    # RFC 7162 section 3.2.5: with known UIDs, new messages would not be told.
    parameters = f"(QRESYNC ({known.uid_validity} {known.modseq}))"
    selected = await session.select_with(mailbox, read_only, parameters, collect)
    if selected.uid_validity != known.uid_validity or not selected.highest_modseq:
        return None
    gone = RangeSet(vanished)
    flags = {uid: each for uid, each in known.flags.items() if uid not in gone}
    flags.update(messages)
    if selected.removals or len(flags) != selected.exists:
        # What the cache knew was not all of it, or wrong; or some went, and others came, meanwhile.
        return None
    selected.learn_uids(flags)
    return _compare(selected, "QRESYNC", known, flags)


async def _by_modseq(session: Session, selected: Selected, known: Known) -> Synchronised:
    """RFC 7162 section 6"""
    modseq = selected.highest_modseq
    flags = dict(known.flags)
    if modseq == known.modseq and selected.exists == len(flags) and not selected.removals:
        # Nothing came, so nothing went.
        selected.learn_uids(flags)
        return _compare(selected, "CONDSTORE", known, flags, modseq)
    with _News(session) as news:
        for message in await session.fetch("1:*", "FLAGS", changed_since=known.modseq):
            if message.uid and message.flags is not None:
                flags[message.uid] = message.flags
        there = await _uids_there(session, selected)
        flags = {uid: each for uid, each in flags.items() if uid in there}
        # None, unless the cache knew less than it said.
        for message in await session.fetch(there - flags.keys(), "FLAGS"):
            if message.uid and message.flags is not None:
                flags[message.uid] = message.flags
        news.apply(flags)
    return _compare(selected, "CONDSTORE", known, flags, modseq)


async def _uids_there(session: Session, selected: Selected) -> set[int]:
    """The UIDs of all messages, which the state knows by number then."""
    removals = selected.removals
    found = await session.search()
    if selected.removals == removals and selected.exists == len(found):
        selected.learn_uids(found)
        return set(found)
    # Others remove messages just now; this tells the numbers too.
    return {message.uid for message in await session.fetch("1:*", "UID") if message.uid}


async def _by_flags(session: Session, selected: Selected, known: Known) -> Synchronised:
    modseq = selected.highest_modseq
    flags: dict[int, Flags] = {}
    if selected.exists:
        with _News(session) as news:
            for message in await session.fetch("1:*", "FLAGS"):
                if message.uid and message.flags is not None:
                    flags[message.uid] = message.flags
            news.apply(flags)
    return _compare(selected, "FLAGS", known, flags, modseq)


class _News:
    """What happens to known messages while the others are told."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._gone: list[tuple[int, int]] = []
        self._flags: dict[int, Flags] = {}

    def __enter__(self) -> _News:
        self._stop = self._session.add_listener(self._hear)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _hear(self, response: Typed) -> None:
        if isinstance(response, Vanished):
            self._gone.extend(response.uids)
        elif isinstance(response, Expunge) and response.uid:
            self._gone.append((response.uid, response.uid))
        elif isinstance(response, Message) and response.uid and response.flags is not None:
            self._flags[response.uid] = response.flags

    def apply(self, flags: dict[int, Flags]) -> None:
        """Change what is known by it."""
        gone = RangeSet(self._gone)
        flags.update(self._flags)
        for uid in [uid for uid in flags if uid in gone]:
            del flags[uid]


def _compare(
    selected: Selected,
    by: str,
    known: Known,
    flags: dict[int, Flags],
    modseq: int | None = None,
) -> Synchronised:
    reset = bool(known.uid_validity) and known.uid_validity != selected.uid_validity
    before: Mapping[int, Flags] = {} if reset else known.flags
    return Synchronised(
        selected,
        by,
        reset,
        Known(selected.uid_validity, modseq or selected.highest_modseq, flags),
        {uid: each for uid, each in flags.items() if uid not in before},
        {uid: each for uid, each in flags.items() if uid in before and before[uid] != each},
        sorted(uid for uid in before if uid not in flags),
    )
