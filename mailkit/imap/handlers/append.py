"""APPEND and REPLACE: begun before their first literal, ended after the last one.

RFC 3501 section 6.3.11, RFC 3502, RFC 3516 section 4.4, RFC 4315, RFC 4469, RFC 8508.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import (
    EntryTooLarge,
    MailError,
    MessageTooLarge,
    NoSuchMailbox,
    NoSuchMessage,
    ReadOnly,
    StoreFull,
    TooManyEntries,
)
from mailkit.imap import render
from mailkit.imap.appending import AppendGrammar, Between, NewMessage, Next, PartURL
from mailkit.imap.binary import encode_message
from mailkit.imap.content import MessageContent
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.annotate import check_mailbox, check_parts, parts_of, refusal_code
from mailkit.imap.handlers.messagelimit import limit_of
from mailkit.imap.handlers.sets import resolve_written
from mailkit.imap.handlers.table import (
    AUTHENTICATED,
    SELECTED,
    Capability,
    Verb,
    Waiting,
    after_login,
)
from mailkit.imap.reader import MessageLine, MessageLiteral
from mailkit.imap.urlparts import open_url
from mailkit.interfaces import (
    IMailboxAdmin,
    IReplacingMailbox,
    IRestrictedMailbox,
    ISpooling,
    IWritableMailbox,
)
from mailkit.model import AppendMessage, AppendResult
from mailkit.spool import Spool

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


class AppendInProgress:
    """Messages on their way in.

    :param new_spool: makes the place for one of them.
    :param replaced: UID of the message of the selected mailbox that goes (RFC 8508).
    """

    def __init__(
        self,
        mailbox: IWritableMailbox,
        new_spool: Callable[[], Spool],
        grammar: AppendGrammar,
        replaced: int | None,
    ) -> None:
        self.mailbox = mailbox
        self.new_spool = new_spool
        self.grammar = grammar
        self.replaced = replaced
        #: Those that have come and the one that comes.
        self.messages: list[AppendMessage] = []
        #: Octets of all of them, and of the one that comes.
        self.octets = 0
        self.message_octets = 0
        #: What went wrong while a literal came.
        self.error: MailError | None = None
        #: One of them has annotations.
        self.annotated = False
        #: Places of the messages that hold NUL.
        self.with_nul: set[int] = set()
        #: The URL, or the string of an annotation, that comes as a literal.
        self.url: bytes | None = None
        self.value: bytes | None = None
        self._binary = False

    @property
    def spool(self) -> Spool:
        """Where the message goes that comes."""
        return self.messages[-1].content

    def begin_message(self, message: NewMessage) -> None:
        """Another message comes."""
        messages = self.messages
        if messages:
            # A thousand messages must not keep a thousand files open.
            messages[-1].content.finish()
        if message.annotations:
            self.annotated = True
        # tuple.__new__ goes around the Python function that a NamedTuple has for it.
        messages.append(tuple.__new__(AppendMessage, (self.new_spool(), *message)))
        self.message_octets = 0

    def count(self, size: int, max_message: int, max_all: int) -> None:
        """So many octets are to come.

        :raises MessageTooLarge: they are too many; they wait on the disk until the last is here.
        """
        self.octets += size
        self.message_octets += size
        if self.message_octets > max_message:
            raise MessageTooLarge(f"A message has at most {max_message} octets here")
        if self.octets > max_all:
            raise MessageTooLarge(f"APPEND takes at most {max_all} octets of messages at once")

    def expect(self, what: Next, binary: bool) -> Callable[[bytes], None]:
        """A literal comes; gives what takes its octets."""
        self._binary = binary
        if what is Next.URL:
            self.url = b""
            return self.write_url
        if what is Next.VALUE:
            self.value = b""
            return self.write_value
        return self.write

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
            self.messages[-1].content.write(data)
        except OSError as error:
            self.error = _no_room()
            self.error.__cause__ = error

    def write_url(self, data: bytes) -> None:
        """Take some octets of a URL."""
        assert self.url is not None
        self.url += data

    def write_value(self, data: bytes) -> None:
        """Take some octets of an annotation."""
        assert self.value is not None
        self.value += data

    def close(self) -> None:
        """Forget what the mailbox has not taken."""
        for message in self.messages:
            message.content.close()


def _no_room() -> MailError:
    return StoreFull("There is no room for the message just now")


def append(connection: IMAPProtocol, command: Command) -> Waiting:
    """A command without any literal behind the mailbox's name."""
    return begin_append(connection, command, None)


