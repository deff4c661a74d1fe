"""The server's connection and its factory.

Ordering: commands run one at a time and are answered in order (:mod:`mailkit.connection`), so
RFC 2449's PIPELINING holds for all of them. A login that waits for its hash holds back what
follows.

Locking: a factory lets each account have one session at a time. The lock is taken after the
password was right and before the mailbox is opened; it goes with QUIT, a failed opening, or the
connection. It holds in all processes of a store. Another login of the account has TCP ask whether
the session's client is still there, and waits some seconds for the answer; where the operator says
so, a session that is silent for long gives way in any case. IMAP sessions and deliveries are not
locked out: the session sees the messages that were there at login, RETR of one that is gone answers
-ERR, and new ones wait for the next login. Only QUIT removes messages.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailkit._typing import override
from mailkit.connection import CommandConnection, CommandFactory
from mailkit.errors import MailboxInUse, MailError, NoSuchMailbox
from mailkit.interfaces import (
    IMailAccount,
    IMailbox,
    IMaildropAccount,
    IReadyMessages,
    IRecallingMaildrop,
    ISizedMailbox,
    IUnendedMessages,
    IWritableMailbox,
)
from mailkit.login import SASLExchange
from mailkit.model import INBOX, MailboxInfo, MaildropSettings
from mailkit.pop3.choice import Choice, mailbox_mark, shows_everything
from mailkit.pop3.grammar import MAX_COMMAND, CommandError, parse_command
from mailkit.pop3.handlers import COMMANDS, auth_response
from mailkit.pop3.liveness import PROBE_SECONDS, end_probe, probe
from mailkit.pop3.neighbours import LOOK_SECONDS, Neighbours
from mailkit.pop3.replies import code_of, err, ok, ok_once
from mailkit.pop3.state import Maildrop, MaildropLocks, NoSuchNumber, Session, State
from mailkit.sasl import Mechanism
from mailkit.sasl.cram import CramMD5Server, new_challenge
from mailkit.translation import checked_language, translate
from mailkit.wire.buffer import LineTooLong
from mailkit.wire.sasl import MAX_RESPONSE

#: RFC 1939 section 3: an autologout timer is at least this long, in seconds.
MIN_TIMEOUT = 600.0
#: Messages whose sizes are asked for in one call.
SNAPSHOT_CHUNK = 500
#: Octets of a response line of AUTH with its line end.
MAX_RESPONSE_LINE = MAX_RESPONSE * 4 // 3 + 6

_DEFAULT_SETTINGS = MaildropSettings()
_APOP = CramMD5Server.name


class POP3Connection(CommandConnection):
    """A server's side of one POP3 session."""

    factory: POP3Factory
    protocol_name = "pop3"

    def __init__(self) -> None:
        CommandConnection.__init__(self)
        self.session = Session()
        #: What APOP signs; empty where it is not offered.
        self.timestamp = b""
        #: A SASL exchange that waits for the client's response.
        self.exchange: SASLExchange | None = None
        #: Whose messages the maildrop has, in its order.
        self.mailboxes: list[IMailbox] = []
        #: What gives their small messages at once, where they can.
        self.readers: list[Callable[[int], bytes | None] | None] = []
        self.maildrop_settings = _DEFAULT_SETTINGS
        self._locked: str | None = None

    @property
    def maildrop(self) -> Maildrop:
        """The messages of the session; only in the TRANSACTION state."""
        assert self.session.maildrop is not None
        return self.session.maildrop

    @property
    def must_drain(self) -> bool:
        """The client has to read before more is written."""
        return self._output_paused

    @property
    def refuses_utf8(self) -> bool:
        """The client gets no message with UTF-8 in its header (RFC 6856 section 2.1)."""
        return self.factory.refuse_utf8 and not self.session.utf8

    def forget_login(self) -> None:
        """Drop a login that has only begun."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.drop()
        self.session.user = None

    # What handlers answer with, in the language of this client.

    def ok_line(self, text: str = "") -> bytes:
        """A positive status line."""
        return ok(text, self.session.language)

    def err_line(self, text: str, code: str = "") -> bytes:
        """A negative status line."""
        return err(text, code, self.session.language)

    def ok(self, text: str = "") -> None:
        """Answer that it is done."""
        self.write(self.ok_line(text))

    def err(self, text: str, code: str = "") -> None:
        """Answer that it is not."""
        self.write(self.err_line(text, code))

    def refuse_command(self, error: MailError) -> None:
        """Answer why it is not."""
        self.err(error.text, code_of(error))

    # What CommandConnection asks for.

    @override
    def greet(self) -> None:
        # RFC 1939 section 7: angle brackets offer APOP, which goes with CRAM-MD5.
        text = self.factory.greeting
        if self.find_mechanism(_APOP) is None:
            self.write(ok(text))
        else:
            self.timestamp = new_challenge()
            self.write(ok_once(f"{text} {self.timestamp.decode('ascii')}"))

    @override
    def next_command(self) -> bytes | LineTooLong | None:
        buffer = self.buffer
        if not buffer.data:
            return None
        try:
            return buffer.take_line(MAX_COMMAND if self.exchange is None else MAX_RESPONSE_LINE)
        except LineTooLong as error:
            return error

    @override
    def run_command(self, command: bytes | LineTooLong) -> Coroutine[Any, Any, None] | None:
        session = self.session
        if isinstance(command, LineTooLong):
            self.forget_login()
            self._count_error(CommandError("That line is too long"))
            return None
        if self.exchange is not None:
            return auth_response(self, self.exchange, command)
        try:
            # As parse_command() does it, for those with the verb in capitals: most of them.
            verb, _, argument = command.partition(b" ")
            entry = COMMANDS.get(verb)
            # Numbers: to look for bytes, Python first raises an error, which takes longer than STAT.
            if entry is None or 0 in argument or 13 in argument:
                verb, argument = parse_command(command)
                entry = COMMANDS.get(verb)
            if entry is None:
                raise CommandError("That command is not known here")
            if session.state not in entry.states:
                raise CommandError(
                    "Log in first"
                    if session.state is State.AUTHORIZATION
                    else "You are logged in already"
                )
            handler = entry.handler
            waiting = handler(self, argument)
        except CommandError as error:
            self._count_error(error)
            return None
        except NoSuchNumber as error:
            self.err(error.text)
            waiting = None
        session.errors = 0
        return waiting

    def _count_error(self, error: CommandError) -> None:
        self.session.errors += 1
        if self.session.errors < self.factory.max_errors:
            self.err(error.text)
        else:
            reason = translate(error.text, self.session.language)
            self.err(f"{reason}; too many errors, goodbye")
            self.close()

    @override
    def command_failed(self) -> None:
        self.err("Internal error, please try again later", "SYS/TEMP")

    @override
    def timed_out(self) -> None:
        # RFC 1939 section 3: the connection is closed without any response.
        self.log.info("client was silent too long", protocol=self.protocol_name)

    @override
    def refuse(self) -> None:
        self.err("Too many connections, please try again later", "SYS/TEMP")

    @override
    def closed(self) -> None:
        self.release_maildrop()

    # The maildrop.

    def open_at_once(self, account: IMailAccount) -> Maildrop | None:
        """:meth:`open_maildrop` where nothing has to be waited for; None, and all as it was, elsewhere."""
        if not IRecallingMaildrop.providedBy(account):
            return None
        try:
            self._lock(account.name)
        except MailError:
            # open_maildrop() will meet it again.
            return None
        found = None
        try:
            found = account.recall_maildrop()
        finally:
            if found is None:
                self.release_maildrop()
        if found is None:
            return None
        mailbox, info, uids, sizes, octets = found
        maildrop = Maildrop()
        self._begin_mailbox(maildrop, mailbox, INBOX, info)
        maildrop.extend_sizes(uids, sizes, octets)
        self._begin(account, maildrop, None)
        return maildrop

    async def open_maildrop(self, account: IMailAccount) -> Maildrop:
        """Lock the maildrop of the user who has just logged in, and note what is in it.

        :raises MailError: that failed; the session is as before the login.
        """
        maildrop = Maildrop()
        try:
            try:
                self._lock(account.name)
            except MailboxInUse:
                await self._wait_for_lock(account.name)
            settings = _DEFAULT_SETTINGS
            if IMaildropAccount.providedBy(account):
                settings = self.maildrop_settings = await account.get_maildrop_settings()
            names = settings.mailboxes
            shows_all = settings == _DEFAULT_SETTINGS or shows_everything(settings)
            for name in names:
                try:
                    mailbox = await account.open_mailbox(name=name)
                except NoSuchMailbox:
                    if len(names) == 1:
                        raise
                    # One that was deleted since keeps nobody from the others.
                    continue
                view = None
                if shows_all and ISizedMailbox.providedBy(mailbox):
                    view = await mailbox.get_sizes()
                info = await mailbox.get_info() if view is None else view[0]
                self._begin_mailbox(maildrop, mailbox, name, info)
                if view is None:
                    await self._take_snapshot(mailbox, maildrop, settings)
                else:
                    _, uids, sizes, octets = view
                    maildrop.extend_sizes(uids, sizes, octets)
        except BaseException:
            self.release_maildrop()
            self._end_login()
            raise
        self._begin(account, maildrop, settings.login_delay)
        return maildrop

    def _begin(self, account: IMailAccount, maildrop: Maildrop, login_delay: int | None) -> None:
        """The client is in."""
        factory = self.factory
        now = factory.clock.seconds()
        if delay := factory.locks.logged_in(account.name, now, login_delay):
            factory.neighbours.tell_login(account.name, delay)
        session = self.session
        session.maildrop, session.state = maildrop, State.TRANSACTION

    def _begin_mailbox(
        self, maildrop: Maildrop, mailbox: IMailbox, name: str, info: MailboxInfo
    ) -> None:
        # Identifiers of INBOX's messages are as they are without other mailboxes, always.
        mark = b"" if name == INBOX else mailbox_mark(info)
        maildrop.begin_mailbox(info.uid_validity, mark, info.older_validities)
        self.mailboxes.append(mailbox)
        ready = not (self.factory.refuse_utf8 and not self.session.utf8)
        if ready and IReadyMessages.providedBy(mailbox):
            self.readers.append(mailbox.read_ready)
        else:
            self.readers.append(None)

    def _lock(self, account: str) -> None:
        """Take the account's lock.

        :raises MailError: that is not possible.
        """
        factory = self.factory
        factory.locks.acquire(account, factory.clock.seconds())
        self._locked = account
        factory.sessions[account] = self

    async def _wait_for_lock(self, account: str) -> None:
        """Take the account's lock from a session whose client is gone.

        :raises MailError: that is not possible.
        """
        factory = self.factory
        seconds = factory.deadlines.seconds
        give_up: float | None = None
        while True:
            try:
                self._lock(account)
                return
            except MailboxInUse:
                # None where another process has it.
                holder = factory.sessions.get(account)
                if holder is not None and holder.gives_way():
                    continue
                if give_up is None:
                    if not (factory.neighbours.ask(account) if holder is None else holder.ask()):
                        raise
                    give_up = seconds() + PROBE_SECONDS
                left = give_up - seconds()
                if left <= 0:
                    if holder is not None:
                        holder.end_asking()
                    raise
                # Nobody tells when another process has given it back.
                await factory.wait_for_release(
                    account, left if holder is not None else min(left, LOOK_SECONDS)
                )

    def ask(self) -> bool:
        """Have TCP find out whether the client is still there; whether that is possible."""
        return probe(self.transport, reading=not self.must_drain)

    def end_asking(self) -> None:
        """The client had its time to answer."""
        end_probe(self.transport, reading=not self.must_drain)

    def gives_way(self) -> bool:
        """Whether another session of the account takes this one's place now.

        Nothing is removed, as after any connection that was lost.
        """
        takeover = self.factory.takeover
        if takeover is None or self._running is not None or self.session.maildrop is None:
            return False
        if self._last_activity + takeover > self.factory.deadlines.seconds():
            return False
        self.log.info("session gave way to another one", protocol=self.protocol_name)
        self.release_maildrop()
        self.abort()
        return True

    async def _take_snapshot(
        self, mailbox: IMailbox, maildrop: Maildrop, settings: MaildropSettings
    ) -> None:
        choice = Choice(settings, self.clock.seconds())
        uids = await mailbox.list_uids()
        for start in range(0, len(uids), SNAPSHOT_CHUNK):
            await self.drain()
            chunk = uids[start : start + SNAPSHOT_CHUNK]
            messages = choice.of(await mailbox.get_messages(uids=chunk))
            unended: Sequence[int] = ()
            if IUnendedMessages.providedBy(mailbox):
                unended = await mailbox.list_unended(uids=chunk)
            maildrop.extend(messages, frozenset(unended))
        if choice.expired and IWritableMailbox.providedBy(mailbox):
            await mailbox.expunge(uids=choice.expired)

    def release_maildrop(self) -> None:
        """Let another session of the same account begin; may be called more than once."""
        name, self._locked = self._locked, None
        if name is None:
            return
        self.factory.release_maildrop(name)
        self.mailboxes = []
        self.readers = []
        self.session.maildrop = None

    def end_session(self, reply: bytes) -> None:
        """End the session. A client that has read the reply can log in again at once."""
        self.release_maildrop()
        self.write(reply)
        self.close(asked_for=True)


class POP3Factory(CommandFactory):
    """Serves POP3: the INBOX of the ``IMailAccount`` that the portal gives.

    One factory serves all listeners, plain and TLS, as it keeps the maildrops' locks.

    :param portal: where clients log in.
    :param timeout: seconds of silence after which a session ends; RFC 1939 section 3 does not
        allow less than ten minutes, so a shorter one is raised.
    :param login_delay: seconds between two logins of one account (RFC 2449 section 6.5); 0 for no
        such rule.
    :param max_errors: lines in a row that are no command, before the connection is closed.
    :param greeting: text of the greeting.
    :param implementation: what CAPA tells about the server.
    :param language: what ``LANG *`` stands for (RFC 6856 section 3.2).
    :param directory: gives what may provide :class:`~mailkit.interfaces.IMaildropDirectory`, so that
        CAPA tells the truth before it is known who logs in.
    :param takeover: seconds of silence after which a session gives way to another one of the same
        account; None for never. One whose client is gone gives way to it within some seconds anyway.
    :param refuse_utf8: answer ``-ERR [UTF8]`` where a client that has not said UTF8 asks for a
        message with UTF-8 in its header (RFC 6856 section 2.1), which it gets as it is otherwise.
    """

    connection_class = POP3Connection

    def __init__(
        self,
        portal: Portal | None,
        *,
        tls_context: Any = None,
        clock: IReactorTime | None = None,
        timeout: float = MIN_TIMEOUT,
        max_connections: int = 10_000,
        max_connections_per_address: int = 200,
        allow_plaintext_passwords: bool = False,
        mechanisms: Iterable[Mechanism] | None = None,
        login_delay: int = 0,
        max_errors: int = 20,
        greeting: str = "POP3 server ready",
        implementation: str = "mailkit",
        language: str = "en",
        directory: Callable[[], object] = lambda: None,
        takeover: float | None = None,
        refuse_utf8: bool = False,
    ) -> None:
        super().__init__(
            portal,
            tls_context=tls_context,
            clock=clock,
            timeout=max(timeout, MIN_TIMEOUT),
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
            allow_plaintext_passwords=allow_plaintext_passwords,
            mechanisms=mechanisms,
        )
        self.locks = MaildropLocks(login_delay)
        self.max_errors = max_errors
        self.greeting = greeting.replace("<", "(").replace(">", ")")
        self.implementation = implementation
        self.language = checked_language(language)
        self.directory = directory
        self.takeover = takeover
        self.refuse_utf8 = refuse_utf8
        self.neighbours = Neighbours(self)
        #: Sessions that have a maildrop, by account.
        self.sessions: dict[str, POP3Connection] = {}
        self._waiting: dict[str, list[Deferred[None]]] = {}

    def release_maildrop(self, account: str) -> None:
        """A session has ended; those that wait for its maildrop may try now."""
        self.locks.release(account)
        self.sessions.pop(account, None)
        for waiting in self._waiting.pop(account, ()):
            waiting.callback(None)

    async def wait_for_release(self, account: str, seconds: float) -> None:
        """Wait until a maildrop may be free, so long at most."""
        waiting: Deferred[None] = Deferred()
        self._waiting.setdefault(account, []).append(waiting)

        def give_up() -> None:
            self._stop_waiting(account, waiting)
            waiting.callback(None)

        assert self.clock is not None
        call = self.clock.callLater(seconds, give_up)
        try:
            await waiting
        finally:
            self._stop_waiting(account, waiting)
            if call.active():
                call.cancel()

    def _stop_waiting(self, account: str, waiting: Deferred[None]) -> None:
        others = self._waiting.get(account, [])
        if waiting in others:
            others.remove(waiting)
            if not others:
                del self._waiting[account]
