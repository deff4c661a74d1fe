"""APPEND: begun before its first message, ended after its last one.

RFC 3501 section 6.3.11, RFC 3502, RFC 3516 section 4.4, RFC 4315.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mailkit.errors import (
    LimitExceeded,
    MailError,
    MessageTooLarge,
    NoSuchMailbox,
    ReadOnly,
    StoreFull,
)
from mailkit.imap import render
from mailkit.imap.binary import encode_message
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb, Waiting, after_login
from mailkit.imap.reader import MessageLine, MessageLiteral
from mailkit.interfaces import IMailboxAdmin, IRestrictedMailbox, ISpooling, IWritableMailbox
from mailkit.model import AppendMessage, Flags
from mailkit.spool import Spool

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


_ONE_MESSAGE = "APPEND takes one message, and nothing behind it"
#: Messages of one APPEND.
MAX_MESSAGES = 1000


class MessageArguments(NamedTuple):
    """What stands before a message (RFC 3502, ``append-message``)."""

    flags: Flags
    #: Seconds since the epoch; None for now.
    internal_date: int | None
    #: It comes as a literal8, which may hold NUL.
    binary: bool = False
    #: It stands in parentheses: ``UTF8 (~{3}...)`` (RFC 6855 section 4).
    wrapped: bool = False


class AppendInProgress:
    """Messages on their way in.

    :param new_spool: makes the place for one of them.
    """

    def __init__(self, mailbox: IWritableMailbox, new_spool: Callable[[], Spool]) -> None:
        self.mailbox = mailbox
        self.new_spool = new_spool
        #: Those that have come and the one that comes.
        self.messages: list[AppendMessage] = []
        #: Octets of all of them.
        self.octets = 0
        #: What went wrong while a message came.
        self.error: MailError | None = None
        #: Places of the messages that hold NUL.
        self.with_nul: set[int] = set()
        self._binary = False
        self._wrapped = False

    @property
    def spool(self) -> Spool:
        """Where the message goes that comes."""
        return self.messages[-1].content

    def begin_message(self, arguments: MessageArguments, size: int) -> None:
        """Another message comes."""
        if self.messages:
            # A thousand messages must not keep a thousand files open.
            self.spool.finish()
        flags, internal_date, self._binary, self._wrapped = arguments
        self.messages.append(AppendMessage(self.new_spool(), flags, internal_date))
        self.octets += size

    async def encode_binary(self, drain: Callable[[], Awaitable[None]], limit: int) -> None:
        """Let no message hold NUL.

        :param limit: octets of a message.
        :raises UnknownTransferEncoding: it cannot be done for one of them.
        """
        for number in self.with_nul:
            message = self.messages[number]
            try:
                encoded = await encode_message(message.content, self.new_spool, drain)
            except OSError as error:
                raise _no_room() from error
            message.content.close()
            encoded.finish()
            self.messages[number] = message._replace(content=encoded)
            if encoded.size > limit:
                raise MessageTooLarge(f"In base64 the message has more than {limit} octets")

    def unwrap(self, octets: bytes) -> bytes:
        """What stands behind the message, without the parenthesis that belongs to it."""
        if not self._wrapped:
            return octets
        if not octets.startswith(b")"):
            raise SyntaxFault("')' is missing behind the message")
        return octets[1:]

    def write(self, data: bytes) -> None:
        """Take some octets of the message."""
        if self.error is not None:
            return
        if b"\0" in data:
            if not self._binary:
                # RFC 3501 section 4.3.1: NUL is not allowed in a literal.
                self.error = MailError("The message contains NUL octets")
                return
            self.with_nul.add(len(self.messages) - 1)
        try:
            self.spool.write(data)
        except OSError as error:
            self.error = _no_room()
            self.error.__cause__ = error

    def close(self) -> None:
        """Forget what the mailbox has not taken."""
        for message in self.messages:
            message.content.close()


def _no_room() -> MailError:
    return StoreFull("There is no room for the message just now")


def append(connection: IMAPProtocol, command: Command) -> Waiting:
    """An APPEND without any literal behind the mailbox's name."""
    raise SyntaxFault("APPEND takes a mailbox and a message as a literal")


def begin_append(connection: IMAPProtocol, command: Command, literal: MessageLiteral) -> Waiting:
    """Read the arguments and decide whether the message may come."""
    accepted = False
    try:
        command.arguments.space()
        name = command.arguments.mailbox()
        arguments = _read_arguments(connection, command.arguments)
        _check_size(connection, literal.size)
        accepted = True
    finally:
        if not accepted:
            connection.refuse_message()
    return _open(connection, name, arguments, literal)


