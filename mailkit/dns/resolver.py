"""Asking name servers, by twisted.names."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.protocol import Factory
from twisted.names import dns
from zope.interface import implementer

from mailkit._typing import override
from mailkit.dns.datagram import ConnectedDatagrams
from mailkit.dns.records import MX, TLSA, Answer, Record, RecordType
from mailkit.errors import DNSFailure, DNSTimeout
from mailkit.interfaces import IDNSResolver
from mailkit.wire.domains import canonical_domain, is_dns_name

#: Seconds for which the absence of a name or a record holds when the answer does not say.
NEGATIVE_TTL = 300
#: Seconds after which the file that names the name servers is looked at again.
RELOAD_INTERVAL = 60.0
#: Records of an answer that are looked at, and aliases that follow each other.
MAX_RECORDS = 500
MAX_ALIASES = 20

Server = tuple[str, int]


class _Datagram(dns.DNSDatagramProtocol):
    # No lines in the log for each question.
    noisy = False
    announced = 0

    @override
    def datagramReceived(self, data: bytes, addr: Server) -> None:  # noqa: N802
        self.announced = _count_answers(data)
        super().datagramReceived(data, addr)

    @override
    def writeMessage(self, message: dns.Message, address: Server) -> None:  # noqa: N802
        # RFC 6840 section 5.7: says that we understand the same bit of the answer.
        message.authenticData = 1
        super().writeMessage(message, address)


class _Stream(dns.DNSProtocol):
    announced = 0

    @override
    def stringReceived(self, data: bytes) -> None:  # noqa: N802
        self.announced = _count_answers(data)
        super().stringReceived(data)

    @override
    def writeMessage(self, message: dns.Message) -> None:  # noqa: N802
        message.authenticData = 1
        super().writeMessage(message)  # type: ignore[no-untyped-call]


def _count_answers(data: bytes) -> int:
    """Records that an answer says it has: Twisted is silent about those that it cannot read."""
    return int.from_bytes(data[6:8], "big")


def _checked(message: dns.Message, protocol: _Datagram | _Stream) -> dns.Message:
    """A message that has just come.

    :raises DNSFailure: something of it is missing; what is left could look like an absence.
    """
    if len(message.answers) < protocol.announced:
        raise DNSFailure("A name server's answer is damaged")
    return message


class _Nobody:
    """What a DNS protocol of Twisted's tells of, besides the answers that somebody waits for."""

    def connectionMade(self, protocol: Any) -> None:
        """A TCP connection is up."""

    def connectionLost(self, protocol: Any) -> None:
        """It is gone."""

    def messageReceived(self, message: Any, protocol: Any, address: Any = None) -> None:  # noqa: N802
        """Nobody has asked for this, or not any more."""


