"""``[queue.dkim]``: settings, and what they make of a transport."""

from __future__ import annotations

import io
import os
import stat
import sys
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives import serialization
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.model import Path
from mailkit.signing.forwarding import ForwardingTransport
from mailkit.signing.keys import KeyDirectory
from mailkit.signing.srs import SRS
from mailkit.signing.transport import SigningTransport
from mailkit.store.memory import MemoryStore
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.signing import Signing, key_directory
from mailkit.testing.queue import queue_envelope
from tests.dns.fakes import FakeResolver
from tests.queue.support import ScriptedTransport, reply
from tests.signing.support import NOW, key


class Store:
    """What of a store matters here."""

    def __init__(self, directory: str) -> None:
        self.directory = directory


class SettingTests(TestCase):
    def setUp(self) -> None:
        self.transport = ScriptedTransport(lambda recipient: reply())
        self.path = self.mktemp()
        with open(self.path, "wb") as file:
            file.write(
                key().private.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )

    def wrap(self, store: Any, **table: Any) -> Any:
        signing = Signing({"dkim": table}, "mx.example.org", Clock())
        self.addCleanup(signing.close)
        wrapped: Any = signing.wrap(
            self.transport, store, None, FakeResolver(), lambda domain: succeed(False)
        )
        return wrapped

    def test_bad_settings(self) -> None:
        for table in (
            {"what": 1},
            {"sign": "yes"},
            {"canonicalization": "strict"},
            {"keys": ["example.org"]},
            {"keys": ["example.org:s:/nowhere"]},
            {"keys": [1]},
        ):
            self.assertRaises(SettingError, Signing, {"dkim": table}, "mx", None)
        for srs in (
            {"what": 1},
            {"days": 5},
            {"domain": "a..b"},
            {"domain": 1},
            {"domain": "example.org", "days": 0},
            {"domain": "example.org", "hash-length": 1},
        ):
            self.assertRaises(SettingError, Signing, {"srs": srs}, "mx", None)
        for name in "dkim", "srs":
            self.assertRaises(SettingError, Signing, {name: []}, "mx", None)

    def test_named_keys(self) -> None:
        wrapped = self.wrap(
            MemoryStore(), keys=[f"example.org:s:{self.path}"], canonicalization="simple/simple"
        )
        self.assertIsInstance(wrapped, ForwardingTransport)
        self.assertIsInstance(wrapped.transport, SigningTransport)
        self.assertEqual(self.selectors(wrapped), ["s"])

    def selectors(self, wrapped: Any) -> list[str]:
        return [each.selector for each in wrapped.transport._ring.find("example.org")]

    def test_keys_of_the_store(self) -> None:
        store = Store(self.mktemp())
        KeyDirectory(key_directory(store.directory)).add([key()], NOW)
        self.assertEqual(self.selectors(self.wrap(store)), ["r"])

    def test_switched_off(self) -> None:
        self.assertIs(self.wrap(MemoryStore(), sign=False, seal=False), self.transport)
        self.assertIsInstance(self.wrap(MemoryStore(), seal=False), SigningTransport)

    def test_several_transports_share_the_threads(self) -> None:
        signing = Signing({}, "mx.example.org", Clock())
        self.addCleanup(signing.close)
        first, second = (
            signing.wrap(
                self.transport, MemoryStore(), None, FakeResolver(), lambda domain: succeed(False)
            )
            for _ in range(2)
        )
        self.assertEqual(first.transport._run, second.transport._run)

    async def wrapped_path(self, address: Path, **table: Any) -> Path:
        """The reverse-path under which a stranger's message is sent on."""
        signing = Signing({"dkim": table}, "mx.example.org", Clock())
        self.addCleanup(signing.close)
        srs = SRS("srs.example.com", [b"secret"], lambda: NOW)
        wrapped = signing.wrap(
            self.transport, MemoryStore(), srs, FakeResolver(), lambda domain: succeed(False)
        )
        envelope = queue_envelope("eve@example.net", account=None)
        envelope.reverse_path = address
        await wrapped.send("example.net", envelope, io.BytesIO(b"Subject: x\r\n\r\nx\r\n"))
        return self.transport.sent[-1][1].reverse_path

    async def test_reverse_paths_of_domains_that_we_sign_for_stay(self) -> None:
        keys = [f"example.org:s:{self.path}"]
        path = Path("ann", "Example.org")
        self.assertEqual(await self.wrapped_path(path, keys=keys, seal=False), path)

    async def test_those_of_others_do_not(self) -> None:
        keys = [f"example.org:s:{self.path}"]
        # RFC 7208 section 4.4: a subdomain has an SPF record of its own, or none.
        for domain in "example.com", "news.example.org":
            path = Path("ann", domain)
            wrapped = await self.wrapped_path(path, keys=keys, seal=False)
            self.assertEqual(wrapped.domain, "srs.example.com")
        # Nor does a key count that signs nothing.
        ours = Path("ann", "example.org")
        wrapped = await self.wrapped_path(ours, keys=keys, seal=False, sign=False)
        self.assertEqual(wrapped.domain, "srs.example.com")

    def test_a_missing_library_is_told_at_the_start(self) -> None:
        with mock.patch.dict(sys.modules, {"dkim": None}):
            # Nothing to sign with: it is not needed.
            self.wrap(MemoryStore())
            error = self.assertRaises(
                StartError, self.wrap, MemoryStore(), keys=[f"example.org:s:{self.path}"]
            )
        self.assertIn("pip install 'twisted-mailkit[dkim]'", str(error))


class SRSTests(SynchronousTestCase):
    def open(self, store: Any, **table: Any) -> SRS | None:
        signing = Signing({"srs": table}, "mx.example.org", Clock())
        return signing.open_srs(store)

    def test_not_without_a_domain(self) -> None:
        self.assertIsNone(self.open(MemoryStore()))

    def test_the_secret_of_the_store_is_made_once(self) -> None:
        store = Store(self.mktemp())
        first, second = (self.open(store, domain="example.org") for _ in range(2))
        assert first is not None
        assert second is not None
        wrapped = first.wrap(Path("ann", "example.net"))
        self.assertEqual(second.unwrap(wrapped), Path("ann", "example.net"))
        path = os.path.join(store.directory, "srs", "secrets")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        other = self.open(Store(self.mktemp()), domain="example.org")
        assert other is not None
        self.assertNotEqual(other.wrap(Path("ann", "example.net")), wrapped)

    def test_a_file_of_secrets(self) -> None:
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("new\n\nold\n")
        found = self.open(MemoryStore(), **{"domain": "example.org", "secret-file": path})
        assert found is not None
        old = SRS("example.org", [b"old"], Clock().seconds).wrap(Path("ann", "example.net"))
        self.assertEqual(found.unwrap(old), Path("ann", "example.net"))

    def test_no_secret(self) -> None:
        empty = self.mktemp()
        with open(empty, "w", encoding="ascii"):
            pass
        self.assertRaises(StartError, self.open, MemoryStore(), domain="example.org")
        for path in empty, "/nowhere/secrets":
            table = {"domain": "example.org", "secret-file": path}
            self.assertRaises(StartError, self.open, MemoryStore(), **table)
