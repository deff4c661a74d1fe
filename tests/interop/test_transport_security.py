"""A real server sends to Postfix: by DANE and by MTA-STS, found by DNS; and through one that wants a login."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread
from twisted.names import dns
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.certificates import authority, make_identity
from tests.dns.zones import TLSARecord, Zone, serve_zone
from tests.interop.dovecot import MISSING as NO_DOVECOT
from tests.interop.dovecot import Dovecot
from tests.interop.postfix import MISSING as NO_POSTFIX
from tests.interop.postfix import Postfix
from tests.interop.test_outbound import SendingServer
from tests.interop.unbound import MISSING as NO_UNBOUND
from tests.interop.unbound import Unbound
from tests.support import HOST, ServerProcess

reactor: Any = _reactor
NAME = "mx.remote.test"
USER = "us@relay.test"


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


class CertifiedPostfix(SendingServer):
    """A Postfix whose certificate servers of ours trust, and is for one name."""

    name = NAME

    def start_postfix(self, settings: dict[str, str]) -> None:
        identity = make_identity([self.name], authority())
        chain, key, trusted = (self.directory / each for each in ("chain.pem", "key.pem", "ca.pem"))
        chain.write_bytes(identity.pem + authority().pem)
        key.write_bytes(identity.key_pem)
        trusted.write_bytes(authority().pem)
        # What the system trusts, as OpenSSL finds it.
        self.patch(os, "environ", {**os.environ, "SSL_CERT_FILE": str(trusted)})
        self.postfix = Postfix(
            {
                "smtpd_tls_security_level": "may",
                "smtpd_tls_cert_file": str(chain),
                "smtpd_tls_key_file": str(key),
                "smtpd_tls_loglevel": "1",
                "transport_maps": "static:discard:",
                **settings,
            }
        )
        self.addCleanup(self.postfix.stop)
        self.postfix.start()


class PolicyResource(Resource):
    """The policies of domains, as their web servers give them."""

    isLeaf = True  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def render_GET(self, request: Any) -> bytes:  # noqa: N802
        host = request.getRequestHostname().decode()
        self.asked.append(f"{host}{request.uri.decode()}")
        request.setHeader("Content-Type", "text/plain")
        name = host.replace("mta-sts.", "mx.")
        return f"version: STSv1\nmode: enforce\nmx: {name}\nmax_age: 86400\n".encode()


@pytest.mark.interop
class STSTests(CertifiedPostfix):
    """Policies that say ``enforce`` (RFC 8461): fetched by HTTPS, from where DNS says."""

    skip = NO_POSTFIX or None
    timeout = 600
    domains = ("remote.test", "bad.test")

    def setUp(self) -> None:
        super().setUp()
        self.start_postfix({"relay_domains": " ".join(self.domains)})
        self.policies = PolicyResource()
        # RFC 8461 section 3.3 leaves no choice of the port, but loopback has many addresses.
        web = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
        identity = make_identity([f"mta-sts.{domain}" for domain in self.domains], authority())
        site = Site(self.policies)
        site.timeOut = None
        port = reactor.listenSSL(443, site, identity.options(), interface=web)
        self.addCleanup(port.stopListening)
        zones = []
        for domain in map(str.encode, self.domains):
            zones.append(
                Zone(
                    domain,
                    {
                        domain: [dns.Record_MX(10, b"mx." + domain)],
                        b"mx." + domain: [dns.Record_A(HOST)],
                        b"mta-sts." + domain: [dns.Record_A(web)],
                        b"_mta-sts." + domain: [dns.Record_TXT(b"v=STSv1; id=1;")],
                    },
                )
            )
        place, number = serve_zone(self, *zones)
        self.settings = {"nameservers": [f"{place}:{number}"], "port": self.postfix.port}

    def test_enforced(self) -> Any:
        return deferToThread(self.run_enforced)

    def run_enforced(self) -> None:
        server = self.start("mx", **self.settings)
        self.submit("eve@remote.test")
        self.wait_for(lambda: self.queue("list") == "The queue is empty.\n")
        shown = self.queue("show", "1")
        self.assertIn("(mta-sts enforce, policy 1)", shown)
        self.assertIn(" verified", shown)
        self.assertEqual(self.postfix.log.count("status=sent"), 1)
        # The certificate is for another name than the policy and DNS say.
        self.submit("eve@bad.test")
        self.wait_for(lambda: "deferred" in self.queue("list"))
        self.assertIn("mx.bad.test", self.queue("show", "2"))
        self.assertIn("mta-sts", self.queue("show", "2"))
        self.assertEqual(self.postfix.log.count("status=sent"), 1)
        path = "/.well-known/mta-sts.txt"
        self.assertEqual(
            self.policies.asked, [f"mta-sts.{domain}{path}" for domain in self.domains]
        )
        server.stop()
        self.assertNotIn("Traceback", server.log)


@pytest.mark.interop
class SmartHostTests(CertifiedPostfix):
    """All mail goes to a server that takes it under TLS from who logs in; Dovecot knows the passwords."""

    skip = NO_POSTFIX or NO_DOVECOT or None
    timeout = 600
    name = "localhost"

    def setUp(self) -> None:
        super().setUp()
        self.dovecot = Dovecot(USER, mechanisms="plain scram-sha-256")
        self.addCleanup(self.dovecot.stop)
        self.dovecot.start()
        self.start_postfix(
            {
                "mynetworks": "192.0.2.0/24",
                "smtpd_tls_auth_only": "yes",
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": self.dovecot.auth_socket,
                "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
            }
        )

    def write_login(self, name: str, password: str) -> str:
        path = self.directory / name
        path.write_text(f"{USER}\n{password}\n")
        path.chmod(0o600)
        return str(path)

    def test_login(self) -> Any:
        return deferToThread(self.run_login)

    def run_login(self) -> None:
        place = f"localhost:{self.postfix.port}"
        route = (
            f'domains = ["bad.test"]\nto = "smtp:{place}"\ntls = "verified"\n'
            f'login = "{self.write_login("wrong", "forgotten")}"'
        )
        server = self.start(
            place,
            f'relay-login = "{self.write_login("right", "x")}"',
            f"[[queue.routes]]\n{route}",
            tls="verified",
        )
        self.submit("eve@remote.test")
        # What the other server thinks of our password is no reason to give a message back.
        self.submit("eve@bad.test")
        self.wait_for(lambda: "deferred" in self.queue("list"))
        self.wait_for(lambda: "eve@remote.test" not in self.queue("list"))
        self.assertIn("535 5.7.8", self.queue("show", "2"))
        self.assertIn("sasl_method=SCRAM-SHA-256, sasl_username=us@relay.test", self.postfix.log)
        shown = self.queue("show", "1")
        self.assertIn(f"localhost {HOST}:{self.postfix.port}", shown)
        self.assertIn(" verified", shown)
        self.assertEqual(self.postfix.log.count("status=sent"), 1)
        server.stop()
        self.assertNotIn("forgotten", server.log)
        self.assertNotIn("Traceback", server.log)
