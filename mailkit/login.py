"""Logins over a connection: SASL exchanges, the guard, the portal, and what the log tells of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from twisted.cred.credentials import ICredentials, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import Interface

from mailkit._typing import override
from mailkit.channels import (
    TLSFacts,
    awaits_certificate,
    channel_binding,
    ends_tls,
    peer_certificate,
    tls_facts,
    tls_of,
)
from mailkit.compression import CompressingConnection
from mailkit.coroutines import run
from mailkit.errors import (
    AuthenticationFailed,
    AuthorizationFailed,
    MailError,
    PasswordExpired,
    TokenOfAnother,
)
from mailkit.guard import LoginGuard, TooManyLogins
from mailkit.identity import LoginAttempt, LoginOutcome
from mailkit.interfaces import IActingPortal, IRecallingPortal
from mailkit.login_log import PASSWORD, LoginFacts, LoginLog, account_of, reason_of
from mailkit.model import ConnectionInfo
from mailkit.sasl import Mechanism, choose_mechanisms
from mailkit.sasl.bearer import BearerToken
from mailkit.sasl.plain import with_password
from mailkit.wire.sasl import (
    ExchangeCancelled,
    Lookup,
    SASLContext,
    SASLError,
    SASLServer,
    Step,
    Success,
    decode_base64,
)

#: Logins of a factory that are judged to the end at the same time though their clients have gone; more
#: have failed.
MAX_ABANDONED = 16
#: Seconds for which they are; who is not judged then has failed.
ABANDONED_SECONDS = 60.0

_log = Logger()
_NOT_ENDED = "a login whose client has gone did not end well"

_REFUSED = (LoginFailed, AuthenticationFailed, AuthorizationFailed)


class _Right(NamedTuple):
    """What the portal says to a login that is right."""

    avatar: Any
    logout: Callable[[], object]
    #: Who has proved what, and as whom that one acts; empty for nobody else.
    username: str
    acting_for: str


class LoginFactory(Factory):
    """What a connection must know of its server so that its client can log in."""

    #: Failed logins before the connection is closed.
    max_failed_logins = 5
    #: Source of time.
    clock: IReactorTime

    def __init__(self, portal: Portal | None, mechanisms: Iterable[Mechanism] | None) -> None:
        self.portal = portal
        self.mechanisms = choose_mechanisms(mechanisms)
        #: In a user name, what stands between an account and the administrator whose password follows:
        #: ``*``; empty for no such form.
        self.master_separator = ""
        self._own_guard = LoginGuard()
        #: Logins that are judged though their clients have gone.
        self.abandoned: set[Deferred[Any]] = set()
        self._stopped = False
        self.login_log = LoginLog()
        # What connections without TLS are offered, with passwords and without, by whom, and what
        # those of them say who can use SCRAM.
        self._offered: dict[bool, Sequence[str]] = {}
        self._offered_by: list[Any] = []
        self._scram_checkers: list[Any] = []
        self._scram_mechanisms: list[Any] = []

    @property
    def mechanisms(self) -> Sequence[type[SASLServer]]:
        """SASL mechanisms that clients may be offered, in this order."""
        return self._mechanisms

    @mechanisms.setter
    def mechanisms(self, mechanisms: Sequence[type[SASLServer]]) -> None:
        self._mechanisms = mechanisms
        #: The same by their names.
        self.mechanisms_of: dict[str, list[type[SASLServer]]] = {}
        for mechanism in mechanisms:
            self.mechanisms_of.setdefault(mechanism.name, []).append(mechanism)

    @property
    def guard(self) -> LoginGuard:
        """Slows down whoever guesses passwords: the portal's guard where it has one."""
        return getattr(self.portal, "guard", None) or self._own_guard

    @override
    def startFactory(self) -> None:
        self._stopped = False

    @override
    def stopFactory(self) -> None:
        self._stopped = True
        self.end_abandoned()

    def end_abandoned(self) -> None:
        """Judge no login to the end whose client has gone: it has failed.

        For whoever stops a server, once its last connection is gone.
        """
        for judging in list(self.abandoned):
            judging.cancel()

    def offered_without_tls(
        self, passwords: bool, choose: Callable[[], Sequence[str]]
    ) -> Sequence[str]:
        """Names of the mechanisms that a connection without TLS is offered, chosen once for all.

        :param passwords: they may be sent as they are.
        """
        checkers = [] if self.portal is None else list(self.portal.checkers.values())
        if checkers != self._offered_by:
            self._offered_by, self._offered = checkers, {}
            self._scram_checkers = [each for each in checkers if hasattr(each, "scram_mechanisms")]
        # Who can use SCRAM changes while a server runs.
        scram = [checker.scram_mechanisms for checker in self._scram_checkers]
        if scram != self._scram_mechanisms:
            self._scram_mechanisms, self._offered = scram, {}
        names = self._offered.get(passwords)
        if names is None:
            names = self._offered[passwords] = choose()
        return names


