"""The selected mailbox of one session: its backend, its view, and telling what has changed.

Ordering: only the command at work touches a selection, so nothing here needs a lock. The watch
callback does nothing but leave a mark.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from mailkit.errors import MailError, NoSuchMailbox, PermissionDenied, ReadOnly
from mailkit.imap import render
from mailkit.imap.annotate import render_names
from mailkit.imap.columns import FLAGS_COLUMN, recent_flags
from mailkit.imap.state import SelectedState
from mailkit.interfaces import (
    IAnnotatedMailbox,
    IMailbox,
    IRecentMailbox,
    IRestrictedMailbox,
    IVersionedMailbox,
    IViewableMailbox,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.model import Changes, FlagOp, Flags, MailboxInfo, MessageInfo
from mailkit.quiet import QuietResult
from mailkit.rights import ALL_RIGHTS, WRITE_RIGHTS, Rights, changeable

if TYPE_CHECKING:
    from mailkit.imap.decoded import Decodings
    from mailkit.imap.handlers.context import Contexts
    from mailkit.mime import Part

#: Messages whose details are asked for at a time.
BATCH = 500
#: Messages whose summaries are asked for at a time: some 60 KiB.
SUMMARY_BATCH = 100
#: Messages that a session keeps a sequence of its own for; above, it looks for one to share.
SHARE_FROM = 256


# One for all sessions: frozenset() makes another one each time.
_NO_UIDS: frozenset[int] = frozenset()


class Sleeper(Protocol):
    """Who has a mailbox selected, and may have nothing to do until it changes."""

    def wake(self) -> None:
        """Something has changed."""


class MailboxGone(Exception):
    """The selected mailbox has been deleted by somebody, or may not be read any more.

    The text is for the client.
    """


def gone(error: MailError) -> MailboxGone:
    """Why a session has lost its mailbox."""
    if isinstance(error, PermissionDenied):
        return MailboxGone("You may not read the selected mailbox any more")
    return MailboxGone("The selected mailbox has been deleted")


class Selection:
    """A selected mailbox.

    :param wants_write: it was SELECT, not EXAMINE.
    :param sleeper: is woken after a change, on the reactor's thread.
    """

    __slots__ = (
        "_restricted",
        "_sleeper",
        "_unheard",
        "_unwatch",
        "_version",
        "_versioned",
        "contexts",
        "decodings",
        "dirty",
        "keywords",
        "mailbox",
        "mailbox_id",
        "rights",
        "settled",
        "special_use",
        "state",
        "structure",
        "subscribed",
        "tells_annotations",
        "tells_modseqs",
        "tells_recent",
        "tells_uids",
        "tells_vanished",
        "told",
        "uid_validity",
        "wants_write",
        "writable",
    )

    def __init__(
        self, mailbox: IMailbox, wants_write: bool, sleeper: Sleeper | None = None
    ) -> None:
        self.mailbox = mailbox
        #: It was SELECT, not EXAMINE.
        self.wants_write = wants_write
        #: The mailbox as one that can be changed; None when the session may not.
        self.writable: IWritableMailbox | None = (
            mailbox if wants_write and IWritableMailbox.providedBy(mailbox) else None
        )
        self._restricted: IRestrictedMailbox | None = (
            mailbox if IRestrictedMailbox.providedBy(mailbox) else None
        )
        # Where it may be newer than we have been told.
        self._versioned: IVersionedMailbox | None = (
            mailbox if IVersionedMailbox.providedBy(mailbox) else None
        )
        self._version = 0
        #: What the client has been told that its user may do.
        self.rights: Rights = (
            ALL_RIGHTS if self._restricted is None else self._restricted.get_rights()
        )
        self.state = SelectedState((), 0)
        self.uid_validity = 0
        self.mailbox_id = ""
        self.special_use: str | None = None
        self.subscribed = False
        #: FETCH responses that nobody asked for tell UID and MODSEQ (RFC 7162 section 3.2.4).
        self.tells_modseqs = False
        #: Changes of annotations are told (RFC 5257 section 4.2).
        self.tells_annotations = False
        #: FETCH responses that nobody asked for tell the UID (RFC 9051 section 7.5.2).
        self.tells_uids = False
        #: \\Recent and RECENT are told: IMAP4rev2 has neither (RFC 9051 appendix E).
        self.tells_recent = True
        #: VANISHED is sent in place of EXPUNGE (RFC 7162 section 3.2.10).
        self.tells_vanished = False
        #: UIDs whose flags the client was told the last time that others' changes were announced.
        self.told = _NO_UIDS
        #: The modification sequence up to which the client has been told everything.
        self.settled = 0
        #: Keywords that the client is told of when it opens the mailbox, besides the common ones.
        self.keywords: Sequence[str] = ()
        #: A message's structure that was needed last: clients fetch large parts piece by piece.
        self.structure: tuple[int, Part] | None = None
        #: What is known of the decoded parts of such a message.
        self.decodings: tuple[int, Decodings] | None = None
        #: The mailbox may have changed since it was last looked at. A handler sets it after a
        #: change of its own: the backend's word may come after the backend's answer.
        self.dirty = False
        #: Searches whose changes the client is told of (RFC 5267).
        self.contexts: Contexts | None = None
        # Before the first change of flags that the client has not been told.
        self._unheard: int | None = None
        self._sleeper = sleeper
        self._unwatch: Callable[[], None] | None = None

    def leave_out_numbers(self) -> None:
        """From now on the client is told UIDs alone (RFC 9586 section 3)."""
        self.state.uid_only = self.tells_vanished = True
        if self.contexts is not None:
            self.contexts.leave_out_numbers()

    @property
    def watched(self) -> bool:
        """The backend tells of changes, so there is no need to ask."""
        return self._unwatch is not None

    async def open(self) -> tuple[int, int | None]:
        """Take the mailbox's present state as the session's view.

        :returns: UIDNEXT, and the sequence number of the first unseen message; None without one,
            or when finding it takes too long.
        """
        mailbox = self.mailbox
        if IWatchableMailbox.providedBy(mailbox):
            self._unwatch = mailbox.watch(callback=self._mark)
        if self._versioned is not None:
            self._version = self._versioned.get_version()
        # RFC 3501 section 6.3.2: EXAMINE leaves \Recent to others.
        claim = self.writable is not None
        if IViewableMailbox.providedBy(mailbox):
            info, uids, unseen_uid, keywords = await mailbox.get_view(claim_recent=claim)
            self._take(info, uids, info.first_recent_uid)
            if keywords:
                self.keywords = self.state.new_keywords(keywords, render.COMMON_KEYWORDS)
            return info.uid_next, None if unseen_uid is None else self.state.number_of(unseen_uid)
        # The counters first: whatever comes in between is then found as a change.
        info = await mailbox.get_info()
        first_recent = info.first_recent_uid
        if claim and IRecentMailbox.providedBy(mailbox):
            first_recent = await mailbox.claim_recent()
        uids = await mailbox.list_uids()
        self._take(info, uids, first_recent)
        uid_next = max(info.uid_next, uids[-1] + 1 if uids else 1)
        return uid_next, await self._first_unseen(info.unseen)

    def _take(self, info: MailboxInfo, uids: Sequence[int], first_recent: int) -> None:
        self.state = state = SelectedState(uids, info.highest_modseq)
        self.settled = info.highest_modseq
        self.uid_validity = info.uid_validity
        self.mailbox_id = info.mailbox_id
        self.special_use = info.special_use
        self.subscribed = info.subscribed
        if uids and self.tells_recent:
            state.add_recent(first_recent, uids[-1])

    def use_rev2(self) -> None:
        """The client speaks IMAP4rev2."""
        self.tells_uids = True
        self.tells_recent = False
        self.state.recent = ()

    def may(self, right: str) -> bool:
        """Whether the session has a right to the mailbox now (RFC 4314)."""
        return self._restricted is None or right in self._restricted.get_rights()

    def may_store(self, op: FlagOp, flags: Flags) -> bool:
        """Whether a STORE of these flags can be done whole."""
        if self._restricted is None:
            return True
        rights = self._restricted.get_rights()
        if op is FlagOp.REPLACE:
            return rights >= {"s", "w", "t"}
        return changeable(flags, rights) == flags

    def check_right(self, right: str) -> None:
        """:raises MailError: the session has not the right now."""
        if self._restricted is not None:
            self._restricted.check_right(right)

    def close(self) -> None:
        """The mailbox is no longer selected."""
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None:
            unwatch()
        self._sleeper = None
        self.contexts = None

    def _mark(self) -> None:
        self.dirty = True
        if self._sleeper is not None:
            self._sleeper.wake()

    def to_write(self) -> IWritableMailbox:
        """The mailbox, to be changed.

        :raises ReadOnly: it is selected read-only.
        """
        if self.writable is None:
            raise ReadOnly("The mailbox is selected read-only")
        return self.writable

    @property
    def quiet(self) -> bool:
        """There is certainly nothing to tell."""
        return self.watched and not self._has_changed() and not self.state.pending

    def _has_changed(self) -> bool:
        """Whether a watched mailbox may have changed since it was last looked at."""
        if not self.dirty and self._versioned is not None:
            version = self._versioned.get_version()
            if version != self._version:
                self._version = version
                self.dirty = True
        return self.dirty

    async def _first_unseen(self, unseen: int) -> int | None:
        """Sequence number of the first of some unseen messages."""
        uids = self.state.uids
        if not unseen or not uids:
            return None
        for info in await self.mailbox.get_messages(uids=uids[:32]):
            if "\\Seen" not in info.flags:
                return self.state.number_of(info.uid)
        # Most often they are the newest: look from the end until all are found.
        first = None
        stop = len(uids)
        for size in (100, BATCH, BATCH, BATCH):
            start = max(0, stop - size)
            for info in reversed(await self.mailbox.get_messages(uids=uids[start:stop])):
                if "\\Seen" not in info.flags:
                    first = info.uid
                    unseen -= 1
                    if not unseen:
                        return self.state.number_of(first)
            stop = start
            if not start:
                break
        return self.state.number_of(first) if first is not None and not stop else None

    def note_quiet(self, result: QuietResult) -> None:
        """The client has changed flags, and knows what they are now."""
        state = self.state
        if not result.modseq:
            return
        if result.before == state.modseq and self.contexts is None:
            # Nobody else has done anything since: there is nothing to look for.
            state.modseq = result.modseq
        else:
            state.note_changed(result.changed, result.modseq)

    async def look(self) -> Changes | None:
        """Ask the backend for changes, if there may be some.

        :raises MailboxGone: it has been deleted, or may not be read any more.
        """
        state = self.state
        try:
            if not self._has_changed():
                if self.watched:
                    return None
                info = await self.mailbox.get_info()
                if info.highest_modseq <= state.modseq:
                    return None
            # Cleared first: what happens while the backend works sets it again.
            self.dirty = False
            return await self.mailbox.get_changes(since=state.modseq)
        except (NoSuchMailbox, PermissionDenied) as error:
            raise gone(error) from None

    async def announce(
        self,
        write: Callable[[bytes], None],
        drain: Callable[[], Awaitable[None]],
        *,
        expunges: bool,
        with_uids: bool,
        arrivals: bool = True,
        flags: bool = True,
        annotations: bool = False,
    ) -> Sequence[int]:
        """Tell the client what has changed (RFC 3501 sections 5.2, 7.3, 7.4).

        :param expunges: EXPUNGE may be sent now.
        :param with_uids: name the UID in FETCH responses.
        :param arrivals: EXISTS may be sent now.
        :param flags: changes of flags may be told now.
        :param annotations: changes of annotations are to be told.
        :returns: UIDs of the messages that are new to the client.
        :raises MailboxGone: the mailbox has been deleted.
        """
        state = self.state
        since, last = state.modseq, state.uids[-1] if state.uids else 0
        changes = await self.look()
        if self._restricted is not None:
            self._announce_rights(self._restricted.get_rights(), write)
        self.told = _NO_UIDS
        changed: Sequence[int] = ()
        if changes is not None:
            changed = state.absorb(changes, arrivals)
            # Each of these steps takes some milliseconds where much has changed.
            await drain()
            if changes.added:
                await self._claim(changes.added)
        elif arrivals:
            state.admit()
        if self.contexts is not None and changes is not None:
            await self.contexts.tell_changes(changed, changes.vanished)
        if state.pending:
            await self._announce_pending(write, drain, expunges)
        if self.contexts is not None:
            await self.contexts.tell_arrivals()
        if annotations and changed and not flags:
            write(self.annotation_updates(await self.changed_entries(since)))
        if not flags:
            if changed and self._unheard is None:
                self._unheard = since
            changed = ()
        elif self._unheard is not None:
            since, self._unheard = self._unheard, None
            earlier = await self.mailbox.get_changes(since=since)
            changed = state.in_view(sorted({*changed, *earlier.changed}))
        if changed:
            highest = None if changes is None else changes.highest_modseq
            news_since = since if annotations else None
            await self._announce_flags(changed, highest, news_since, write, drain, with_uids)
        if changes is not None:
            state.forget_own()
        if not self.owes:
            self.settled = state.modseq
        return state.uids[bisect_right(state.uids, last) :]

    async def _announce_flags(
        self,
        changed: Sequence[int],
        highest_modseq: int | None,
        since: int | None,
        write: Callable[[bytes], None],
        drain: Callable[[], Awaitable[None]],
        with_uids: bool,
    ) -> None:
        """Tell which flags messages have now, unless the client itself has set them.

        :param highest_modseq: of the changes; None where they were heard of before.
        :param since: tell also which annotations have changed since; None for not.
        """
        state = self.state
        entries: Mapping[int, Sequence[str]] | None = None
        for start in range(0, len(changed), BATCH):
            if start:
                await drain()
            some = changed[start : start + BATCH]
            if highest_modseq is not None:
                some = state.others_changes(some, highest_modseq)
            if not some:
                continue
            if entries is None:
                entries = {} if since is None else await self.changed_entries(since)
            infos = await self.mailbox.get_messages(uids=some)
            news = [info for info in infos if state.is_news(info)]
            if self.tells_modseqs:
                # RFC 7162 section 6: not with a modification sequence below which something may be
                # that the client does not know. The next time, then.
                late = {info.uid for info in news if info.modseq > state.modseq}
                news = [info for info in news if info.uid not in late]
                # Their annotations have changed before: they would not be found then.
                write(self.annotation_updates({u: n for u, n in entries.items() if u in late}))
            if news:
                await drain()
                write(self.flag_updates(news, with_uids, entries))
                self.told |= {info.uid for info in news}

    def _announce_rights(self, rights: Rights, write: Callable[[bytes], None]) -> None:
        """Tell what may be changed, if that has changed (RFC 4314 section 5.1.1)."""
        if rights == self.rights:
            return
        self.rights = rights
        if self.writable is not None and not rights & WRITE_RIGHTS:
            self.writable = None
            write(b"* OK [READ-ONLY] You may not change this mailbox any more\r\n")
        write(render.selected_flags(self.keywords, self.writable is not None, rights))

    @property
    def owes(self) -> bool:
        """The client has not been told all that the session knows."""
        return self.state.pending or self._unheard is not None

    def highest_modseq(self) -> bytes:
        """What a client that goes away now may come back with (RFC 7162 section 3.1.2.1)."""
        return b"* OK [HIGHESTMODSEQ %d] Known up to here\r\n" % self.settled

    async def _claim(self, added: Sequence[int]) -> None:
        """Messages that came while the mailbox is selected are \\Recent for one session."""
        mailbox = self.mailbox
        # RFC 3501 section 2.3.2: \Recent too where nobody knows which session is the first.
        first = added[0]
        if IRecentMailbox.providedBy(mailbox):
            if self.writable is not None:
                # Of one that comes just now, the client is told later.
                first = await mailbox.claim_recent(last=added[-1])
            else:
                first = (await mailbox.get_info()).first_recent_uid
        if self.tells_recent:
            self.state.add_recent(max(first, added[0]), added[-1])

    async def _announce_pending(
        self,
        write: Callable[[bytes], None],
        drain: Callable[[], Awaitable[None]],
        expunges: bool,
    ) -> None:
        state = self.state
        recent = 0
        if expunges and state.pending_expunges:
            recent = state.recent_count()
            for numbers, uids in state.remove_gone(4 * BATCH):
                if self.tells_vanished:
                    write(b"* VANISHED %b\r\n" % render.uid_set(uids))
                else:
                    write(b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers]))
                await drain()
        news = state.announce(recent)
        if news.exists is not None:
            write(b"* %d EXISTS\r\n" % news.exists)
        if news.recent is not None and self.tells_recent:
            # RFC 3501 section 7.3.2: whenever the size of the mailbox changes.
            write(b"* %d RECENT\r\n" % news.recent)
        if not state.pending and len(state) >= SHARE_FROM:
            await drain()
            state.adopt(await self.mailbox.list_uids())

    async def changed_entries(self, since: int) -> dict[int, list[str]]:
        """Entries of messages that others have changed, by UID (RFC 5257 section 4.4)."""
        mailbox = self.mailbox
        if not IAnnotatedMailbox.providedBy(mailbox):
            return {}
        entries: dict[int, list[str]] = {}
        for uid, entry, modseq in await mailbox.get_annotation_changes(since=since):
            if not self.state.is_own(uid, modseq):
                entries.setdefault(uid, []).append(entry)
        return entries

    def annotation_updates(self, entries: Mapping[int, Sequence[str]]) -> bytes:
        """FETCH responses that tell the names of changed annotations alone."""
        lines = []
        for uid, names in entries.items():
            number = self.state.number_of(uid)
            if number is not None and self.state.uid_only:
                lines.append(b"* %d UIDFETCH (%b)\r\n" % (uid, render_names(names)))
            elif number is not None:
                lines.append(b"* %d FETCH (UID %d %b)\r\n" % (number, uid, render_names(names)))
        return b"".join(lines)

    def flag_updates(
        self,
        infos: Sequence[MessageInfo],
        with_uids: bool,
        entries: Mapping[int, Sequence[str]] = MappingProxyType({}),
    ) -> bytes:
        """FETCH responses that tell the flags of messages; those not in view are left out.

        RFC 3501 section 7.2.6: FLAGS before them, when a keyword has not been told yet.

        :param entries: of annotations that have changed, by UID.
        """
        state = self.state
        flags_used = {flag for info in infos for flag in info.flags}
        fresh = state.new_keywords(flags_used, render.COMMON_KEYWORDS)
        lines = [render.flag_line((*render.COMMON_KEYWORDS, *fresh))] if fresh else []
        any_recent = state.any_recent([info.uid for info in infos])
        for info in infos:
            number = state.number_of(info.uid)
            if number is None:
                continue
            flags = (
                render.render_recent_flags(info.flags)
                if any_recent and state.is_recent(info.uid)
                else render.render_flags(info.flags)
            )
            more = b" " + render_names(entries[info.uid]) if info.uid in entries else b""
            if self.tells_modseqs:
                more += b" MODSEQ (%d)" % info.modseq
            if state.uid_only:
                lines.append(b"* %d UIDFETCH (FLAGS (%b)%b)\r\n" % (info.uid, flags, more))
            elif with_uids or self.tells_uids or self.tells_modseqs:
                lines.append(
                    b"* %d FETCH (UID %d FLAGS (%b)%b)\r\n" % (number, info.uid, flags, more)
                )
            else:
                lines.append(b"* %d FETCH (FLAGS (%b)%b)\r\n" % (number, flags, more))
        return b"".join(lines)

    def ready_flag_updates(
        self, uids: Sequence[int], values: Sequence[Flags], with_uids: bool
    ) -> bytes:
        """The same without modification sequences for many messages, all of them in view.

        :param values: flags of each.
        """
        state = self.state
        used = {flag for flags in set(values) for flag in flags}
        fresh = state.new_keywords(used, render.COMMON_KEYWORDS)
        line = render.flag_line((*render.COMMON_KEYWORDS, *fresh)) if fresh else b""
        flags = FLAGS_COLUMN.render(values)
        if state.any_recent(uids):
            flags = recent_flags(uids, values, state.is_recent)
        columns: list[Iterable[Any]]
        if state.uid_only:
            form, columns = b"* %d UIDFETCH (FLAGS (%b))\r\n", [uids, flags]
        elif with_uids or self.tells_uids:
            form = b"* %d FETCH (UID %d FLAGS (%b))\r\n"
            columns = [state.numbers_of(uids), uids, flags]
        else:
            form, columns = b"* %d FETCH (FLAGS (%b))\r\n", [state.numbers_of(uids), flags]
        return line + b"".join(map(form.__mod__, zip(*columns, strict=True)))

    def modseq_updates(self, infos: Sequence[MessageInfo]) -> bytes:
        """FETCH responses that tell modification sequences alone."""
        lines = []
        for info in infos:
            number = self.state.number_of(info.uid)
            if number is None:
                continue
            if self.state.uid_only:
                lines.append(b"* %d UIDFETCH (MODSEQ (%d))\r\n" % (info.uid, info.modseq))
            else:
                lines.append(
                    b"* %d FETCH (UID %d MODSEQ (%d))\r\n" % (number, info.uid, info.modseq)
                )
        return b"".join(lines)
