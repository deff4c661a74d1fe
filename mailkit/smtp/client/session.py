"""The dialogue of a connection, from the greeting to QUIT, for SMTP and LMTP.

Ordering: one operation at a time; but behind a message whose content is on its way the next one's
commands may follow, and it reads when the replies to the one ahead have come. Commands and replies
are matched by counting (RFC 2920 section 3.1). Once a reply cannot be matched, or anything is
cancelled half-way, the connection is aborted: nothing that the server may still say could be trusted.

The coroutines here await nothing but the :class:`~mailkit.smtp.client.channel.Channel`, so they run
under Twisted and under asyncio alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType

from mailkit.client.channel import Channel
from mailkit.client.errors import (
    AuthFailed,
    ClientError,
    ConnectionLost,
    ServiceRefused,
    TLSFailed,
)
from mailkit.client.security import TLSInfo, TLSMode
from mailkit.model import Envelope, Recipient
from mailkit.smtp.client.commands import (
    ContentNeeds,
    Unsendable,
    check_message,
    check_recipient,
    mail_command,
    rcpt_command,
    uses_smtputf8,
)
from mailkit.smtp.client.content import Content, Source
from mailkit.smtp.client.dialogue import Dialogue
from mailkit.smtp.client.extensions import Extensions, ServerLimits, parse_extensions
from mailkit.smtp.client.message import OutgoingMessage, survey
from mailkit.smtp.client.results import ConnectionFacts, RecipientOutcome, SendResult, Status
from mailkit.smtp.client.settings import ClientSettings
from mailkit.smtp.client.transaction import Transaction, outcome_of
from mailkit.smtp.client.turn import Turn
from mailkit.wire.sasl import SASLError, decode_base64, encode_base64
from mailkit.wire.sasl_client import Credentials, SASLClient, choose_mechanism

# RFC 4954 section 4: an AUTH command is no longer than any other; a longer response comes second.
_MAX_COMMAND = 512


class Session:
    """A connection to a server; :func:`~mailkit.smtp.client.connect` makes one that is open.

    ``await session.send(envelope, content)`` sends a message and tells the outcome of each
    recipient; several messages may follow each other. ``await session.check()`` tells whether the
    server still listens, ``await session.quit()`` ends the connection in order.

    :param channel: the connection.
    :param tls: of a connection that is under TLS from the start.
    """

    def __init__(
        self, channel: Channel, settings: ClientSettings, tls: TLSInfo | None = None
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._dialogue = Dialogue(channel, settings)
        #: What is under way: the message whose replies come next, perhaps one behind it.
        self._turns: list[Turn] = []
        #: Somebody behind has given up: replies will come that nobody reads.
        self._spoiled = False
        self._needs_reset = False
        #: Domains of which the server has been told recipients.
        self._domains: set[str] = set()
        self._facts = ConnectionFacts(peer=channel.peer, tls=tls)

    @property
    def facts(self) -> ConnectionFacts:
        """The connection as it stands now; a copy."""
        return self._facts.copy()

    @property
    def closed(self) -> bool:
        """Nothing more can be sent."""
        return self._dialogue.closed

    @property
    def used(self) -> bool:
        """Something has been sent over it."""
        return self._facts.transactions > 0

    @property
    def exhausted(self) -> bool:
        """The server takes no more transactions on this connection, or none with recipients of yet
        another domain (RFC 9422)."""
        maximum = self._facts.extensions.limits.rcpt_domain_max
        return self._ended or (maximum is not None and len(self._domains) >= maximum)

    @property
    def _ended(self) -> bool:
        """The server takes no more transactions on this connection (RFC 9422)."""
        maximum = self._facts.extensions.limits.mail_max
        return maximum is not None and self._facts.transactions >= maximum

    # Beginning.

    def note_tls_failure(self, text: str) -> None:
        """Remember why there is no TLS."""
        self._facts.tls_failure = text

    async def open(self) -> None:
        """Read the greeting, say EHLO, begin TLS, log in: what the settings ask for.

        :raises ClientError: the connection cannot be used; it is closed.
        """
        with self._working():
            try:
                await self._open()
            except ClientError:
                self._dialogue.abort()
                raise

    async def _open(self) -> None:
        timeouts = self._settings.timeouts
        greeting = await self._dialogue.reply("greeting", timeouts.greeting)
        self._facts.greeting = greeting.text
        if greeting.code != 220:
            raise ServiceRefused(greeting.text, command="greeting", reply=greeting)
        await self._hello()
        if self._settings.tls.mode is not TLSMode.NONE and self._facts.tls is None:
            await self._start_tls()
        if self._settings.credentials is not None:
            await self._log_in(self._settings.credentials)

    async def _hello(self) -> None:
        name = self._settings.helo_name(self._channel.local)
        timeout = self._settings.timeouts.command
        verb = "LHLO" if self._settings.lmtp else "EHLO"
        reply = await self._dialogue.command(verb, f"{verb} {name}", timeout)
        if reply.code == 250:
            self._facts.protocol = "LMTP" if self._settings.lmtp else "ESMTP"
            self._facts.extensions = parse_extensions(reply.text)
            return
        if verb == "EHLO" and reply.code // 100 == 5:
            # RFC 5321 section 3.2
            reply = await self._dialogue.command("HELO", f"HELO {name}", timeout)
            verb = "HELO"
        if reply.code != 250:
            raise ServiceRefused(reply.text, command=verb, reply=reply)
        self._facts.protocol = "SMTP"
        self._facts.extensions = Extensions(reply.text.split(" ", 1)[0])

    async def _start_tls(self) -> None:
        policy = self._settings.tls
        if not self._facts.extensions.starttls:
            if policy.mandatory:
                raise TLSFailed(
                    "The server offers no STARTTLS",
                    command="STARTTLS",
                    result_type="starttls-not-supported",
                )
            return
        timeouts = self._settings.timeouts
        reply = await self._dialogue.command("STARTTLS", "STARTTLS", timeouts.command)
        if reply.code != 220:
            if policy.mandatory:
                raise TLSFailed(reply.text, command="STARTTLS", reply=reply)
            self._facts.tls_failure = f"{reply.code} {reply.text}"
            return
        self._dialogue.check_silence()
        self._facts.tls = await self._channel.start_tls(policy, timeouts.tls)
        # RFC 3207 section 4.2: forget what was said before.
        self._dialogue.restart()
        self._facts.extensions = Extensions()
        await self._hello()

    async def _log_in(self, credentials: Credentials) -> None:
        settings = self._settings
        plaintext = (
            self._facts.tls is not None
            or self._channel.is_local
            or settings.allow_plaintext_passwords
        )
        try:
            mechanism = choose_mechanism(
                self._facts.extensions.auth,
                credentials,
                plaintext,
                settings.mechanisms,
                self._channel.channel_binding,
            )
            await self._authenticate(mechanism)
        except SASLError as error:
            raise AuthFailed(str(error), command="AUTH") from error
        self._facts.account = credentials.username

    async def _authenticate(self, mechanism: SASLClient) -> None:
        """RFC 4954 section 4."""
        timeout = self._settings.timeouts.command
        line = f"AUTH {mechanism.name}"
        initial = mechanism.initial_response()
        waiting: str | None = None
        if initial is not None:
            waiting = encode_base64(initial).decode("ascii") or "="
            if len(line) + len(waiting) + 3 <= _MAX_COMMAND:
                line, waiting = f"{line} {waiting}", None
        reply = await self._dialogue.command("AUTH", line, timeout)
        while reply.code == 334:
            try:
                if waiting is None:
                    challenge = decode_base64(reply.text.strip().encode("utf-8"))
                    answer = encode_base64(mechanism.respond(challenge)).decode("ascii")
                else:
                    answer, waiting = waiting, None
            except SASLError:
                await self._dialogue.command("AUTH", "*", timeout)
                raise
            reply = await self._dialogue.command("AUTH", answer, timeout)
        if reply.code != 235:
            raise AuthFailed(mechanism.explain(reply.text), command="AUTH", reply=reply)
        mechanism.finish()

    # Messages.

    async def send(
        self,
        envelope: Envelope,
        content: Source | Content,
        follow: Callable[[], None] | None = None,
    ) -> SendResult:
        """Send a message to all recipients of the envelope, in as many transactions as it takes.

        Never raises for what the server says or fails to say: each recipient has an outcome. After
        a failure of the connection :attr:`closed` is true.

        :param content: octets, an ``email`` message, a spool (which stays the caller's) or a binary
            file that can seek.
        :param follow: is called when all of the message is on its way, if the server takes the next
            one's commands before it has answered (PIPELINING). From then on until the outcome is
            known one more message may be sent; its own outcome comes later.
        """
        if not isinstance(content, Content):
            content = Content(content)
        with self._working(follows=True) as turn:
            sending = _Sending(envelope, self._settings.lmtp)
            message = None
            try:
                # Before the work, and again before each transaction.
                self._check_alive(turn)
                message = await survey(
                    content, envelope, self._settings.bare_line_ends, self._channel
                )
                await self._send(sending, message, turn, follow)
            except Unsendable as error:
                sending.refuse_all(error)
            except ClientError as error:
                # No command of this message has been sent: another connection may do it.
                sending.fail_all(error)
            finally:
                if message is not None:
                    message.close()
            # It may have been refused before any command: still the last one goes last.
            await turn.wait()
            return SendResult(
                sending.finish(),
                self.facts,
                message.needs.size if message is not None else 0,
                message is not None and message.converted,
                self._facts.extensions.dsn,
            )

    def _check_alive(self, turn: Turn) -> None:
        """:raises ClientError: the server has said goodbye, or the connection is gone."""
        if not turn.waits:
            self._dialogue.check_alive()
        elif self.closed:
            # What has come belongs to the message ahead.
            raise ConnectionLost

    async def _send(
        self,
        sending: _Sending,
        message: OutgoingMessage,
        turn: Turn,
        follow: Callable[[], None] | None,
    ) -> None:
        extensions, now = self._facts.extensions, self._channel.now()
        envelope = sending.envelope
        check_message(envelope, message.needs, extensions, self._facts.tls, now)
        if not message.fits(extensions):
            may_shorten = envelope.connection.protocol == "report"
            await message.convert(extensions, self._channel, may_shorten)
            # Encodings make it longer.
            check_message(envelope, message.needs, extensions, self._facts.tls, now)
        sending.judge_recipients(extensions)
        while sending.pending:
            if self.closed or self._ended:
                break
            batch = self._next_batch(sending)
            if not batch:
                break
            self._check_alive(turn)
            transaction = self._new_transaction(sending, batch, message)
            self._facts.transactions += 1
            last = len(batch) == len(sending.pending)
            offer = partial(self._offer, transaction, turn, follow if last else None)
            await self._dialogue.transact(transaction, message, turn, offer)
            self._needs_reset = transaction.needs_reset
            sending.record(batch, transaction.outcomes)

    def _next_batch(self, sending: _Sending) -> list[int]:
        """Indexes of recipients for one transaction; none when the server takes no more of them."""
        limits = self._facts.extensions.limits
        return sending.next_batch(self._settings.max_recipients, limits, self._domains)

    def _offer(
        self, transaction: Transaction, turn: Turn, follow: Callable[[], None] | None
    ) -> None:
        """The content is on its way: let another message follow, if it may."""
        facts = self._facts
        if (
            follow is None
            or not facts.extensions.pipelining
            or self.exhausted
            or _is_fixed_up(facts.greeting)
            # Those recipients need another transaction.
            or any(map(_is_too_many, transaction.outcomes))
        ):
            return
        # RFC 3030 section 2: after BDAT has failed, nothing but RSET brings back a known state.
        self._needs_reset = transaction.chunking
        turn.open = True
        follow()

    def _new_transaction(
        self, sending: _Sending, batch: list[int], message: OutgoingMessage
    ) -> Transaction:
        extensions, now = self._facts.extensions, self._channel.now()
        envelope = sending.envelope
        recipients = [envelope.recipients[index] for index in batch]
        smtputf8 = uses_smtputf8(envelope, recipients, message.needs, extensions)
        by = envelope.deliver_by
        late = by is not None and extensions.deliver_by is None
        mail = mail_command(envelope, message.needs, message.body, smtputf8, extensions, now)
        return Transaction(
            mail,
            [(each, rcpt_command(each, smtputf8, extensions, late)) for each in recipients],
            reset=self._needs_reset,
            pipelining=extensions.pipelining,
            chunking=message.body == "BINARYMIME"
            or (self._settings.chunking and extensions.chunking),
            lmtp=self._settings.lmtp,
        )

    async def verify(self, envelope: Envelope) -> list[RecipientOutcome]:
        """Ask for which recipients the server would take mail, without sending any.

        :raises ClientError: the connection cannot be used, or the server refuses the sender.
        """
        with self._working():
            self._dialogue.check_alive()
            extensions, timeouts = self._facts.extensions, self._settings.timeouts
            needs = ContentNeeds(0)
            sending = _Sending(envelope, self._settings.lmtp)
            try:
                check_message(envelope, needs, extensions, self._facts.tls, self._channel.now())
            except Unsendable as error:
                sending.refuse_all(error)
                return sending.finish()
            sending.judge_recipients(extensions)
            batch = self._next_batch(sending)
            if not batch:
                return sending.finish()
            asked = [envelope.recipients[index] for index in batch]
            smtputf8 = uses_smtputf8(envelope, asked, needs, extensions)
            commands = [
                mail_command(envelope, needs, "", smtputf8, extensions, self._channel.now()),
                *(rcpt_command(each, smtputf8, extensions) for each in asked),
            ]
            self._facts.transactions += 1
            self._needs_reset = True
            mail, *lines = (command.decode("utf-8").removesuffix("\r\n") for command in commands)
            reply = await self._dialogue.command("MAIL", mail, timeouts.mail)
            if reply.code != 250:
                raise ServiceRefused(reply.text, command="MAIL", reply=reply)
            outcomes = []
            for recipient, line in zip(asked, lines, strict=True):
                reply = await self._dialogue.command("RCPT", line, timeouts.rcpt)
                outcomes.append(outcome_of(recipient, reply, "RCPT"))
            sending.record(batch, outcomes)
            return sending.finish()

    # Between messages, and the end.

    async def check(self) -> bool:
        """Whether the connection can be used for another message; ends a transaction left open."""
        with self._working():
            if self.closed or self.exhausted:
                return False
            verb = "RSET" if self._needs_reset else "NOOP"
            try:
                self._dialogue.check_alive()
                reply = await self._dialogue.command(verb, verb, self._settings.timeouts.command)
            except ClientError:
                return False
            if reply.code != 250:
                self._dialogue.abort()
                return False
            self._needs_reset = False
            return True

    async def settle(self) -> None:
        """Wait for the end of a message behind which another one was to follow that is not sent."""
        with self._working(follows=True) as turn:
            await turn.wait()

    async def quit(self) -> None:
        """Say QUIT and close; never fails."""
        with self._working():
            await self._dialogue.quit()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._dialogue.abort()

    def _working(self, follows: bool = False) -> _Work:
        """
        :param follows: it may begin behind a message whose replies are to come.
        """
        return _Work(self, follows)

    def _begin(self, follows: bool) -> Turn:
        ahead = self._turns[-1] if self._turns else None
        if ahead is not None:
            if not (follows and ahead.open):
                raise RuntimeError("this connection is busy with another operation")
            ahead.open = False
        turn = Turn(self._channel.waiter(), ahead)
        self._turns.append(turn)
        return turn

    def _end(self, turn: Turn, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, ClientError):
            # Cancelled half-way, or a bug: what the server says next answers nobody knows what.
            self._spoiled = True
        self._turns.remove(turn)
        # The message ahead still gets its replies.
        if self._spoiled and not turn.waits:
            self._dialogue.abort()
        turn.end()


class _Work:
    """One operation of a session, for a ``with`` statement."""

    __slots__ = ("_follows", "_session", "_turn")

    def __init__(self, session: Session, follows: bool) -> None:
        self._session = session
        self._follows = follows

    def __enter__(self) -> Turn:
        self._turn = self._session._begin(self._follows)
        return self._turn

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session._end(self._turn, error)


class _Sending:
    """The recipients of one message, and what became of them so far."""

    def __init__(self, envelope: Envelope, lmtp: bool) -> None:
        self.envelope = envelope
        self.pending = list(range(len(envelope.recipients)))
        self._outcomes: dict[int, RecipientOutcome] = {}
        self._lmtp = lmtp

    def judge_recipients(self, extensions: Extensions) -> None:
        """Take out those that the server cannot be told."""
        for index in list(self.pending):
            try:
                check_recipient(self._recipient(index), extensions)
            except Unsendable as error:
                self._refuse(index, error)

    def next_batch(self, maximum: int, limits: ServerLimits, domains: set[str]) -> list[int]:
        """The recipients of the next transaction (RFC 5321 section 4.5.3.1.10, RFC 9422).

        :param domains: those of earlier ones; that of this one are added.
        """
        if limits.rcpt_max is not None:
            maximum = min(maximum, limits.rcpt_max)
        if limits.rcpt_domain_max is None:
            return self.pending[:maximum]
        batch: list[int] = []
        for index in self.pending:
            if len(batch) == maximum:
                break
            domain = self._recipient(index).path.domain.lower()
            if domain not in domains:
                if len(domains) >= limits.rcpt_domain_max:
                    continue
                domains.add(domain)
            batch.append(index)
        return batch

    def record(self, batch: list[int], outcomes: list[RecipientOutcome]) -> None:
        """Note what became of a transaction; some recipients stay for another one."""
        some_accepted = any(outcome.accepted for outcome in outcomes)
        for index, outcome in zip(batch, outcomes, strict=True):
            if some_accepted and _is_too_many(outcome):
                continue
            self._outcomes[index] = outcome
            self.pending.remove(index)

    def refuse_all(self, error: Unsendable) -> None:
        for index in list(self.pending):
            self._refuse(index, error)

    def fail_all(self, error: ClientError) -> None:
        for index in self.pending:
            self._outcomes[index] = RecipientOutcome(
                self._recipient(index),
                Status.TEMPORARY,
                error.code,
                error.enhanced,
                error.text,
                error.command,
                attempted=False,
            )
        self.pending = []

    def finish(self) -> list[RecipientOutcome]:
        """All outcomes, in the order of the recipients."""
        for index in self.pending:
            self._outcomes[index] = RecipientOutcome(
                self._recipient(index),
                Status.TEMPORARY,
                0,
                "4.5.3",
                "The server takes no more of this message on this connection",
                "",
                attempted=False,
            )
        return [self._outcomes[index] for index in range(len(self.envelope.recipients))]

    def _refuse(self, index: int, error: Unsendable) -> None:
        self.pending.remove(index)
        self._outcomes[index] = RecipientOutcome(
            self._recipient(index), Status.PERMANENT, 0, error.enhanced, error.text, ""
        )

    def _recipient(self, index: int) -> Recipient:
        return self.envelope.recipients[index]


def _is_fixed_up(greeting: str) -> bool:
    """A Cisco PIX stands between, which has put stars over the greeting and watches the commands.

    Some lose what follows the end of the content (as Postfix's smtp_pix_workarounds says).
    """
    return "*" in greeting and not greeting.strip("20* \t\n")


def _is_too_many(outcome: RecipientOutcome) -> bool:
    """RFC 5321 section 4.5.3.1.10: the rest goes in another transaction; 552 is an old 452."""
    return outcome.command == "RCPT" and (
        (outcome.code == 452 and outcome.enhanced in ("4.5.3", "4.3.1"))
        or (outcome.code == 552 and outcome.enhanced == "5.5.3")
    )
