"""Users in a directory: LDAP with slapd, which stops, starts, and would let anybody in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from mailkit.auth import ldap, pacing
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.located import NotAsked
from mailkit.auth.passwords import PasswordHasher
from mailkit.errors import TemporaryFailure
from mailkit.interfaces import IPasswordVerifier, IUserLookup
from mailkit.testing import UserBaseContract
from tests.interop.slapd import PEOPLE, SEARCHER, SEARCHER_PASSWORD, Slapd, missing
from tests.interop.test_user_bases import JOE, UserBaseServerCase
from tests.support import HOST

#: As other servers have it.
STORED = "{SSHA}2L2rK1z9hXyGRpP9lB2k5XsBV8mS3dHJ"
ANN = "ann@example.org"


class SlapdCase(TestCase):
    skip = missing()
    timeout = 240

    def setUp(self) -> None:
        self.patch(pacing, "STEP", 0.01)
        self.patch(pacing, "LONGEST", 0.0)
        self.directory = Path(tempfile.mkdtemp(prefix="mailkit-ldap-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.slapd = Slapd(self.directory / "slapd")
        self.addCleanup(self.slapd.stop)
        self.secret = self.directory / "secret"
        self.secret.write_text(f"{SEARCHER_PASSWORD}\n")

    def serve(self, users: Mapping[str, str]) -> None:
        self.slapd.fill(users)
        self.slapd.start()

    def make(self, url: str = "", **settings: Any) -> ldap.LDAPUsers:
        base = ldap.make(url or f"ldap://{HOST}:{self.slapd.port}", **settings)
        self.addCleanup(base.close)
        return base

    def searching(self, **settings: Any) -> dict[str, Any]:
        """Settings to search with."""
        return {
            "search": PEOPLE,
            "bind_dn": SEARCHER,
            "bind_password_file": str(self.secret),
            "account": "mail",
            **settings,
        }

    def checker(self, base: ldap.LDAPUsers) -> UserBaseChecker:
        hasher = PasswordHasher()
        self.addCleanup(hasher.close)
        return UserBaseChecker(base, hasher)


class ContractTests(UserBaseContract, SlapdCase):
    """Users are found by a search, and bound."""

    async def make_checker(self, users: Mapping[str, str]) -> UserBaseChecker:
        self.serve(users)
        return self.checker(self.make(**self.searching()))

    async def break_base(self) -> None:
        await deferToThread(self.slapd.stop)

    async def mend_base(self) -> None:
        await deferToThread(self.slapd.start)


class HashContractTests(ContractTests):
    """Users are found by a search, and their stored passwords compared."""

    async def make_checker(self, users: Mapping[str, str]) -> UserBaseChecker:
        self.serve({user: "{CLEARTEXT}" + password for user, password in users.items()})
        base = self.make(**self.searching(password="userPassword"))
        self.assertFalse(IPasswordVerifier.providedBy(base))
        return self.checker(base)


class LDAPTests(SlapdCase):
    """What there is besides the contract."""

    def setUp(self) -> None:
        super().setUp()
        self.serve({ANN: "secret", "bob,o=x@example.org": "secret", "joe@example.org": STORED})

    async def failure(self, base: ldap.LDAPUsers) -> str:
        """What is logged of a failure."""
        with capturedLogs() as logs, self.assertRaises(TemporaryFailure):
            await base.verify_password(login=ANN, password=b"secret")
        return formatEvent(logs[-1])

    async def test_a_template_names_the_entry(self) -> None:
        base = self.make(dn=f"uid=%n,{PEOPLE}", domains=("example.org",))
        self.assertFalse(IUserLookup.providedBy(base))
        for login in (ANN, "Ann"):
            self.assertEqual(await base.verify_password(login=login, password=b"secret"), ANN)
        name = "bob,o=x@example.org"
        self.assertEqual(await base.verify_password(login=name, password=b"secret"), name)
        for login in ("ann,ou=people", "ann+cn=x", "*", "bob", "nobody", "ann\\", '"ann"', "#"):
            self.assertIsNone(await base.verify_password(login=login, password=b"secret"), login)

    async def test_nobody_binds_with_an_empty_password(self) -> None:
        import ldap3

        # The server would not mind.
        server = ldap3.Server(HOST, self.slapd.port, get_info=ldap3.NONE)
        bare = ldap3.Connection(server, f"uid=ann,{PEOPLE}", b" ", check_names=False)
        self.assertFalse(await deferToThread(bare.bind))
        for base in (self.make(dn=f"uid=%n,{PEOPLE}"), self.make(**self.searching())):
            with self.assertRaises(NotAsked):
                await base.verify_password(login=ANN, password=b"")
            self.assertEqual(await base.verify_password(login=ANN, password=b"secret"), ANN)

    async def test_hashes_that_the_server_has(self) -> None:
        base = self.make(**self.searching(password="userPassword"))
        found = await base.find_login(login="joe@example.org")
        self.assertEqual(found and found.password_hash, STORED)
        found = await base.find_login(login=ANN)
        self.assertEqual(found and found.password_hash, "{PLAIN}secret")

    async def test_tls_of_both_kinds_with_a_certificate_that_is_verified(self) -> None:
        ca = self.slapd.certificate
        upgraded, implicit = (
            f"ldap://{HOST}:{self.slapd.port}",
            f"ldaps://{HOST}:{self.slapd.tls_port}",
        )
        for url, start_tls in ((upgraded, True), (implicit, None)):
            base = self.make(url, **self.searching(ca=ca, start_tls=start_tls))
            self.assertEqual(await base.verify_password(login=ANN, password=b"secret"), ANN)
            # Not one of the system's authorities.
            base = self.make(url, **self.searching(start_tls=start_tls))
            self.assertIn("certificate", await self.failure(base))

    async def test_a_certificate_for_another_name_is_refused(self) -> None:
        other = Slapd(self.directory / "other", ["ldap.example.net"])
        other.fill({})
        other.start()
        self.addCleanup(other.stop)
        for url, start_tls in (
            (f"ldap://{HOST}:{other.port}", True),
            (f"ldaps://{HOST}:{other.tls_port}", None),
        ):
            base = self.make(url, **self.searching(ca=other.certificate, start_tls=start_tls))
            self.assertIn("not valid for", await self.failure(base))

    async def test_the_next_server_is_asked_when_one_is_down(self) -> None:
        url = f"ldap://{HOST}:1 ldap://{HOST}:{self.slapd.port}"
        base = self.make(url, **self.searching())
        self.assertEqual(await base.verify_password(login=ANN, password=b"secret"), ANN)

    async def test_who_may_not_search(self) -> None:
        self.secret.write_text("wrong")
        self.assertIn(SEARCHER, await self.failure(self.make(**self.searching())))

    async def test_a_place_that_is_not_there_says_nothing_of_users(self) -> None:
        """A mistake in the settings, or a copy of the directory that is not loaded yet."""
        base = self.make(**self.searching(search="ou=persons,dc=example,dc=org"))
        with capturedLogs() as logs, self.assertRaises(TemporaryFailure):
            await base.find_login(login=ANN)
        self.assertIn("ou=persons", formatEvent(logs[-1]))
        self.assertIn("noSuchObject", formatEvent(logs[-1]))

    async def test_several_entries_are_nobody(self) -> None:
        base = self.make(**self.searching(filter="(|(mail=%u)(sn=x))"))
        self.assertIn("several entries", await self.failure(base))


class LDAPServerTests(UserBaseServerCase):
    """``twistd`` with a directory."""

    skip = missing()

    def test_a_directory(self) -> None:
        slapd = Slapd(Path(tempfile.mkdtemp(prefix="mailkit-ldap-")) / "slapd")
        self.addCleanup(shutil.rmtree, slapd.directory.parent, True)
        self.addCleanup(slapd.stop)
        slapd.fill({JOE: "s3cr3t"})
        slapd.start()
        secret = self.directory / "secret"
        secret.write_text(SEARCHER_PASSWORD)
        self.serve_base(
            f"ldap:ldap\\://{HOST}\\:{slapd.port}:search={PEOPLE}:bind-dn={SEARCHER}"
            f":bind-password-file={secret}"
        )
        self.check_joe("s3cr3t")
