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
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from twisted.cred.credentials import Anonymous
from twisted.cred.error import LoginFailed
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from mailkit._typing import override
from mailkit.connection import CommandFactory
from mailkit.coroutines import go_on
from mailkit.errors import AuthenticationFailed, AuthorizationFailed, MailError, NoSuchAccount
from mailkit.interfaces import (
    IDeliveryAbilities,
    IMessageDelivery,
    IRecallingPortal,
    ISenderPolicy,
    IURLResolver,
    IVouchedUser,
)
from mailkit.login import SASLExchange
from mailkit.mime.dates import format_date
from mailkit.mime.headers import MAX_HEADER_OCTETS
from mailkit.model import Ability, ConnectionInfo
from mailkit.smtp import handlers, replies
from mailkit.smtp.extensions.extension import Extension
from mailkit.smtp.extensions.registry import EXTENSIONS, ExtensionSet
from mailkit.smtp.extensions.settings import DEFAULT_SETTINGS, ExtensionSettings
from mailkit.smtp.grammar import LIMITS, Limits, Refused, Reply, parse_command, rendered
from mailkit.smtp.handlers import Command
from mailkit.smtp.hooks import HOOK_SETTINGS, HookSet, HookSettings
from mailkit.smtp.judging import ConnectionHooks
from mailkit.smtp.receiving import ReceivingConnection
from mailkit.smtp.state import AUTHENTICATING, CONTENT, REFUSED
from mailkit.spool import SpoolMemory
from mailkit.wire.buffer import LineTooLong
from mailkit.wire.proxy import ToldClient

BareLineEnds = Literal["refuse", "normalise"]
_ANYBODY = Anonymous()


class _Event(enum.Enum):
    """What next_command finds besides lines."""

    LINE_TOO_LONG = enum.auto()
    END_OF_CONTENT = enum.auto()


# An enumeration's own look-up takes as long as a short function.
_END_OF_CONTENT, _LINE_TOO_LONG = _Event.END_OF_CONTENT, _Event.LINE_TOO_LONG


class VouchedLogin(NamedTuple):
    """A login without a password."""

    account: str
    delivery: IMessageDelivery
    logout: Callable[[], object]