class LoginConnection(CompressingConnection):
    """A connection whose client can log in."""

    __slots__ = ("_failed_logins", "_logout")

    factory: LoginFactory
    #: Name of the protocol in :class:`~mailkit.model.ConnectionInfo`.
    protocol_name = ""

    def __init__(self) -> None:
        CompressingConnection.__init__(self)
        self._failed_logins = 0
        self._logout: Callable[[], object] | None = None

    @abstractmethod
    def may_send_plaintext_passwords(self) -> bool:
        """The client may send a password as it is."""

    @abstractmethod
    def info(self) -> ConnectionInfo:
        """Where the connection comes from, as it stands now."""

    @property
    @abstractmethod
    def clock(self) -> IReactorTime:
        """The factory's source of time."""

    # Mechanisms.

    def mechanisms(self) -> Sequence[str]:
        """Names of the mechanisms that the client is offered now, in the factory's order."""
        if self.encrypted:
            return self.choose_mechanisms()
        passwords = self.may_send_plaintext_passwords()
        return self.factory.offered_without_tls(passwords, self.choose_mechanisms)

    def choose_mechanisms(self) -> Sequence[str]:
        """The same, whatever other connections have been offered."""
        context = self._context()
        return tuple(
            mechanism.name
            for mechanism in self.factory.mechanisms
            if self._find_checker(mechanism) is not None and self._may_use(mechanism, context)
        )

    def find_mechanism(self, name: str) -> type[SASLServer] | None:
        """A mechanism that is offered here, though perhaps not without TLS; None for no such."""
        for mechanism in self.factory.mechanisms_of.get(name, ()):
            if self._find_checker(mechanism) is not None:
                if not self.encrypted or mechanism.is_available(self._context()):
                    return mechanism
                return None
        return None

    def may_use(self, mechanism: type[SASLServer]) -> bool:
        """The client may use the mechanism on the connection as it is."""
        return self._may_use(mechanism, self._context())

    def _may_use(self, mechanism: type[SASLServer], context: SASLContext) -> bool:
        if mechanism.plaintext and not self.may_send_plaintext_passwords():
            return False
        return mechanism.is_available(context)

    def _find_checker(self, mechanism: type[SASLServer]) -> Any:
        """The portal's checker of the credentials that come out of a mechanism, if it has one."""
        portal = self.factory.portal
        if portal is not None:
            for interface, checker in portal.checkers.items():
                if mechanism.credentials.isOrExtends(interface):
                    return checker if mechanism.is_known_to(checker) else None
        return None

    def _context(self, offered: Sequence[str] = ()) -> SASLContext:
        info, transport = self.info(), self.transport
        return SASLContext(
            protocol=self.protocol_name,
            local=info.local,
            peer=info.peer,
            tls=info.tls,
            binds_channel=ends_tls(transport),
            offered=offered,
            channel_binding=lambda kind: channel_binding(transport, kind),
            peer_certificate=lambda: peer_certificate(transport),
        )

    def begin_exchange(
        self, mechanism: type[SASLServer], interface: type[Interface]
    ) -> SASLExchange:
        """Begin a login by a mechanism, for an avatar of some interface."""
        return SASLExchange(self, mechanism(self._context(self.mechanisms())), interface)

    def peer_certificate(self) -> bytes | None:
        """The certificate that the client has shown and TLS has verified, as DER; None without."""
        return peer_certificate(self.transport)

    def tls_facts(self) -> TLSFacts:
        """What there is to tell of TLS that ends here."""
        return tls_facts(self.transport) if self.encrypted else TLSFacts()

    def may_offer_more(self) -> bool:
        """What the client is offered may change with the certificate that it is about to show."""
        return awaits_certificate(self.transport)

    async def look_up(self, mechanism: type[SASLServer], lookup: Lookup) -> Any:
        """What the user base knows.

        :raises MailError: it cannot tell.
        """
        checker = self._find_checker(mechanism)
        if checker is None:
            raise AuthenticationFailed
        return await lookup.ask(checker)

    # The portal.

    async def login(
        self, success: Success, interface: type[Interface], mechanism: str = PASSWORD
    ) -> Any:
        """Ask the portal for an avatar, once the guard lets that happen.

        :param mechanism: what the log calls the way to log in.
        :raises AuthenticationFailed: unknown user or wrong password; perhaps ``PasswordExpired``.
        :raises AuthorizationFailed: the client asked to act as somebody else, or may not come in.
        :raises TooManyLogins: others have failed, and this one was not judged.

        After a failure, :attr:`logins_exhausted` tells whether to close the connection.
        """
        avatar = self.login_at_once(success, interface, mechanism)
        if avatar is None:
            avatar = await self.judge_login(success, interface, mechanism)
        return avatar

    def login_at_once(
        self, success: Success, interface: type[Interface], mechanism: str = PASSWORD
    ) -> Any:
        """The first half of :meth:`login`: for a client that has lately logged in just so.

        :returns: the avatar; None where the login has to be judged, as it is if it is wrong.
        """
        factory = self.factory
        portal, clock = factory.portal, factory.clock
        guard: LoginGuard = getattr(portal, "guard", None) or factory.guard
        credentials, username, authorization_id, _ = success
        if authorization_id and authorization_id != username:
            return None
        if factory.master_separator and factory.master_separator in username:
            return None
        info = self.info()
        known = guard.recognize(username, info.peer, clock)
        if known is None or not IRecallingPortal.providedBy(portal):
            return None
        try:
            recalled = portal.recall(credentials, info, interface)
        except MailError:
            # Whoever judges the login will meet it again.
            return None
        if recalled is None:
            return None
        _, avatar, logout = recalled
        guard.welcome(known)
        self._take_avatar(logout)
        facts = self._facts(mechanism, info)
        factory.login_log.tell(clock, facts, "succeeded", account_of(avatar) or username)
        return avatar

    async def judge_login(
        self, success: Success, interface: type[Interface], mechanism: str = PASSWORD
    ) -> Any:
        """The second half of :meth:`login`: for everybody else."""
        success = self._split_master(success)
        guard, clock, info = self.factory.guard, self.clock, self.info()
        attempt = LoginAttempt(success.username, info.peer, _secret_of(success.credentials))
        try:
            await guard.admit(attempt, clock)
        except TooManyLogins:
            self.factory.login_log.tell(
                clock, self._facts(mechanism, info), "blocked", reason="too-many-failures"
            )
            raise
        judging: Deferred[_Right | None] = run(self._ask_for_login(success, interface))
        outcome, settled = LoginOutcome.NONE, False
        try:
            avatar, logout, username, acting_for = await _unless_cancelled(judging)
            outcome = LoginOutcome.SUCCESS
            self._come_in(logout)
        except _REFUSED as error:
            outcome = LoginOutcome.FAILURE
            self._failed_logins += 1
            account = getattr(error, "account", "")
            self.factory.login_log.tell(
                clock, self._facts(mechanism, info), "failed", account, reason_of(error)
            )
            if isinstance(error, (AuthorizationFailed, PasswordExpired)):
                raise
            raise AuthenticationFailed from error
        except MailError:
            self.factory.login_log.tell(
                clock, self._facts(mechanism, info), "blocked", reason="temporary-failure"
            )
            raise
        except CancelledError:
            if outcome is LoginOutcome.NONE:
                # Or who hangs up before the answer could guess without being counted.
                settled = True
                self._judge_without_client(attempt, judging, self._facts(mechanism, info))
            raise
        finally:
            if not settled:
                await guard.settle(attempt, outcome, clock, answered=not self._lost)
        account = account_of(avatar) or username
        if acting_for:
            account, acting_for = username, account_of(avatar) or acting_for
        self.factory.login_log.tell(
            clock, self._facts(mechanism, info), "succeeded", account, acting_for=acting_for
        )
        return avatar

    async def _ask_for_login(self, success: Success, interface: type[Interface]) -> _Right:
        """What the portal says to a login, whatever becomes of the connection.

        :raises LoginFailed: it is wrong.
        :raises MailError: it is wrong, or the portal cannot tell.
        """
        credentials, username, identity, _ = success
        acting_for = "" if identity == username else identity
        try:
            avatar, logout = await self._ask_portal(credentials, interface, acting_for)
        except TokenOfAnother as error:
            # RFC 7628 section 3.1: the name is an authorization identity.
            acting_for, username = username, error.owner
            given: Any = credentials
            token: Any = BearerToken("", given.token, given.host)
            avatar, logout = await self._ask_portal(token, interface, acting_for)
        return _Right(avatar, logout, username, acting_for)

    def _judge_without_client(
        self, attempt: LoginAttempt, judging: Deferred[_Right | None], facts: LoginFacts
    ) -> None:
        """The client has gone: a wrong login has failed all the same, and a right one has not."""
        factory, clock = self.factory, self.clock
        abandoned = factory.abandoned

        async def end() -> None:
            outcome = LoginOutcome.NONE
            abandoned.add(judging)
            if factory._stopped or len(abandoned) > MAX_ABANDONED:
                judging.cancel()
            else:
                judging.addTimeout(ABANDONED_SECONDS, clock)
            try:
                right = await judging
                if right is None:
                    # It was not the client that ended it.
                    raise CancelledError
                outcome = LoginOutcome.SUCCESS
                right.logout()
            except (*_REFUSED, CancelledError, TimeoutError) as error:
                outcome = LoginOutcome.FAILURE
                account = getattr(error, "account", "")
                factory.login_log.tell(clock, facts, "failed", account, "hung-up")
            except MailError:
                factory.login_log.tell(clock, facts, "blocked", reason="temporary-failure")
            finally:
                abandoned.discard(judging)
                await factory.guard.settle(attempt, outcome, clock, answered=False)

        run(end()).addErrback(lambda failure: _log.failure(_NOT_ENDED, failure))

    def _split_master(self, success: Success) -> Success:
        """A login by ``account*administrator`` as what it means."""
        separator = self.factory.master_separator
        if not separator:
            return success
        credentials = success.credentials
        account, found, administrator = success.username.rpartition(separator)
        if not (found and account and administrator and isinstance(credentials, UsernamePassword)):
            return success
        # Clients with Cyrus SASL, such as mbsync, give the user name as authorization identity, too.
        if success.authorization_id not in ("", success.username, account):
            return success
        return with_password(administrator, credentials.password, account)

    def _facts(self, mechanism: str, info: ConnectionInfo) -> LoginFacts:
        protocol, peer, peer_port, _, _, encrypted = info
        if not encrypted:
            return LoginFacts(peer, peer_port, protocol, mechanism, "", "")
        tls, cipher = tls_of(self.transport)
        return LoginFacts(peer, peer_port, protocol, mechanism, tls or "proxy", cipher)

    async def _ask_portal(
        self, credentials: ICredentials, interface: type[Interface], acting_for: str = ""
    ) -> tuple[Any, Callable[[], object]]:
        """An avatar, and what ends the login."""
        portal: Any = self.factory.portal
        if portal is None:
            raise UnauthorizedLogin
        info = self.info()
        if not acting_for:
            _, avatar, logout = await portal.login(credentials, info, interface)
        elif IActingPortal.providedBy(portal):
            _, avatar, logout = await portal.login_as(credentials, acting_for, info, interface)
        else:
            # The identity is never silently dropped.
            raise AuthorizationFailed
        return avatar, logout

    def _come_in(self, logout: Callable[[], object]) -> None:
        if self._lost:
            logout()
            raise CancelledError
        self._take_avatar(logout)

    def _take_avatar(self, logout: Callable[[], object]) -> None:
        if self._logout is not None:
            self._end_login()
        self._logout = logout

    def _end_login(self) -> None:
        logout, self._logout = self._logout, None
        if logout is not None:
            logout()

    @property
    def logins_exhausted(self) -> bool:
        """Too many logins have failed on this connection; it ought to be closed."""
        return self._failed_logins >= self.factory.max_failed_logins


