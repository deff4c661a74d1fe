"""A real server sends to Postfix by DANE: the records found by DNS, the certificate verified."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.threads import deferToThread
from twisted.names import dns

from tests.certificates import authority, make_identity
from tests.dns.zones import TLSARecord, Zone, serve_zone
from tests.interop.postfix import MISSING as NO_POSTFIX
from tests.interop.postfix import Postfix
from tests.interop.test_outbound import SendingServer
from tests.interop.unbound import MISSING as NO_UNBOUND
from tests.interop.unbound import Unbound
from tests.support import HOST, ServerProcess

NAME = "mx.remote.test"


@pytest.mark.interop
class DANETests(SendingServer):
    skip = NO_POSTFIX or None
    timeout = 600

    def setUp(self) -> None:
        super().setUp()
        self.identity = make_identity([NAME], authority())
        chain = self.directory / "chain.pem"
        chain.write_bytes(self.identity.pem + authority().pem)
        key = self.directory / "key.pem"
        key.write_bytes(self.identity.key_pem)
        self.postfix = Postfix(
            {
                "relay_domains": "remote.test bad.test",
                "relay_transport": "discard:",
                "smtpd_tls_security_level": "may",
                "smtpd_tls_cert_file": str(chain),
                "smtpd_tls_key_file": str(key),
                "smtpd_tls_loglevel": "1",
            }
        ).start()
        self.addCleanup(self.postfix.stop)
        good = [self.identity.association(3, 1, 1), authority().association(2, 0, 1)]
        bad = [make_identity([NAME]).association(3, 1, 1)]
        zones = []
        for domain, records in (("remote.test", good), ("bad.test", bad)):
            host = f"mx.{domain}".encode()
            base = f"_{self.postfix.port}._tcp.mx.{domain}".encode()
            zones.append(
                Zone(
                    domain.encode(),
                    {
                        domain.encode(): [dns.Record_MX(10, host)],
                        host: [dns.Record_A(HOST)],
                        base: [TLSARecord.of(record) for record in records],
                    },
                )
            )
        place, port = serve_zone(self, *zones, validated=True)
        self.settings = {"nameservers": [f"{place}:{port}"], "port": self.postfix.port}

    def test_good_and_bad_records(self) -> Any:
        return deferToThread(self.run_good_and_bad_records)

    def run_good_and_bad_records(self) -> None:
        server = self.start("mx", **self.settings)
        self.submit("eve@remote.test")
        self.wait_for(lambda: "status=sent" in self.postfix.log)
        self.wait_for(lambda: self.queue("list") == "The queue is empty.\n")
        shown = self.queue("show", "1")
        self.assertIn(f"dane: 2 TLSA at _{self.postfix.port}._tcp.{NAME}", shown)
        self.assertIn(" verified", shown)
        self.assertIn("TLS connection established", self.postfix.log)
        self.submit("eve@bad.test")
        self.wait_for(lambda: "deferred" in self.queue("list"))
        self.assertIn("none that its TLSA records want", self.queue("show", "2"))
        self.assertEqual(self.postfix.log.count("status=sent"), 1)
        server.stop()
        self.assertNotIn("Traceback", server.log)


@pytest.mark.interop
class DNSSECTests(SendingServer):
    """Unbound proves the records, or finds that they are forged."""

    skip = NO_POSTFIX or NO_UNBOUND or None
    timeout = 600

    def setUp(self) -> None:
        super().setUp()
        self.identity = make_identity([NAME])
        files = {"chain": self.identity.pem, "key": self.identity.key_pem}
        for name, octets in files.items():
            (self.directory / name).write_bytes(octets)
        self.postfix = Postfix(
            {
                "relay_domains": "remote.test forged.test unsigned.test nothing.test",
                "relay_transport": "discard:",
                "smtpd_tls_security_level": "may",
                "smtpd_tls_cert_file": str(self.directory / "chain"),
                "smtpd_tls_key_file": str(self.directory / "key"),
            }
        ).start()
        self.addCleanup(self.postfix.stop)
        self.unbound = Unbound(self.directory)
        self.addCleanup(self.unbound.stop)

    def start_for(self, *domains: str) -> ServerProcess:
        """A server that asks an Unbound that has started."""
        self.unbound.start()
        place = f"{HOST}:{self.unbound.port}"
        server = self.start("mx", nameservers=[place], port=self.postfix.port)
        for domain in domains:
            self.submit(f"eve@{domain}")
        return server

    def records(self, domain: str, *, digest: str | None = None) -> list[str]:
        """The mail exchanger of a domain, and the TLSA record of its certificate."""
        digest = digest or self.identity.association(3, 1, 1).data.hex()
        return [
            f"{domain}. IN MX 10 mx.{domain}.",
            f"mx.{domain}. IN A {HOST}",
            f"_{self.postfix.port}._tcp.mx.{domain}. IN TLSA 3 1 1 {digest}",
        ]

    def test_proved_and_not(self) -> Any:
        return deferToThread(self.run_proved_and_not)

    def run_proved_and_not(self) -> None:
        self.unbound.add_zone("remote.test", self.records("remote.test"))
        # What nobody has signed is not believed, whatever it says (RFC 7672 section 2.2).
        wrong = "00" * 32
        unsigned = self.records("unsigned.test", digest=wrong)
        self.unbound.add_zone("unsigned.test", unsigned, signed=False)
        # That there is no TLSA record is proved, too.
        self.unbound.add_zone("nothing.test", self.records("nothing.test")[:2])
        server = self.start_for("remote.test", "unsigned.test", "nothing.test")
        self.wait_for(lambda: self.queue("list") == "The queue is empty.\n")
        self.assertEqual(self.postfix.log.count("status=sent"), 3)
        proved, *others = (self.queue("show", str(number)) for number in (1, 2, 3))
        self.assertIn(f"dane: 1 TLSA at _{self.postfix.port}._tcp.{NAME}", proved)
        self.assertIn(" verified", proved)
        for shown in others:
            self.assertNotIn("dane", shown)
        server.stop()
        self.assertNotIn("Traceback", server.log)

    def test_forged(self) -> Any:
        return deferToThread(self.run_forged)

    def run_forged(self) -> None:
        """Records that were changed on the way stop the delivery (RFC 7672 section 2.1.2)."""
        records = self.records("forged.test")
        zone = self.unbound.add_zone("forged.test", records)
        digest = self.identity.association(3, 1, 1).data.hex()
        lines = zone.read_text().splitlines(keepends=True)
        forged = [line.replace(digest, "11" * 32) for line in lines]
        self.assertNotEqual(forged, lines)
        zone.write_text("".join(forged))
        server = self.start_for("forged.test")
        self.wait_for(lambda: "deferred" in self.queue("list"))
        self.assertIn("_tcp.mx.forged.test: SERVFAIL", self.queue("show", "1"))
        self.assertNotIn("status=sent", self.postfix.log)
        server.stop()
        self.assertNotIn("Traceback", server.log)
