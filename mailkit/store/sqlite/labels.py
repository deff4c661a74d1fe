"""In which mailboxes of an account a message is besides, and changing that in one step."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mailkit._typing import override
from mailkit.errors import NoSuchMailbox
from mailkit.model import FlagOp, Flags, StoreResult
from mailkit.store.labels import flag_changes, wanted_names
from mailkit.store.naming import sort_key
from mailkit.store.sharing.records import Place
from mailkit.store.sqlite.mailboxes import CreateMailbox
from mailkit.store.sqlite.operations import StoreFlags
from mailkit.store.sqlite.rows import Row, Selection, select_rows, to_infos
from mailkit.store.sqlite.states import AccountState
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.transfers import copy_rows, remove_rows
from mailkit.store.sqlite.writer import Operation

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Messages that are looked at in one step on the reactor's thread.
CHUNK = 2000

_SHARED = (
    "SELECT count(*), ifnull(sum(refs), 0), json_group_array(id) FROM body"
    " WHERE id IN (SELECT value FROM json_each(?)) AND refs > 1"
)
# With many accounts that have the same message, or many mailboxes of an account, one way of the two
# is long.
_BY_BODY = (
    "SELECT c.mailbox_id, c.uid, c.body_id FROM json_each(?) b CROSS JOIN message c"
    " WHERE c.body_id = b.value AND +c.mailbox_id IN (SELECT value FROM json_each(?))"
)
_BY_MAILBOX = (
    "SELECT c.mailbox_id, c.uid, c.body_id FROM json_each(?) b CROSS JOIN json_each(?) m"
    " CROSS JOIN message c WHERE c.body_id = b.value AND c.mailbox_id = m.value"
)


class Copy(NamedTuple):
    """A message somewhere."""

    mailbox_id: int
    uid: int
    body_id: int


def find_copies(
    connection: sqlite3.Connection, bodies: Iterable[int], mailboxes: Collection[int]
) -> list[Copy]:
    """The messages with these bodies in some mailboxes."""
    text = json.dumps(sorted(set(bodies)))
    count, refs, shared = connection.execute(_SHARED, (text,)).fetchone()
    if not count or not mailboxes:
        return []
    sql = _BY_BODY if refs <= count * len(mailboxes) else _BY_MAILBOX
    rows = connection.execute(sql, (shared, json.dumps(list(mailboxes)))).fetchall()
    return list(map(Copy._make, rows))


def find_others(connection: sqlite3.Connection, mailbox_id: int) -> dict[int, str]:
    """Names of the other mailboxes of an account by their ids, sorted.

    :raises NoSuchMailbox: it has been deleted.
    """
    rows = connection.execute(
        "SELECT id, name FROM mailbox WHERE selectable AND account_id ="
        " (SELECT account_id FROM mailbox WHERE id = ?)",
        (mailbox_id,),
    ).fetchall()
    names = dict(sorted(rows, key=lambda row: sort_key(row[1])))
    if names.pop(mailbox_id, None) is None:
        raise NoSuchMailbox
    return names


def get_labels(
    connection: sqlite3.Connection, mailbox_id: int, uids: Sequence[int]
) -> Mapping[int, Sequence[str]]:
    """See :class:`~mailkit.interfaces.ILabelledMailbox`."""
    others = find_others(connection, mailbox_id)
    rows = select_rows(connection, mailbox_id, uids).rows
    found: dict[int, set[int]] = {}
    for copy in find_copies(connection, (row[5] for row in rows), others):
        found.setdefault(copy.body_id, set()).add(copy.mailbox_id)
    return {
        row[0]: [name for number, name in others.items() if number in found[row[5]]]
        for row in rows
        if row[5] in found
    }


async def find_labelled(core: Core, mailbox_id: int, name: str) -> Sequence[int]:
    """See :class:`~mailkit.interfaces.ILabelledMailbox`."""
    connection = core.reader.connection
    uids = core.reader.list_uids(mailbox_id)
    row = connection.execute(
        "SELECT other.id FROM mailbox m JOIN mailbox other ON other.account_id = m.account_id"
        " WHERE m.id = ? AND other.name = ? AND other.selectable AND other.id <> m.id",
        (mailbox_id, name),
    ).fetchone()
    if row is None:
        return ()
    found: list[int] = []
    for begin in range(0, len(uids), CHUNK):
        if begin:
            await core.pause()
        last = uids[min(begin + CHUNK, len(uids)) - 1]
        rows = connection.execute(
            "SELECT uid FROM message a WHERE mailbox_id = ? AND uid BETWEEN ? AND ? AND EXISTS"
            " (SELECT 1 FROM message b WHERE b.body_id = a.body_id AND b.mailbox_id = ?)",
            (mailbox_id, uids[begin], last, row[0]),
        ).fetchall()
        found.extend(uid for (uid,) in rows)
    return found


class ChangeLabels(Operation[StoreResult]):
    """Copies of messages into other mailboxes of the account, and away from others."""

    __slots__ = ("_flags", "_mailbox_id", "_names", "_op", "_uids")

    def __init__(
        self,
        mailbox_id: int,
        uids: Sequence[int],
        op: FlagOp,
        names: Collection[str],
        flags: Flags,
    ) -> None:
        self._mailbox_id = mailbox_id
        self._uids = uids
        self._op = op
        self._names = list(names)
        self._flags = flags

    @override
    def run(self, tx: Transaction) -> StoreResult:
        source = tx.states.mailbox_by_id(self._mailbox_id)
        account = source.account
        tx.flush()
        others = find_others(tx.connection, source.id)
        add, remove = wanted_names(self._op, self._names, source.name, others.values())
        selection = select_rows(tx.connection, source.id, self._uids)
        if not selection.rows:
            return StoreResult(())
        copies = find_copies(tx.connection, (row[5] for row in selection.rows), others)
        for op, flags in flag_changes(self._op, self._flags):
            StoreFlags(source.id, self._uids, op, flags, None).run(tx)
        self._add(tx, account, add, copies)
        ids = {name: number for number, name in others.items()}
        for name in remove:
            mailbox = tx.states.mailbox_by_id(ids[name])
            uids = [copy.uid for copy in copies if copy.mailbox_id == mailbox.id]
            gone = select_rows(tx.connection, mailbox.id, uids)
            if gone.rows:
                remove_rows(tx, mailbox, gone, unref=True)
        rows = select_rows(tx.connection, source.id, self._uids).rows
        return StoreResult(to_infos(rows, tx.states.flag_sets))

    def _add(
        self, tx: Transaction, account: AccountState, names: Sequence[str], copies: Sequence[Copy]
    ) -> None:
        """Copy the messages into these mailboxes, where they are not yet."""
        for name in names:
            try:
                tx.states.mailbox(account, name)
            except NoSuchMailbox:
                CreateMailbox(account.name, name, None).run(tx)
        # Not before: what is known of mailboxes is forgotten when one is made.
        source = tx.states.mailbox_by_id(self._mailbox_id)
        rows = select_rows(tx.connection, source.id, self._uids).rows
        plan = []
        for name in names:
            target = tx.states.mailbox(account, name)
            missing = _missing(rows, {c.body_id for c in copies if c.mailbox_id == target.id})
            if missing:
                tx.check_room(target, len(missing))
                plan.append((target, missing))
        copied = [row for _, missing in plan for row in missing]
        if copied:
            tx.check_quota(account, sum(row[3] for row in copied), len(copied))
        for target, missing in plan:
            some = Selection(missing, len(missing) == 1)
            place = Place(account.name, target.name, user=account.name)
            copy_rows(tx, source, target, some, move=False, place=place)


def _missing(rows: Sequence[Row], there: Collection[int]) -> list[Row]:
    """Messages whose bodies are not there; one of each body."""
    first: dict[int, Row] = {}
    for row in rows:
        if row[5] not in there:
            first.setdefault(row[5], row)
    return list(first.values())
