"""The writer's operations on the names of mailboxes and on subscriptions."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from mailkit._typing import override
from mailkit.errors import (
    InvalidMailboxName,
    LimitExceeded,
    MailboxExists,
    MailboxHasChildren,
    NoSuchMailbox,
)
from mailkit.model import INBOX, SEPARATOR, Quota
from mailkit.store.naming import (
    canonical_name,
    is_child,
    moved_name,
    parents,
    validate_name,
)
from mailkit.store.sharing.records import Place
from mailkit.store.sqlite.access import inherit_entries, touch_viewers
from mailkit.store.sqlite.metadata import copy_entries, take_use
from mailkit.store.sqlite.rows import COLUMNS, Selection, mailbox_note
from mailkit.store.sqlite.transaction import NamesOf, Transaction
from mailkit.store.sqlite.transfers import copy_rows
from mailkit.store.sqlite.writer import Operation

# Comes after whatever begins with the separator.
_AFTER_SEPARATOR = chr(ord(SEPARATOR) + 1)

T = TypeVar("T")

#: Mailboxes, and subscribed names, of one account.
MAX_MAILBOXES = 10_000


def next_uid_validity(connection: sqlite3.Connection, now: int) -> int:
    """A UIDVALIDITY greater than any that this store ever gave (RFC 3501 section 2.3.1.1)."""
    (last,) = connection.execute("SELECT value FROM setting WHERE name = 'uid_validity'").fetchone()
    value = max(int(last) + 1, now & 0xFFFFFFFF)
    connection.execute("UPDATE setting SET value = ? WHERE name = 'uid_validity'", (value,))
    return value


def insert_mailbox(
    connection: sqlite3.Connection,
    account_id: int,
    name: str,
    now: int,
    special_use: str | None = None,
    selectable: bool = True,
    modseq: int = 1,
) -> int:
    """Make a mailbox's row; gives its id."""
    cursor = connection.execute(
        "INSERT INTO mailbox (account_id, name, uid_validity, special_use, selectable,"
        " highest_modseq) VALUES (?, ?, ?, ?, ?, ?)",
        (account_id, name, next_uid_validity(connection, now), special_use, selectable, modseq),
    )
    return int(cursor.lastrowid or 0)


class _AccountOperation(Operation[T]):
    """A change of one account's lists of names."""

    __slots__ = ("_account", "_name")

    def __init__(self, account: str, name: str) -> None:
        self._account = account
        self._name = name


class _NamesOperation(_AccountOperation[T]):
    """A change of one account's mailboxes."""

    __slots__ = ()

    @override
    def run(self, tx: Transaction) -> T:
        tx.flush()
        return self.change(_Names(tx, self._account))

    @abstractmethod
    def change(self, names: _Names) -> T:
        """Make the change."""