def _unless_cancelled(judging: Deferred[_Right | None]) -> Deferred[_Right]:
    """What it comes to; who gives up waiting for that does not end it."""
    waiting: Deferred[_Right] = Deferred()

    def tell(result: Any) -> Any:
        if waiting.called:
            return result
        waiting.callback(result)
        return None

    judging.addBoth(tell)
    return waiting


def _secret_of(credentials: object) -> bytes:
    """What was tried, so that the guard knows when it is tried again; empty where nobody knows."""
    secret = getattr(credentials, "password", None) or getattr(credentials, "token", None)
    if isinstance(secret, str):
        return secret.encode("utf-8", "surrogatepass")
    return secret if isinstance(secret, bytes) else b""


class SASLExchange:
    """A login by a SASL mechanism, whatever the protocol that carries it.

    The protocol hands each line of the client's to :meth:`take`, and sends what that returns.
    """

    def __init__(
        self, connection: LoginConnection, mechanism: SASLServer, interface: type[Interface]
    ) -> None:
        #: The mechanism's.
        self.name = mechanism.name
        #: Who the client says it is; there with the avatar.
        self.username = ""
        #: What the portal has given; there once :meth:`take` returns None.
        self.avatar: Any = None
        self._connection = connection
        self._mechanism = mechanism
        self._interface = interface
        # What the client is told when it has acknowledged the last challenge.
        self._failure: Exception | None = None
        self._ends = False

    async def take(self, line: bytes | None) -> bytes | None:
        """Take a line of the client's as it stands, in base64.

        :param line: None at the start, where the command has brought no initial response.
        :returns: the next challenge, before base64; None when the login has succeeded.
        :raises ExchangeCancelled: the client gives up.
        :raises ResponseError: the line is not base64, or too long.
        :raises SASLError: it does not follow the mechanism.
        :raises MailError: the login has failed, as :meth:`LoginConnection.login` has it.
        """
        if self._failure is not None:
            raise self._failure
        try:
            if line == b"*":
                raise ExchangeCancelled("Authentication was cancelled")
            response = None if line is None else decode_base64(line)
            if self._ends:
                if response:
                    raise SASLError("The exchange was over")
                return None
        except SASLError:
            self.drop()
            raise
        return await self._go_on(self._mechanism.step(response))

    async def _go_on(self, step: Step) -> bytes | None:
        while isinstance(step, Lookup):
            found = await self._connection.look_up(type(self._mechanism), step)
            step = self._mechanism.resume(found)
        if isinstance(step, bytes):
            return step
        try:
            self.avatar = await self._connection.login(step, self._interface, self.name)
        except (AuthenticationFailed, AuthorizationFailed) as error:
            challenge = self._mechanism.explain(error)
            if challenge is None:
                raise
            self._failure = error
            return challenge
        self.username = step.username
        # RFC 4422 section 3.6: none of our protocols has a field for it in the outcome.
        self._ends = step.data is not None
        return step.data

    def drop(self) -> None:
        """The exchange ends here, though the login may have succeeded."""
        if self.avatar is not None:
            self.avatar = None
            self._connection._end_login()
