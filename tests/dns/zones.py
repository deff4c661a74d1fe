"""Name servers on loopback, by twisted.names."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.error import CannotListenError
from twisted.names import authority, dns, server
from twisted.trial.unittest import TestCase

from mailkit.dns.records import TLSA, RecordType

reactor: Any = _reactor
HOST = "127.0.0.1"


class Zone(authority.FileAuthority):
    """A zone with the records of a test, by name."""

    def __init__(self, name: bytes, records: dict[bytes, list[Any]]) -> None:
        soa = dns.Record_SOA(b"ns." + name, b"host." + name, 1, 60, 60, 60, minimum=77, ttl=99)
        self._content = (name, soa), {**records, name: [soa, *records.get(name, [])]}
        super().__init__("")  # type: ignore[no-untyped-call]

    def loadFile(self, filename: str) -> None:  # noqa: N802
        self.soa, self.records = self._content


class TLSARecord(dns.UnknownRecord):
    """A TLSA record, which Twisted does not know."""

    TYPE = RecordType.TLSA.value

    @classmethod
    def of(cls, record: TLSA) -> TLSARecord:
        usage, selector, matching_type, data = record
        return cls(bytes([usage, selector, matching_type]) + data, ttl=60)


class ValidatingServerFactory(server.DNSServerFactory):
    """A server that says that DNSSEC proves all that it answers."""

    def sendReply(self, protocol: Any, message: Any, address: Any) -> None:  # noqa: N802
        message.authenticData = 1
        super().sendReply(protocol, message, address)


def serve_zone(case: TestCase, *zones: Zone, validated: bool = False) -> tuple[str, int]:
    """Serve zones by UDP and TCP until the test is over; where."""
    kind = ValidatingServerFactory if validated else server.DNSServerFactory
    factory: Any = kind(authorities=list(zones))
    factory.noisy = False
    for _ in range(20):
        tcp = reactor.listenTCP(0, factory, interface=HOST)
        number = tcp.getHost().port
        try:
            udp = reactor.listenUDP(
                number, dns.DNSDatagramProtocol(factory, reactor), interface=HOST
            )
        except CannotListenError:
            tcp.stopListening()
            continue
        case.addCleanup(tcp.stopListening)
        case.addCleanup(udp.stopListening)
        return HOST, number
    raise AssertionError("no free port for both TCP and UDP")