def _read_arguments(connection: IMAPProtocol, arguments: Arguments) -> MessageArguments:
    arguments.space()
    flags: Flags = frozenset()
    internal_date = None
    if arguments.looking_at(b"("):
        flags = arguments.flag_list()
        arguments.space()
    if arguments.looking_at(b'"'):
        internal_date = arguments.date_time()
        arguments.space()
    # RFC 6855 section 4. RFC 9755 has done without it, but clients send it. lenient: from a client
    # that has not enabled UTF8=ACCEPT, section 4 wants 8-bit octets in a header refused; but there is
    # old mail that has them, and what moves mailboxes from server to server would lose it.
    wrapped = connection.utf8 and arguments.accept_word(b"UTF8")
    if wrapped:
        arguments.space()
        arguments.expect(b"(")
        arguments.expect(b"~")
        binary = connection.offers(b"BINARY")
    else:
        # RFC 3516 section 7: literal8 = "~{" number "}" CRLF *OCTET
        binary = connection.offers(b"BINARY") and arguments.accept(b"~")
    arguments.end()
    return MessageArguments(flags, internal_date, binary, wrapped)


def _check_size(connection: IMAPProtocol, size: int) -> None:
    if size > connection.factory.max_message_size:
        raise MessageTooLarge(
            f"A message has at most {connection.factory.max_message_size} octets here"
        )
    if size == 0:
        # RFC 3502 section 6.3.11: so a client gives the command up.
        raise MailError("A message is not empty")


async def _open(
    connection: IMAPProtocol, name: str, arguments: MessageArguments, literal: MessageLiteral
) -> None:
    account = connection.account
    assert account is not None
    try:
        mailbox = await account.open_mailbox(name=name)
        if not IWritableMailbox.providedBy(mailbox):
            raise ReadOnly
        if IRestrictedMailbox.providedBy(mailbox):
            # Now, and not when the message has come in vain.
            mailbox.check_right(right="i")
    except NoSuchMailbox as error:
        connection.refuse_message()
        refuse_destination(connection, error)
        return
    except BaseException:
        connection.refuse_message()
        raise
    new_spool = account.new_spool if ISpooling.providedBy(account) else Spool
    connection.append = AppendInProgress(mailbox, new_spool)
    _take(connection, connection.append, arguments, literal)


def _take(
    connection: IMAPProtocol,
    pending: AppendInProgress,
    arguments: MessageArguments,
    literal: MessageLiteral,
) -> None:
    pending.begin_message(arguments, literal.size)
    connection.accept_message(pending.write)
    if literal.synchronizing:
        connection.write(b"+ Ready for the message\r\n")


def go_on_append(connection: IMAPProtocol, literal: MessageLiteral) -> Waiting:
    """A message is here, and another one is announced (RFC 3502)."""
    pending, connection.append = connection.append, None
    assert pending is not None
    accepted = False
    try:
        if not connection.offers(b"MULTIAPPEND"):
            raise SyntaxFault(_ONE_MESSAGE)
        if pending.error is not None:
            raise pending.error
        arguments = _read_arguments(connection, Arguments(pending.unwrap(literal.octets)))
        _check_size(connection, literal.size)
        _check_batch(connection, pending, literal.size)
        accepted = True
    finally:
        if not accepted:
            pending.close()
            connection.refuse_message()
    connection.append = pending
    _take(connection, pending, arguments, literal)
    return None


def _check_batch(connection: IMAPProtocol, pending: AppendInProgress, size: int) -> None:
    """The messages of one command wait on the disk until the last of them is here."""
    if len(pending.messages) >= MAX_MESSAGES:
        raise LimitExceeded(f"APPEND takes at most {MAX_MESSAGES} messages at once")
    limit = connection.factory.max_append_octets
    if pending.octets + size > limit:
        raise MessageTooLarge(f"APPEND takes at most {limit} octets of messages at once")


def refuse_destination(connection: IMAPProtocol, error: NoSuchMailbox) -> None:
    """There is no mailbox to put messages into (RFC 3501 section 7.1, TRYCREATE)."""
    may_create = IMailboxAdmin.providedBy(connection.account)
    connection.no(error.text, b"TRYCREATE" if may_create else b"NONEXISTENT")


def end_append(connection: IMAPProtocol, line: MessageLine) -> Waiting:
    """The last message is here; what follows it decides whether the command is right."""
    pending, connection.append = connection.append, None
    assert pending is not None
    try:
        behind = pending.unwrap(line.octets)
    except SyntaxFault:
        pending.close()
        raise
    if behind.strip(b" "):
        pending.close()
        if connection.offers(b"MULTIAPPEND"):
            raise SyntaxFault("Behind a message comes another one as a literal, or nothing")
        raise SyntaxFault(_ONE_MESSAGE)
    if pending.error is not None:
        pending.close()
        raise pending.error
    return _store(connection, pending)


async def _store(connection: IMAPProtocol, pending: AppendInProgress) -> None:
    try:
        if pending.with_nul:
            await pending.encode_binary(connection.drain, connection.factory.max_message_size)
        result = await pending.mailbox.append(messages=pending.messages)
    except NoSuchMailbox as error:
        # Deleted while the messages came.
        refuse_destination(connection, error)
        return
    finally:
        pending.close()
    if connection.selection is not None:
        connection.selection.dirty = True
    code = b"APPENDUID %d %b" % (result.uid_validity, render.uid_set(result.uids))
    await connection.complete("APPEND completed", code)


VERBS: Mapping[bytes, Verb] = {b"APPEND": Verb(AUTHENTICATED, append)}

CAPABILITIES: Sequence[Capability] = (Capability(b"MULTIAPPEND", after_login),)
