"""The receiving side of SMTP: the connection and its factory.

Ordering and locking: commands run one after the other (:mod:`mailkit.connection`), so replies keep
their order whatever a hook waits for. Between the 354 and the final dot octets are content and
nothing else; a message that cannot be accepted is swallowed and refused at its end. From the final
dot on a delivery belongs to nobody's connection: it goes on when the client has gone, and its spool
is closed when it is done.
"""

from __future__ import annotations

import enum
import itertools
import secrets
import socket
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast

from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailkit._typing import override
from mailkit.connection import CommandConnection, CommandFactory
from mailkit.coroutines import go_on
from mailkit.errors import DeliveryTimeExpired, MailError
from mailkit.interfaces import IDeliveryAbilities, IMessageDelivery, ISpooling
from mailkit.mime.dates import format_date
from mailkit.model import Ability, ConnectionInfo, Envelope, Outcome
from mailkit.smtp import handlers, replies
from mailkit.smtp.content import ContentReader, DiscardedChunk
from mailkit.smtp.extensions.extension import Extension
from mailkit.smtp.extensions.registry import EXTENSIONS, ExtensionSet
from mailkit.smtp.extensions.settings import DEFAULT_SETTINGS, ExtensionSettings
from mailkit.smtp.grammar import LIMITS, Limits, Refused, Reply, parse_command
from mailkit.smtp.handlers import Command
from mailkit.smtp.state import AUTHENTICATING, CHUNKS, CONTENT, Session
from mailkit.smtp.trace import protocol_keyword, received_field
from mailkit.spool import Spool
from mailkit.wire.buffer import LineTooLong
from mailkit.wire.sasl import SASLServer

BareLineEnds = Literal["refuse", "normalise"]


class _Event(enum.Enum):
    """What next_command finds besides lines."""

    LINE_TOO_LONG = enum.auto()
    END_OF_CONTENT = enum.auto()


