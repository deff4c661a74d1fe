"""The table ``[gssapi]``, and a service that takes tickets."""

from __future__ import annotations

import sys
from types import ModuleType
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailkit import kerberos
from mailkit.auth.kerberos import KerberosAcceptor, KerberosSettings
from mailkit.interfaces import IKerberosLogin
from mailkit.tap import gssapi_settings
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.gssapi_settings import parse_gssapi
from mailkit.tap.settings import LoginSettings
from tests.sasl.toy_kerberos import ToyAcceptor
from tests.tap.test_services import ServiceTestCase


class SettingTests(SynchronousTestCase):
    def setUp(self) -> None:
        patcher = mock.patch.dict(sys.modules, {"gssapi": ModuleType("gssapi")})
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_realms(self) -> None:
        self.assertIsNone(parse_gssapi({}))
        for realms, parsed in (
            ("EXAMPLE.ORG", {"EXAMPLE.ORG": "example.org"}),
            (["A.EXAMPLE", "B.EXAMPLE"], {"A.EXAMPLE": "a.example", "B.EXAMPLE": "b.example"}),
            ({"AD.EXAMPLE.ORG": "Example.org"}, {"AD.EXAMPLE.ORG": "example.org"}),
        ):
            self.assertEqual(
                parse_gssapi({"keytab": "/k", "realms": realms}), KerberosSettings("/k", parsed)
            )

    def test_what_is_wrong(self) -> None:
        for table, part in (
            ({"keytab": "/k"}, "realms must"),
            ({"realms": "A"}, "keytab must"),
            ({"keytab": 1, "realms": "A"}, "keytab must"),
            ({"keytab": "/k", "realms": []}, "realms must"),
            ({"keytab": "/k", "realms": 1}, "realms must"),
            ({"keytab": "/k", "realms": {"A": ""}}, "'A' must have"),
            ({"keytab": "/k", "realms": {"A": 1}}, "'A' must have"),
            ({"keytab": "/k", "realms": "A", "realm": "B"}, "there is no 'realm'"),
        ):
            error = self.assertRaises(SettingError, parse_gssapi, table)
            self.assertIn(part, str(error))

    def test_a_library_that_is_missing_names_its_extra(self) -> None:
        with mock.patch.dict(sys.modules, {"gssapi": None}):
            error = self.assertRaises(SettingError, parse_gssapi, {"keytab": "k", "realms": "A"})
        self.assertIn("twisted-mailkit[gssapi]", str(error))


class ServiceTests(ServiceTestCase):
    def test_a_service_takes_tickets_while_it_runs(self) -> None:
        acceptor = ToyAcceptor()
        self.patch(gssapi_settings, "KerberosAcceptor", lambda *_: acceptor)
        service = self.make(logins=LoginSettings(kerberos=KerberosSettings("keytab", {"A": "a"})))
        service.add_imap("tcp:1")
        service.startService()
        self.assertIn(IKerberosLogin, self.factory(-1).portal.checkers)
        self.stop(service)
        self.assertEqual(acceptor.asked, ["imap", "pop", "smtp"])

    def test_it_is_offered_where_there_is_a_key(self) -> None:
        acceptor = ToyAcceptor()
        acceptor.without = {"pop"}
        self.patch(gssapi_settings, "KerberosAcceptor", lambda *_: acceptor)
        service = self.make(logins=LoginSettings(kerberos=KerberosSettings("keytab", {"A": "a"})))
        service.add_imap("tcp:1")
        service.add_pop3("tcp:2")
        service.add_submission("tcp:3")
        service.startService()
        for number, offered in ((-3, True), (-2, False), (-1, True)):
            checkers = self.factory(number).portal.checkers
            self.assertEqual(IKerberosLogin in checkers, offered)
        self.stop(service)

    def test_it_does_not_start_without_keys(self) -> None:
        def refuse(service: str, keytab: str) -> None:
            raise kerberos.KerberosError("no such file")

        self.patch(
            gssapi_settings,
            "KerberosAcceptor",
            lambda settings, _: KerberosAcceptor(settings, new_context=refuse),  # type: ignore[arg-type]
        )
        service = self.make(logins=LoginSettings(kerberos=KerberosSettings("/nowhere", {"A": "a"})))
        service.add_imap("tcp:1")
        error = self.assertRaises(StartError, service.startService)
        self.assertIn("gssapi /nowhere: /nowhere has no key", str(error))