def begin_append(
    connection: IMAPProtocol, command: Command, literal: MessageLiteral | None
) -> Waiting:
    """Read the arguments and decide whether the first literal may come."""
    accepted = literal is None
    try:
        arguments = command.arguments
        replaced = None if command.verb == b"APPEND" else _read_replaced(connection, command)
        arguments.space()
        name = arguments.mailbox()
        limit = limit_of(connection)
        grammar = AppendGrammar(connection.offered, command.verb, connection.utf8, limit)
        between = grammar.read(arguments, literal is not None)
        if literal is not None:
            _check_literal(connection, between, literal)
        accepted = True
    finally:
        if not accepted:
            connection.refuse_message()
    return _open(connection, name, grammar, replaced, between, literal)


def _read_replaced(connection: IMAPProtocol, command: Command) -> int:
    """UID of the message that is to be replaced (RFC 8508 section 5, ``seq-number``)."""
    selection = connection.selection
    assert selection is not None
    selection.to_write()
    arguments = command.arguments
    arguments.space()
    start = arguments.position
    ranges = arguments.sequence_set()
    written = arguments.data[start : arguments.position]
    if not (written.isdigit() or written == b"*"):
        raise SyntaxFault("REPLACE takes the number of one message")
    spans = resolve_written(selection, ranges, command.verb.startswith(b"UID "))
    uids = selection.state.uids_of(spans)
    if not uids:
        raise NoSuchMessage("There is no such message")
    return uids[0]


def _check_literal(connection: IMAPProtocol, between: Between, literal: MessageLiteral) -> None:
    factory, size = connection.factory, literal.size
    limit = factory.max_unasked
    if limit is not None and not literal.synchronizing and size > limit:
        # RFC 7888 section 5
        text = f"A literal of more than {limit} octets has to wait for the server"
        raise SyntaxFault(text, b"TOOBIG")
    if between.next in (Next.URL, Next.VALUE) and size > factory.max_literal:
        raise SyntaxFault("The literal is too large")
    if between.next is Next.MESSAGE:
        if size > factory.max_message_size:
            raise MessageTooLarge(f"A message has at most {factory.max_message_size} octets here")
        if size == 0:
            # RFC 3502 section 6.3.11: so a client gives the command up.
            raise MailError("A message is not empty")


