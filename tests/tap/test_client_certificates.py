"""The table ``[client-certificates]``, and which services log in by certificates."""

from __future__ import annotations

from mailkit.auth.certificates import CertificateNames
from mailkit.interfaces import ICertificateLogin
from mailkit.tap.client_certificates import parse_client_certificates
from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import scopes
from mailkit.tap.service_tls import ServiceTLS
from mailkit.tap.services import PORT_NAMES
from mailkit.tap.tls import self_signed
from tests.tap.test_services import ServiceTestCase

FINGERPRINT = "0123456789abcdef" * 4


class ClientCertificateTests(ServiceTestCase):
    def test_settings(self) -> None:
        self.assertEqual(parse_client_certificates({}), CertificateNames())
        table = {"names": ["common-name"], "fingerprints": {FINGERPRINT: "ann@example.org"}}
        self.assertEqual(
            parse_client_certificates(table),
            CertificateNames(False, True, {FINGERPRINT: "ann@example.org"}),
        )
        names = parse_client_certificates({"names": "email"})
        self.assertEqual((names.emails, names.common_name), (True, False))

    def test_what_is_none(self) -> None:
        for table in (
            *({"name": "email"}, {"names": "serial"}, {"names": 1}, {"fingerprints": []}),
            *({"fingerprints": {"00": "ann"}}, {"fingerprints": {FINGERPRINT: ""}}),
        ):
            self.assertRaises(SettingError, parse_client_certificates, table)

    def test_portals(self) -> None:
        certificate, key = self_signed(self.mktemp())
        for ca in ([], [f"imap:{certificate}"]):
            tls = ServiceTLS(f"{certificate},{key}", scopes(PORT_NAMES), ca)
            service = self.make(tls=tls)
            service.add_imap("tcp:1")
            service.startService()
            self.assertEqual(ICertificateLogin in self.factory(-1).portal.checkers, bool(ca))
            self.stop(service)
