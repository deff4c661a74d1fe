"""Greylisting (RFC 6647): whoever has not been seen before must try again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailkit._typing import override
from mailkit.checks.base import ClientCheck, excuse, given_or_default
from mailkit.checks.networks import network_of
from mailkit.coroutines import run
from mailkit.errors import MailError
from mailkit.expiring import ExpiringMap
from mailkit.hooks import Answers, Defer, MailSession
from mailkit.interfaces import IKeyValueStore
from mailkit.model import Envelope, Recipient
from mailkit.wire.domains import canonical_domain

#: What values are about: attempts of a client, and networks whose clients try again.
ATTEMPT = "greylist"
NETWORK = "greylist-network"

# Seconds after which it is noted anew that something is still in use.
_REFRESH = 86_400.0


class Greylisting(ClientCheck):
    """Defers the first attempt of a network to send from one address to another.

    Clients of a network that has tried again are not deferred any more. What was seen is kept in
    the store, so that a restart forgets nothing, as digests: the addresses cannot be read from it.

    :param values: keeps what was seen; a mail store that can.
    :param delay: seconds before another attempt counts.
    :param retry_window: seconds after which an attempt is forgotten that was not repeated.
    :param lifetime: seconds without mail after which a client is unknown again.
    :param allow_after: attempts that a network must have repeated so that its clients are known.
    :param ipv4_bits: size of a network of IPv4 addresses.
    :param ipv6_bits: the same for IPv6.
    :param exempt_names: domains whose hosts are not deferred, by their confirmed names; for those
        who send from many networks. Needs :class:`~mailkit.checks.reverse.ReverseDNS` before it.
    """

    name = "greylisting"
    log = Logger()

    def __init__(
        self,
        values: IKeyValueStore,
        *,
        delay: float = 60.0,
        retry_window: float = 86_400.0,
        lifetime: float = 3_024_000.0,
        allow_after: int = 1,
        ipv4_bits: int = 24,
        ipv6_bits: int = 64,
        exempt_names: Sequence[str] = (),
        exempt: Sequence[str] = (),
        spare_postmaster: bool = True,
        clock: IReactorTime | None = None,
    ) -> None:
        super().__init__(exempt=exempt, spare_postmaster=spare_postmaster)
        if not 0 <= delay < retry_window:
            raise ValueError("the delay must be shorter than the retry_window")
        self._values = values
        self._delay = delay
        self._retry_window = retry_window
        self._lifetime = lifetime
        self._allow_after = allow_after
        self._bits = ipv4_bits, ipv6_bits
        self._endings = tuple("." + canonical_domain(name).strip(".") for name in exempt_names)
        self._clock = given_or_default(clock)

    @override
    async def judge(
        self, session: MailSession, envelope: Envelope, recipient: Recipient
    ) -> Answers:
        if self._endings and f".{session.client_name}".lower().endswith(self._endings):
            return None
        try:
            left = await self._seconds_left(session, envelope, recipient)
        except MailError as error:
            # Better a message that was not deferred than one that is not taken.
            self.log.error("greylisting does without its store: {error}", error=error)
            return None
        if left <= 0:
            return None
        excuse(session)
        return Defer(f"Greylisted, please try again in {left:.0f} seconds", 450, "4.7.1")

    async def _seconds_left(
        self, session: MailSession, envelope: Envelope, recipient: Recipient
    ) -> float:
        """Seconds until the attempt will be good; 0 when it is."""
        now = int(self._clock.seconds())
        network = network_of(session.connection.peer, *self._bits)
        count, noted = _numbers(await self._values.get_value(kind=NETWORK, key=network))
        if count >= self._allow_after:
            if now - noted >= _REFRESH:
                self._note(NETWORK, network, f"{count} {now}", self._lifetime)
            return 0
        key = attempt_key(network, envelope, recipient)
        value = await self._values.get_value(kind=ATTEMPT, key=key)
        first, passed = _numbers(value)
        if value is None or (first > now and not passed):
            # Never seen, or by a clock that was ahead, for which nobody waits.
            self._note(ATTEMPT, key, f"{now} 0", self._retry_window)
            return max(self._delay, 1)
        if not passed:
            if now - first < self._delay:
                return self._delay - (now - first)
            self._note(NETWORK, network, f"{count + 1} {now}", self._lifetime)
        if now - passed >= _REFRESH:
            self._note(ATTEMPT, key, f"{first} {now}", self._lifetime)
        return 0

    def _note(self, kind: str, key: str, value: str, seconds: float) -> None:
        """Keep a value, without letting the client wait for the disk."""
        keeping = run(_keep(self._values, kind, key, value, seconds))
        keeping.addErrback(lambda f: self.log.error("cannot keep: {error}", error=f.value))


async def _keep(values: IKeyValueStore, kind: str, key: str, value: str, seconds: float) -> None:
    await values.set_value(kind=kind, key=key, value=value, seconds=seconds)


def attempt_key(network: str, envelope: Envelope, recipient: Recipient) -> str:
    """Names an attempt, in a length that no client decides about."""
    words = (network, str(envelope.reverse_path).lower(), str(recipient.path).lower())
    octets = "\0".join(words).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(octets, digest_size=16).hexdigest()


def _numbers(value: str | None) -> tuple[int, int]:
    """The two numbers of a value; zeros for none, and for one that is damaged."""
    first, _, second = (value or "").partition(" ")
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 0)


@implementer(IKeyValueStore)
class MemoryValues:
    """Keeps values in memory: for a server whose store cannot.

    :param max_values: values of one kind; those not used for longest go first.
    """

    def __init__(self, *, clock: IReactorTime | None = None, max_values: int = 200_000) -> None:
        self._seconds = given_or_default(clock).seconds
        self._max_values = max_values
        self._kinds: dict[str, ExpiringMap[str, str]] = {}

    async def get_value(self, kind: str, key: str) -> str | None:
        return self._values(kind).get(key)

    async def set_value(self, kind: str, key: str, value: str, seconds: float) -> None:
        self._values(kind).set(key, value, seconds)

    def _values(self, kind: str) -> ExpiringMap[str, Any]:
        if kind not in self._kinds:
            self._kinds[kind] = ExpiringMap(self._max_values, self._seconds)
        return self._kinds[kind]