class SMTPProtocol(ReceivingConnection):
    """A client that sends mail to us.

    To teach it more, give the factory a longer list of extensions.
    """

    factory: SMTPFactory
    protocol_name = "smtp"
    #: The verbs that no extension adds.
    commands: Mapping[bytes, Command] = handlers.COMMANDS
    #: Verbs that are known and not served.
    other_verbs: Mapping[bytes, Command] = handlers.OTHER_VERBS
    #: Clients are users who submit mail of their own (RFC 6409).
    is_submission = False
    #: Users may log in, or be vouched for.
    serves_users = True

    def __init__(self) -> None:
        ReceivingConnection.__init__(self)
        #: The AUTH exchange under way.
        self.exchange: SASLExchange | None = None
        # Who promises, and what; asked once.
        self._promised: tuple[object, frozenset[Ability]] = (None, frozenset())
        #: The client's host name, when a trusted client has told it.
        self.client_name = ""
        self._client: ConnectionInfo | None = None
        self._may_tell: bool | None = None

    # What handlers ask for.

    @property
    def client(self) -> ConnectionInfo:
        """Where the connection comes from."""
        if self._client is None:
            self._client = self.info()
        return self._client

    @property
    def takes_logins(self) -> bool:
        """There is a mechanism of which the portal can verify what comes out."""
        # What is offered is one, and mostly known already.
        return self.serves_users and (
            bool(self.mechanisms())
            or any(self.find_mechanism(each.name) is not None for each in self.factory.mechanisms)
        )

    @property
    def takes_vouched_users(self) -> bool:
        """The portal knows what to do with a user for whom a trusted client vouches."""
        portal = self.factory.portal
        return (
            self.serves_users
            and portal is not None
            and IVouchedUser in portal.listCredentialsInterfaces()
        )

    @property
    def abilities(self) -> frozenset[Ability]:
        """What the delivery promises; before there is one, what the realm promises."""
        portal = self.factory.portal
        sources = self.delivery, portal and portal.realm
        if self._promised[0] != sources:
            self._promised = sources, _abilities_of(*sources)
        return self._promised[1]

    @property
    def may_tell_clients(self) -> bool:
        """The client may tell for whom it speaks: the one that it was at first."""
        if self._may_tell is None:
            self._may_tell = self.info().peer in self.factory.extensions.trusted_clients
        return self._may_tell

    async def vouch_for(self, user: IVouchedUser, client: ToldClient) -> VouchedLogin:
        """Log a user in without a password, as somebody who speaks for ``client`` asks for.

        :raises mailkit.smtp.grammar.Refused: the portal does not know the user.
        """
        info = ConnectionInfo(self.protocol_name, *client[:4], self.encrypted)
        try:
            assert self.factory.portal is not None
            credentials: Any = user
            found: Any = await self.factory.portal.login(credentials, info, IMessageDelivery)
        except (LoginFailed, AuthenticationFailed, AuthorizationFailed, NoSuchAccount) as error:
            self.log.info("{peer} vouches for a user who is not here", peer=self.info().peer)
            raise Refused(550, "5.7.8", "No such user here") from error
        _, delivery, logout = found
        if self._lost:
            logout()
            raise CancelledError
        policy = ISenderPolicy(delivery, None)
        account = policy.account if policy is not None else None
        return VouchedLogin(account or user.username, delivery, logout)

    def begin_anew(
        self, client: ToldClient, login: VouchedLogin | None = None
    ) -> Coroutine[Any, Any, None] | None:
        """Begin the session anew, as that of another client, perhaps with a login."""
        hooks, self.hooks = self.hooks, None
        if hooks is not None:
            hooks.disconnect()
        self.forget_client()
        if login is not None:
            self.session.account, self.delivery, self._logout = login
        if not self.speak_for(client):
            self.refuse()
            return None
        return self.greet()

    @override
    def offers(self, name: str) -> bool:
        extension = self.factory.extension_set.by_name.get(name)
        return extension is not None and extension.available(self)

    def extensions(self) -> bytes:
        """The lines of EHLO behind the first: what is true now for this client."""
        return self.factory.extension_set.render_lines(self)

    def check_client(self) -> None:
        """Judge a MAIL before everything else.

        :raises mailkit.smtp.grammar.Refused: this client may not send.
        """

    def recall_anybody(self) -> IMessageDelivery | None:
        """The delivery for everybody; None where the portal has to be asked."""
        portal = self.factory.portal
        if not IRecallingPortal.providedBy(portal):
            return None
        recalled = portal.recall(_ANYBODY, self.client, IMessageDelivery)
        if recalled is None:
            return None
        _, self.delivery, logout = recalled
        self._take_avatar(logout)
        return self.delivery

    async def log_in_anonymously(self) -> IMessageDelivery:
        """The delivery for everybody.

        :raises mailkit.smtp.grammar.Refused: the portal knows none.
        """
        try:
            delivery, logout = await self._ask_portal(Anonymous(), IMessageDelivery)
        except LoginFailed:
            raise Refused(*replies.AUTHENTICATION_REQUIRED) from None
        self._come_in(logout)
        self.delivery = delivery
        return self.delivery

    def forget_client(self) -> None:
        """Forget what the client said before TLS (RFC 3207 section 4.2)."""
        self.drop_content()
        self.session.forget()
        if self.hooks is not None:
            self.hooks.forget_client()
        self.log_out()

    def log_out(self) -> None:
        """Forget a login, and who the client is."""
        self.session.account = None
        self.delivery = self._client = None
        self._end_login()

    def has_input(self) -> bool:
        """The client has sent something that was not read yet."""
        return bool(self.buffer)

    # What CommandConnection asks for.

    @override
    def greet(self) -> Coroutine[Any, Any, None] | None:
        if self.factory.hook_set is not None:
            self.hooks = ConnectionHooks(self.factory.hook_set, self)
            if (asking := self.hooks.greet()) is not None:
                return self._greet_if_welcome(asking)
        self._greet()
        return None

    def _greet(self) -> None:
        self.write(rendered(220, "", f"{self.factory.hostname} {self.greeting_name} ready"))

    async def _greet_if_welcome(self, asking: Coroutine[Any, Any, Refused | None]) -> None:
        refused = await asking
        if refused is None:
            self._greet()
            return
        self.reply(refused.reply)
        # The client says QUIT then.
        self.session.phase = REFUSED
        if refused.close:
            self._end_after(refused.reply)

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
    def next_command(self) -> bytes | _Event | None:
        try:
            if self._content is not None:
                return _END_OF_CONTENT if self._read_content(self._content) else None
            if not self.buffer.data:
                return None
            # lenient: a bare LF ends a command, as people and scripts send it. Content is read by
            # other rules, so nothing can hide there.
            return self.buffer.take_line(self.factory.limits.auth_line)
        except LineTooLong:
            return _LINE_TOO_LONG
        except Exception:
            # Nobody knows what was read: the connection cannot go on.
            self.log.failure("input could not be read", Failure())
            self.give_up("Something went wrong here", "4.3.0")
            return None

    @override
    def run_command(self, command: bytes | _Event) -> Coroutine[Any, Any, None] | None:
        if self._output_paused:
            # Replies that nobody reads must not pile up.
            return self._run_when_read(command)
        verb = b""
        waiting: Coroutine[Any, Any, None] | None
        try:
            if type(command) is not bytes:
                if command is _END_OF_CONTENT:
                    return self._end_of_content()
                raise self._line_too_long()
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
        if session.phase == REFUSED and verb != b"QUIT":
            raise Refused(*session.out_of_order(verb))
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

    def _line_too_long(self) -> Refused:
        if self.session.phase == AUTHENTICATING:
            exchange, self.exchange = self.exchange, None
            if exchange is not None:
                exchange.drop()
            self.session.end()
            # RFC 4954 section 4
            return Refused(500, "5.5.6", "The response is too long, authentication ended")
        return Refused(*replies.LINE_TOO_LONG)


