"""STATUS (RFC 3501 section 6.3.10; RFC 7889, 8438, 8474, 9208)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.table import (
    AUTHENTICATED,
    Capability,
    Facts,
    Verb,
    after_login,
)
from mailkit.imap.session import BATCH
from mailkit.imap.state import SelectedState
from mailkit.interfaces import IDeletedCounter, IMailbox, IObjectIdentifiers
from mailkit.model import DELETED, DeletedCount, MailboxInfo

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: How often messages are counted for one response, while others change them.
MAX_COUNTS = 5


class Item(NamedTuple):
    """A status item that a mailbox's counters answer."""

    value: Callable[[IMAPProtocol, MailboxInfo], bytes]
    #: The capability that brings it.
    extension: bytes = b""


class SlowItem(NamedTuple):
    """A status item that the open mailbox has to be asked for."""

    value: Callable[[IMAPProtocol, IMailbox, MailboxInfo], Awaitable[bytes]]
    extension: bytes = b""
    #: Another capability that brings it.
    other: bytes = b""


def _limit(connection: IMAPProtocol, _: MailboxInfo) -> bytes:
    return b"%d" % connection.factory.max_message_size


async def status(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.10"""
    arguments = command.arguments
    arguments.space()
    name = arguments.mailbox()
    arguments.space()
    items = read_items(connection, arguments)
    arguments.end()
    if b"HIGHESTMODSEQ" in items:
        connection.enable_condstore()
    account = connection.account
    assert account is not None
    mailbox = await account.open_mailbox(name=name)
    info = await mailbox.get_info()
    connection.write(await render_status(connection, info, items, mailbox))
    await connection.complete("STATUS completed")


def read_items(connection: IMAPProtocol, arguments: Arguments) -> Sequence[bytes]:
    """``(MESSAGES UNSEEN)``, each item once."""
    items = arguments.parenthesized(lambda: arguments.word("A status item"))
    for name in items:
        item = ITEMS.get(name)
        if item is None or not _is_offered(connection, item):
            raise SyntaxFault(f"{name.decode('ascii')} is not a status item")
    return list(dict.fromkeys(items))


def _is_offered(connection: IMAPProtocol, item: Item | SlowItem) -> bool:
    if not item.extension or connection.offers(item.extension):
        return True
    return isinstance(item, SlowItem) and bool(item.other) and connection.offers(item.other)


async def render_status(
    connection: IMAPProtocol,
    info: MailboxInfo,
    items: Sequence[bytes],
    mailbox: IMailbox | None = None,
) -> bytes:
    """One STATUS response.

    :param mailbox: the mailbox, where the caller has it.
    :raises NoSuchMailbox: it is gone.
    """
    values: dict[bytes, bytes] = {}
    slow = {name: item for name in items if isinstance(item := ITEMS[name], SlowItem)}
    if slow and mailbox is None:
        assert connection.account is not None
        mailbox = await connection.account.open_mailbox(name=info.name)
    # What is counted by itself belongs to the counters, if nothing has changed meanwhile.
    for _ in range(MAX_COUNTS if slow else 0):
        assert mailbox is not None
        for name, slow_item in slow.items():
            values[name] = await slow_item.value(connection, mailbox, info)
        before, info = info, (await mailbox.get_info())._replace(name=info.name)
        if _moment(before) == _moment(info):
            break
    for name in items:
        item = ITEMS[name]
        if isinstance(item, Item):
            values[name] = item.value(connection, info)
    told = b" ".join([b"%b %b" % (name, values[name]) for name in items])
    return b"* STATUS %b (%b)\r\n" % (connection.mailbox_name(info.name), told)


def _moment(info: MailboxInfo) -> tuple[int, int, int]:
    """Changes when anything does that STATUS counts."""
    return info.uid_validity, info.highest_modseq, info.first_recent_uid


async def _recent(connection: IMAPProtocol, mailbox: IMailbox, info: MailboxInfo) -> bytes:
    selection = connection.selection
    here = selection if selection and selection.mailbox.name == info.name else None
    return b"%d" % await _count_recent(mailbox, info, here.state if here else None)


async def _count_recent(
    mailbox: IMailbox, info: MailboxInfo, state: SelectedState | None = None
) -> int:
    """Messages that are \\Recent.

    :param state: of the session that asks, if it has this mailbox selected: what came to it first
        is \\Recent there and nowhere else.
    """
    first = info.first_recent_uid
    if first >= info.uid_next and not (state is not None and state.recent):
        return 0
    uids = await mailbox.list_uids()
    unclaimed = len(uids) - bisect_left(uids, first)
    if state is None:
        return unclaimed
    claimed = (
        bisect_left(uids, min(last + 1, first)) - bisect_left(uids, start)
        for start, last in state.recent
        if start < first
    )
    return unclaimed + sum(claimed)


async def _count_deleted(connection: IMAPProtocol, mailbox: IMailbox) -> DeletedCount:
    if IDeletedCounter.providedBy(mailbox):
        return await mailbox.count_deleted()
    uids = await mailbox.list_uids()
    messages = octets = 0
    for start in range(0, len(uids), BATCH):
        await connection.drain()
        for info in await mailbox.get_messages(uids=uids[start : start + BATCH]):
            if DELETED in info.flags:
                messages += 1
                octets += info.size
    return DeletedCount(messages, octets)


async def _deleted(connection: IMAPProtocol, mailbox: IMailbox, _: MailboxInfo) -> bytes:
    """RFC 9051 section 6.3.11; RFC 9208 section 4.1.4"""
    return b"%d" % (await _count_deleted(connection, mailbox)).messages


async def _deleted_storage(connection: IMAPProtocol, mailbox: IMailbox, _: MailboxInfo) -> bytes:
    return b"%d" % (await _count_deleted(connection, mailbox)).octets


ITEMS: Mapping[bytes, Item | SlowItem] = {
    b"MESSAGES": Item(lambda _, info: b"%d" % info.messages),
    b"UIDNEXT": Item(lambda _, info: b"%d" % info.uid_next),
    b"UIDVALIDITY": Item(lambda _, info: b"%d" % info.uid_validity),
    b"UNSEEN": Item(lambda _, info: b"%d" % info.unseen),
    b"HIGHESTMODSEQ": Item(lambda _, info: b"%d" % info.highest_modseq, b"CONDSTORE"),
    b"SIZE": Item(lambda _, info: b"%d" % info.size, b"STATUS=SIZE"),
    b"MAILBOXID": Item(lambda _, info: b"(%b)" % info.mailbox_id.encode("ascii"), b"OBJECTID"),
    b"DELETED": SlowItem(_deleted, b"QUOTA=RES-MESSAGE", b"IMAP4rev2"),
    b"DELETED-STORAGE": SlowItem(_deleted_storage, b"QUOTA=RES-STORAGE"),
    b"RECENT": SlowItem(_recent),
    b"APPENDLIMIT": Item(_limit, b"APPENDLIMIT"),
}


def _append_limit(facts: Facts) -> bytes:
    # RFC 7889 section 2: one limit for all mailboxes.
    return b"=%d" % facts.max_message_size


VERBS: Mapping[bytes, Verb] = {b"STATUS": Verb(AUTHENTICATED, status)}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"STATUS=SIZE", after_login),
    Capability(b"APPENDLIMIT", after_login, value=_append_limit),
    Capability(b"OBJECTID", provides=IObjectIdentifiers),
    Capability(b"SAVEDATE", after_login),
)