class SMTPProtocol(CommandConnection):
    """A client that sends mail to us.

    To teach it more, give the factory a longer list of extensions.
    """

    factory: SMTPFactory
    protocol_name = "smtp"
    #: The verbs that no extension adds.
    commands: Mapping[bytes, Command] = handlers.COMMANDS
    #: Verbs that are known and not served.
    other_verbs: Mapping[bytes, Command] = handlers.OTHER_VERBS
    session_class: type[Session] = Session
    #: Clients are users who submit mail of their own (RFC 6409).
    is_submission = False
    #: What the greeting and, but for its prefix and suffix, the Received field call the protocol.
    greeting_name, trace_name = "ESMTP", "SMTP"

    def __init__(self) -> None:
        super().__init__()
        self.session = self.session_class()
        #: Where mail goes; None until somebody has logged in, as a user or anonymously.
        self.delivery: IMessageDelivery | None = None
        #: The AUTH exchange under way.
        self.exchange: SASLServer | None = None
        # What is being read; and a message while the next of its chunks is awaited.
        self._content: ContentReader | DiscardedChunk | None = None
        self._chunks: ContentReader | None = None
        self._delivering: Deferred[list[Reply]] | None = None
        self._client: ConnectionInfo | None = None

    # What handlers ask for.

    @property
    def client(self) -> ConnectionInfo:
        """Where the connection comes from."""
        if self._client is None:
            self._client = self.info()
        return self._client

    @property
    def takes_passwords(self) -> bool:
        """The portal knows what to do with a user name and a password."""
        portal = self.factory.portal
        return portal is not None and (
            any(i.implementedBy(UsernamePassword) for i in portal.listCredentialsInterfaces())
        )

    @property
    def abilities(self) -> frozenset[Ability]:
        """What the delivery promises; before there is one, what the realm promises."""
        portal = self.factory.portal
        for source in (self.delivery, portal and portal.realm):
            if IDeliveryAbilities.providedBy(source):
                abilities: frozenset[Ability] = source.abilities
                return abilities
        return frozenset()

    def offers(self, name: str) -> bool:
        """Whether the client may use the extension of that name now."""
        extension = self.factory.extension_set.by_name.get(name)
        return extension is not None and extension.available(self)

    def extensions(self) -> list[str]:
        """The lines of EHLO: what is true now for this client."""
        lines = []
        for extension in self.factory.extension_set.by_name.values():
            if extension.available(self) and (rest := extension.announce(self)) is not None:
                lines.append(f"{extension.name} {rest}" if rest else extension.name)
        return lines

    def check_client(self) -> None:
        """Judge a MAIL before everything else.

        :raises Refused: this client may not send.
        """

    async def log_in_anonymously(self) -> IMessageDelivery:
        """The delivery for everybody.

        :raises Refused: the portal knows none.
        """
        try:
            delivery: IMessageDelivery = await self._ask_portal(Anonymous(), IMessageDelivery)
        except LoginFailed:
            raise Refused(*replies.AUTHENTICATION_REQUIRED) from None
        self.delivery = delivery
        return delivery

    def forget_client(self) -> None:
        """Forget what the client said before TLS (RFC 3207 section 4.2)."""
        self.drop_content()
        self.session.forget()
        self.delivery = self._client = None
        self._end_login()

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

    def discard_chunk(self, size: int, last: bool, refusal: Reply | None) -> None:
        """Read over a chunk and refuse it then, so that replies stay in step; None: no reply."""
        self._content = DiscardedChunk(size, refusal)

    def drop_content(self) -> None:
        """Forget what chunks have come of a message."""
        if self._chunks is not None:
            self._chunks.spool.close()
            self._chunks = None

    def _make_content(self) -> ContentReader:
        try:
            return self.new_content(self._new_spool())
        except OSError as error:
            self.log.error("cannot make a spool: {error}", error=error)
            raise Refused(*replies.NO_SPACE) from None

    def _read_as_content(self, content: ContentReader) -> None:
        self._content = content
        self.session.phase = CONTENT
        self.set_idle_timer()

    def _new_spool(self) -> Spool:
        if ISpooling.providedBy(self.delivery):
            spool: Spool = self.delivery.new_spool()
            return spool
        return Spool()

    def new_content(self, spool: Spool) -> ContentReader:
        """What reads the content of the message that begins now."""
        factory = self.factory
        return ContentReader(
            spool,
            factory.max_size,
            factory.max_received,
            normalise=factory.bare_line_ends == "normalise",
        )

    async def check_content(self, envelope: Envelope, content: ContentReader) -> None:
        """Judge a complete message before it is delivered.

        :raises MailError: it is refused.
        """

    def reply_to_content(self, envelope: Envelope, outcomes: Sequence[Outcome]) -> list[Reply]:
        """The replies that tell what became of a complete message."""
        return [replies.after_content(outcomes, envelope.transaction_id)]

    def reply_for_all(self, reply: Reply) -> list[Reply]:
        """The replies to a complete message that is taken or refused for all recipients alike."""
        return [reply]

    def reply(self, reply: Reply) -> None:
        """Send a reply."""
        self.write(reply.render())

    def give_up(self, text: str) -> None:
        """End the connection with a 421 reply."""
        self.reply(Reply(421, "4.7.0", f"{self.factory.hostname} {text}, closing connection"))
        self.close()

    # What CommandConnection asks for.

    @override
    def greet(self) -> None:
        self.reply(Reply(220, "", f"{self.factory.hostname} {self.greeting_name} ready"))

    @override
    def refuse(self) -> None:
        # RFC 5321 section 3.1 allows 554 here; 421 tells the client to try again.
        self.give_up("Too many connections, try again later")

    @override
    def timed_out(self) -> None:
        self.reply(Reply(421, "4.4.2", f"{self.factory.hostname} Timeout, closing connection"))

    @override
    def say_goodbye(self) -> None:
        # RFC 5321 section 3.8
        self.reply(Reply(421, "4.3.2", f"{self.factory.hostname} Server is shutting down"))

    @override
    def command_failed(self) -> None:
        self.reply(replies.INTERNAL_ERROR)

    @override
    def idle_timeout(self) -> float:
        if self.session.phase == CONTENT:
            return self.factory.data_timeout
        return self.factory.timeout

    @override
    def closed(self) -> None:
        self.drop_content()
        if isinstance(self._content, ContentReader):
            self._content.spool.close()
        self._content = None
        if self._delivering is not None and self._logout is not None:
            # The avatar is still at work.
            logout, self._logout = self._logout, None
            self._delivering.addBoth(lambda _: logout())

    @override
    def next_command(self) -> bytes | _Event | None:
        if self._content is not None:
            return self._read_content(self._content)
        try:
            # lenient: a bare LF ends a command, as people and scripts send it. Content is read by
            # other rules, so nothing can hide there.
            return self.buffer.take_line(self.factory.limits.auth_line)
        except LineTooLong:
            return _Event.LINE_TOO_LONG

    def _read_content(self, content: ContentReader | DiscardedChunk) -> _Event | None:
        if not content.complete:
            if not (octets := self.buffer.take_all()):
                return None
            rest = content.feed(octets)
            if not content.complete:
                return None
            if rest:
                self.buffer.unread(rest)
        return _Event.END_OF_CONTENT

    @override
    def run_command(self, command: bytes | _Event) -> Coroutine[Any, Any, None] | None:
        if self._output_paused:
            # Replies that nobody reads must not pile up.
            return self._run_when_read(command)
        verb = b""
        try:
            if command is _Event.END_OF_CONTENT:
                return self._end_of_content()
            if command is _Event.LINE_TOO_LONG:
                raise self._line_too_long()
            assert isinstance(command, bytes)
            if self.session.phase == AUTHENTICATING:
                waiting = handlers.auth_response(self, command)
            else:
                verb, argument = parse_command(command)
                waiting = self._find(verb, len(command)).run(self, argument)
            if waiting is None:
                return None
            # The first step by hand: most hooks answer at once.
            awaited = waiting.send(None)
        except StopIteration:
            return None
        except (Refused, MailError) as error:
            self._refused(verb, error)
            return None
        return self._run_rest(verb, waiting, awaited)

    async def _run_when_read(self, command: bytes | _Event) -> None:
        await self.drain()
        if (waiting := self.run_command(command)) is not None:
            await waiting

    async def _run_rest(
        self, verb: bytes, waiting: Coroutine[Any, Any, None], awaited: Any
    ) -> None:
        try:
            await go_on(waiting, awaited)
        except (Refused, MailError) as error:
            self._refused(verb, error)

    def _find(self, verb: bytes, length: int) -> Command:
        """The command of that name, if it is legal now."""
        session = self.session
        command = self.factory.commands.get(verb) or self.other_verbs.get(verb)
        if command is None:
            raise Refused(*replies.UNKNOWN_COMMAND)
        if length + 2 > self.factory.limits.line and verb != b"AUTH":
            raise Refused(*replies.LINE_TOO_LONG)
        if not command.phases & session.phase:
            raise Refused(*session.out_of_order(verb))
        if command.idle:
            session.idle_commands += 1
            if session.idle_commands > self.factory.max_idle_commands:
                return handlers.TOO_IDLE
        return command

    def _refused(self, verb: bytes, error: Refused | MailError) -> None:
        session, factory = self.session, self.factory
        self.reply(error.reply if isinstance(error, Refused) else replies.for_error(error))
        if verb in (b"MAIL", b"RCPT", b"DATA", b"BDAT"):
            session.refusals += 1
        else:
            session.errors += 1
        # RFC 5321 section 7.8: a server may defend itself, with 421.
        if session.errors >= factory.max_errors or session.refusals >= factory.max_refusals:
            self.give_up("Too many errors")

    def _line_too_long(self) -> Refused:
        if self.session.phase == AUTHENTICATING:
            self.exchange = None
            self.session.end()
            # RFC 4954 section 4
            return Refused(500, "5.5.6", "The response is too long, authentication ended")
        return Refused(*replies.LINE_TOO_LONG)

    # The end of a message.

    def _end_of_content(self) -> Coroutine[Any, Any, None] | None:
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
        if content.refusal is not None:
            self._log_refusal(envelope, content.refusal)
            self._reply_each(self.reply_for_all(content.refusal))
            return None
        delivering = self._deliver(delivery, envelope, content)
        try:
            awaited = delivering.send(None)
        except StopIteration as stop:
            self._reply_each(stop.value)
            return None
        return self._wait_for_delivery(delivering, awaited)

    def _end_of_chunk(self, content: ContentReader) -> None:
        self._chunks = content
        self.session.phase = CHUNKS
        if content.refusal is not None:
            self._refused(b"BDAT", Refused(*content.refusal))
        else:
            self.reply(Reply(250, "2.0.0", f"{content.size} octets received"))

    async def _wait_for_delivery(
        self, delivering: Coroutine[Any, Any, list[Reply]], awaited: Any
    ) -> None:
        done: Deferred[list[Reply]] = Deferred.fromCoroutine(cast(Any, go_on(delivering, awaited)))
        self._delivering = done
        # The wait is cancelled with the connection, the delivery is not.
        wait: Deferred[list[Reply]] = Deferred()
        done.addBoth(wait.callback)
        self._reply_each(await wait)
        self._delivering = None

    def _reply_each(self, answers: list[Reply]) -> None:
        for reply in answers:
            self.reply(reply)

    async def _deliver(
        self, delivery: IMessageDelivery, envelope: Envelope, content: ContentReader
    ) -> list[Reply]:
        """Hand a message over. Raises nothing, for nobody might listen."""
        spool = content.spool
        factory = self.factory
        keyword = protocol_keyword(envelope, self.session.esmtp, self.trace_name)
        try:
            self._check_deadline(envelope)
            await self.check_content(envelope, content)
            spool.prepend(received_field(envelope, factory.hostname, keyword, factory.date()))
            outcomes = await delivery.deliver(envelope=envelope, message=spool)
            if len(outcomes) != len(envelope.recipients):
                raise ValueError("the delivery told no outcome for some recipient")
            answers = self.reply_to_content(envelope, outcomes)
        except MailError as error:
            answers = self.reply_for_all(replies.for_error(error))
        except Exception:
            self.log.failure("a delivery failed", Failure())  # type: ignore[no-untyped-call]
            answers = self.reply_for_all(replies.INTERNAL_ERROR)
        finally:
            spool.close()
        for reply in dict.fromkeys(answers):
            if reply.code != 250:
                self._log_refusal(envelope, reply)
        return answers

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


