"""Commands out and replies in, with time-outs; and the course of one transaction."""

from __future__ import annotations

from collections.abc import Callable

from mailkit.client.channel import Channel
from mailkit.client.errors import (
    ClientError,
    ConnectionLost,
    ProtocolError,
    ServiceRefused,
    TimedOut,
)
from mailkit.smtp.client.message import OutgoingMessage
from mailkit.smtp.client.replies import ReplyReader
from mailkit.smtp.client.settings import ClientSettings
from mailkit.smtp.client.transaction import Phase, Transaction
from mailkit.smtp.client.turn import Turn
from mailkit.smtp.grammar import Reply
from mailkit.wire.dotstuff import DotEncoder, stuff_message


class Dialogue:
    """Speaks with the server over a channel, until either ends it."""

    def __init__(self, channel: Channel, settings: ClientSettings) -> None:
        self._channel = channel
        self._settings = settings
        timeouts = self._timeouts = settings.timeouts
        #: How long the reply to each command of a transaction may take.
        self._reply_times = {
            "RSET": timeouts.command,
            "MAIL": timeouts.mail,
            "RCPT": timeouts.rcpt,
            "DATA": timeouts.data_initiation,
            "BDAT": timeouts.data_block,
            "end of data": timeouts.data_termination,
        }
        self._reader = ReplyReader(settings.reply_limits)
        #: Nothing more can be said.
        self.closed = False

    async def command(self, name: str, line: str, timeout: float) -> Reply:
        """Send a command and wait for its reply.

        :raises ClientError: there is none, or it is 421.
        :raises ValueError: the line is more than one.
        """
        if "\r" in line or "\n" in line:
            raise ValueError("a command is one line")
        await self._write(line.encode("utf-8") + b"\r\n", name)
        reply = await self.reply(name, timeout)
        if reply.code == 421:
            self.abort()
            raise ServiceRefused(reply.text, command=name, reply=reply)
        return reply

    async def reply(self, name: str, timeout: float) -> Reply:
        """Wait for the next reply.

        :raises ClientError: it does not come in time, or is none; the connection is aborted.
        """
        reply = self._reader.next_reply()
        if reply is not None:
            return reply
        give_up = self._channel.seconds() + timeout
        left = timeout
        try:
            while True:
                self._reader.feed(await self._channel.read(left))
                reply = self._reader.next_reply()
                if reply is not None:
                    return reply
                # For the whole of it: one octet a minute is no answer.
                left = give_up - self._channel.seconds()
                if left <= 0:
                    raise TimedOut
        except ClientError as error:
            raise self._fail(error, name) from None

    async def _write(self, data: bytes, name: str, timeout: float | None = None) -> None:
        try:
            await self._channel.write(data, timeout or self._timeouts.data_block)
        except ClientError as error:
            raise self._fail(error, name) from None

    def _fail(self, error: ClientError, name: str) -> ClientError:
        self.abort()
        error.command = error.command or name
        return error

    def check_silence(self) -> None:
        """Before TLS: nothing may have come behind the reply to STARTTLS (RFC 3207 section 4.2).

        :raises ProtocolError: somebody has put it there, to be read as if it were encrypted.
        """
        if not self._reader.idle or self._channel.received():
            self.abort()
            raise ProtocolError("The server spoke on before TLS had begun", command="STARTTLS")

    def check_alive(self) -> None:
        """Between messages: see whether the server has said goodbye.

        :raises ClientError: it has, or the connection is gone.
        """
        if self.closed:
            raise ConnectionLost("The connection is closed")
        try:
            if data := self._channel.received():
                self._reader.feed(data)
            if (reply := self._reader.next_reply()) is not None:
                if reply.code < 400:
                    raise ProtocolError("The server answers more than it was asked")
                raise ServiceRefused(reply.text, reply=reply)
            if self._channel.lost:
                raise ConnectionLost
        except ClientError:
            self.abort()
            raise

    def restart(self) -> None:
        """Forget all that was received."""
        self._reader = ReplyReader(self._settings.reply_limits)

    async def quit(self) -> None:
        """Say QUIT, hear the answer if it comes soon, and close."""
        if self.closed:
            return
        try:
            await self.command("QUIT", "QUIT", self._timeouts.quit)
        except ClientError:
            return
        self.closed = True
        await self._channel.close()

    def abort(self) -> None:
        """End the connection at once."""
        if not self.closed:
            self.closed = True
            self._channel.abort()

    # One transaction.

    async def transact(
        self,
        transaction: Transaction,
        message: OutgoingMessage,
        turn: Turn,
        content_sent: Callable[[], None],
    ) -> None:
        """Bring a transaction to its end; a failure of the connection is an outcome.

        :param content_sent: is called when nothing is left to send, but replies are to come.
        """
        if turn.waits and not await self._send_behind(transaction, turn):
            return
        told = False
        try:
            while transaction.phase is not Phase.DONE and not transaction.broken:
                if transaction.unsent and (octets := transaction.to_send()):
                    await self._write(octets, transaction.awaited_name)
                if transaction.phase is Phase.CONTENT:
                    await self._send_content(transaction, message)
                elif transaction.phase is Phase.EMPTY_CONTENT:
                    await self._write(b".\r\n", "DATA")
                    transaction.empty_content_sent()
                else:
                    if transaction.all_sent and not told:
                        told = True
                        content_sent()
                    await self._answer(transaction)
        except ClientError as error:
            if error.reply is None:
                self._last_words(transaction)
            transaction.connection_ended(error)
        if transaction.broken:
            transaction.connection_ended(ProtocolError("The server lost track of the commands"))
            self.abort()

    async def _send_behind(self, transaction: Transaction, turn: Turn) -> bool:
        """Send the commands right behind the message ahead, and wait for the replies to that.

        Gives False where the connection has not lived that long: nothing that it still says could be
        told from what it owed to the message ahead.
        """
        try:
            # As long as the message ahead may take: its octets may still be on their way.
            await self._write(
                transaction.to_send(), transaction.awaited_name, self._timeouts.data_termination
            )
        except ClientError:
            # The message ahead hears of it as well.
            pass
        await turn.wait()
        if self.closed:
            lost = ConnectionLost("The connection ended before the turn of this message")
            transaction.connection_ended(lost)
        return not self.closed

    async def _answer(self, transaction: Transaction) -> None:
        """Wait for the reply to the oldest command, and take all that have come."""
        name = transaction.awaited_name
        self._take(transaction, await self.reply(name, self._reply_times[name]))
        self._take_all(transaction)

    def _take_all(self, transaction: Transaction) -> None:
        """Take the replies that have come."""
        while transaction.awaited and (reply := self._reader.next_reply()) is not None:
            self._take(transaction, reply)

    def _take(self, transaction: Transaction, reply: Reply) -> None:
        name = transaction.awaited_name
        transaction.answer(reply)
        if reply.code == 421:
            # RFC 5321 section 3.8: whatever the command was, the connection is going.
            self.abort()
            raise ServiceRefused(reply.text, command=name, reply=reply)

    def _last_words(self, transaction: Transaction) -> None:
        """The connection has failed: replies that came before still count."""
        try:
            self._reader.feed(self._channel.received())
        except ProtocolError:
            pass
        try:
            self._take_all(transaction)
            if (reply := self._reader.next_reply()) is not None:
                self._unasked(transaction, reply)
        except ClientError as error:
            transaction.connection_ended(error)

    async def _send_content(self, transaction: Transaction, message: OutgoingMessage) -> None:
        # A reply too many must not be taken for the one to the content.
        self._listen(transaction)
        if transaction.phase is not Phase.CONTENT:
            return
        if transaction.chunking:
            await self._send_chunks(transaction, message)
        else:
            await self._send_data(transaction, message)

    async def _send_data(self, transaction: Transaction, message: OutgoingMessage) -> None:
        """The content after DATA (RFC 5321 section 4.5.2)."""
        if message.octets is not None:
            # All at once, as most messages are.
            await self._write(b"".join(stuff_message(message.octets)), "DATA")
            transaction.content_sent()
            return
        encoder = DotEncoder()
        for piece in message.pieces():
            await self._write(encoder.feed(piece), "DATA")
            self._listen(transaction)
            if transaction.phase is not Phase.CONTENT:
                return
        await self._write(encoder.finish(), "DATA")
        transaction.content_sent()

    async def _send_chunks(self, transaction: Transaction, message: OutgoingMessage) -> None:
        """The content by BDAT (RFC 3030 section 2)."""
        pieces = message.pieces()
        left = message.needs.size
        held = b""
        while True:
            count = min(left, self._settings.chunk_size)
            left -= count
            octets = b"BDAT %d%b\r\n" % (count, b"" if left else b" LAST")
            while count:
                held = held or next(pieces, b"")
                if not held:
                    self.abort()
                    raise ConnectionLost("The message has become shorter while it was sent")
                octets += held[:count]
                count, held = max(0, count - len(held)), held[count:]
                await self._write(octets, "BDAT")
                octets = b""
            if octets:
                await self._write(octets, "BDAT")
            transaction.chunk_sent(last=not left)
            if not left:
                return
            self._listen(transaction)
            if not transaction.pipelining and transaction.awaited:
                await self._answer(transaction)
            if transaction.failed:
                transaction.stop_sending()
                return

    def _listen(self, transaction: Transaction) -> None:
        """Take replies that have come while the content is being sent."""
        if data := self._channel.received():
            self._reader.feed(data)
        while (reply := self._reader.next_reply()) is not None:
            if transaction.awaited:
                self._take(transaction, reply)
            else:
                self._unasked(transaction, reply)
                return

    def _unasked(self, transaction: Transaction, reply: Reply) -> None:
        """The server has judged the message before its end; the rest of it cannot be taken back.

        :raises ClientError: the reply means nothing for the message itself.
        """
        self.abort()
        transaction.broken = True
        if reply.code == 421:
            raise ServiceRefused(reply.text, command="end of data", reply=reply)
        if reply.code < 400:
            text = "The server answers before the message has ended"
            raise ProtocolError(text, command="end of data")
        transaction.content_refused(reply)
