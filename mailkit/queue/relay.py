"""Hands queued messages to other mail servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from typing import Any, BinaryIO, NamedTuple
from weakref import WeakKeyDictionary

from mailkit._typing import override
from mailkit.clocks import steady_seconds
from mailkit.copies import changed
from mailkit.errors import DomainAcceptsNoMail, MailError, MailLoop, NoSuchDomain
from mailkit.expiring import ExpiringMap
from mailkit.model import Envelope
from mailkit.queue.hosts import Host, HostFinder
from mailkit.queue.opening import HostOpener, Sources, reply_of
from mailkit.queue.orders import ORDERS_TIME
from mailkit.queue.pacing import Pace, Paces, PaceSettings
from mailkit.queue.security import (
    Decision,
    DestinationSecurity,
    HostNotSecure,
    RequireTLSMissing,
    Wish,
    wish_of,
)
from mailkit.queue.tls_results import TLSSession, failed_session, finished_session
from mailkit.queue.transport import Handover, Result, Still, Transport
from mailkit.queue.values import Attempt
from mailkit.smtp.client import (
    ClientError,
    ClientSettings,
    ConnectionFacts,
    Credentials,
    RecipientOutcome,
    SendResult,
    Session,
    SessionPool,
    Status,
    TLSFailed,
    TrustUnreadable,
)
from mailkit.wire.domains import canonical_domain

#: Connections that one message may take, where a server takes few recipients on each.
MAX_CONNECTIONS = 10
#: Characters of a reply that are kept.
MAX_TEXT = 2000
#: Seconds in which TLS is not tried again that has failed with all hosts of a domain.
TLS_PAUSE = 30.0
#: How often a message waits for a place where a server takes no more connections just now.
MAX_REFUSALS = 3
#: Domains of which the hosts are remembered, and for how many seconds.
MAX_DOMAINS = 10_000
HOSTS_TIME = 30.0
#: Hosts that one attempt tries to connect to.
MAX_TRIES = 10
#: Domains whose connections are kept for the next message.
MAX_POOLS = 500

#: Seconds for which messages to a host do not follow right behind each other once that has failed.
LOCKSTEP_TIME = 86_400.0
#: Seconds for which a connection is taken to be alive without asking the server.
FRESH_TIME = 2.0
#: What may be under way when none of a message has been sent.
_BEFORE_CONTENT = ("RSET", "MAIL", "RCPT", "DATA")
#: Enhanced status codes of our own judgements (RFC 3463 section 3.2, 3.5; RFC 7505 section 4).
_CODES = {
    NoSuchDomain: "5.1.2",
    DomainAcceptsNoMail: "5.1.10",
    MailLoop: "5.4.6",
    HostNotSecure: "5.7.10",
    RequireTLSMissing: "5.7.30",
}


class _Way(NamedTuple):
    """Where a connection leads to, and why it is as secure as it is."""

    host: Host
    reason: str = ""
    #: Which other addresses and hosts were not taken, and why.
    passed_over: str = ""
    #: The connection, where there was one.
    facts: ConnectionFacts | None = None


@dataclass(eq=False)
class _Link:
    """The connections to one domain."""

    pool: SessionPool
    #: Where sessions lead, and where it led to make one that has failed.
    ways: WeakKeyDictionary[Session | MailError, _Way] = field(default_factory=WeakKeyDictionary)
    #: Why none of its hosts is secure enough, and until when that is not tried again.
    insecure: TLSFailed | None = None
    insecure_until: float = 0.0

    def tell(self, end: Session | MailError, passed_over: Sequence[str]) -> None:
        """Keep which hosts were tried before that was come to."""
        way = self.ways[end]
        told = "; ".join([*passed_over, *filter(None, [way.passed_over])])
        self.ways[end] = way._replace(passed_over=told[:MAX_TEXT])


class _Place:
    """The place of a message among those to its destination; it may be passed on.

    :param session: the connection that the message before has passed on.
    """

    def __init__(self, pace: Pace, link: _Link, session: Session | None) -> None:
        self._pace = pace
        self._link = link
        self._session = session
        self.passed_on = False

    def take_session(self) -> Session | None:
        """The connection that was passed on, the first time."""
        session, self._session = self._session, None
        return session

    def pass_on(self, session: Session) -> None:
        """Let another message follow on the connection, if one waits for it."""
        self.passed_on = self._pace.pass_on(self._link, session)


class RelayTransport(Transport):
    """Finds a server for a domain, and keeps connections to it for further messages.

    :param finder: knows the servers.
    :param settings: how to speak to them. The name to verify is that of each server.
    :param reactor: connects, and tells the time.
    :param security: decides what TLS each host must have; what the settings say when None.
    :param results: is told how each attempt to secure a connection ended.
    :param pace: how much a destination gets.
    :param sources: from where to connect.
    :param logins: gives the login for a server, or None for that of the settings.
    :param route: what the records call this way out.
    """

    leaves = True

    def __init__(
        self,
        finder: HostFinder,
        settings: ClientSettings,
        reactor: Any,
        security: DestinationSecurity | None = None,
        results: Callable[[TLSSession], None] | None = None,
        *,
        pace: PaceSettings | None = None,
        sources: Sources | None = None,
        logins: Callable[[Host], Credentials | None] | None = None,
        route: str = "",
    ) -> None:
        self._results = results
        self._route = route
        self._logins = logins
        self._finder = finder
        self._security = security or DestinationSecurity()
        pace = pace or PaceSettings()
        # On each connection one may be under way and one behind it, while the outcome of another one is
        # being put down.
        self.max_parallel = pace.max_connections * (3 if pace.pipelined_messages else 1)
        self._pipelined = pace.pipelined_messages
        #: Hosts that do not bear it.
        self._lockstep: ExpiringMap[str, bool] = ExpiringMap(MAX_DOMAINS, reactor.seconds)
        self._paces = Paces(pace, reactor)
        self._opener = HostOpener(reactor, sources or Sources(), self._paces)
        #: The hosts of domains, for a short time.
        self._hosts: ExpiringMap[str, tuple[str, ...]] = ExpiringMap(MAX_DOMAINS, reactor.seconds)
        self._settings = settings
        self._reactor = reactor
        # Of durations.
        self._seconds = steady_seconds(reactor)
        self._links: dict[tuple[str, Wish], _Link] = {}

    @override
    async def send(
        self, domain: str, envelope: Envelope, content: BinaryIO, still: Still | None = None
    ) -> Result:
        began = self._seconds()
        try:
            pace = await self._pace(domain)
        except MailError as error:
            failed = _failure(error, self._attempt(began, None, None))
            return Result([failed] * len(envelope.recipients), unreachable=True, contact=False)
        wish = wish_of(envelope, content)
        link = self._link(domain, wish)
        for _ in range(MAX_REFUSALS):
            asked = self._seconds()
            ticket, session = await pace.enter_or_follow(link)
            waited = self._seconds() - asked
            place = _Place(pace, link, session)
            trouble: bool | None = None
            alone = pace.under_way == 1
            try:
                if still is not None and waited >= ORDERS_TIME and not await still():
                    await _give_back(place.take_session(), link)
                    return Result([])
                trouble = True
                result = await self._send(link, wish, place, envelope, content)
                trouble = any(_asks_for_less(each) for each in result.recipients)
            finally:
                pace.leave(ticket, trouble, place.passed_on)
            if alone or not result.unreachable or not result.recipients[0].attempt.code:
                return result
            # It takes no more connections than those that are at work.
        result.unreachable = False
        return result

    async def _pace(self, domain: str) -> Pace:
        """:raises MailError: the domain has no servers."""
        names = self._hosts.get(domain)
        if names is None:
            hosts = await self._finder.find(domain)
            names = tuple(sorted({f"{host.name}:{host.port}" for host in hosts}))
            self._hosts.set(domain, names, HOSTS_TIME)
        return self._paces.find(names)

    async def _send(
        self, link: _Link, wish: Wish, place: _Place, envelope: Envelope, content: BinaryIO
    ) -> Result:
        began = self._seconds()
        handovers: dict[int, Handover] = {}
        pending = list(range(len(envelope.recipients)))
        for _ in range(MAX_CONNECTIONS):
            passed = place.take_session()
            try:
                session = passed or await link.pool.take()
            except MailError as error:
                attempt = self._attempt(began, link.ways.get(error), None)
                failed = _failure(error, attempt)
                first = len(pending) == len(envelope.recipients)
                handovers.update(dict.fromkeys(pending, failed))
                unreachable = first and _concerns_all(error, wish)
                return self._result(envelope, handovers, unreachable, contact=not first)
            part = envelope
            if len(pending) < len(envelope.recipients):
                part = changed(envelope, recipients=[envelope.recipients[i] for i in pending])
            content.seek(0)
            reused = session.used
            result = await self._send_over(session, link, place, part, content)
            attempt = self._attempt(began, link.ways.get(session), result.facts)
            for index, outcome in zip(pending, result.outcomes, strict=True):
                handovers[index] = _handover(outcome, attempt, result)
            left = [
                index
                for index, outcome in zip(pending, result.outcomes, strict=True)
                if not outcome.attempted
                or (reused and _was_not_there(session, outcome))
                or (passed is not None and _came_too_early(outcome))
            ]
            if not left:
                break
            if passed is not None:
                self._note_lockstep(link, session, result.outcomes)
            # A connection may have ended while nobody used it.
            if len(left) == len(pending) and not (reused and session.closed):
                break
            pending = left
        return self._result(envelope, handovers)

    async def _send_over(
        self,
        session: Session,
        link: _Link,
        place: _Place,
        envelope: Envelope,
        content: BinaryIO,
    ) -> SendResult:
        """Send over a connection, and leave it to the message behind or to the pool."""
        follow = None
        if self._pipelined and not place.passed_on and not self._needs_lockstep(link, session):
            follow = partial(place.pass_on, session)
        result = await session.send(envelope, content, follow)
        if follow is None or not place.passed_on:
            link.pool.give_back(session)
        elif session.closed:
            self._note_lockstep(link, session, result.outcomes)
        return result

    def _needs_lockstep(self, link: _Link, session: Session) -> bool:
        """Messages may not follow right behind each other on a connection."""
        # Hardly any host is of that kind, and mostly none is known.
        return bool(self._lockstep and self._lockstep.get(_name(link, session)))

    def _note_lockstep(
        self, link: _Link, session: Session, outcomes: Sequence[RecipientOutcome]
    ) -> None:
        """It ended badly where one message followed another.

        If the server did not say why, that was it.
        """
        if any(not outcome.accepted and outcome.code != 421 for outcome in outcomes):
            self._lockstep.set(_name(link, session), True, LOCKSTEP_TIME)

    @staticmethod
    def _result(
        envelope: Envelope,
        handovers: dict[int, Handover],
        unreachable: bool = False,
        contact: bool = True,
    ) -> Result:
        whole = [handovers[i] for i in range(len(envelope.recipients))]
        return Result(whole, unreachable, contact)

    def _link(self, domain: str, wish: Wish) -> _Link:
        key = self._finder.key(domain), wish
        link = self._links.get(key)
        if link is None:
            if len(self._links) >= MAX_POOLS:
                self._links = {k: each for k, each in self._links.items() if each.pool.idle}
            connect = partial(self._connect, domain, key)
            link = self._links[key] = _Link(
                SessionPool(connect, self._reactor, fresh_time=FRESH_TIME)
            )
        return link

    async def _connect(self, domain: str, key: tuple[str, Wish]) -> Session:
        """A session with the first server that can be used.

        :raises MailError: the domain has no servers.
        :raises ClientError: none of them can be used.
        """
        link = self._links[key]
        if link.insecure is not None and self._seconds() < link.insecure_until:
            raise link.insecure.with_traceback(None)
        hosts = await self._finder.find(domain)
        failure: MailError | None = None
        #: What the hosts have come to so far.
        tried: list[tuple[MailError, str]] = []
        groups = groupby(hosts, key=lambda host: (host.name, host.port))
        for servers in islice((list(same) for _, same in groups), MAX_TRIES):
            began = self._seconds()
            try:
                session = await self._connect_to(servers, link, key[1])
            except MailError as error:
                took = self._seconds() - began
                tried.append((error, _describe(link.ways[error], error, took)))
                if isinstance(error, MailLoop):
                    # RFC 5321 section 5.1: nor to those that the domain prefers less.
                    failure = failure or error
                    break
                # A server that refuses for good does not speak for the others.
                if failure is None or not isinstance(error, HostNotSecure):
                    failure = error
            else:
                link.tell(session, [text for _, text in tried])
                return session
        assert failure is not None
        link.tell(failure, [text for error, text in tried if error is not failure])
        if isinstance(failure, TLSFailed):
            link.insecure, link.insecure_until = failure, self._seconds() + TLS_PAUSE
        raise failure

    async def _connect_to(self, servers: Sequence[Host], link: _Link, wish: Wish) -> Session:
        """
        :param servers: the addresses of one server.
        :raises MailError: it cannot be used.
        """
        host = servers[0]
        way = _Way(host)
        decision: Decision | None = None
        passed_over: list[str] = []
        try:
            decision = await self._security.decide(host, self._settings.tls, wish)
            way = _Way(host, decision.reason)
            settings = replace(self._settings, tls=decision.policy)
            login = None if self._logins is None else self._logins(host)
            if login is not None:
                settings = replace(settings, credentials=login)
            session, address = await self._opener.open(servers, settings, passed_over)
        except TLSFailed as error:
            failure: MailError = error
            # A fault of our own says nothing of the server: nobody is told, and it may be mended.
            ours = isinstance(error, TrustUnreadable)
            if not ours:
                self._note(failed_session(host, decision, error), wish)
            if wish is Wish.REQUIRED and not ours and not error.untried:
                # RFC 8689 section 4.2.1: the sender is told, whatever becomes of that server later.
                failure = HostNotSecure(f"{wish.value}: {error.text}")
            link.ways[failure] = way._replace(passed_over="; ".join(passed_over))
            raise failure from None
        except MailError as error:
            link.ways[error] = way._replace(passed_over="; ".join(passed_over))
            raise
        host = host._replace(address=address)
        self._note(finished_session(host, decision, session.facts), wish)
        way = link.ways[session] = _Way(host, way.reason, "; ".join(passed_over), session.facts)
        refusal: MailError
        if canonical_domain(session.facts.extensions.hostname) in self._finder.own_names:
            # DNS leads here under another name.
            refusal = MailLoop("The mail of that domain would come back to this server")
        elif wish is Wish.REQUIRED and not session.facts.extensions.require_tls:
            # RFC 8689 section 4.2.1: another host may have it.
            refusal = RequireTLSMissing()
        else:
            return session
        link.ways[refusal] = way
        await session.quit()
        raise refusal

    def _note(self, session: TLSSession | None, wish: Wish) -> None:
        # RFC 8460 section 3: reports are not reported. They want no TLS, as other such mail.
        if self._results is not None and session is not None and wish is not Wish.OPTIONAL:
            self._results(session)

    def _attempt(self, began: float, way: _Way | None, facts: ConnectionFacts | None) -> Attempt:
        seconds = self._seconds() - began
        host = way.host if way is not None else None
        tls, security = "", way.reason if way is not None else ""
        if facts is None and way is not None:
            facts = way.facts
        if facts is not None and facts.tls is not None:
            verified = "verified" if facts.tls.verified else "not verified"
            tls = f"{facts.tls.version} {facts.tls.cipher} {verified}"
            if facts.tls.problem:
                security += f"; {facts.tls.problem}"
        elif facts is not None and facts.tls_failure:
            security += f"; {facts.tls_failure}"
        address = facts.peer if facts is not None else str(host or "")
        return Attempt(
            int(self._reactor.seconds() - seconds),
            seconds,
            host.name if host is not None else "",
            address,
            tls,
            security[:MAX_TEXT],
            passed_over=way.passed_over if way is not None else "",
            route=self._route,
        )

    @override
    async def close(self) -> None:
        self._paces.close()
        links, self._links = self._links, {}
        for link in links.values():
            await link.pool.close()


async def _give_back(session: Session | None, link: _Link) -> None:
    """Leave the connection to others that was passed on to a message which does not follow."""
    if session is not None:
        await session.settle()
        link.pool.give_back(session)


def _was_not_there(session: Session, outcome: RecipientOutcome) -> bool:
    """A connection that nobody had used for a while ended before any of the message was sent."""
    return session.closed and not outcome.code and outcome.command in _BEFORE_CONTENT


def _came_too_early(outcome: RecipientOutcome) -> bool:
    """What a server says that has not taken the commands behind another message for what they were.

    It may say the same when it is asked again, or not; none of the content was sent.
    """
    if outcome.command not in _BEFORE_CONTENT:
        return False
    return outcome.code in (421, 503) or (outcome.permanent and outcome.command != "RCPT")


def _name(link: _Link, session: Session) -> str:
    """The host that a connection leads to."""
    way = link.ways.get(session)
    return way.host.name if way is not None else ""


def _describe(way: _Way, error: MailError, seconds: float) -> str:
    """A host that cannot be used, for the record of the attempt at the next one."""
    address = way.facts.peer if way.facts is not None else str(way.host)
    told = f"{way.host.name} {address}, after {seconds:.1f} s: {reply_of(error)}"
    return f"{told} (not {way.passed_over})" if way.passed_over else told


def _asks_for_less(handover: Handover) -> bool:
    """The server, or the way to it, could not take so much."""
    attempt = handover.attempt
    if handover.status is not Status.TEMPORARY:
        return False
    # A mailbox that is full or unknown just now says nothing of the others (RFC 3463 section 3.2, 3.3).
    return attempt.command != "RCPT" or attempt.code == 421 or attempt.enhanced[2:3] not in "12"


def _handover(outcome: RecipientOutcome, attempt: Attempt, result: SendResult) -> Handover:
    attempt = attempt._replace(
        code=outcome.code,
        enhanced=outcome.enhanced,
        text=outcome.text[:MAX_TEXT],
        command=outcome.command,
    )
    keeps_time = result.facts.extensions.deliver_by is not None
    return Handover(outcome.status, attempt, reports=result.dsn, keeps_time=keeps_time)


def _concerns_all(error: MailError, wish: Wish) -> bool:
    """Whether other messages for the domain would fare no better, whatever they want."""
    return wish is not Wish.REQUIRED and not isinstance(error, TLSFailed)


def _failure(error: MailError, attempt: Attempt) -> Handover:
    """Nobody could be connected to."""
    if isinstance(error, ClientError):
        attempt = attempt._replace(
            code=error.code,
            enhanced=error.enhanced or "4.4.1",
            text=error.text[:MAX_TEXT],
            command=error.command,
        )
        # Another server, or the same one at another time, may take it.
        return Handover(Status.TEMPORARY, attempt)
    enhanced = _CODES.get(type(error), "4.4.3" if error.temporary else "5.4.4")
    status = Status.TEMPORARY if error.temporary else Status.PERMANENT
    command = "" if isinstance(error, HostNotSecure) else "DNS"
    return Handover(status, attempt._replace(enhanced=enhanced, text=error.text, command=command))