class _Names:
    """The mailbox names of an account, and what can be done to them."""

    def __init__(self, tx: Transaction, account: str) -> None:
        self.tx = tx
        self.account = tx.states.account(account)

    def get(self, name: str) -> tuple[int, bool] | None:
        """Id of the mailbox of that canonical name, and whether it is selectable."""
        row = self.tx.connection.execute(
            "SELECT id, selectable FROM mailbox WHERE account_id = ? AND name = ?",
            (self.account.id, name),
        ).fetchone()
        return None if row is None else (row[0], bool(row[1]))

    def find(self, name: str) -> tuple[int, bool]:
        """:raises NoSuchMailbox: no mailbox has that canonical name."""
        found = self.get(name)
        if found is None:
            raise NoSuchMailbox
        return found

    def children(self, name: str, limit: int = -1) -> list[str]:
        """Names below that one, at most so many."""
        rows = self.tx.connection.execute(
            "SELECT name FROM mailbox WHERE account_id = ? AND name > ? AND name < ? LIMIT ?",
            (self.account.id, name + SEPARATOR, name + _AFTER_SEPARATOR, limit),
        ).fetchall()
        return [child for (child,) in rows]

    def make_room(self, name: str, new: int = 1) -> list[str]:
        """The levels above a name that have to be made.

        :param new: mailboxes that are to be made besides.
        :raises LimitExceeded: there would be too many.
        :raises OverQuota: the account may not have that many.
        """
        missing = [parent for parent in parents(name) if self.get(parent) is None]
        count, there = self.tx.connection.execute(
            "SELECT count(*), sum(selectable) FROM mailbox WHERE account_id = ?",
            (self.account.id,),
        ).fetchone()
        new += len(missing)
        if new and count + new > MAX_MAILBOXES:
            raise LimitExceeded(f"An account has at most {MAX_MAILBOXES} mailboxes")
        if new:
            quota = Quota(0, 0, mailboxes=there, max_mailboxes=self.account.max_mailboxes)
            quota.check_mailboxes(new)
        return missing

    def add(self, name: str, special_use: str | None = None, selectable: bool = True) -> int:
        """Make a mailbox whose name is free."""
        self._counters_to_index()
        self.account.modseq += 1
        mailbox_id = insert_mailbox(
            self.tx.connection,
            self.account.id,
            name,
            self.tx.now,
            special_use,
            selectable,
            self.account.modseq,
        )
        self.note(mailbox_id)
        if SEPARATOR in name:
            for note in inherit_entries(self.tx.connection, self.account.id, name, mailbox_id):
                self.tx.note(note)
            touch_viewers(self.tx, mailbox_id)
        return mailbox_id

    def drop(self, name: str) -> None:
        """Take a mailbox's row away; the maintenance removes its messages bit by bit."""
        mailbox_id, _ = self.find(name)
        self._counters_to_index()
        touch_viewers(self.tx, mailbox_id)
        self.tx.connection.execute(
            "UPDATE account SET modseq = ? WHERE id = ?", (self.account.modseq, self.account.id)
        )
        self.tx.connection.execute("INSERT INTO doomed_mailbox VALUES (?)", (mailbox_id,))
        for table in ("acl", "metadata", "access_key"):
            self.tx.connection.execute(f"DELETE FROM {table} WHERE mailbox_id = ?", (mailbox_id,))
        self.tx.connection.execute("DELETE FROM mailbox WHERE id = ?", (mailbox_id,))
        self.tx.note(["no-mailbox", mailbox_id])
        self.account.usage = None
        # Its annotations do not count from now on, and go with its messages.
        self.account.annotation_octets.clear()
        self.tx.touched.add(mailbox_id)

    def rename(self, name: str, new_name: str) -> None:
        mailbox_id, _ = self.find(name)
        self._counters_to_index()
        self.tx.connection.execute(
            "UPDATE mailbox SET name = ? WHERE id = ?", (new_name, mailbox_id)
        )
        self.note(mailbox_id)
        self.tx.touched.add(mailbox_id)
        touch_viewers(self.tx, mailbox_id)

    def note(self, mailbox_id: int) -> None:
        """Put the mailbox's row down in the journal."""
        self.tx.note(mailbox_note(self.tx.connection, self.account.name, mailbox_id))

    def _counters_to_index(self) -> None:
        """Write what is remembered of mailboxes, and forget it: names are about to change."""
        self.tx.changed = True
        self.tx.touched.add(NamesOf(self.account.id))
        self.tx.flush_counters()
        self.tx.states.clear_mailboxes()


class CreateMailbox(_NamesOperation[Sequence[str]]):
    """Make a mailbox and the levels above it; gives the names of those that lose their special use to it."""

    __slots__ = ("_special_use",)

    def __init__(self, account: str, name: str, special_use: str | None) -> None:
        super().__init__(account, name)
        self._special_use = special_use

    @override
    def change(self, names: _Names) -> Sequence[str]:
        name = validate_name(self._name)
        known = names.get(name)
        if known is not None and known[1]:
            raise MailboxExists
        for parent in names.make_room(name):
            names.add(parent)
        if known is not None:
            # It was \Noselect until now.
            names.drop(name)
        # RFC 6154 section 3: this may have the effect of moving the special use.
        bereft = take_use(names.tx, names.account.id, names.account.name, self._special_use)
        names.add(name, self._special_use)
        return bereft