async def _open(
    connection: IMAPProtocol,
    name: str,
    grammar: AppendGrammar,
    replaced: int | None,
    between: Between,
    literal: MessageLiteral | None,
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
    except BaseException as error:
        if literal is not None:
            connection.refuse_message()
        if not isinstance(error, NoSuchMailbox):
            raise
        refuse_destination(connection, error)
        return
    new_spool = account.new_spool if ISpooling.providedBy(account) else Spool
    pending = AppendInProgress(mailbox, new_spool, grammar, replaced)
    waiting = _go_on(connection, pending, between, literal)
    if waiting is not None:
        await waiting


def go_on_append(connection: IMAPProtocol, literal: MessageLiteral) -> Waiting:
    """A literal is here, and another one is announced."""
    return _continue(connection, literal.octets, literal)


def end_append(connection: IMAPProtocol, line: MessageLine) -> Waiting:
    """The last literal is here; what follows it decides whether the command is right."""
    return _continue(connection, line.octets, None)


def _continue(connection: IMAPProtocol, octets: bytes, literal: MessageLiteral | None) -> Waiting:
    pending, connection.append = connection.append, None
    assert pending is not None
    accepted = False
    try:
        if pending.error is not None:
            raise pending.error
        if pending.value is not None:
            pending.grammar.add_value(pending.value)
            pending.value = None
        between = pending.grammar.read(Arguments(octets), literal is not None)
        if pending.url is not None:
            between = between._replace(steps=[PartURL(pending.url), *between.steps])
            pending.url = None
        if literal is not None:
            _check_literal(connection, between, literal)
        accepted = True
    finally:
        if not accepted:
            _give_up(connection, pending, literal)
    return _go_on(connection, pending, between, literal)


def _give_up(
    connection: IMAPProtocol, pending: AppendInProgress, literal: MessageLiteral | None
) -> None:
    pending.close()
    if literal is not None:
        connection.refuse_message()


def _go_on(
    connection: IMAPProtocol,
    pending: AppendInProgress,
    between: Between,
    literal: MessageLiteral | None,
) -> Waiting:
    """Do what the octets between two literals ask for."""
    if literal is None:
        if not between.steps:
            return _store(connection, pending)
        return _take_steps(connection, pending, between, literal)
    if PartURL in map(type, between.steps):
        return _take_steps(connection, pending, between, literal)
    accepted = False
    try:
        for step in between.steps:
            assert isinstance(step, NewMessage)
            pending.begin_message(step)
        _take_literal(connection, pending, between, literal)
        accepted = True
    finally:
        if not accepted:
            _give_up(connection, pending, literal)
    return None


async def _take_steps(
    connection: IMAPProtocol,
    pending: AppendInProgress,
    between: Between,
    literal: MessageLiteral | None,
) -> None:
    try:
        for step in between.steps:
            if isinstance(step, NewMessage):
                pending.begin_message(step)
            else:
                await _take_url(connection, pending, step.url)
        if literal is not None:
            _take_literal(connection, pending, between, literal)
    except BaseException:
        _give_up(connection, pending, literal)
        raise
    if literal is None:
        await _store(connection, pending)


def _take_literal(
    connection: IMAPProtocol, pending: AppendInProgress, between: Between, literal: MessageLiteral
) -> None:
    factory = connection.factory
    if between.next not in (Next.URL, Next.VALUE):
        pending.count(literal.size, factory.max_message_size, factory.max_append_octets)
    connection.append = pending
    write = pending.expect(between.next, between.binary)
    if (
        between.next is Next.MESSAGE
        and "imaplib-utf8" in connection.quirks
        and b"UTF8=ACCEPT" in connection.enabled
    ):
        write = _Unwrap(write, literal.size)
    connection.accept_message(write)
    if literal.synchronizing:
        connection.write(b"+ Ready for the message\r\n")


class _Unwrap:
    """Takes ``UTF8 (`` and ``)`` away from around a message (the quirk ``imaplib-utf8``).

    :param size: octets of the whole literal.
    """

    HEAD = b"UTF8 ("

    def __init__(self, write: Callable[[bytes], None], size: int) -> None:
        self._write = write
        self._left = size
        self._head = b""
        self._wrapped: bool | None = None

    def __call__(self, data: bytes) -> None:
        self._left -= len(data)
        if self._wrapped is None:
            data = self._head + data
            if self._left and len(data) < len(self.HEAD):
                self._head = data
                return
            self._wrapped = data.startswith(self.HEAD)
            if self._wrapped:
                data = data[len(self.HEAD) :]
        if self._wrapped and not self._left and data.endswith(b")"):
            data = data[:-1]
        self._write(data)


async def _take_url(connection: IMAPProtocol, pending: AppendInProgress, url: bytes) -> None:
    """Put what a URL names into the message (RFC 4469 section 3)."""
    factory = connection.factory
    assert connection.account is not None
    selected = None if connection.selection is None else connection.selection.mailbox
    part = await open_url(url, connection.account, selected, connection.drain)
    try:
        pending.count(part.size, factory.max_message_size, factory.max_append_octets)
        for octets in part.octets():
            pending.write(octets)
            if pending.error is not None:
                raise pending.error
            await connection.drain()
    finally:
        part.close()


def refuse_destination(connection: IMAPProtocol, error: NoSuchMailbox) -> None:
    """There is no mailbox to put messages into (RFC 3501 section 7.1, TRYCREATE)."""
    may_create = IMailboxAdmin.providedBy(connection.account)
    connection.no(error.text, b"TRYCREATE" if may_create else b"NONEXISTENT")


async def _check_annotations(connection: IMAPProtocol, pending: AppendInProgress) -> None:
    """:raises MailError: the mailbox takes no such annotations.
    :raises SyntaxFault: they are about parts that a message lacks.
    """
    for message in pending.messages:
        if not message.annotations:
            continue
        check_mailbox(pending.mailbox, message.annotations)
        if parts := parts_of(message.annotations):
            content = MessageContent(message.content.open())
            try:
                await check_parts(connection, content, parts)
            finally:
                content.close()


async def _store(connection: IMAPProtocol, pending: AppendInProgress) -> None:
    try:
        if pending.annotated:
            await _check_annotations(connection, pending)
        if pending.with_nul:
            await pending.encode_binary(connection.drain, connection.factory.max_message_size)
        if not pending.spool.size:
            raise MailError("A message is not empty")
        if pending.replaced is not None:
            result = await _replace(connection, pending, pending.replaced)
        else:
            result = await pending.mailbox.append(messages=pending.messages)
    except NoSuchMailbox as error:
        # Deleted while the messages came.
        if pending.replaced is not None and await _is_gone(connection):
            raise
        refuse_destination(connection, error)
        return
    except (EntryTooLarge, TooManyEntries) as error:
        connection.no(error.text, refusal_code(error))
        return
    finally:
        pending.close()
    if connection.selection is not None:
        connection.selection.dirty = True
    code = b""
    if connection.offers(b"UIDPLUS"):
        code = b"APPENDUID %d %b" % (result.uid_validity, render.uid_set(result.uids))
    if pending.replaced is None:
        await connection.complete("APPEND completed", code)
        return
    # RFC 8508 section 4.3: before the EXPUNGE response.
    if code:
        connection.remark(b"* OK [%b] Replacement message ready\r\n" % code)
    await connection.complete("REPLACE completed", modseq=True)


async def _replace(connection: IMAPProtocol, pending: AppendInProgress, uid: int) -> AppendResult:
    selection = connection.selection
    assert selection is not None
    source = selection.to_write()
    (message,) = pending.messages
    if IReplacingMailbox.providedBy(source):
        return await source.replace_message(
            uid=uid, destination=pending.mailbox.name, message=message
        )
    # RFC 8508 section 3.4: the same steps, where the backend knows none for it.
    if not await source.get_messages(uids=[uid]):
        raise NoSuchMessage
    result = await pending.mailbox.append(messages=[message])
    await source.expunge(uids=[uid])
    return result


async def _is_gone(connection: IMAPProtocol) -> bool:
    """The selected mailbox has been deleted, and not the one that the message was for."""
    assert connection.selection is not None
    try:
        await connection.selection.mailbox.get_info()
    except NoSuchMailbox:
        return True
    return False


#: Commands whose literals go to :func:`begin_append`.
VERBS: Mapping[bytes, Verb] = {
    b"APPEND": Verb(AUTHENTICATED, append),
    b"REPLACE": Verb(SELECTED, append, removes=True, extension=b"REPLACE"),
    b"UID REPLACE": Verb(SELECTED, append, removes=True, by_uid=True, extension=b"REPLACE"),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"MULTIAPPEND", after_login),
    Capability(b"CATENATE", after_login),
    Capability(b"REPLACE", after_login),
)
