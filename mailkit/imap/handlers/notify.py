"""NOTIFY: telling of mailboxes that are not selected, and when (RFC 5465)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mailkit.errors import MailError
from mailkit.imap.grammar import Command
from mailkit.imap.handlers.listing import read_subscriptions
from mailkit.imap.handlers.status import render_status
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb
from mailkit.imap.listing import Listed, Listing
from mailkit.imap.metadata import render_names
from mailkit.imap.notify import (
    ALL_EVENTS,
    MESSAGE_EVENTS,
    NOTHING,
    Event,
    Known,
    UnsupportedEvent,
    Wanted,
    compare_names,
    first_items,
    parse_notify,
    status_items,
    watched_events,
    with_parents,
)
from mailkit.interfaces import (
    IAccessControl,
    IMailAccount,
    IMetadataAccount,
    IWatchableAccount,
    IWatchableMailbox,
)
from mailkit.model import SEPARATOR, MailboxInfo, MetadataChange

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Mailboxes of an account that one client is told of; each is remembered.
MAX_WATCHED = 2000
#: Changed entries that wait to be told.
MAX_UNTOLD = 1000

_NAMES = frozenset((Event.MAILBOX_NAME,))
_SUBSCRIPTIONS = frozenset((Event.SUBSCRIPTION_CHANGE,))
_MAILBOX_METADATA = frozenset((Event.MAILBOX_METADATA_CHANGE,))
_SERVER_METADATA = frozenset((Event.SERVER_METADATA_CHANGE,))
_METADATA = _MAILBOX_METADATA | _SERVER_METADATA


class _Overflow(Exception):
    """There are more mailboxes than a client can be told of."""


async def notify(connection: IMAPProtocol, command: Command) -> None:
    """RFC 5465 section 3.1"""
    try:
        wanted = parse_notify(command.arguments, connection.offers)
    except UnsupportedEvent:
        events = watched_events(connection.offers)
        names = " ".join(event.value for event in events).encode("ascii")
        connection.no("Some of these events are not watched here", b"BADEVENT (%b)" % names)
        return
    notifier = Notifier(connection, wanted)
    try:
        await notifier.start()
    except _Overflow:
        notifier.close()
        connection.no("There are too many mailboxes to watch", b"NOTIFICATIONOVERFLOW")
        return
    except BaseException:
        notifier.close()
        raise
    connection.set_notifier(notifier)
    await connection.complete("NOTIFY completed")


class Notifier:
    """What a client is told of the account's mailboxes.

    The word of account and mailboxes does nothing but leave a mark; :meth:`tell` is called between
    commands.
    """

    __slots__ = (
        "_changed",
        "_connection",
        "_end",
        "_end_metadata",
        "_entries",
        "_known",
        "_names",
        "_own",
        "_subscribed",
        "_watches",
        "wanted",
    )

    def __init__(self, connection: IMAPProtocol, wanted: Wanted) -> None:
        self.wanted = wanted
        self._connection = connection
        self._end: Callable[[], None] | None = None
        self._end_metadata: Callable[[], None] | None = None
        #: Entries that have changed, by mailbox; None for the server.
        self._entries: dict[str | None, dict[str, None]] = {}
        #: By identifier, which lasts where names do not.
        self._known: Mapping[str, Known] = {}
        self._subscribed: frozenset[str] = frozenset()
        self._changed: set[str] = set()
        self._names = False
        # Ends of watches by mailbox.
        self._watches: dict[str, Callable[[], None]] = {}
        # Changes of names that the client has asked for itself.
        self._own: set[tuple[Event, str]] = set()

    @property
    def dirty(self) -> bool:
        """There may be something to tell."""
        return self._names or bool(self._changed) or bool(self._entries)

    def close(self) -> None:
        end, self._end = self._end, None
        end_metadata, self._end_metadata = self._end_metadata, None
        for stop in (end, end_metadata):
            if stop is not None:
                stop()
        watches, self._watches = self._watches, {}
        for end in watches.values():
            end()

    def note_own(self, event: Event, name: str) -> None:
        """RFC 5465 section 5: what the client does itself, it is not told of."""
        if self._end is not None:
            self._own.add((event, name))

    async def start(self) -> None:
        """Watch the account, and tell the present state if that is wanted.

        :raises _Overflow: there are too many mailboxes.
        """
        if not any(group.events for group in self.wanted.groups):
            return
        account = self._account
        if IWatchableAccount.providedBy(account):
            # First: what happens in between is then found as a change.
            self._end = account.watch(callback=self._mark_names)
        wanted = frozenset[Event]().union(*(group.events for group in self.wanted.groups))
        if wanted & _METADATA and IMetadataAccount.providedBy(account):
            self._end_metadata = account.watch_metadata(callback=self._mark_entries)
        infos = await self._look()
        if self.wanted.status:
            await self._tell_state(infos)

    @property
    def _account(self) -> IMailAccount:
        account = self._connection.account
        assert account is not None
        return account

    def _mark_names(self) -> None:
        self._names = True
        self._connection.wake()

    def _mark(self, mailbox_id: str) -> None:
        self._changed.add(mailbox_id)
        self._connection.wake()

    def _mark_entries(self, change: MetadataChange) -> None:
        """Entries about a mailbox, or the server, have changed."""
        connection = self._connection
        if change.origin is connection or connection.metadata is not None:
            # Its own doing; or it is told of all changes, by RFC 5464 section 4.4.
            return
        if change.mailbox is None:
            wanted = any(_SERVER_METADATA & group.events for group in self.wanted.groups)
        else:
            wanted = bool(self._events(change.mailbox, _MAILBOX_METADATA))
        if wanted:
            entries = self._entries.setdefault(change.mailbox, {})
            room = MAX_UNTOLD - sum(map(len, self._entries.values()))
            entries.update(dict.fromkeys(list(change.entries)[: max(0, room)]))
            connection.wake()

    async def _look(self) -> Sequence[MailboxInfo]:
        """All mailboxes, as they are after those that are to be watched are.

        :raises _Overflow: there are too many.
        """
        while True:
            infos = await self._account.list_mailboxes()
            if not await self._remember(infos):
                return infos
            # What has come to one of them before it was watched nobody has heard of.

    async def _remember(self, infos: Sequence[MailboxInfo]) -> bool:
        """Note how the mailboxes are, and watch them.

        :returns: whether some are watched from now on.
        :raises _Overflow: there are too many mailboxes.
        """
        self._subscribed = frozenset(await read_subscriptions(self._connection, infos))
        known = {
            info.mailbox_id: Known.of(info) for info in infos if self._events(info.name, ALL_EVENTS)
        }
        if len(known) > MAX_WATCHED:
            raise _Overflow
        self._known = known
        for mailbox_id in self._watches.keys() - known.keys():
            self._watches.pop(mailbox_id)()
        began = False
        for mailbox_id, one in known.items():
            if mailbox_id in self._watches or not self._events(one.name, MESSAGE_EVENTS):
                continue
            try:
                mailbox = await self._account.open_mailbox(name=one.name)
            except MailError:
                # Not selectable, not for this user, or gone already.
                continue
            if IWatchableMailbox.providedBy(mailbox):
                mark = partial(self._mark, mailbox_id)
                self._watches[mailbox_id] = mailbox.watch(callback=mark)
                began = True
        return began

    def _events(self, name: str, among: frozenset[Event]) -> frozenset[Event]:
        return self.wanted.events(name, name in self._subscribed, self._is_personal(name), among)

    def _is_personal(self, name: str) -> bool:
        account = self._account
        if not IAccessControl.providedBy(account):
            return True
        return not any(
            prefix and (name + SEPARATOR).startswith(prefix) for prefix in account.namespaces
        )

    def _message_events(self, mailbox_id: str, known: Known) -> frozenset[Event]:
        """What of its messages is told with STATUS."""
        selection = self._connection.selection
        if not known.selectable or (selection and selection.mailbox_id == mailbox_id):
            # RFC 5465 section 3.1: for the selected one, SELECTED alone counts.
            return frozenset()
        return self._events(known.name, MESSAGE_EVENTS)

    async def _tell_state(self, infos: Sequence[MailboxInfo]) -> None:
        has_modseqs = b"CONDSTORE" in self._connection.extensions
        for info in infos:
            known = self._known.get(info.mailbox_id)
            events = known and self._message_events(info.mailbox_id, known)
            if events:
                await self._send_status(info, first_items(events, has_modseqs))

    async def _send_status(self, info: MailboxInfo, items: Sequence[bytes]) -> None:
        if items:
            try:
                line = await render_status(self._connection, info, items)
            except MailError:
                # It is gone: its name will be told.
                return
            await self._connection.send(line)

    # Changes.

    async def tell(self) -> None:
        """Tell what has changed since the last time (RFC 5465 section 5)."""
        entries, self._entries = self._entries, {}
        for name, known_entries in entries.items():
            if known_entries:
                # RFC 5465 sections 5.6 and 5.7
                place = b'""' if name is None else self._connection.mailbox_name(name)
                await self._connection.send(render_names(place, list(known_entries)))
        changed, self._changed = self._changed, set()
        names, self._names = self._names, False
        if names:
            known, subscribed = self._known, self._subscribed
            try:
                infos = await self._look()
            except _Overflow:
                self._connection.set_notifier(Notifier(self._connection, NOTHING))
                # RFC 5465 section 5.8
                self._connection.remark(
                    b"* OK [NOTIFICATIONOVERFLOW] There are too many mailboxes to watch\r\n"
                )
                return
            await self._tell_names(infos, known, subscribed)
            await self._tell_messages(infos, known)
            return
        found = []
        for mailbox_id in changed:
            known_one = self._known.get(mailbox_id)
            if known_one is not None:
                try:
                    mailbox = await self._account.open_mailbox(name=known_one.name)
                    info = await mailbox.get_info()
                except MailError:
                    # Its name has changed: that is told, too.
                    continue
                # One that was renamed just now is found with the names, which are to be told.
                if info.mailbox_id == mailbox_id and info.name == known_one.name:
                    found.append(info)
        known = self._known
        self._known = {**known, **{info.mailbox_id: Known.of(info) for info in found}}
        await self._tell_messages(found, known)

    async def _tell_messages(
        self, infos: Iterable[MailboxInfo], before: Mapping[str, Known]
    ) -> None:
        names = {known.name: known for known in before.values()}
        for info in infos:
            now = Known.of(info)
            # One that has been made anew under its name has another UIDVALIDITY.
            # In one that is new there was nothing before.
            nothing = now._replace(uid_next=1, messages=0, unseen=0)
            old = before.get(info.mailbox_id) or names.get(info.name) or nothing
            if old != now:
                events = self._message_events(info.mailbox_id, now)
                items = status_items(old, now, events, self._connection.enabled)
                await self._send_status(info, items)

    async def _tell_names(
        self,
        infos: Sequence[MailboxInfo],
        before: Mapping[str, Known],
        subscribed_before: frozenset[str],
    ) -> None:
        own, self._own = self._own, set()
        listing = Listing(infos, self._subscribed, extended=True)
        changes = compare_names(before, self._known)
        ours = {name for event, name in own if event is Event.MAILBOX_NAME}

        def listed(names: Sequence[str]) -> list[Listed]:
            others = with_parents(name for name in names if not _is_own(name, ours))
            return [Listed(name, listing.attributes(name)) for name in others]

        lines = listed(changes.deleted)
        for former, name in changes.renamed:
            if name not in ours:
                oldname = b'"OLDNAME" (%b)' % self._connection.mailbox_name(former)
                lines.append(Listed(name, listing.attributes(name), extended=(oldname,)))
        lines += listed(changes.others)
        lines = [line for line in lines if self._events(line.name, _NAMES)]
        told = {line.name for line in lines}
        for name in sorted(subscribed_before ^ self._subscribed):
            if (Event.SUBSCRIPTION_CHANGE, name) in own or not self._events(name, _SUBSCRIPTIONS):
                continue
            if name not in told:
                lines.append(Listed(name, listing.attributes(name)))
        utf8 = self._connection.utf8
        # Of two that say the same, the last one counts: a rename may stand between them.
        for octets in reversed(dict.fromkeys(line.render(b"LIST", utf8) for line in lines[::-1])):
            await self._connection.send(octets)


def _is_own(name: str, ours: Iterable[str]) -> bool:
    """A client that makes a mailbox makes the levels above it."""
    return any(name == own or own.startswith(name + SEPARATOR) for own in ours)


VERBS: Mapping[bytes, Verb] = {
    b"NOTIFY": Verb(AUTHENTICATED, notify, extension=b"NOTIFY"),
}

CAPABILITIES: Sequence[Capability] = (Capability(b"NOTIFY", provides=IWatchableAccount),)