@implementer(IDNSResolver)
class DNSResolver:
    """Asks recursive name servers, by UDP and, when an answer is too long for it, by TCP.

    :param servers: addresses and ports; None for those of ``resolv_conf``.
    :param resolv_conf: the system's list of name servers; without one it is this machine.
    :param attempts: seconds to wait for each server's answer, in the first, second ... round.
    :param timeout: seconds for a question in all.
    :param max_questions: questions on their way at a time; each takes a socket.
    :param max_waiting: questions that may wait for their turn.
    :param validating: the name servers are believed that DNSSEC proves an answer, for they validate
        and the way to them is safe; None for those on this machine only (RFC 4035 section 4.9.3).
    """

    def __init__(
        self,
        servers: Sequence[Server] | None = None,
        *,
        resolv_conf: str = "/etc/resolv.conf",
        attempts: Sequence[float] = (1.5, 3.0),
        timeout: float = 10.0,
        max_questions: int = 50,
        max_waiting: int = 1000,
        validating: bool | None = None,
        reactor: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._servers: Callable[[], Sequence[Server]] = (
            ServerList(resolv_conf) if servers is None else lambda: servers
        )
        self._attempts = tuple(attempts)
        self._timeout = timeout
        self._turns: Any = DeferredSemaphore(max_questions)
        self._max_waiting = max_waiting
        self._validating = validating

    async def lookup(self, name: str, type: RecordType) -> Answer:
        name = canonical_domain(name)
        if not is_dns_name(name):
            return Answer(ttl=NEGATIVE_TTL, exists=False)
        if len(self._turns.waiting) >= self._max_waiting:
            raise DNSFailure("Too many questions wait for the name servers")
        query = dns.Query(name.encode("ascii"), type.value)
        asking = Deferred.fromCoroutine(self._in_turn(query))
        asking.addTimeout(self._timeout, self._reactor, lambda *_: _time_out(name))
        return read_answer(await asking, type)

    async def _in_turn(self, query: dns.Query) -> dns.Message:
        await self._turns.acquire()
        try:
            return await self._ask(query)
        finally:
            self._turns.release()

    async def _ask(self, query: dns.Query) -> dns.Message:
        error: DNSFailure | None = None
        for seconds in self._attempts:
            for server in self._servers():
                try:
                    message = await self._ask_by_udp(server, query, seconds)
                    if message.trunc:
                        message = await self._ask_by_tcp(server, query, seconds)
                except dns.DNSQueryTimeoutError:
                    continue
                except DNSFailure as reason:
                    error = reason
                    continue
                except (CannotListenError, ConnectError, OSError) as reason:
                    error = DNSFailure(f"The name server {server[0]} cannot be asked: {reason}")
                    continue
                if list(message.queries) != [query]:
                    error = DNSFailure("A name server has answered another question")
                elif message.rCode in (dns.OK, dns.ENAME):
                    if not self._is_believed(server):
                        message.authenticData = 0
                    return message
                else:
                    error = DNSFailure(
                        f"A name server cannot tell about {_text(query.name)}:"
                        f" {_RCODES.get(message.rCode, message.rCode)}"
                    )
        raise error or _timed_out(_text(query.name))

    def _is_believed(self, server: Server) -> bool:
        if self._validating is not None:
            return self._validating
        try:
            return ip_address(server[0].partition("%")[0]).is_loopback
        except ValueError:
            return False

    async def _ask_by_udp(self, server: Server, query: dns.Query, seconds: float) -> dns.Message:
        protocol = _Datagram(_Nobody(), self._reactor)  # type: ignore[no-untyped-call]
        for left in reversed(range(10)):
            try:
                # A port that nobody guesses (RFC 5452 section 9.2).
                port = ConnectedDatagrams(protocol, self._reactor, server, dns.randomSource())
                break
            except CannotListenError:
                if not left:
                    raise
        try:
            message: dns.Message = await protocol.query(server, [query], seconds)
            # What does not fit is asked for again.
            return message if message.trunc else _checked(message, protocol)
        finally:
            port.close()

    async def _ask_by_tcp(self, server: Server, query: dns.Query, seconds: float) -> dns.Message:
        new_protocol: Any = _Stream
        factory = Factory.forProtocol(lambda: new_protocol(_Nobody(), self._reactor))
        factory.noisy = False
        endpoint = TCP4ClientEndpoint(self._reactor, *server, timeout=cast(int, seconds))
        protocol = cast(Any, await endpoint.connect(factory))
        try:
            message: dns.Message = await protocol.query([query], seconds)
            if message.trunc:
                # RFC 2181 section 9: such an answer is not used, and there is no other way.
                raise DNSFailure("A name server's answer is not whole")
            return _checked(message, protocol)
        finally:
            protocol.transport.loseConnection()


class ServerList:
    """The name servers in the system's file, read again when it has changed.

    :param path: of a file in the format of resolv.conf(5).
    """

    def __init__(self, path: str, seconds: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._seconds = seconds
        self._servers: Sequence[Server] = ()
        self._changed = -1.0
        self._next_look = float("-inf")

    def __call__(self) -> Sequence[Server]:
        now = self._seconds()
        if now >= self._next_look:
            self._next_look = now + RELOAD_INTERVAL
            self._look()
        return self._servers

    def _look(self) -> None:
        try:
            changed = os.stat(self._path).st_mtime
            if changed == self._changed:
                return
            with open(self._path, encoding="utf-8", errors="replace") as file:
                words = [line.split() for line in file.read(64 * 1024).splitlines()]
            self._changed = changed
        except OSError:
            words = []
        # resolv.conf(5): at most three; without any, this machine.
        found = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"][:3]
        self._servers = [(address, dns.PORT) for address in found] or [("127.0.0.1", dns.PORT)]


_RCODES = {
    dns.EFORMAT: "FORMERR",
    dns.ESERVER: "SERVFAIL",
    dns.ENOTIMP: "NOTIMP",
    dns.EREFUSED: "REFUSED",
}


def _timed_out(name: str) -> DNSTimeout:
    return DNSTimeout(f"No name server has told about {name} in time")


def _time_out(name: str) -> Any:
    raise _timed_out(name)


def _text(name: Any) -> str:
    octets: bytes = name.name
    return octets.decode("ascii", "backslashreplace").removesuffix(".")


def read_answer(message: Any, type: RecordType) -> Answer:
    """What a name server's message (a ``twisted.names.dns.Message``) says of records of a type.

    :raises DNSFailure: all of them are damaged, which is no proof that there is none.
    """
    # RFC 1034 section 3.6.2: aliases on the way stand in the answer too, and hold for it.
    found = [h for h in message.answers[:MAX_RECORDS] if h.type in (type.value, dns.CNAME)]
    asked = canonical_domain(_text(message.queries[0].name))
    canonical = _canonical(asked, found)
    owner = asked if type is RecordType.CNAME else canonical or asked
    # Those of other names are none of our business.
    own = [h for h in found if h.type == type.value and canonical_domain(_text(h.name)) == owner]
    records = [record for h in own if (record := _record(h.payload)) is not None]
    if own and not records:
        raise DNSFailure(f"What a name server tells about {asked} is damaged")
    if records:
        ttl = min(header.ttl for header in found)
    else:
        # RFC 2308 section 5
        zones = [
            min(header.ttl, header.payload.minimum)
            for header in message.authority
            if isinstance(header.payload, dns.Record_SOA)
        ]
        ttl = min(zones, default=NEGATIVE_TTL)
    exists, authenticated = message.rCode != dns.ENAME, bool(message.authenticData)
    return Answer(records, ttl, exists, authenticated, canonical)


def _canonical(first: str, answers: Sequence[Any]) -> str:
    """Where the aliases of an answer lead to from the name that was asked for; empty without any."""
    targets = {
        canonical_domain(_text(header.name)): canonical_domain(_text(header.payload.name))
        for header in answers
        if isinstance(header.payload, dns.Record_CNAME)
    }
    name = first
    for _ in range(MAX_ALIASES):
        if name not in targets:
            break
        name = targets[name]
    return name if name != first else ""


def _record(payload: Any) -> Record | None:
    """The value of a record; None for one that is damaged."""
    if isinstance(payload, (dns.Record_A, dns.Record_AAAA)) and payload.address:
        return str(ip_address(payload.address))
    if isinstance(payload, dns.Record_MX):
        return MX(payload.preference, _text(payload.name))
    if isinstance(payload, dns.Record_TXT):
        return b"".join(payload.data).decode("utf-8", "surrogateescape")
    if isinstance(payload, (dns.Record_PTR, dns.Record_CNAME)):
        return _text(payload.name)
    if isinstance(payload, dns.UnknownRecord) and len(payload.data) >= 3:
        usage, selector, matching_type = payload.data[:3]
        return TLSA(usage, selector, matching_type, payload.data[3:])
    return None
