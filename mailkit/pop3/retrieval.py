"""RETR and TOP: messages on their way out.

RETR commands that are here together are answered together: their messages usually lie next to each
other in the store, and leave in one write. To the client it is as if each had been served by itself.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.internet.defer import CancelledError

from mailkit.connection import CHUNK
from mailkit.errors import MailError
from mailkit.interfaces import IBatchReadingMailbox
from mailkit.pop3.grammar import MAX_RUN, TopFilter, find_run, parse_number, parse_top
from mailkit.wire.dotstuff import DotEncoder, stuff_message

if TYPE_CHECKING:
    from mailkit.pop3.protocol import POP3Connection

#: Octets of messages that are read, and sent, in one go.
RUN_OCTETS = 512 * 1024


def retr(connection: POP3Connection, argument: bytes) -> Coroutine[Any, Any, None] | None:
    number = parse_number(argument)
    maildrop = connection.session.maildrop
    assert maildrop is not None
    index, uid, size = maildrop.find(number)
    if size < CHUNK:
        if connection.buffer.data and (run := find_run(connection.buffer.peek(MAX_RUN))):
            return _send_run(connection, number, run)
        if not connection.must_drain:
            read = connection.readers[index]
            data = None if read is None else read(uid)
            if data is not None:
                connection.write_all(_reply(size, data))
                return None
    return _send_whole(connection, (index, uid), size)


def top(connection: POP3Connection, argument: bytes) -> Coroutine[Any, Any, None]:
    number, lines = parse_top(argument)
    return _send_top(connection, connection.maildrop.place(number), TopFilter(lines))


def _reply(size: int, data: bytes) -> tuple[bytes, bytes, bytes]:
    content, end = stuff_message(data)
    return b"+OK %d octets\r\n" % size, content, end


async def _send_run(connection: POP3Connection, number: int, run: Sequence[bytes]) -> None:
    """Answer a RETR, and those behind it that cost little more.

    :param run: the lines behind it, which are taken from the input as far as they are answered.
    """
    maildrop = connection.maildrop
    index, uids, sizes = maildrop.together([number, *[int(line[5:]) for line in run]])
    mailbox: Any = connection.mailboxes[index]
    read: Sequence[bytes] = ()
    batching = len(uids) > 1 and not connection.refuses_utf8
    if batching and IBatchReadingMailbox.providedBy(mailbox):
        try:
            read = await mailbox.read_messages(uids=uids, octets=RUN_OCTETS)
        except MailError:
            # Whatever it is, it is told of the first one.
            pass
    if not read:
        await _send_whole(connection, (index, uids[0]), sizes[0])
        return
    answered = run[: len(read) - 1]
    connection.buffer.take(sum(map(len, answered)) + 2 * len(answered))
    connection.count_commands(len(answered))
    pieces: list[bytes] = []
    for size, data in zip(sizes, read, strict=False):
        pieces += _reply(size, data)
    connection.write_all(pieces)


async def _send_whole(connection: POP3Connection, place: tuple[int, int], size: int) -> None:
    if connection.must_drain:
        await connection.drain()
    first = b"+OK %d octets\r\n" % size
    index, uid = place
    try:
        with await connection.mailboxes[index].open_message(uid=uid) as content:
            if _refuse_utf8(connection, content):
                return
            data = content.read(CHUNK)
            if len(data) == size < CHUNK:
                # The whole reply in one write.
                encoder = DotEncoder()
                connection.write(b"".join((first, encoder.feed(data), encoder.finish())))
            else:
                await _stream_message(connection, first, content, data)
    except MailError as error:
        connection.refuse_command(error)


async def _send_top(connection: POP3Connection, place: tuple[int, int], wanted: TopFilter) -> None:
    if connection.must_drain:
        await connection.drain()
    first = connection.ok_line("Top of message follows")
    index, uid = place
    try:
        with await connection.mailboxes[index].open_message(uid=uid) as content:
            if not _refuse_utf8(connection, content):
                await _stream_message(connection, first, content, content.read(CHUNK), wanted)
    except MailError as error:
        connection.refuse_command(error)


def _refuse_utf8(connection: POP3Connection, content: BinaryIO) -> bool:
    """Refuse a message that this client is not to have (RFC 6856 section 5); whether that was done."""
    if not connection.refuses_utf8:
        return False
    header = TopFilter(0)
    while not header.finished and (data := content.read(CHUNK)):
        if not header.feed(data).isascii():
            connection.err(
                "That message has UTF-8 in its header: send UTF8 before you log in", "UTF8"
            )
            return True
    content.seek(0)
    return False


async def _stream_message(
    connection: POP3Connection,
    before: bytes,
    content: BinaryIO,
    data: bytes,
    wanted: TopFilter | None = None,
) -> None:
    # A short read is not the end: only an empty one is.
    encoder = DotEncoder()
    try:
        while data:
            if wanted is not None:
                data = wanted.feed(data)
            connection.write(before + encoder.feed(data))
            before = b""
            if wanted is not None and wanted.finished:
                break
            data = content.read(CHUNK)
            if data:
                await connection.drain()
    except CancelledError:
        raise
    except Exception:
        # After +OK nothing but the end of the connection tells that the message is not whole.
        connection.log.failure("a message could not be read to its end")
        connection.abort()
        return
    connection.write(before + encoder.finish())
