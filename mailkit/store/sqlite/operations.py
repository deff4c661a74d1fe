"""The writer's operations on messages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from mailkit._typing import override
from mailkit.errors import MailError, NoSuchMailbox, StoreFull
from mailkit.model import (
    AppendResult,
    FlagOp,
    Flags,
    LocalDelivery,
    LocalResult,
    StoreResult,
)
from mailkit.rights import ALL_RIGHTS, Rights, changeable, changed_within
from mailkit.store.naming import canonical_name
from mailkit.store.sqlite.annotations import (
    annotate_new,
    check_new,
)
from mailkit.store.sqlite.flags import SEEN_BIT, SYSTEM_MASK
from mailkit.store.sqlite.journal import format_uids, to_ranges
from mailkit.store.sqlite.rows import Selection, condition, select_rows, to_infos
from mailkit.store.sqlite.spans import note_changed
from mailkit.store.sqlite.states import MailboxState
from mailkit.store.sqlite.transaction import Appended, Content, Target, Transaction
from mailkit.store.sqlite.writer import Operation

# New values of flags in one STORE, above which rows are updated one by one.
_MAX_GROUPS = 50


def discard_content(content: Content) -> None:
    """Remove the file of a message that nobody takes."""
    if content.path:
        # It goes when the store is opened, like all spools.
        with suppress(OSError):
            os.unlink(content.path)


class FoundTargets(NamedTuple):
    """Where a message goes."""

    #: An error, or None for one of the targets.
    results: list[LocalResult | None]
    targets: list[Target]

    def answer(self, uids: Sequence[int]) -> list[LocalResult]:
        """The outcomes, now that the message has UIDs in the targets."""
        placed = zip(self.targets, uids, strict=True)
        done = iter([LocalResult(target.mailbox.uid_validity, uid) for target, uid in placed])
        return [next(done) if result is None else result for result in self.results]


def find_targets(tx: Transaction, deliveries: Sequence[LocalDelivery], size: int) -> FoundTargets:
    """The mailboxes that can take a message.

    :param size: of the message, in octets.
    """
    states = tx.states
    results: list[LocalResult | None] = []
    targets: list[Target] = []
    copies: Counter[int] = Counter()
    for delivery in deliveries:
        try:
            account = states.account(delivery.account)
            mailbox = states.delivery_mailbox(
                account, canonical_name(delivery.mailbox), delivery.special_use
            )
            tx.check_room(mailbox, len(deliveries))
            count = copies[account.id] + 1
            tx.check_quota(account, count * size, count)
            flags = states.encode(account, delivery.flags) if delivery.flags else 0
        except MailError as error:
            results.append(LocalResult(error=error))
        else:
            copies[account.id] = count
            results.append(None)
            targets.append(Target(mailbox, flags, tx.now))
    return FoundTargets(results, targets)


class Deliver(Operation[Sequence[LocalResult]]):
    """One message into mailboxes of any accounts.

    Most of what other processes ask for: so it knows a shorter way to be sent.
    """

    __slots__ = ("_content", "_deliveries", "weight")

    def __init__(self, content: Content, deliveries: Sequence[LocalDelivery]) -> None:
        self._content = content
        self._deliveries = deliveries
        self.weight = content.size

    @override
    def run(self, tx: Transaction) -> Sequence[LocalResult]:
        found = find_targets(tx, self._deliveries, self._content.size)
        if not found.targets:
            discard_content(self._content)
            return found.answer([])
        try:
            tx.check_disk(self._content)
        except StoreFull as error:
            return self.failed(error)
        return found.answer(tx.add_message(self._content, found.targets))

    def to_plain(self, blobs: list[bytes]) -> list[str | int | None] | None:
        """What :meth:`from_plain` takes, with the octets apart; None where there is more to say."""
        pieces, size, *_, tail = self._content
        if pieces is None or any(each.flags for each in self._deliveries):
            return None
        blobs.extend(pieces)
        plain: list[str | int | None] = [len(pieces), size, tail.decode("latin-1")]
        for account, mailbox, _, special_use in self._deliveries:
            plain += (account, mailbox, special_use)
        return plain

    @classmethod
    def from_plain(cls, plain: Sequence[Any], blobs: Iterator[bytes]) -> Deliver:
        """:raises ValueError: there are fewer octets than it needs."""
        count, size, tail, *targets = plain
        pieces = tuple(islice(blobs, count))
        if len(pieces) != count:
            raise ValueError("a message lacks octets")
        names = zip(targets[::3], targets[1::3], targets[2::3], strict=True)
        deliveries = [
            LocalDelivery(account, mailbox, special_use=use) for account, mailbox, use in names
        ]
        return cls(Content(pieces, size, tail=tail.encode("latin-1")), deliveries)

    @override
    def failed(self, error: MailError) -> Sequence[LocalResult]:
        discard_content(self._content)
        return [LocalResult(error=error) for _ in self._deliveries]

    @override
    def discard(self) -> None:
        discard_content(self._content)


class Append(Operation[AppendResult]):
    """Messages into one mailbox, all or none.

    :param user: who puts them there; the owner if it is None.
    """

    __slots__ = ("_mailbox_id", "_messages", "_user", "weight")

    def __init__(
        self, mailbox_id: int, messages: Sequence[Appended], user: str | None = None
    ) -> None:
        self._mailbox_id = mailbox_id
        self._messages = messages
        self._user = user
        self.weight = sum(message.content.size for message in messages)

    @override
    def run(self, tx: Transaction) -> AppendResult:
        mailbox = tx.states.mailbox_by_id(self._mailbox_id)
        tx.check_room(mailbox, len(self._messages))
        account = mailbox.account
        octets = sum(message.content.size for message in self._messages)
        tx.check_quota(account, octets, len(self._messages))
        tx.check_disk(*[message.content for message in self._messages])
        user = self._user or account.name
        check_new(tx, account, user, [message.annotations for message in self._messages])
        encoded = [tx.states.encode(account, message.flags) for message in self._messages]
        uids = []
        for (content, _, date, some), flags in zip(self._messages, encoded, strict=True):
            target = Target(mailbox, flags, tx.now if date is None else date)
            uids += tx.add_message(content, [target])
            if some:
                annotate_new(tx, mailbox, user, {uids[-1]: some}, mailbox.highest_modseq)
        return AppendResult(mailbox.uid_validity, uids)

    @override
    def discard(self) -> None:
        for message in self._messages:
            discard_content(message.content)


class FlagChange:
    """Flags of messages are to be changed."""

    __slots__ = ("_flags", "_mailbox_id", "_op", "_rights", "_uids", "_unchanged_since")

    def __init__(
        self,
        mailbox_id: int,
        uids: Sequence[int],
        op: FlagOp,
        flags: Flags,
        unchanged_since: int | None,
        rights: Rights = ALL_RIGHTS,
    ) -> None:
        self._rights = rights
        self._mailbox_id = mailbox_id
        self._uids = uids
        self._op = op
        self._flags = flags
        self._unchanged_since = unchanged_since

    def _new_flags(
        self, tx: Transaction, mailbox: MailboxState, present: set[int]
    ) -> dict[int, int]:
        """What each value of flags that occurs becomes."""
        states = tx.states
        account = mailbox.account
        if self._rights != ALL_RIGHTS:
            return self._new_flags_within(tx, mailbox, present)
        if self._op is FlagOp.REPLACE:
            value = states.encode(account, self._flags)
            return dict.fromkeys(present, value)
        plain = states.known_flags(account, self._flags)
        if self._op is FlagOp.REMOVE:
            return {old: states.encode(account, states.flag_sets[old] - plain) for old in present}
        # Keywords that are new: the spelling of those that are known is kept.
        bits = states.encode(account, self._flags)
        given = states.flag_sets[bits]
        if not bits & ~SYSTEM_MASK:
            return {old: old | bits for old in present}
        return {old: states.encode(account, states.flag_sets[old] | given) for old in present}

    def _new_flags_within(
        self, tx: Transaction, mailbox: MailboxState, present: set[int]
    ) -> dict[int, int]:
        """The same where not all flags may be changed."""
        states = tx.states
        account = mailbox.account
        # In the spelling of the account, so that they compare.
        given = changeable(self._flags, self._rights)
        if self._op is FlagOp.REMOVE:
            given = states.known_flags(account, given)
        else:
            given = states.flag_sets[states.encode(account, given)]
        new = {}
        for value in present:
            old = states.flag_sets[value]
            match self._op:
                case FlagOp.ADD:
                    flags = old | given
                case FlagOp.REMOVE:
                    flags = old - given
                case FlagOp.REPLACE:
                    flags = changed_within(old, given, self._rights)
            new[value] = value if flags == old else states.encode(account, flags)
        return new


class StoreFlags(FlagChange, Operation[StoreResult]):
    """Change flags, and tell of each message what it is now."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> StoreResult:
        mailbox = tx.states.mailbox_by_id(self._mailbox_id)
        tx.flush()
        selection = select_rows(tx.connection, mailbox.id, self._uids)
        modified: list[int] = []
        if (limit := self._unchanged_since) is not None:
            modified = [row[0] for row in selection.rows if row[4] > limit]
            if modified:
                kept = [row for row in selection.rows if row[4] <= limit]
                selection = Selection(kept, False)
        new_flags = self._new_flags(tx, mailbox, {row[1] for row in selection.rows})
        groups: dict[int, list[int]] = {}
        delta = 0
        for row in selection.rows:
            old = row[1]
            new = new_flags[old]
            if new != old:
                groups.setdefault(new, []).append(row[0])
                delta += (old & SEEN_BIT) - (new & SEEN_BIT)
        rows = selection.rows
        if groups:
            modseq = tx.next_modseq(mailbox)
            mailbox.unseen += delta
            self._update(tx, mailbox, groups, selection, modseq)
            rows = [
                row
                if new_flags[row[1]] == row[1]
                else (row[0], new_flags[row[1]], row[2], row[3], modseq, row[5], row[6], row[7])
                for row in rows
            ]
        return StoreResult(to_infos(rows, tx.states.flag_sets), modified)

    @staticmethod
    def _update(
        tx: Transaction,
        mailbox: MailboxState,
        groups: dict[int, list[int]],
        selection: Selection,
        modseq: int,
    ) -> None:
        for flags, uids in groups.items():
            whole = selection.is_range and len(uids) == len(selection.rows)
            if len(groups) > _MAX_GROUPS and not whole:
                tx.connection.executemany(
                    "UPDATE message SET flags = ?, modseq = ? WHERE mailbox_id = ? AND uid = ?",
                    [(flags, modseq, mailbox.id, uid) for uid in uids],
                )
                continue
            where, values = condition(uids, whole)
            tx.connection.execute(
                f"UPDATE message SET flags = ?, modseq = ? WHERE mailbox_id = ? AND {where}",
                (flags, modseq, mailbox.id, *values),
            )
        changed = {uid for uids in groups.values() for uid in uids}
        rows = [row for row in selection.rows if row[0] in changed]
        runs = to_ranges([row[0] for row in rows])
        note_changed(tx.connection, mailbox.id, modseq, runs, {row[4] for row in rows})
        changes = [
            [flags & SYSTEM_MASK, tx.keywords(flags), format_uids(uids)]
            for flags, uids in groups.items()
        ]
        tx.note(["flags", mailbox.id, modseq, changes])


class ClaimRecent(Operation[int]):
    """Remember up to where messages were announced as recent; from where on they were not before."""

    __slots__ = ("_first_recent_uid", "_mailbox_id")
    losable = True

    def __init__(self, mailbox_id: int, first_recent_uid: int) -> None:
        self._mailbox_id = mailbox_id
        self._first_recent_uid = first_recent_uid

    @override
    def run(self, tx: Transaction) -> int:
        row = tx.connection.execute(
            "SELECT first_recent_uid FROM mailbox WHERE id = ?", (self._mailbox_id,)
        ).fetchone()
        if row is None:
            raise NoSuchMailbox
        tx.connection.execute(
            "UPDATE mailbox SET first_recent_uid = max(first_recent_uid, ?) WHERE id = ?",
            (self._first_recent_uid, self._mailbox_id),
        )
        return int(row[0])