class DeleteMailbox(_NamesOperation[None]):
    """Delete a mailbox; the name stays for those below it."""

    __slots__ = ()

    @override
    def change(self, names: _Names) -> None:
        name = canonical_name(self._name)
        _, selectable = names.find(name)
        if name == INBOX:
            raise InvalidMailboxName("INBOX cannot be deleted")
        has_children = bool(names.children(name, limit=1))
        if has_children and not selectable:
            raise MailboxHasChildren
        names.drop(name)
        if has_children:
            # RFC 3501 section 6.3.4.
            names.add(name, selectable=False)


class RenameMailbox(_NamesOperation[None]):
    """Rename a mailbox and those below it; INBOX moves its messages."""

    __slots__ = ("_new_name",)

    def __init__(self, account: str, name: str, new_name: str) -> None:
        super().__init__(account, name)
        self._new_name = new_name

    @override
    def change(self, names: _Names) -> None:
        name = canonical_name(self._name)
        new_name = validate_name(self._new_name)
        names.find(name)
        if names.get(new_name) is not None:
            raise MailboxExists
        if name == INBOX:
            self._move_inbox(names, new_name)
            return
        if is_child(new_name, name):
            raise InvalidMailboxName("A mailbox cannot move below itself")
        old_names = [name, *names.children(name)]
        changes = {old: validate_name(moved_name(old, name, new_name)) for old in old_names}
        if any(names.get(new) is not None for new in changes.values()):
            raise MailboxExists
        for parent in names.make_room(new_name, new=0):
            names.add(parent)
        for old, new in changes.items():
            names.rename(old, new)

    @staticmethod
    def _move_inbox(names: _Names, new_name: str) -> None:
        # RFC 3501 section 6.3.5: its messages move, the mailboxes below it stay.
        for parent in names.make_room(new_name):
            names.add(parent)
        names.add(new_name)
        tx = names.tx
        inbox = tx.states.mailbox(names.account, INBOX)
        target = tx.states.mailbox(names.account, new_name)
        copy_entries(tx, names.account.id, names.account.name, inbox.id, target.id)
        rows = tx.connection.execute(
            f"SELECT {COLUMNS} FROM message WHERE mailbox_id = ? ORDER BY uid", (inbox.id,)
        ).fetchall()
        if rows:
            place = Place(names.account.name, new_name, user=names.account.name)
            copy_rows(tx, inbox, target, Selection(rows, True), True, place)


class Subscribe(_AccountOperation[None]):
    """Add to the subscribed names, or take away."""

    __slots__ = ("_wanted",)

    def __init__(self, account: str, name: str, wanted: bool) -> None:
        super().__init__(account, name)
        self._wanted = wanted

    @override
    def run(self, tx: Transaction) -> None:
        account = tx.states.account(self._account)
        connection = tx.connection
        if not self._wanted:
            name = canonical_name(self._name)
            connection.execute(
                "DELETE FROM subscription WHERE account_id = ? AND name = ?", (account.id, name)
            )
        else:
            name = validate_name(self._name)
            (count,) = connection.execute(
                "SELECT count(*) FROM subscription WHERE account_id = ? AND name <> ?",
                (account.id, name),
            ).fetchone()
            if count >= MAX_MAILBOXES:
                raise LimitExceeded(f"An account has at most {MAX_MAILBOXES} subscriptions")
            connection.execute(
                "INSERT OR IGNORE INTO subscription VALUES (?, ?)", (account.id, name)
            )
        tx.changed = True
        tx.touched.add(NamesOf(account.id))
        tx.note(["subscribed", account.name, name, self._wanted])
