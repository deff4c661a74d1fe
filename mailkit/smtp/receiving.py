"""From DATA or BDAT to the reply after the content: the part of SMTP that receives messages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mailkit._typing import override
from mailkit.connection import CommandConnection
from mailkit.coroutines import Task, go_on
from mailkit.errors import DeliveryTimeExpired, MailError, TemporaryFailure
from mailkit.interfaces import IMessageDelivery, ISpooling
from mailkit.model import Envelope, Outcome
from mailkit.smtp import replies
from mailkit.smtp.content import ContentReader, DiscardedChunk
from mailkit.smtp.edits import edit_header
from mailkit.smtp.fields import judge_header, read_asking_header
from mailkit.smtp.grammar import Refused, Reply
from mailkit.smtp.judging import ConnectionHooks
from mailkit.smtp.state import CHUNKS, CONTENT, Session
from mailkit.smtp.trace import protocol_keyword, received_field
from mailkit.spool import Spool

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPFactory


class _Delivering:
    """A delivery under way, which does not end with the connection.

    :param done: called with the replies, or with a Failure.
    """

    __slots__ = ("_connection", "_done", "then")

    def __init__(
        self, connection: ReceivingConnection, done: Callable[[list[Reply] | Failure], object]
    ) -> None:
        self._connection = connection
        self._done = done
        #: Called before that: the connection is gone, and with it the need of a login.
        self.then: Callable[[], object] | None = None
        connection._delivering = self

    def cancel(self) -> None:
        """Nobody waits for the reply any more."""

    def end(self, answers: list[Reply] | Failure) -> None:
        self._connection._delivering = None
        try:
            if self.then is not None:
                self.then()
        finally:
            self._done(answers)


class ReceivingConnection(CommandConnection):
    """A client whose messages we take."""

    factory: SMTPFactory
    session_class: type[Session] = Session
    #: What the greeting and, but for its prefix and suffix, the Received field call the protocol.
    greeting_name, trace_name = "ESMTP", "SMTP"

    def __init__(self) -> None:
        CommandConnection.__init__(self)
        self.session = self.session_class()
        #: Where mail goes; None until somebody has logged in, as a user or anonymously.
        self.delivery: IMessageDelivery | None = None
        #: What the hooks say of this connection; None where there are none.
        self.hooks: ConnectionHooks | None = None
        # What is being read; and a message while the next of its chunks is awaited.
        self._content: ContentReader | DiscardedChunk | None = None
        self._chunks: ContentReader | None = None
        self._delivering: _Delivering | None = None

    @abstractmethod
    def offers(self, name: str) -> bool:
        """Whether the client may use the extension of that name now."""

    def begin_content(self) -> None:
        """Get ready for the content of a message.

        :raises Refused: there is no room for it.
        """
        self._read_as_content(self._make_content())

    def begin_chunk(self, size: int, last: bool) -> None:
        """Get ready for a chunk of the content of a message.

        :raises Refused: there is no room for it.
        """
        content = self._chunks
        if content is None:
            content = self._make_content()
            assert self.session.envelope is not None
            content.expect_chunks(binary=self.session.envelope.body == "BINARYMIME")
        content.begin_chunk(size, last)
        self._chunks = None
        self._read_as_content(content)

    async def read_chunk(self, octets: Iterator[bytes]) -> None:
        """Take the chunk that has begun from somewhere else than the client."""
        content = self._content
        assert isinstance(content, ContentReader)
        try:
            for piece in octets:
                content.feed(piece)
                await self.drain()
            if not content.complete:
                raise Refused(451, "4.3.0", "What the URL names is not complete")
        except BaseException:
            self._content = None
            content.close()
            self.session.end()
            raise
        if (waiting := self._end_of_content(within=True)) is not None:
            await waiting

    def discard_chunk(self, size: int, last: bool, refusal: Reply | None) -> None:
        """Read over a chunk and refuse it then, so that replies stay in step; None: no reply."""
        self._content = DiscardedChunk(size, refusal)

    def drop_content(self) -> None:
        """Forget what chunks have come of a message."""
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None

    def _make_content(self) -> ContentReader:
        try:
            content = self.new_content(self.new_spool())
        except OSError as error:
            self.log.error("cannot make a spool: {error}", error=error)
            raise Refused(*replies.NO_SPACE) from None
        if self.hooks is not None:
            self.hooks.watch(content)
        return content

    def _read_as_content(self, content: ContentReader) -> None:
        self._content = content
        self.session.phase = CONTENT
        self.set_idle_timer()

    def new_spool(self) -> Spool:
        """An empty spool for a message."""
        if ISpooling.providedBy(self.delivery):
            spool: Spool = self.delivery.new_spool()
        else:
            spool = Spool(memory=self.factory.spool_memory)
        if self.factory.message_memory is not None:
            spool.limit_memory(self.factory.message_memory)
        return spool

    def new_content(self, spool: Spool) -> ContentReader:
        """What reads the content of the message that begins now."""
        factory = self.factory
        return ContentReader(
            spool,
            factory.max_size,
            factory.max_received,
            normalise=factory.bare_line_ends == "normalise",
            header_limit=factory.max_header,
        )

    def check_content(
        self, envelope: Envelope, content: ContentReader
    ) -> Coroutine[Any, Any, None] | None:
        """Judge a complete message before hooks do: at once, or by a coroutine.

        :raises MailError: it is refused.
        """
        return None

    def reply_to_content(self, envelope: Envelope, outcomes: Sequence[Outcome]) -> list[Reply]:
        """The replies that tell what became of a complete message."""
        return [replies.after_content(outcomes, envelope.transaction_id)]

    def reply_for_all(self, reply: Reply) -> list[Reply]:
        """The replies to a complete message that is taken or refused for all recipients alike."""
        return [reply]

    def reply(self, reply: Reply) -> None:
        """Send a reply."""
        self.write(reply.render())

    def give_up(self, text: str, enhanced: str = "4.7.0") -> None:
        """End the connection with a 421 reply."""
        self.reply(Reply(421, enhanced, f"{self.factory.hostname} {text}, closing connection"))
        self.close()

    @override
    def closed(self) -> None:
        self.drop_content()
        if isinstance(self._content, ContentReader):
            self._content.close()
        self._content = None
        hooks, self.hooks = self.hooks, None
        if hooks is not None:
            hooks.disconnect()
        if self._delivering is not None and self._logout is not None:
            # The avatar is still at work.
            self._delivering.then, self._logout = self._logout, None

    # While content is read.

    def _read_content(self, content: ContentReader | DiscardedChunk) -> bool:
        """Read what is here; whether the content, or the chunk, is complete."""
        if self.buffer.data and not content.complete:
            rest = content.feed(self.buffer.take_all())
            if rest:
                self.buffer.unread(rest)
        return content.complete

    def _refused(self, verb: bytes, error: Refused | MailError) -> None:
        session, factory = self.session, self.factory
        self.reply(error.reply if isinstance(error, Refused) else replies.for_error(error))
        if verb in (b"MAIL", b"RCPT", b"DATA", b"BDAT", b"BURL"):
            session.refusals += 1
        else:
            session.errors += 1
        if self.hooks is not None:
            self.hooks.session.errors += 1
        if isinstance(error, Refused) and error.close:
            self._end_after(error.reply)
            return
        # RFC 5321 section 7.8: a server may defend itself, with 421.
        if session.errors >= factory.max_errors or session.refusals >= factory.max_refusals:
            self.give_up("Too many errors")

    def _end_after(self, reply: Reply) -> None:
        """A hook wants the connection to end after a reply."""
        if reply.code == 421:
            self.close()
        else:
            self.give_up("Refused by policy")

    def _end_of_content(self, within: bool = False) -> Coroutine[Any, Any, None] | None:
        """What follows the last octet.

        :param within: another command waits for the end of it.
        """
        content, self._content = self._content, None
        assert content is not None
        if isinstance(content, DiscardedChunk):
            if content.refusal is not None:
                self._refused(b"BDAT", Refused(*content.refusal))
            return None
        if not content.finished:
            self._end_of_chunk(content)
            return None
        envelope, delivery = self.session.end(), self.delivery
        assert envelope is not None and delivery is not None
        self.session.messages += 1
        self.session.refusals = self.session.idle_commands = 0
        if content.refusal is not None and self.hooks is None:
            self._refuse_content(envelope, Refused(*content.refusal))
            return None
        judging = self._judge(delivery, envelope, content)
        if within:
            return self._finish(judging, delivery, envelope, content)
        try:
            awaited = judging.send(None)
        except StopIteration as stop:
            if stop.value:
                self._begin_delivery(delivery, envelope, content.spool)
            return None
        return self._finish(go_on(judging, awaited), delivery, envelope, content)

    async def _judge(
        self, delivery: IMessageDelivery, envelope: Envelope, content: ContentReader
    ) -> bool:
        """Whether a complete message is to be delivered; if not, the reply is sent."""
        hooks = self.hooks
        try:
            header = None
            if content.is_remarkable and content.refusal is None:
                header = read_asking_header(self.offers, content.spool)
            if header is not None:
                await self._judge_header(delivery, envelope, content, header)
            if hooks is not None:
                await hooks.judge(delivery, envelope, content)
            elif (checking := self.check_content(envelope, content)) is not None:
                await checking
        except BaseException as error:
            content.close()
            self._refuse_content(envelope, self._as_refusal(error))
            return False
        if hooks is not None and hooks.discard is not None:
            content.close()
            outcomes = [Outcome(recipient) for recipient in envelope.recipients]
            self._reply_each(self.reply_to_content(envelope, outcomes))
            return False
        return True

    async def _finish(
        self,
        judging: Awaitable[bool],
        delivery: IMessageDelivery,
        envelope: Envelope,
        content: ContentReader,
    ) -> None:
        """From the end of the content to its reply, where that has to wait for more."""
        if not await judging:
            return
        delivering = self._deliver(delivery, envelope, content.spool)
        # The wait is cancelled with the connection, the delivery is not.
        wait: Deferred[list[Reply]] = Deferred()
        try:
            awaited = delivering.send(None)
        except StopIteration as stop:
            self._reply_each(stop.value)
            return
        Task(delivering, _Delivering(self, wait.callback).end).wait_for(awaited)
        self._reply_each(await wait)

    def _begin_delivery(self, delivery: IMessageDelivery, envelope: Envelope, spool: Spool) -> None:
        """The same without a coroutine that waits: the delivery is the command."""
        delivering = self._deliver(delivery, envelope, spool)
        try:
            awaited = delivering.send(None)
        except StopIteration as stop:
            self._reply_each(stop.value)
            return
        self._running = under_way = _Delivering(self, self._delivered)
        Task(delivering, under_way.end).wait_for(awaited)

    def _delivered(self, answers: list[Reply] | Failure) -> None:
        failure = answers if isinstance(answers, Failure) else None
        if not (isinstance(answers, Failure) or self._lost):
            try:
                self._reply_each(answers)
            except Exception:
                failure = Failure()
        self._command_done(failure)

    async def _judge_header(
        self, delivery: IMessageDelivery, envelope: Envelope, content: ContentReader, header: bytes
    ) -> None:
        """Do what fields of the header ask for; hooks see the message with them."""
        done = await judge_header(cast(Any, self), delivery, envelope, header)
        if done and self.hooks is not None:
            self.hooks.edits += [("RRVS", edit) for edit in done]
        elif done:
            content.spool.replace_head(len(header), edit_header(header, done))

    def _as_refusal(self, error: BaseException) -> Refused:
        """What the client is told of what went wrong with a message.

        :raises BaseException: the error itself, when the client is gone.
        """
        if isinstance(error, Refused):
            return error
        if isinstance(error, MailError):
            return Refused(*replies.for_error(error))
        if isinstance(error, OSError):
            self.log.error("cannot spool a message: {error}", error=error)
            return Refused(*replies.NO_SPACE)
        if isinstance(error, CancelledError) or not isinstance(error, Exception):
            raise error
        self.log.failure("a message could not be judged", Failure(error))
        return Refused(*replies.INTERNAL_ERROR)

    def _refuse_content(self, envelope: Envelope, refused: Refused) -> None:
        self._log_refusal(envelope, refused.reply)
        self._reply_each(self.reply_for_all(refused.reply))
        if refused.close:
            self._end_after(refused.reply)

    def _end_of_chunk(self, content: ContentReader) -> None:
        self._chunks = content
        self.session.phase = CHUNKS
        if content.refusal is not None:
            refused = Refused(*content.refusal, close=content.close_after)
            self._refused(b"BDAT", refused)
        else:
            # RFC 3030 section 4.2: of this chunk.
            self.reply(Reply(250, "2.0.0", f"{content.chunk_size} octets received"))

    def _reply_each(self, answers: list[Reply]) -> None:
        for reply in answers:
            self.reply(reply)

    async def _deliver(
        self, delivery: IMessageDelivery, envelope: Envelope, spool: Spool
    ) -> list[Reply]:
        """Hand a message over. Raises nothing, for nobody might listen."""
        factory = self.factory
        # The connection may be gone when the delivery is done.
        hooks = self.hooks
        keyword = protocol_keyword(envelope, self.session.esmtp, self.trace_name)
        name = "" if hooks is None else hooks.session.client_name
        outcomes: Sequence[Outcome] = ()
        try:
            self._check_deadline(envelope)
            cipher = self._cipher() if envelope.connection.tls else ""
            field = received_field(
                envelope, factory.hostname, keyword, factory.date(), name, cipher
            )
            spool.prepend(field)
            outcomes = await delivery.deliver(envelope=envelope, message=spool)
            if len(outcomes) != len(envelope.recipients):
                raise ValueError("the delivery told no outcome for some recipient")
            answers = self.reply_to_content(envelope, outcomes)
        except MailError as error:
            outcomes = [Outcome(recipient, error) for recipient in envelope.recipients]
            answers = self.reply_for_all(replies.for_error(error))
        except Exception:
            self.log.failure("a delivery failed", Failure())
            outcomes = [Outcome(r, TemporaryFailure()) for r in envelope.recipients]
            answers = self.reply_for_all(replies.INTERNAL_ERROR)
        finally:
            spool.close()
        for reply in dict.fromkeys(answers):
            if reply.code != 250:
                self._log_refusal(envelope, reply)
        if hooks is not None:
            hooks.delivered(envelope, outcomes)
        return answers

    def _cipher(self) -> str:
        """Of TLS, as a proxy says or as it ends here."""
        told = self.told
        return told.tls_cipher if told is not None and told.tls else self.tls_facts().cipher

    def _check_deadline(self, envelope: Envelope) -> None:
        by = envelope.deliver_by
        if by is not None and by.mode == "R" and self.clock.seconds() > by.deadline:
            # RFC 2852 section 4.1.3
            raise DeliveryTimeExpired

    def _log_refusal(self, envelope: Envelope, reply: Reply) -> None:
        # RFC 6409 section 5.2
        self.log.info(
            "message {id} from <{sender}> at {peer} not taken: {code} {text}",
            id=envelope.transaction_id,
            sender=envelope.reverse_path,
            peer=envelope.connection.peer,
            code=reply.code,
            text=reply.text,
        )
