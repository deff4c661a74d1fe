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
from tests.support import HOST

NAME = "mx.remote.test"


@pytest.mark.interop
class DANETests(SendingServer):
    skip = NO_POSTFIX or None
    timeout = 120

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
