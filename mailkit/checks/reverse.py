"""The names of clients, by DNS in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from mailkit._typing import override
from mailkit.checks.base import Action, Finding, FindingCheck, check_actions, given_or_default
from mailkit.checks.networks import parse_address
from mailkit.coroutines import Shared
from mailkit.dns.lookups import find_names
from mailkit.dns.records import RecordType
from mailkit.errors import DNSFailure
from mailkit.hooks import Answers, MailSession
from mailkit.interfaces import IDNSResolver
from mailkit.model import Envelope

_Result = Literal["confirmed", "missing", "unconfirmed", "unknown"]


class ReverseDNS(FindingCheck):
    """Finds the name of a client: one that its address has, and that has its address.

    The name is told to later hooks as the session's ``client_name``. The questions are asked while
    the client is greeted.

    :param missing: the address has no name.
    :param unconfirmed: none of its names has the address.
    :param unknown: DNS did not answer in time.
    :param timeout: seconds for all questions.
    :param max_names: names of an address that are looked at.
    :param points: for the action ``score``.
    """

    name = "reverse-dns"

    def __init__(
        self,
        resolver: IDNSResolver,
        *,
        missing: Action = "none",
        unconfirmed: Action = "none",
        unknown: Action = "none",
        timeout: float = 10.0,
        max_names: int = 10,
        points: float = 2.0,
        exempt: Sequence[str] = (),
        spare_postmaster: bool = True,
        clock: IReactorTime | None = None,
    ) -> None:
        super().__init__(exempt=exempt, spare_postmaster=spare_postmaster)
        check_actions(missing=missing, unconfirmed=unconfirmed, unknown=unknown)
        self._resolver = resolver
        self._missing = missing
        self._unconfirmed = unconfirmed
        self._unknown = unknown
        self._timeout = timeout
        self._max_names = max_names
        self._points = points
        self._clock = given_or_default(clock)

    @override
    def connect(self, session: MailSession) -> Answers:
        if self.concerns(session) and parse_address(session.connection.peer) is not None:
            session.facts[self.key] = Shared(self._look(session))
        return None

    @override
    async def mail(self, session: MailSession, envelope: Envelope) -> Answers:
        looking: Shared[tuple[str, _Result]] | None = session.facts.get(self.key)
        # The client's session is another one after STARTTLS, and a trusted proxy knows better.
        if looking is not None and looking.done and not session.client_name:
            session.client_name, _ = await looking.result()
        return None

    @override
    async def find(self, session: MailSession, envelope: Envelope) -> Finding | None:
        looking: Shared[tuple[str, _Result]] | None = session.facts.get(self.key)
        if looking is None:
            return None
        name, result = await looking.result()
        session.client_name = session.client_name or name
        match result:
            case "missing":
                text, action = "has no name in DNS", self._missing
            case "unconfirmed":
                text, action = "has no name in DNS that leads back to it", self._unconfirmed
            case "unknown":
                text, action = "is not told by DNS just now", self._unknown
            case _:
                return None
        if action == "none":
            return None
        # RFC 7372 section 3.3: reverse DNS validation failed.
        return Finding(f"[{session.connection.peer}] {text}", action, self._points, "7.25")

    async def _look(self, session: MailSession) -> tuple[str, _Result]:
        confirming = Deferred.fromCoroutine(self._confirm(session.connection.peer))
        confirming.addTimeout(self._timeout, self._clock)
        try:
            return await confirming
        except (DNSFailure, TimeoutError):
            return "", "unknown"

    async def _confirm(self, peer: str) -> tuple[str, _Result]:
        wanted = parse_address(peer)
        names = await find_names(self._resolver, str(wanted))
        if not names:
            return "", "missing"
        failure: DNSFailure | None = None
        assert wanted is not None
        # The addresses of the other family tell nothing, nor does trouble with them.
        type = RecordType.A if wanted.version == 4 else RecordType.AAAA
        for name in names[: self._max_names]:
            try:
                answer = await self._resolver.lookup(name=name, type=type)
            except DNSFailure as error:
                failure = error
                continue
            found = (record for record in answer.records if isinstance(record, str))
            if any(parse_address(address) == wanted for address in found):
                return name.lower(), "confirmed"
        if failure is not None:
            raise failure
        return "", "unconfirmed"