class SMTPFactory(CommandFactory):
    """Takes mail from anybody for whom the portal has a delivery (RFC 5321).

    :param portal: gives an ``IMessageDelivery`` for ``Anonymous()`` and for users.
    :param hostname: our name, fully qualified; the machine's when None.
    :param max_size: octets of a message.
    :param max_recipients: recipients of a message.
    :param max_received: Received fields of a message; more mean a loop.
    :param bare_line_ends: what to do with a message that has a CR or LF that stands alone:
        ``refuse`` or ``normalise``. Never does one end the message.
    :param data_timeout: seconds of silence inside a message after which the connection ends.
    :param extensions: which extensions are off, and settings of the others.
    :param limits: lengths of commands and addresses.
    :param settings: as of :class:`~mailkit.connection.CommandFactory`.
    :raises ValueError: a setting makes no sense.
    """

    connection_class: type[SMTPProtocol] = SMTPProtocol
    #: The extensions that may be switched on; those of a subclass may be more.
    known_extensions: Sequence[Extension] = EXTENSIONS

    #: Commands that are not understood before the connection is closed.
    max_errors = 20
    #: Refused MAIL, RCPT and DATA in a row, with no message between. A client that sends a whole
    #: envelope ahead gets one for each recipient.
    max_refusals = 5000
    #: Commands that move no mail in a row, with no message between.
    max_idle_commands = 1000
    #: Accepted MAIL on one connection.
    max_transactions = 10_000

    def __init__(
        self,
        portal: Portal | None = None,
        *,
        hostname: str | None = None,
        max_size: int = 50 * 1024 * 1024,
        max_recipients: int = 1000,
        max_received: int = 100,
        bare_line_ends: BareLineEnds = "refuse",
        data_timeout: float = 180.0,
        extensions: ExtensionSettings = DEFAULT_SETTINGS,
        limits: Limits = LIMITS,
        **settings: Any,
    ) -> None:
        super().__init__(portal, **settings)
        if bare_line_ends not in ("refuse", "normalise"):
            raise ValueError("bare_line_ends is 'refuse' or 'normalise'")
        self.hostname = hostname or socket.gethostname()
        self.max_size = max_size
        self.max_recipients = max_recipients
        self.max_received = max_received
        self.bare_line_ends = bare_line_ends
        self.data_timeout = data_timeout
        self.extensions = extensions
        self.extension_set = ExtensionSet(self.known_extensions, extensions.switched_off)
        #: The verbs.
        self.commands: Mapping[bytes, Command] = {
            **self.connection_class.commands,
            **self.extension_set.commands,
        }
        self.limits = limits
        # Unlike those of any other factory, also after a restart.
        self._id_prefix = secrets.token_hex(6)
        self._ids = itertools.count(1)
        self._date = (-1, "")

    def new_transaction_id(self) -> str:
        """A name that no other transaction has."""
        return f"{self._id_prefix}{next(self._ids):06x}"

    def date(self) -> str:
        """Now, as a Date field has it; in local time (RFC 5321 section 4.4)."""
        now = int(self.clock.seconds())
        if self._date[0] != now:
            self._date = now, format_date(datetime.fromtimestamp(now).astimezone())
        return self._date[1]
