"""How much a client, a network and a user may do in a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mailkit._typing import override
from mailkit.checks.base import errors_of, excuse, exemption, given_or_default
from mailkit.checks.networks import network_of
from mailkit.checks.windows import Rate, SlidingWindows, parse_rate
from mailkit.hooks import Answers, Defer, MailHook, MailSession, Result
from mailkit.model import Envelope, Recipient

_Key = tuple[str, str]
_PROTOCOLS = frozenset({"smtp", "submission"})


@dataclass
class _Client:
    """What is known of a connection."""

    #: Its address and its network, unless they have no limits.
    places: list[_Key] = field(default_factory=list)
    #: For what it is one of the simultaneous connections.
    held: list[_Key] = field(default_factory=list)
    #: Errors that were counted already.
    errors: int = 0


class Rates(MailHook):
    """Limits what clients do, by address, by network, and by account for users who have logged in.

    Give the same object to all listeners of a process, so that they count together. Rates are
    texts such as ``300/minute`` or ``100/10m``, counted over the time just past; an empty one is no
    limit, and neither is 0. Who has logged in counts for the account, no longer for the address.
    Messages are counted at MAIL. Errors are commands that were refused, unless a check has said no
    more than to come back later.

    Clients slow down with their errors: each one above ``tarpit_after`` in a connection makes the
    reply to the next EHLO, MAIL or RCPT wait longer.

    :param exempt: networks that only the limits of accounts concern, besides this machine.
    :param max_keys: counts that are kept; those not used for longest go first.
    :raises ValueError: a rate is none.
    """

    name = "rates"

    def __init__(
        self,
        *,
        address_connections: str = "300/minute",
        address_messages: str = "3000/hour",
        address_recipients: str = "10000/hour",
        address_errors: str = "200/10m",
        address_simultaneous: int = 50,
        network_connections: str = "1000/minute",
        network_messages: str = "10000/hour",
        network_recipients: str = "30000/hour",
        network_errors: str = "600/10m",
        network_simultaneous: int = 150,
        account_messages: str = "1000/hour",
        account_recipients: str = "5000/hour",
        account_errors: str = "500/hour",
        account_simultaneous: int = 50,
        tarpit_after: int = 5,
        tarpit_delay: float = 1.0,
        tarpit_max: float = 10.0,
        ipv4_bits: int = 24,
        ipv6_bits: int = 64,
        max_keys: int = 50_000,
        exempt: Sequence[str] = (),
        clock: IReactorTime | None = None,
    ) -> None:
        texts = {
            ("address", "connections"): address_connections,
            ("address", "messages"): address_messages,
            ("address", "recipients"): address_recipients,
            ("address", "errors"): address_errors,
            ("network", "connections"): network_connections,
            ("network", "messages"): network_messages,
            ("network", "recipients"): network_recipients,
            ("network", "errors"): network_errors,
            ("account", "messages"): account_messages,
            ("account", "recipients"): account_recipients,
            ("account", "errors"): account_errors,
        }
        self._rates = {key: rate for key, text in texts.items() if (rate := parse_rate(text))}
        self._most = {
            "address": address_simultaneous,
            "network": network_simultaneous,
            "account": account_simultaneous,
        }
        self._tarpit_after = tarpit_after
        self._tarpit_delay = tarpit_delay
        self._tarpit_max = tarpit_max
        self._bits = ipv4_bits, ipv6_bits
        self._is_exempt = exemption(exempt)
        self._clock = given_or_default(clock)
        self._windows = SlidingWindows(max_keys)
        self._simultaneous: Counter[_Key] = Counter()
        self._fact = f"Rates.{id(self)}"

    # Steps.

    @override
    def connect(self, session: MailSession) -> Answers:
        connection = session.connection
        if connection.protocol not in _PROTOCOLS:
            return None
        client = session.facts[self._fact] = _Client()
        if not connection.peer or self._is_exempt(connection.peer):
            return None
        address = network_of(connection.peer, 32, 128)
        network = network_of(connection.peer, *self._bits)
        client.places = places = [("address", address), ("network", network)]
        if (text := self._hold(client, places)) is not None:
            return _close(text)
        wait = max(self._wait(places, "connections"), self._wait(places, "errors"))
        if wait:
            return _close(f"Too many connections or errors, try again in {wait:.0f} seconds")
        self._count(places, "connections")
        return None

    @override
    def auth(self, session: MailSession) -> Answers:
        client: _Client | None = session.facts.get(self._fact)
        if client is None or session.account is None:
            return None
        # Those before the login are nobody's but the address's.
        self._count_errors(client, session, client.places)
        text = self._hold(client, [("account", session.account)])
        return None if text is None else _close(text)

    @override
    def ehlo(self, session: MailSession) -> Result:
        client = self._limited(session)
        if client is None:
            return None
        return self._look_at_errors(client, session) or self._slow_down(client)

    @override
    def mail(self, session: MailSession, envelope: Envelope) -> Result:
        return self._take(session, "messages", 450)

    @override
    def rcpt(self, session: MailSession, envelope: Envelope, recipient: Recipient) -> Result:
        return self._take(session, "recipients", 452)

    @override
    def disconnect(self, session: MailSession) -> None:
        client: _Client | None = session.facts.get(self._fact)
        if client is None:
            return
        if session.errors:
            self._count_errors(client, session, _counted_for(client, session))
        for key in client.held:
            self._simultaneous[key] -= 1
            if not self._simultaneous[key]:
                del self._simultaneous[key]
        client.held = []

    # What the steps do.

    def _hold(self, client: _Client, keys: Sequence[_Key]) -> str | None:
        """Count one of the simultaneous connections; why not, if there are too many."""
        new = [key for key in keys if key not in client.held]
        for key in new:
            if 0 < self._most[key[0]] <= self._simultaneous[key]:
                return f"Too many connections at the same time from your {key[0]}"
        self._simultaneous.update(new)
        client.held += new
        return None

    def _limits(
        self, keys: Sequence[_Key], event: str
    ) -> Iterator[tuple[tuple[str, str, str], Rate]]:
        for kind, name in keys:
            if (rate := self._rates.get((kind, event))) is not None:
                yield (kind, event, name), rate

    def _wait(self, keys: Sequence[_Key], event: str) -> float:
        """Seconds until there may be one more."""
        if not keys:
            return 0.0
        now = self._clock.seconds()
        limits = self._limits(keys, event)
        return max((self._windows.wait(key, rate, now) for key, rate in limits), default=0.0)

    def _count(self, keys: Sequence[_Key], event: str, count: int = 1) -> None:
        if not keys:
            return
        now = self._clock.seconds()
        for key, rate in self._limits(keys, event):
            self._windows.add(key, rate, now, count)

    def _count_errors(self, client: _Client, session: MailSession, keys: Sequence[_Key]) -> None:
        errors = errors_of(session)
        new, client.errors = errors - client.errors, errors
        if new > 0:
            self._count(keys, "errors", new)

    def _limited(self, session: MailSession) -> _Client | None:
        """What is known of a client that has limits, or has done something wrong."""
        client: _Client | None = session.facts.get(self._fact)
        if client is None or not (client.places or session.account or session.errors):
            return None
        return client

    def _look_at_errors(self, client: _Client, session: MailSession) -> Answers:
        keys = _counted_for(client, session)
        self._count_errors(client, session, keys)
        if wait := self._wait(keys, "errors"):
            return _close(f"Too many errors, try again in {wait:.0f} seconds")
        return None

    def _slow_down(self, client: _Client) -> Deferred[None] | None:
        if client.errors <= self._tarpit_after:
            return None
        delay = (client.errors - self._tarpit_after) * self._tarpit_delay
        return deferLater(self._clock, min(delay, self._tarpit_max))

    def _take(self, session: MailSession, event: str, code: int) -> Result:
        client = self._limited(session)
        if client is None:
            return None
        if session.errors:
            return self._take_after_errors(client, session, event, code)
        return self._take_now(client, session, event, code)

    async def _take_after_errors(
        self, client: _Client, session: MailSession, event: str, code: int
    ) -> Answers:
        if (answer := self._look_at_errors(client, session)) is not None:
            return answer
        if (waiting := self._slow_down(client)) is not None:
            await waiting
        return self._take_now(client, session, event, code)

    def _take_now(self, client: _Client, session: MailSession, event: str, code: int) -> Answers:
        keys = _counted_for(client, session)
        if wait := self._wait(keys, event):
            excuse(session)
            return Defer(f"Too many {event}, try again in {wait:.0f} seconds", code, "4.7.1")
        self._count(keys, event)
        return None


def _counted_for(client: _Client, session: MailSession) -> Sequence[_Key]:
    """What the client's deeds are counted for now."""
    return client.places if session.account is None else [("account", session.account)]


def _close(text: str) -> Defer:
    return Defer(text, 421, "4.7.0", close=True)