def _abilities_of(*sources: object) -> frozenset[Ability]:
    """What the first promises that promises anything."""
    for source in sources:
        promising: Any = source
        # Of None, which is one of them mostly, zope.interface takes four times as long to say no.
        if promising is not None and IDeliveryAbilities.providedBy(promising):
            return frozenset(promising.abilities)
    return frozenset()


class SMTPFactory(CommandFactory):
    """Takes mail from anybody for whom the portal has a delivery (RFC 5321).

    :param portal: gives an ``IMessageDelivery`` for ``Anonymous()`` and for users.
    :param hostname: our name, fully qualified; the machine's when None.
    :param max_size: octets of a message.
    :param max_recipients: recipients of a message.
    :param max_header: octets of the header of a message.
    :param max_received: Received fields of a message; more mean a loop.
    :param bare_line_ends: what to do with a message that has a CR or LF that stands alone:
        ``refuse`` or ``normalise``. Never does one end the message.
    :param data_timeout: seconds of silence inside a message after which the connection ends.
    :param hooks: objects with steps of :class:`~mailkit.interfaces.IMailHook`, or functions that
        are asked with each message; in the order in which they are asked.
    :param hook_settings: time-outs and the like.
    :param extensions: which extensions are off, and settings of the others.
    :param limits: lengths of commands and addresses.
    :param settings: as of :class:`~mailkit.connection.CommandFactory`.
    :raises ValueError: a setting makes no sense.
    """

    #: Finds what BURL names; submission servers alone have one.
    url_resolver: IURLResolver | None = None
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
    #: Octets of a message in memory while it comes in; None for what the delivery's spools keep.
    message_memory: int | None = None

    def __init__(
        self,
        portal: Portal | None = None,
        *,
        hostname: str | None = None,
        max_size: int = 50 * 1024 * 1024,
        max_recipients: int = 1000,
        max_header: int = MAX_HEADER_OCTETS,
        max_received: int = 100,
        bare_line_ends: BareLineEnds = "refuse",
        data_timeout: float = 180.0,
        hooks: Sequence[object] = (),
        hook_settings: HookSettings = HOOK_SETTINGS,
        extensions: ExtensionSettings = DEFAULT_SETTINGS,
        limits: Limits = LIMITS,
        **settings: Any,
    ) -> None:
        if IMessageDelivery.providedBy(portal):
            raise ValueError(
                "a delivery is no portal: mailkit.delivery.callback.delivery_portal makes one of it"
            )
        super().__init__(portal, **settings)
        if bare_line_ends not in ("refuse", "normalise"):
            raise ValueError("bare_line_ends is 'refuse' or 'normalise'")
        self.hostname = hostname or socket.gethostname()
        self.max_size = max_size
        self.max_recipients = max_recipients
        self.max_header = max_header
        self.max_received = max_received
        self.bare_line_ends = bare_line_ends
        self.data_timeout = data_timeout
        #: None where nobody is to be asked anything.
        self.hook_set: HookSet | None = None
        self.set_hooks(hooks, hook_settings)
        #: Of messages for deliveries that have no spools of their own.
        self.spool_memory = SpoolMemory()
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

    def set_hooks(self, hooks: Sequence[object], settings: HookSettings | None = None) -> None:
        """Ask others from now on; connections that are there keep theirs.

        :raises ValueError: one of them is no hook.
        """
        hook_set = HookSet(hooks, settings or HOOK_SETTINGS, self.clock)
        self.hook_set = hook_set if hook_set.steps else None

    def new_transaction_id(self) -> str:
        """A name that no other transaction has."""
        return f"{self._id_prefix}{next(self._ids):06x}"

    def date(self) -> str:
        """Now, as a Date field has it; in local time (RFC 5321 section 4.4)."""
        now = int(self.clock.seconds())
        if self._date[0] != now:
            self._date = now, format_date(datetime.fromtimestamp(now).astimezone())
        return self._date[1]
