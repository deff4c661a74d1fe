"""The TLS of servers: versions, names, certificates that change, and those of clients."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.tls import CertificateError, ServerTLS, TLSReloader, certificate_names
from tests.certificates import Identity, authority, make_identity


def shake_hands(tls: ServerTLS, context: ssl.SSLContext, hostname: str | None) -> Any:
    """The server's side of a connection to such a client; raises what either side raises."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=hostname)
    server = tls.serverConnectionForTLS(cast(Any, None))
    client_done = server_done = False
    for _ in range(10):
        if not client_done:
            try:
                client.do_handshake()
                client_done = True
            except ssl.SSLWantReadError:
                pass
        if data := outgoing.read():
            server.bio_write(data)
        if not server_done:
            try:
                server.do_handshake()
                server_done = True
            except SSL.WantReadError:
                pass
        try:
            incoming.write(server.bio_read(65536))
        except SSL.WantReadError:
            pass
        if client_done and server_done:
            return server
    raise AssertionError("the handshake does not end")


class TLSFiles(SynchronousTestCase):
    """Certificates in files."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, identity: Identity, name: str = "server") -> tuple[str, str]:
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        certificate.write_bytes(identity.pem)
        key.write_bytes(identity.key_pem)
        return str(certificate), str(key)

    def serve(self, *names: str) -> tuple[str, str]:
        return self.write(make_identity(names, authority()), names[0].replace("*", "any"))

    def authorities(self, *identities: Identity) -> str:
        path = self.directory / "authorities.pem"
        path.write_bytes(b"".join(identity.pem for identity in identities))
        return str(path)

    def client(self, identity: Identity | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=authority().pem.decode())
        if identity is not None:
            context.load_cert_chain(*self.write(identity, "client"))
        return context


class VersionTests(TLSFiles):
    def setUp(self) -> None:
        super().setUp()
        self.tls = ServerTLS([self.serve("mx.example.org")])

    def test_1_3(self) -> None:
        server = shake_hands(self.tls, self.client(), "mx.example.org")
        self.assertEqual(server.get_protocol_version_name(), "TLSv1.3")

    def test_1_2(self) -> None:
        context = self.client()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        server = shake_hands(self.tls, context, "mx.example.org")
        self.assertEqual(server.get_protocol_version_name(), "TLSv1.2")
        self.assertRegex(server.get_cipher_name(), "^ECDHE-ECDSA-.*(GCM|POLY1305)")

    def test_older_versions_are_refused(self) -> None:
        context = self.client()
        # SECLEVEL=0: or the client refuses before it says a word.
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        error = self.assertRaises(SSL.Error, shake_hands, self.tls, context, "mx.example.org")
        self.assertIn("unsupported protocol", str(error))

    def test_weak_ciphers_are_refused(self) -> None:
        for cipher in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"):
            context = self.client()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(f"{cipher}:@SECLEVEL=0")
            error = self.assertRaises(SSL.Error, shake_hands, self.tls, context, "mx.example.org")
            self.assertIn("no shared cipher", str(error))


class NameTests(TLSFiles):
    """SNI."""

    def names_given(self, tls: ServerTLS, hostname: str) -> list[str]:
        context = self.client()
        context.check_hostname = False
        server = shake_hands(tls, context, hostname)
        return certificate_names(server.get_certificate().to_cryptography())

    def test_each_name_gets_its_certificate(self) -> None:
        tls = ServerTLS(
            [
                self.serve("mx.example.org", "imap.example.org"),
                self.serve("mail.example.net"),
                self.serve("*.example.com", "example.com"),
            ]
        )
        first = ["mx.example.org", "imap.example.org"]
        for hostname, wanted in (
            ("mx.example.org", first),
            ("IMAP.example.org", first),
            ("mail.example.net", ["mail.example.net"]),
            ("mail.example.net.", ["mail.example.net"]),
            ("any.example.com", ["*.example.com", "example.com"]),
            ("example.com", ["*.example.com", "example.com"]),
            # RFC 6125 section 6.4.3: the star is one label.
            ("two.labels.example.com", first),
            ("unknown.example", first),
        ):
            self.assertEqual(self.names_given(tls, hostname), wanted, hostname)
        self.assertEqual(tls.names, (*first, "mail.example.net", "*.example.com", "example.com"))

    def test_no_name_gets_the_first(self) -> None:
        tls = ServerTLS([self.serve("mx.example.org"), self.serve("mail.example.net")])
        context = self.client()
        context.check_hostname = False
        server = shake_hands(tls, context, None)
        names = certificate_names(server.get_certificate().to_cryptography())
        self.assertEqual(names, ["mx.example.org"])

    def test_a_name_of_several_certificates_gets_the_first(self) -> None:
        tls = ServerTLS([self.serve("a.example", "b.example"), self.serve("b.example")])
        self.assertEqual(self.names_given(tls, "b.example"), ["a.example", "b.example"])


class ReloadTests(TLSFiles):
    def setUp(self) -> None:
        super().setUp()
        self.files = self.serve("mx.example.org")
        self.tls = ServerTLS([self.files])

    def replace(self, *names: str) -> None:
        """As certbot does it: other files get the names."""
        new = self.write(make_identity(names, authority()), "new")
        for source, target in zip(new, self.files, strict=True):
            os.replace(source, target)

    def test_nothing_has_changed(self) -> None:
        self.assertFalse(self.tls.reload())

    def test_new_connections_get_the_new_certificate(self) -> None:
        old = shake_hands(self.tls, self.client(), "mx.example.org")
        self.replace("mail.example.net")
        self.assertTrue(self.tls.reload())
        self.assertFalse(self.tls.reload())
        shake_hands(self.tls, self.client(), "mail.example.net")
        self.assertEqual(self.tls.names, ("mail.example.net",))
        names = certificate_names(old.get_certificate().to_cryptography())
        self.assertEqual(names, ["mx.example.org"])

    def test_what_is_no_good_does_not_replace_what_is(self) -> None:
        key = Path(self.files[1])
        good = key.read_bytes()
        for octets, wanted in (
            (b"rubbish", "no private key"),
            (make_identity(["a"]).key_pem, "not the one of the certificate"),
            (None, "cannot read"),
        ):
            key.unlink()
            if octets is not None:
                key.write_bytes(octets)
            error = self.assertRaises(CertificateError, self.tls.reload)
            self.assertIn(wanted, str(error))
            # It is told once.
            self.assertFalse(self.tls.reload())
            shake_hands(self.tls, self.client(), "mx.example.org")
            key.write_bytes(good)
            self.assertTrue(self.tls.reload())

    def test_authorities_are_read_again(self) -> None:
        ours = make_identity(["ann"], authority(), usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        path = self.authorities(make_identity())
        tls = ServerTLS([self.files], client_ca=path)
        client = self.client(ours)
        self.assertRaises(SSL.Error, shake_hands, tls, client, "mx.example.org")
        self.authorities(authority())
        self.assertTrue(tls.reload())
        shake_hands(tls, client, "mx.example.org")


class ClientCertificateTests(TLSFiles):
    def setUp(self) -> None:
        super().setUp()
        self.files = [self.serve("mx.example.org"), self.serve("mail.example.net")]
        self.ann = make_identity(["ann"], authority(), usage=ExtendedKeyUsageOID.CLIENT_AUTH)

    def peer(self, identity: Identity | None, hostname: str, **settings: Any) -> Any:
        tls = ServerTLS(self.files, client_ca=self.authorities(authority()), **settings)
        server = shake_hands(tls, self.client(identity), hostname)
        return server.get_peer_certificate()

    def test_none_is_asked_for(self) -> None:
        tls = ServerTLS(self.files)
        server = shake_hands(tls, self.client(self.ann), "mx.example.org")
        self.assertIsNone(server.get_peer_certificate())
        self.assertFalse(tls.asks_for_certificates)

    def test_optional(self) -> None:
        for hostname in ("mx.example.org", "mail.example.net"):
            certificate = self.peer(self.ann, hostname)
            self.assertEqual(certificate.to_cryptography(), self.ann.certificate)
            self.assertIsNone(self.peer(None, hostname))

    def test_required(self) -> None:
        for hostname in ("mx.example.org", "mail.example.net"):
            certificate = self.peer(self.ann, hostname, require_client_certificate=True)
            self.assertEqual(certificate.to_cryptography(), self.ann.certificate)
            error = self.assertRaises(
                SSL.Error, self.peer, None, hostname, require_client_certificate=True
            )
            self.assertIn("peer did not return a certificate", str(error))

    def test_those_of_others_are_refused(self) -> None:
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        strange: Sequence[Identity] = (
            make_identity(["ann"], make_identity(), usage=usage),
            make_identity(["ann"], usage=usage),
            make_identity(["ann"], authority(), usage=usage, days=-1),
            make_identity(["ann"], authority(), usage=ExtendedKeyUsageOID.SERVER_AUTH),
        )
        for identity in strange:
            for hostname in ("mx.example.org", "mail.example.net"):
                error = self.assertRaises(SSL.Error, self.peer, identity, hostname)
                self.assertIn("certificate verify failed", str(error))

    def test_settings_that_do_not_fit(self) -> None:
        self.assertRaises(ValueError, ServerTLS, [])
        self.assertRaises(ValueError, ServerTLS, self.files, require_client_certificate=True)
        path = self.write(self.ann)[1]
        error = self.assertRaises(CertificateError, ServerTLS, self.files, client_ca=path)
        self.assertIn("holds no certificate", str(error))


class _ThreadedClock(Clock):
    """Time by hand, threads in earnest."""

    def getThreadPool(self) -> ThreadPool:  # noqa: N802
        return cast(ThreadPool, cast(Any, reactor).getThreadPool())

    def callFromThread(self, *arguments: Any) -> None:  # noqa: N802
        cast(Any, reactor).callFromThread(*arguments)


class _Files:
    """What a ServerTLS is to a reloader; counts the looks."""

    names = ("mx.example.org",)

    def __init__(self) -> None:
        self.outcome: bool | Exception = False
        self.looks = 0
        self.may_end = threading.Event()
        self.may_end.set()

    def reload(self) -> bool:
        self.looks += 1
        self.may_end.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class ReloaderTests(TestCase):
    """Files are looked at now and then, in a thread."""

    def setUp(self) -> None:
        self.clock = _ThreadedClock()
        self.files = _Files()
        self.reloader = TLSReloader([cast(Any, self.files)], self.clock, 60)
        self.addCleanup(self.reloader.stopService)
        self.addCleanup(self.files.may_end.set)

    async def reload(self, outcome: bool | Exception) -> str:
        """What is logged about it."""
        self.files.outcome = outcome
        with capturedLogs() as events:
            await self.reloader.reload()
        return "".join(str(formatEvent(event)) for event in events)

    async def test_files_are_looked_at_after_each_interval(self) -> None:
        self.reloader.startService()
        self.clock.advance(59)
        self.assertEqual(self.files.looks, 0)
        self.files.outcome = CertificateError("key.pem holds no private key")
        for looks in (1, 2):
            self.clock.advance(60)
            # The next look is set when the one before has ended.
            while not self.clock.getDelayedCalls():
                await deferLater(cast(Any, reactor), 0)
            self.assertEqual(self.files.looks, looks)
        await self.reloader.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_stopping_waits_for_a_look_under_way(self) -> None:
        self.reloader.startService()
        self.files.may_end.clear()
        self.clock.advance(60)
        stopped = self.reloader.stopService()
        self.assertNoResult(stopped)
        self.files.may_end.set()
        await stopped
        self.assertEqual(self.files.looks, 1)

    async def test_what_was_found_is_told(self) -> None:
        self.assertEqual(await self.reload(False), "")
        self.assertEqual(await self.reload(True), "new certificates are in use, for mx.example.org")
        text = await self.reload(CertificateError("key.pem holds no private key"))
        self.assertIn("key.pem holds no private key", text)
        await self.reload(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_without_files_there_is_nothing_to_look_at(self) -> None:
        reloader = TLSReloader([], self.clock)
        reloader.startService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        reloader.stopService()
