"""Names of conversations (RFC 8474 THREADID): given when somebody asks, and kept from then on.

A conversation has the number of the body that was named first. The keys of messages lead to it;
they never change, so that copies of a message, whenever they are named, get the same name.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mailkit._typing import override
from mailkit.store.sqlite.fields import THREADS
from mailkit.store.sqlite.transaction import Transaction
from mailkit.store.sqlite.writer import Operation
from mailkit.threads import thread_keys

if TYPE_CHECKING:
    from mailkit.store.sqlite.core import Core

#: Messages that are named in one operation.
NAMED_AT_ONCE = 2000
#: Mailboxes of which it is remembered that their messages have names.
MAX_NAMED = 1000

_NAMELESS = (
    "SELECT json_group_array(json_array(uid, body_id, subject_id, json(ids))) FROM ("
    "SELECT m.uid AS uid, m.body_id AS body_id, v.subject_id AS subject_id, v.ids AS ids"
    " FROM message m JOIN thread_value v ON v.body_id = m.body_id"
    " WHERE m.mailbox_id = ? AND m.uid > ? AND m.uid <= ? AND m.thread_id IS NULL"
    f" ORDER BY m.uid LIMIT {NAMED_AT_ONCE})"
)


class Nameless(NamedTuple):
    """A message that belongs to no conversation yet."""

    uid: int
    body_id: int
    keys: Sequence[int]


class NameThreads(Operation[None]):
    """Name the conversations of some messages of a mailbox."""

    __slots__ = ("_mailbox_id", "_messages")

    def __init__(self, mailbox_id: int, messages: Sequence[Nameless]) -> None:
        self._mailbox_id = mailbox_id
        self._messages = messages

    @override
    def run(self, tx: Transaction) -> None:
        account = tx.states.mailbox_by_id(self._mailbox_id).account
        tx.flush()
        wanted = {key for message in self._messages for key in message.keys}
        known: dict[int, int] = dict(
            tx.connection.execute(
                "SELECT key, thread_id FROM thread_key"
                " WHERE account_id = ? AND key IN (SELECT value FROM json_each(?))",
                (account.id, json.dumps(list(wanted))),
            ).fetchall()
        )
        new: dict[int, int] = {}
        names: list[tuple[int, int]] = []
        for uid, body_id, keys in self._messages:
            # Where a message joins two conversations, what has a name keeps it.
            found = [known[key] for key in keys if key in known]
            thread = min(found) if found else body_id
            names.append((uid, thread))
            for key in keys:
                if key not in known:
                    known[key] = new[key] = thread
        tx.connection.executemany(
            "INSERT INTO thread_key VALUES (?, ?, ?)",
            [(account.id, key, thread) for key, thread in new.items()],
        )
        tx.connection.executemany(
            "UPDATE message SET thread_id = ?"
            " WHERE mailbox_id = ? AND uid = ? AND thread_id IS NULL",
            [(thread, self._mailbox_id, uid) for uid, thread in names],
        )
        tx.changed = True
        tx.note(["threads", account.name, self._mailbox_id, names, list(new.items())])


class Conversations:
    """Sees to it that messages have names of their conversations. For the reactor's thread."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Up to which UID all messages of a mailbox have names.
        self._named: OrderedDict[int, int] = OrderedDict()

    async def name(self, mailbox_id: int, last: int) -> None:
        """Name the conversations of all messages up to a UID."""
        since = self._named.get(mailbox_id, 0)
        if since >= last:
            return
        await self._core.sorting.complete(mailbox_id, last, THREADS)
        while nameless := await self._core.in_thread(self._find, mailbox_id, since, last):
            await self._core.submit(NameThreads(mailbox_id, nameless))
            since = nameless[-1].uid
        self._named[mailbox_id] = last
        self._named.move_to_end(mailbox_id)
        if len(self._named) > MAX_NAMED:
            self._named.popitem(last=False)

    def _find(self, mailbox_id: int, since: int, last: int) -> list[Nameless]:
        """Runs in a thread."""
        with self._core.borrow() as connection:
            (text,) = connection.execute(_NAMELESS, (mailbox_id, since, last)).fetchone()
        rows: list[list[Any]] = json.loads(text)
        return [
            Nameless(uid, body_id, thread_keys(subject, ids)) for uid, body_id, subject, ids in rows
        ]
