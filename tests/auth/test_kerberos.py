"""Tickets of Kerberos: whose they are, and who takes them. The real ones are in tests/interop."""

from __future__ import annotations

import sys
import threading
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit import kerberos
from mailkit.auth.kerberos import KerberosAcceptor, KerberosSettings
from mailkit.client.kerberos import get_ticket
from mailkit.errors import TemporaryFailure
from mailkit.wire.gssapi import SecurityContext
from tests.sasl.toy_kerberos import REALMS, ToyContext


class SettingsTests(SynchronousTestCase):
    def test_whose_a_principal_is(self) -> None:
        settings = KerberosSettings("keytab", {**REALMS, "AD.EXAMPLE.NET": "example.com"})
        for principal, login in (
            ("ann@EXAMPLE.ORG", "ann@example.org"),
            ("Ann@AD.EXAMPLE.NET", "Ann@example.com"),
            ("ann@example.org", None),
            ("ann@OTHER.EXAMPLE.ORG", None),
            ("ann/admin@EXAMPLE.ORG", None),
            ("ann\\@EXAMPLE.ORG", None),
            ("ann\\@x@EXAMPLE.ORG", None),
            ("@EXAMPLE.ORG", None),
            ("ann@", None),
            ("WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS", None),
            ("", None),
        ):
            self.assertEqual(settings.login_of(principal), login, principal)


class AcceptorTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.failure: Exception | None = None
        self.threads: set[str] = set()
        self.acceptor = KerberosAcceptor(
            KerberosSettings("keytab", REALMS), new_context=self.make_context
        )
        self.addCleanup(self.acceptor.close)

    def make_context(self, service: str, keytab: str) -> SecurityContext:
        self.threads.add(threading.current_thread().name)
        if self.failure is not None:
            raise self.failure
        self.assertIn(service, ("imap", "pop", "smtp"))
        self.assertEqual(keytab, "keytab")
        return ToyContext()

    async def test_tickets_are_taken_in_threads(self) -> None:
        accepted = await self.acceptor.accept("imap", None, b"ticket ann@EXAMPLE.ORG")
        assert accepted is not None
        self.assertEqual(accepted.token, b"proof")
        self.assertEqual(accepted.context.principal, "ann@EXAMPLE.ORG")
        self.assertEqual(self.threads, {"mailkit-kerberos"})
        self.assertIsNone(await self.acceptor.accept("imap", None, b"nonsense"))

    async def test_a_keytab_without_the_key_is_nobodys_fault(self) -> None:
        self.failure = kerberos.KerberosError("no key")
        with self.assertRaises(TemporaryFailure):
            await self.acceptor.accept("imap", None, b"ticket ann@EXAMPLE.ORG")

    def test_there_must_be_a_key(self) -> None:
        self.failure = kerberos.KerberosError("no such file")
        error = self.assertRaises(ValueError, self.acceptor.check)
        self.assertIn("keytab has no key for imap, pop or smtp: no such file", str(error))
        self.failure = None
        self.acceptor.check()
        self.assertTrue(self.acceptor.serves("pop3"))
        self.assertFalse(self.acceptor.serves("ftp"))

    async def test_a_client_gets_its_ticket_in_a_thread(self) -> None:
        asked: list[object] = []

        def begin(*arguments: object) -> tuple[SecurityContext, bytes]:
            asked.append((*arguments, threading.current_thread() is threading.main_thread()))
            return ToyContext("ann@EXAMPLE.ORG"), b"first"

        with mock.patch("mailkit.client.kerberos.begin_context", begin):
            self.assertEqual(list(await get_ticket("imap", "mail.example.org")), ["GSSAPI"])
        self.assertEqual(asked, [("imap", "mail.example.org", None, False)])


class MissingLibraryTests(SynchronousTestCase):
    def test_it_names_its_extra(self) -> None:
        with mock.patch.dict(sys.modules, {"gssapi": None}):
            error = self.assertRaises(ImportError, kerberos.load_gssapi)
        self.assertIn("twisted-mailkit[gssapi]", str(error))

    def test_one_without_its_system_library(self) -> None:
        class Broken:
            def find_spec(self, name: str, *_: object) -> None:
                if name == "gssapi":
                    raise OSError("no libgssapi_krb5")

        with (
            mock.patch.dict(sys.modules),
            mock.patch.object(sys, "meta_path", [Broken(), *sys.meta_path]),
        ):
            sys.modules.pop("gssapi", None)
            error = self.assertRaises(ImportError, kerberos.load_gssapi)
        self.assertIn("libgssapi_krb5", str(error))
