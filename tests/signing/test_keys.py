"""Keys: made, kept, published."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import stat
import tempfile

from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailkit.signing.keys import (
    Algorithm,
    KeyDirectory,
    KeyRing,
    KeyState,
    SigningKey,
    SigningKeyError,
    make_key,
    read_key,
    zone_line,
)
from tests.signing.support import NOW, key


class RecordTests(SynchronousTestCase):
    def test_rsa_record_is_the_public_key(self) -> None:
        made = key()
        text = made.record
        self.assertTrue(text.startswith("v=DKIM1; k=rsa; p="))
        public = serialization.load_der_public_key(base64.b64decode(text.partition("p=")[2]))
        self.assertEqual(public, made.private.public_key())

    def test_long_records_are_cut_into_strings_of_255_octets(self) -> None:
        made = make_key("example.org", "long", bits=2048)
        line = zone_line(made)
        self.assertTrue(line.startswith("long._domainkey.example.org. IN TXT ( "), line)
        strings = re.findall('"([^"]*)"', line)
        self.assertEqual("".join(strings), made.record)
        self.assertEqual(max(map(len, strings)), 255)

    def test_domains_get_a_labels(self) -> None:
        self.assertEqual(
            make_key("Bücher.Example", "s", Algorithm.ED25519).domain, "xn--bcher-kva.example"
        )

    def test_what_is_no_name_or_no_length_is_refused(self) -> None:
        for domain, selector, bits in (
            ("../x", "s", 1024),
            ("example.org", "a/b", 1024),
            ("example.org", "", 1024),
            ("example.org", "s", 512),
            ("example.org", "s", 8192),
        ):
            with self.assertRaises(SigningKeyError):
                make_key(domain, selector, Algorithm.RSA, bits)


class DirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.join(self.mktemp(), "dkim")
        self.keys = KeyDirectory(self.path)

    def test_a_missing_directory_has_no_keys(self) -> None:
        self.assertEqual(self.keys.list_keys(), [])
        self.assertEqual(KeyRing(self.keys).find("example.org"), [])

    def test_keys_come_back_as_they_were(self) -> None:
        made = [key(), key("example.org", "e", Algorithm.ED25519)]
        self.keys.add(made, NOW)
        entries = self.keys.list_keys()
        self.assertEqual([entry.selector for entry in entries], ["r", "e"])
        self.assertEqual({entry.created for entry in entries}, {NOW})
        found = {self.keys.open_key(entry).record for entry in entries}
        self.assertEqual(found, {each.record for each in made})

    def test_nobody_else_may_read_them(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.keys.add([key()], NOW)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o700)
        modes = {
            name: stat.S_IMODE(os.stat(os.path.join(self.path, name)).st_mode)
            for name in os.listdir(self.path)
        }
        self.assertEqual(set(modes.values()), {0o600}, modes)

    def test_they_belong_to_the_owner_of_the_store(self) -> None:
        if os.geteuid():
            raise SkipTest("only root makes files for others")
        store = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, store)
        os.chown(store, 12345, 12346)
        path = os.path.join(store, "dkim")
        keys = KeyDirectory(path)
        keys.add([key(), key("example.net")], NOW)
        keys.remove("example.net", "r")
        for name in ("", *os.listdir(path)):
            found = os.stat(os.path.join(path, name))
            self.assertEqual((found.st_uid, found.st_gid), (12345, 12346), name)
        self.assertEqual((os.geteuid(), os.getegid()), (0, os.getgid()))
        # A link that the owner has put there leads root nowhere.
        other = os.path.abspath(self.mktemp())
        with open(other, "w", encoding="ascii") as file:
            file.write("root's")
        os.unlink(os.path.join(path, "lock"))
        os.symlink(other, os.path.join(path, "lock"))
        self.assertRaises(SigningKeyError, keys.retire, "example.org", "r")
        with open(other, encoding="ascii") as file:
            self.assertEqual(file.read(), "root's")

    def test_a_selector_is_taken_once(self) -> None:
        self.keys.add([key()], NOW)
        self.assertRaises(SigningKeyError, self.keys.add, [key()], NOW)

    def test_no_key_takes_the_place_of_another(self) -> None:
        # DNS makes no difference between the first two, nor a name of a file between the others.
        made = [key(), key("example.org.uk")]
        self.keys.add(made, NOW)
        for taken in (key("example.org", "R"), key("example.org", "uk.r")):
            self.assertRaises(SigningKeyError, self.keys.add, [taken], NOW)
        kept = [self.keys.open_key(entry).record for entry in self.keys.list_keys()]
        self.assertEqual(kept, [each.record for each in made])

    def test_retired_keys_sign_no_more_and_removed_ones_are_gone(self) -> None:
        self.keys.add([key(), key("example.org", "e", Algorithm.ED25519)], NOW)
        ring = KeyRing(self.keys)
        self.assertEqual({each.selector for each in ring.find("example.org")}, {"r", "e"})
        self.keys.retire("Example.ORG", "r")
        self.assertEqual([each.selector for each in ring.find("example.org")], ["e"])
        states = {entry.selector: entry.state for entry in self.keys.list_keys()}
        self.assertEqual(states, {"r": KeyState.RETIRED, "e": KeyState.ACTIVE})
        self.keys.remove("example.org", "r")
        self.assertEqual(sorted(os.listdir(self.path)), ["example.org.e.pem", "keys.json", "lock"])
        for change in (self.keys.retire, self.keys.remove):
            self.assertRaises(SigningKeyError, change, "example.org", "r")

    def test_a_damaged_index_is_told(self) -> None:
        self.keys.add([key()], NOW)
        for content in ("{", "{}", '{"keys": [{}]}', json.dumps({"keys": [1]})):
            with open(os.path.join(self.path, "keys.json"), "w", encoding="utf-8") as file:
                file.write(content)
            self.assertRaises(SigningKeyError, self.keys.list_keys)


class RingTests(SynchronousTestCase):
    def test_the_closest_domain_above_signs(self) -> None:
        ring = KeyRing(named=[key(), key("news.example.org")])
        for domain, signer in (
            ("example.org", "example.org"),
            ("EXAMPLE.org.", "example.org"),
            ("mail.example.org", "example.org"),
            ("a.b.news.example.org", "news.example.org"),
        ):
            self.assertEqual([each.domain for each in ring.find(domain)], [signer], domain)
        for domain in ("example.net", "org", "", "myexample.org"):
            self.assertEqual(ring.find(domain), [], domain)

    def names(self, ring: KeyRing, most: int) -> list[str]:
        return [each.selector for each in ring.find_signers("example.org", most)]

    def test_of_many_keys_the_newest_sign(self) -> None:
        # As after two rotations within a second, with nothing retired.
        directory = KeyDirectory(self.mktemp())
        for made in ("z", "zz"), ("m", "mm"), ("a", "aa"):
            rsa, ed25519 = made
            new = [key("example.org", rsa), key("example.org", ed25519, Algorithm.ED25519)]
            directory.add(new, NOW)
        directory.add([key("example.net")], NOW + 1)
        ring = KeyRing(directory)
        self.assertEqual(self.names(ring, 4), ["m", "mm", "a", "aa"])
        self.assertEqual(self.names(ring, 6), ["z", "zz", "m", "mm", "a", "aa"])
        # What seals, alone, has the oldest, which is published.
        self.assertEqual([each.selector for each in ring.find("example.org")][:2], ["z", "zz"])

    def test_no_algorithm_is_crowded_out(self) -> None:
        directory = KeyDirectory(self.mktemp())
        directory.add([key()], NOW)
        for number in range(5):
            new = key("example.org", f"e{number}", Algorithm.ED25519)
            directory.add([new], NOW + number)
        self.assertEqual(self.names(KeyRing(directory), 4), ["r", "e2", "e3", "e4"])

    def test_keys_that_are_named_go_before(self) -> None:
        directory = KeyDirectory(self.mktemp())
        for number in range(3):
            directory.add([key("example.org", f"r{number}")], NOW + number)
        ring = KeyRing(directory, [key("example.org", "named"), key("example.net")])
        self.assertEqual(self.names(ring, 2), ["named", "r2"])
        self.assertEqual(self.names(ring, 1), ["named"])

    def test_keys_stay_when_the_directory_breaks(self) -> None:
        complaints: list[str] = []
        directory = KeyDirectory(self.mktemp())
        directory.add([key()], NOW)
        ring = KeyRing(directory, complain=complaints.append)
        self.assertEqual(len(ring.find("example.org")), 1)
        with open(os.path.join(directory.path, "keys.json"), "w", encoding="utf-8") as file:
            file.write("no")
        for _ in range(3):
            self.assertEqual(len(ring.find("example.org")), 1)
        self.assertEqual(len(complaints), 1)


class FileTests(SynchronousTestCase):
    def write(self, octets: bytes) -> str:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(octets)
        return path

    def pem(self, made: SigningKey, format: serialization.PrivateFormat) -> bytes:
        return made.private.private_bytes(
            serialization.Encoding.PEM, format, serialization.NoEncryption()
        )

    def test_pem_files_of_both_formats(self) -> None:
        for format in (
            serialization.PrivateFormat.PKCS8,
            serialization.PrivateFormat.TraditionalOpenSSL,
        ):
            path = self.write(self.pem(key(), format))
            self.assertEqual(
                read_key("example.org", "s", path).private.public_key(), key().private.public_key()
            )

    def test_what_is_no_key(self) -> None:
        for octets in (
            b"",
            b"no key",
            b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
        ):
            self.assertRaises(SigningKeyError, read_key, "example.org", "s", self.write(octets))
        self.assertRaises(SigningKeyError, read_key, "example.org", "s", "/nowhere/key.pem")
