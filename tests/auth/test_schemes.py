"""Stored passwords of other programs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.schemes import MissingLibrary, UnreadableHash, find_scheme, split_scheme, verify
from tests.support import PATIENCE

PASSWORD = "pässword".encode()
#: Made by `doveadm pw` of Dovecot 2.3.19.
BY_DOVECOT = """
{PLAIN}pässword
{CLEARTEXT}pässword
{PLAIN.B64}cMOkc3N3b3Jk
{SHA}I7dElEdfX4dJgLdnbVEeI9iG2mQ=
{SHA1}I7dElEdfX4dJgLdnbVEeI9iG2mQ=
{SHA.HEX}23b74494475f5f874980b7676d511e23d886da64
{SHA256}NHgme1YSeRtAmIkGs6eJfrarUB4EuV7TL5nQr99mnZw=
{SHA256.b64}NHgme1YSeRtAmIkGs6eJfrarUB4EuV7TL5nQr99mnZw=
{SHA512}KF3icbSeAO9oGc8Ku/AxXpfCXLo2FhZ8dw78Umxki03hH0sA3HH67TOjEse6g2kNPtFKqq32tiKqSJlv8H7IpA==
{SSHA}c0kZpPMKOE3MlkcxIECiJG6OpBa+di1i
{SSHA256}l8VgitYMUoHgd8ux5D13+w7oeNtqbpP/52ZF+0UbzpXKnc+k
{SSHA256.HEX}30220e3917ec324a5f45501290bf47db50f78b4538b2e06987631da8a23902fed3e5a55a
{SSHA512}qMB8EmzOVTcQ9z6JF8JByu6TYax+8iY0EbDgcRFiD0PXCrJOKMqnTBzm9btIyWVrnfM6jbrt+pOPtxV1NWHz4x7LhG4=
{SMD5}gWqGR7WbMCrfgtuvnfdfzSqJAFw=
{PLAIN-MD5}8e1843033a0f6ee52e2f618aa8ebbef4
{LDAP-MD5}jhhDAzoPbuUuL2GKqOu+9A==
{CRAM-MD5}7dead29c194d4ac3cf5f337b23fa3b9b32c9f4b1d7d7b1fa2539d66ce368e997
{CRAM-MD5.B64}ferSnBlNSsPPXzN7I/o7mzLJ9LHX17H6JTnWbONo6Zc=
{HMAC-MD5}7dead29c194d4ac3cf5f337b23fa3b9b32c9f4b1d7d7b1fa2539d66ce368e997
{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$grWTFS3ONg8828N9h3wA8g$ABH/VTNXt/cOcLLiu6bzr5hdBSRzf8gavlxrWMY92Yk
{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$ophWvzeF0Gv0U5NLMyIhDA$i6UHUizOt57fEnJ+BEecA/0UnwHNFEg0/N4dppjA7+4
{PBKDF2}$1$lRmah3U2YNNsU7AM$5000$ea188bb035e393a7731b575c38dff05a2e3ad029
{SCRAM-SHA-1}4096,L9YAOJDtMcZ2NO+5v/pKdw==,cu6Wjvuk4o7b07H7giwNr41oNKs=,Gz3MP4iqtWAYW2wrWC/MFZXIEBA=
{SCRAM-SHA-256}4096,Ou7Xer/2M27A9brShhU70w==,fGi5bm0q4K92ol81LuBVUS/mIROuvlueRteur43Cmsc=,EOja/OjcPYw5yBvV0WHG1TnQ5ERIjBo0AtHZ2qvfZj8=
""".strip().splitlines()
#: The same, by libpass.
BY_CRYPT = """
{MD5}$1$A6Gec7Yt$SHn0s6P.NeHQdOm80cgwT1
{MD5-CRYPT}$1$Y0zB0mrs$A8TpAQyvErWpGIPnsEFKj0
{DES-CRYPT}5hIeF9q1u7jIM
{CRYPT}5hIeF9q1u7jIM
{CRYPT}$2y$05$HK6mmSZtlzkShZqQ11AdBe.2GW8mrCWw/50pdN33DexjsWij1ioAG
{BLF-CRYPT}$2y$05$/V7T4htv0xcQRJa0GH6vh.lZ0dzDGWdikLTimtwqR8hj7GaIwaFNu
{SHA256-CRYPT}$5$ixlNngA5B3gtciOD$1aTkQDBmqiDowsyaPRqKLhr31Gclh92QOjCSGeonHUA
{SHA512-CRYPT}$6$TMbhVxrMW8eVvhMS$1izBGKJGFWIcjVMP6LZhAe5OlIw3idmWCziPqgFaHnnfg4AszpscWMZXwrOz6E/V1zzsQpSH5FVHoCkd6ICPC1
$6$TMbhVxrMW8eVvhMS$1izBGKJGFWIcjVMP6LZhAe5OlIw3idmWCziPqgFaHnnfg4AszpscWMZXwrOz6E/V1zzsQpSH5FVHoCkd6ICPC1
{SHA512-CRYPT.B64}JDYkZ01IWXc1dDE4MmJnZnFRRiRKaVQ4V1pseUJMbk9RSEp6Y0Z0b0xJUWtSbThkWURnRHprYzdUZnRKTWlZd1IyVGUyZXluVG1uS2I2OHBYUk9nNUEwRUZ5QlJYbU5nSDdIT0owSEYxMA==
""".strip().splitlines()
#: LDAP's, RFC 5803's and Django's ways to write what is above.
OTHERS = """
{MD5}jhhDAzoPbuUuL2GKqOu+9A==
{ssha}c0kZpPMKOE3MlkcxIECiJG6OpBa+di1i
SCRAM-SHA-256$4096:Ou7Xer/2M27A9brShhU70w==$fGi5bm0q4K92ol81LuBVUS/mIROuvlueRteur43Cmsc=:EOja/OjcPYw5yBvV0WHG1TnQ5ERIjBo0AtHZ2qvfZj8=
pbkdf2_sha256$1000$salt$zaPBw25cko7Ca8lZz1fxPhI2duvzpPRkKl9tLENcH14=
""".strip().splitlines()


class SchemeTests(SynchronousTestCase):
    def check(self, stored: str) -> None:
        scheme = stored[:20]
        self.assertTrue(verify(stored, PASSWORD), scheme)
        # DES looks at eight octets, so the difference is at the beginning.
        for wrong in (b"", b"x" + PASSWORD, b"Password", PASSWORD[1:], PASSWORD + b"\0"):
            self.assertFalse(verify(stored, wrong), f"{scheme}: {wrong!r}")

    def test_what_dovecot_makes(self) -> None:
        for stored in BY_DOVECOT:
            self.check(stored)

    def test_variants_of_crypt(self) -> None:
        for stored in BY_CRYPT:
            self.check(stored)

    def test_other_ways_to_write_them(self) -> None:
        for stored in OTHERS:
            self.check(stored)

    def test_bcrypt_looks_at_72_octets(self) -> None:
        stored = "$2y$05$HK6mmSZtlzkShZqQ11AdBe.2GW8mrCWw/50pdN33DexjsWij1ioAG"
        self.assertFalse(verify(stored, b"x" * 300))

    def test_a_long_password_of_cram_md5(self) -> None:
        stored = "{CRAM-MD5}8103bb3a2a4b96a9ca9cce4efecc8d22ebe7163dff7401afb5aa16d4edcf9f1f"
        self.assertTrue(verify(stored, b"x" * 70))
        self.assertFalse(verify(stored, b"x" * 71))

    def test_what_dovecot_makes_today(self) -> None:
        if shutil.which("doveadm") is None:
            self.skipTest("dovecot-core is not installed")
        for scheme in (
            "SSHA512.hex",
            "CRAM-MD5",
            "SCRAM-SHA-256",
            "PBKDF2",
            "BLF-CRYPT",
            "ARGON2ID",
        ):
            stored = subprocess.run(
                ["doveadm", "pw", "-s", scheme, "-p", "trustno1"],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            ).stdout.strip()
            self.assertTrue(verify(stored, b"trustno1"), stored)
            self.assertFalse(verify(stored, b"trustno2"), stored)

    def test_what_cannot_be_read(self) -> None:
        for stored in (
            *("", "secret", "{}secret", "{NONE}secret", "{OTP}x", "{CRAM-MD5}00ff", "$y$j9T$x$y"),
            *(
                "{CRYPT}",
                "{CRYPT}$",
                "{CRYPT}secret",
                "{SHA.b64}?",
                "{PLAIN.b64}?",
                "{CRYPT.hex}zz",
            ),
            *("{SSHA}", "{SSHA}AAAA", "{SHA}AAAA", "{SHA256}\xff", "{ARGON2ID}x", "{ARGON2ID}"),
            *(
                "{PBKDF2}$1$x",
                "{PBKDF2}$1$a$0$00",
                "{SCRAM-SHA-1}",
                "{SCRAM-SHA-1}0,AA==,AA==,AA==",
            ),
            *(
                "pbkdf2_sha256$1$a",
                "pbkdf2_sha256$x$a$b",
                "{CRYPT}$6$secret",
                "{BLF-CRYPT}$2y$05$secret",
            ),
        ):
            with self.assertRaises(UnreadableHash, msg=stored) as caught:
                verify(stored, PASSWORD)
            self.assertNotIn("secret", str(caught.exception))

    def test_an_unknown_scheme_is_told_without_a_password(self) -> None:
        self.assertRaises(UnreadableHash, find_scheme, "{OTP}x")
        find_scheme("{CRYPT}$6$x")

    def test_the_missing_library_is_named(self) -> None:
        with mock.patch.dict(sys.modules, {"passlib": None, "passlib.hash": None}):
            with self.assertRaises(MissingLibrary) as caught:
                verify(BY_CRYPT[0], PASSWORD)
            self.assertIn("twisted-mailkit[crypt]", str(caught.exception))
            # Nothing else needs it.
            self.assertTrue(verify(BY_DOVECOT[-1], PASSWORD))

    def test_split(self) -> None:
        self.assertEqual(split_scheme("{Plain}a{b}"), ("PLAIN", "a{b}"))
        self.assertEqual(split_scheme("{plain.hex}6162"), ("PLAIN", "ab"))
        self.assertEqual(split_scheme("{ab"), ("", "{ab"))
