"""APPEND: begun before its message, ended after it (RFC 3501 section 6.3.11, RFC 4315)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailkit.errors import (
    MailError,
    MessageTooLarge,
    NoSuchMailbox,
    ReadOnly,
    StoreFull,
)
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.table import AUTHENTICATED, Verb, Waiting
from mailkit.imap.reader import MessageLine, MessageLiteral
from mailkit.interfaces import IMailboxAdmin, ISpooling, IWritableMailbox
from mailkit.model import AppendMessage, Flags
from mailkit.spool import Spool

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


class AppendInProgress:
    """A message on its way in."""

    def __init__(
        self, mailbox: IWritableMailbox, flags: Flags, internal_date: int | None, spool: Spool
    ) -> None:
        self.mailbox = mailbox
        self.flags = flags
        self.internal_date = internal_date
        self.spool = spool
        #: What went wrong while the message came.
        self.error: MailError | None = None

    def write(self, data: bytes) -> None:
        """Take some octets of the message."""
        if self.error is not None:
            return
        if b"\0" in data:
            # RFC 3501 section 4.3.1: NUL is not allowed in a literal.
            self.error = MailError("The message contains NUL octets")
            return
        try:
            self.spool.write(data)
        except OSError as error:
            self.error = StoreFull("There is no room for the message just now")
            self.error.__cause__ = error

    def close(self) -> None:
        self.spool.close()


def append(connection: IMAPProtocol, command: Command) -> Waiting:
    """An APPEND without any literal behind the mailbox's name."""
    raise SyntaxFault("APPEND takes a mailbox and a message as a literal")


def begin_append(connection: IMAPProtocol, command: Command, literal: MessageLiteral) -> Waiting:
    """Read the arguments and decide whether the message may come."""
    accepted = False
    try:
        arguments = command.arguments
        arguments.space()
        name = arguments.mailbox()
        arguments.space()
        flags: Flags = frozenset()
        internal_date = None
        if arguments.looking_at(b"("):
            flags = arguments.flag_list()
            arguments.space()
        if arguments.looking_at(b'"'):
            internal_date = arguments.date_time()
            arguments.space()
        arguments.end()
        if literal.size > connection.factory.max_message_size:
            raise MessageTooLarge(
                f"A message has at most {connection.factory.max_message_size} octets here"
            )
        if literal.size == 0:
            raise MailError("A message is not empty")
        accepted = True
    finally:
        if not accepted:
            connection.refuse_message()
    return _open(connection, name, flags, internal_date, literal)


async def _open(
    connection: IMAPProtocol,
    name: str,
    flags: Flags,
    internal_date: int | None,
    literal: MessageLiteral,
) -> None:
    account = connection.account
    assert account is not None
    try:
        mailbox = await account.open_mailbox(name=name)
        if not IWritableMailbox.providedBy(mailbox):
            raise ReadOnly
    except NoSuchMailbox as error:
        connection.refuse_message()
        refuse_destination(connection, error)
        return
    except BaseException:
        connection.refuse_message()
        raise
    spool = account.new_spool() if ISpooling.providedBy(account) else Spool()
    connection.append = AppendInProgress(mailbox, flags, internal_date, spool)
    connection.accept_message(connection.append.write)
    if literal.synchronizing:
        connection.write(b"+ Ready for the message\r\n")


def refuse_destination(connection: IMAPProtocol, error: NoSuchMailbox) -> None:
    """There is no mailbox to put messages into (RFC 3501 section 7.1, TRYCREATE)."""
    may_create = IMailboxAdmin.providedBy(connection.account)
    connection.no(error.text, b"TRYCREATE" if may_create else b"NONEXISTENT")


def end_append(connection: IMAPProtocol, line: MessageLine) -> Waiting:
    """The message is here; what follows it decides whether the command is right."""
    pending, connection.append = connection.append, None
    assert pending is not None
    if line.octets.strip(b" "):
        pending.close()
        raise SyntaxFault("APPEND takes one message, and nothing behind it")
    if pending.error is not None:
        pending.close()
        raise pending.error
    return _store(connection, pending)


async def _store(connection: IMAPProtocol, pending: AppendInProgress) -> None:
    message = AppendMessage(pending.spool, pending.flags, pending.internal_date)
    try:
        result = await pending.mailbox.append(messages=[message])
    except NoSuchMailbox as error:
        # Deleted while the message came.
        refuse_destination(connection, error)
        return
    finally:
        pending.close()
    if connection.selection is not None:
        connection.selection.dirty = True
    code = b"APPENDUID %d %d" % (result.uid_validity, result.uids[0])
    await connection.complete("APPEND completed", code)


VERBS: Mapping[bytes, Verb] = {b"APPEND": Verb(AUTHENTICATED, append)}
