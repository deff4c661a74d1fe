"""A resolver that knows what a test tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailkit.dns.records import MX, Answer, Record, RecordType
from mailkit.errors import DNSFailure
from mailkit.interfaces import IDNSResolver


@implementer(IDNSResolver)
class FakeResolver:
    """Answers from tables: addresses of both families, names by address, exchangers, texts.

    What is in none of them does not exist. With ``slow`` set, answers wait for :meth:`go_on`.
    """

    def __init__(
        self,
        *,
        addresses: Mapping[str, Sequence[str]] | None = None,
        names: Mapping[str, Sequence[str]] | None = None,
        exchangers: Mapping[str, Sequence[tuple[int, str]]] | None = None,
        texts: Mapping[str, Sequence[str]] | None = None,
        ttl: int = 300,
    ) -> None:
        self.records: dict[tuple[str, RecordType], list[Record]] = {}
        self.ttl = ttl
        for name, values in (addresses or {}).items():
            for value in values:
                type = RecordType.AAAA if ":" in value else RecordType.A
                self.add(name, type, value)
        for address, values in (names or {}).items():
            for value in values:
                self.add(ip_address(address).reverse_pointer, RecordType.PTR, value)
        for name, hosts in (exchangers or {}).items():
            for preference, host in hosts:
                self.add(name, RecordType.MX, MX(preference, host))
        for name, values in (texts or {}).items():
            for value in values:
                self.add(name, RecordType.TXT, value)
        #: Errors by name.
        self.trouble: dict[str, DNSFailure] = {}
        #: Names all of whose answers DNSSEC proves, and single answers; where aliases lead to.
        self.secure: set[str] = set()
        self.secure_records: set[tuple[str, RecordType]] = set()
        self.aliases: dict[str, str] = {}
        self.asked: list[tuple[str, RecordType]] = []
        self.slow = False
        self.waiting: list[Deferred[None]] = []

    def add(self, name: str, type: RecordType, record: Record) -> None:
        """One more record."""
        self.records.setdefault((name, type), []).append(record)

    def go_on(self) -> None:
        """Answer what waits."""
        waiting, self.waiting = self.waiting, []
        for gate in waiting:
            if not gate.called:
                gate.callback(None)

    async def lookup(self, name: str, type: RecordType) -> Answer:
        self.asked.append((name, type))
        if self.slow:
            gate: Deferred[None] = Deferred()
            self.waiting.append(gate)
            await gate
        if name in self.trouble:
            raise self.trouble[name]
        records = self.records.get((name, type), [])
        exists = any(known == name for known, _ in self.records)
        proven = name in self.secure or (name, type) in self.secure_records
        alias = "" if type is RecordType.CNAME else self.aliases.get(name, "")
        return Answer(records, self.ttl, exists, proven, alias)
