"""Contract tests of directories: who gets mail for an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from mailkit.errors import (
    AccountExists,
    MailError,
    NoSuchAccount,
    NoSuchRecipient,
    PermissionDenied,
    RelayDenied,
)
from mailkit.interfaces import (
    IAccountHistory,
    IDelegateAdmin,
    IDirectory,
    IDirectoryAdmin,
    ILoginDirectory,
    IMailStore,
    IRecallingDirectory,
)
from mailkit.model import NEW_ACCOUNT_MAILBOXES, Path
from mailkit.testing.app_passwords import AppPasswordTests
from mailkit.testing.directory_base import ACCOUNTS, ANN, BOB, HASH, DirectoryBase
from mailkit.testing.file_quotas import FileQuotaTests
from mailkit.testing.maildrops import MaildropTests
from mailkit.testing.masks import MaskTests
from mailkit.testing.metadata import MetadataTests
from mailkit.testing.quota import QuotaTests
from mailkit.testing.scram import ScramTests
from mailkit.testing.second_factors import SecondFactorTests


class _ResolutionTests(DirectoryBase):
    async def test_account_without_regard_to_case(self) -> None:
        directory = await self.open_directory()
        for address in (ANN, "Ann@example.org", "ANN@EXAMPLE.ORG"):
            resolution = await self.resolve(directory, address)
            self.assertEqual(list(resolution.accounts), [ANN])
            self.assertEqual((resolution.detail, list(resolution.remote)), ("", []))

    async def test_international_domain_in_both_forms(self) -> None:
        directory = await self.open_directory({"eve@xn--bcher-kva.example": None})
        for domain in ("xn--bcher-kva.example", "bücher.example", "BÜCHER.example"):
            found = await self.accounts(directory, "eve@" + domain)
            self.assertEqual(found, ["eve@xn--bcher-kva.example"])

    async def test_sub_address(self) -> None:
        directory = await self.open_directory()
        resolution = await self.resolve(directory, "Ann+Lists@example.org")
        self.assertEqual((list(resolution.accounts), resolution.detail), ([ANN], "Lists"))

    async def test_nobody(self) -> None:
        directory = await self.open_directory()
        for address in ("eve@example.org", "eve+x@example.org", "+@example.org", "@example.org"):
            with self.assertRaises(NoSuchRecipient):
                await self.resolve(directory, address)

    async def test_other_peoples_domains(self) -> None:
        # Nor does a catch-all of the one above take them.
        aliases = {"@example.org": [ANN]} if self.has_aliases else {}
        directory = await self.open_directory(aliases=aliases)
        for domain in ("example.com", "sub.example.org", "[127.0.0.1]", "[IPv6:::1]", "org"):
            with self.assertRaises(RelayDenied):
                await self.resolve(directory, "ann@" + domain)

    async def test_alias(self) -> None:
        aliases = {"team@example.org": [ANN, BOB], "all@example.org": ["team@example.org"]}
        directory = await self.open_directory(aliases=aliases)
        for address in ("team@example.org", "TEAM@example.org", "all@example.org"):
            self.assertEqual(await self.accounts(directory, address), [ANN, BOB])

    async def test_alias_that_leads_elsewhere(self) -> None:
        aliases = {"away@example.org": [ANN, "Ann@Elsewhere.example"]}
        directory = await self.open_directory(aliases=aliases)
        resolution = await self.resolve(directory, "away@example.org")
        self.assertEqual(list(resolution.accounts), [ANN])
        self.assertEqual(list(resolution.remote), [Path("Ann", "elsewhere.example")])

    async def test_aliases_in_a_circle(self) -> None:
        aliases = {"a@example.org": ["b@example.org"], "b@example.org": ["a@example.org"]}
        directory = await self.open_directory(aliases=aliases)
        with self.assertRaises(NoSuchRecipient):
            await self.resolve(directory, "a@example.org")

    async def test_alias_whose_targets_are_gone_in_part(self) -> None:
        directory = await self.open_directory(aliases={"a@example.org": ["x@example.org", BOB]})
        self.assertEqual(await self.accounts(directory, "a@example.org"), [BOB])

    async def test_catch_all_comes_last(self) -> None:
        aliases = {"@example.org": [BOB], "team@example.org": [ANN]}
        directory = await self.open_directory(aliases=aliases)
        for address, account in (
            ("whoever@example.org", BOB),
            (ANN, ANN),
            ("ann+x@example.org", ANN),
            ("team@example.org", ANN),
        ):
            self.assertEqual(await self.accounts(directory, address), [account])

    async def test_domain_that_is_an_alias_of_another(self) -> None:
        aliases = {"@example.net": ["@example.org"], "bob@example.net": [ANN]}
        directory = await self.open_directory(
            {**ACCOUNTS, "cy@example.net": None}, {**aliases, "team@example.org": [ANN, BOB]}
        )
        for address, accounts in (
            ("Ann@example.net", [ANN]),
            ("team@Example.NET", [ANN, BOB]),
            # What is named in the domain itself goes before.
            ("bob@example.net", [ANN]),
            ("cy@example.net", ["cy@example.net"]),
        ):
            self.assertEqual(await self.accounts(directory, address), accounts)
        resolution = await self.resolve(directory, "ann+Lists@example.net")
        self.assertEqual((list(resolution.accounts), resolution.detail), ([ANN], "Lists"))
        with self.assertRaises(NoSuchRecipient):
            await self.resolve(directory, "eve@example.net")

    async def test_domains_that_are_aliases_of_each_other(self) -> None:
        directory = await self.open_directory(
            {"cy@example.net": None, ANN: None},
            {"@example.net": ["@example.org"], "@example.org": ["@example.net"]},
        )
        self.assertEqual(await self.accounts(directory, "ann@example.net"), [ANN])
        with self.assertRaises(NoSuchRecipient):
            await self.resolve(directory, "eve@example.net")

    async def test_domain_that_is_an_alias_of_one_elsewhere(self) -> None:
        directory = await self.open_directory(aliases={"@example.org": ["@elsewhere.example"]})
        resolution = await self.resolve(directory, "Eve@example.org")
        self.assertEqual(list(resolution.remote), [Path("Eve", "elsewhere.example")])

    async def test_postmaster_always_gets_mail(self) -> None:
        # RFC 5321 section 4.5.1
        directory = await self.open_directory()
        for address in ("Postmaster", "postmaster@example.org", "POSTMASTER@Example.org"):
            self.assertEqual(await self.accounts(directory, address), [ANN])

    async def test_postmaster_may_be_an_alias(self) -> None:
        directory = await self.open_directory(aliases={"postmaster@example.org": [BOB]})
        for address in ("Postmaster", "postmaster@example.org"):
            self.assertEqual(await self.accounts(directory, address), [BOB])

    async def test_no_domain(self) -> None:
        directory = await self.open_directory()
        with self.assertRaises(NoSuchRecipient):
            await self.resolve(directory, "ann")


class _AccountTests(DirectoryBase):
    async def owns(self, directory: IDirectory, account: str, address: str) -> bool:
        """Whether the account may send as that address."""
        local, _, domain = address.rpartition("@")
        return await directory.owns_address(account=account, path=Path(local, domain))

    async def test_own_addresses(self) -> None:
        directory = await self.open_directory()
        for address in (ANN, "Ann@Example.ORG", "ann+x@example.org"):
            self.assertTrue(await self.owns(directory, ANN, address), address)
        for address in (BOB, "ann@example.com", "eve@example.org", "bob+ann@example.org"):
            self.assertFalse(await self.owns(directory, ANN, address), address)
        self.assertFalse(await self.owns(directory, ANN, ""))

    async def test_an_alias_is_an_own_address(self) -> None:
        directory = await self.open_directory(aliases={"team@example.org": [ANN]})
        self.assertTrue(await self.owns(directory, ANN, "team@example.org"))
        self.assertFalse(await self.owns(directory, BOB, "team@example.org"))

    async def test_delegates(self) -> None:
        directory = await self.open_directory({**ACCOUNTS, "cy@example.net": None})
        admin = self.need(IDelegateAdmin, directory)
        for account, address in (
            (ANN, "Boss@Elsewhere.example"),
            ("Ann@Example.org", BOB),
            (BOB, "@example.net"),
        ):
            await admin.add_delegate(account=account, address=address)
        self.assertEqual(
            list(map(tuple, await admin.list_delegates())),
            [(ANN, BOB), (ANN, "boss@elsewhere.example"), (BOB, "@example.net")],
        )
        for account, address in (
            (ANN, "boss@elsewhere.example"),
            (ANN, "BOSS+news@ELSEWHERE.example"),
            (ANN, BOB),
            (BOB, "cy@example.net"),
            (BOB, "whoever@example.net"),
            (BOB, BOB),
        ):
            self.assertTrue(await self.owns(directory, account, address), address)
        for account, address in (
            (BOB, "boss@elsewhere.example"),
            (ANN, "other@elsewhere.example"),
            (ANN, "cy@example.net"),
            # It is a right to send alone, and holds in one direction.
            (BOB, ANN),
        ):
            self.assertFalse(await self.owns(directory, account, address), address)
        self.assertEqual(await self.accounts(directory, BOB), [BOB])
        await admin.remove_delegate(account=ANN, address=BOB)
        self.assertFalse(await self.owns(directory, ANN, BOB))

    async def test_delegates_that_cannot_be(self) -> None:
        directory = await self.open_directory()
        admin = self.need(IDelegateAdmin, directory)
        await admin.add_delegate(account=ANN, address=BOB)
        with self.assertRaises(AccountExists):
            await admin.add_delegate(account=ANN, address="BOB@example.org")
        for account, address in (("eve@example.org", ANN), (ANN, "eve@example.org"), (BOB, ANN)):
            with self.assertRaises(NoSuchAccount):
                await admin.remove_delegate(account=account, address=address)
        with self.assertRaises(NoSuchAccount):
            await admin.add_delegate(account="eve@example.org", address=ANN)
        for address in ("", "bob", "@", "a b@example.org"):
            with self.assertRaises(MailError):
                await admin.add_delegate(account=ANN, address=address)
        self.assertEqual(len(await admin.list_delegates()), 1)

    async def test_delegates_end_with_the_account(self) -> None:
        directory: Any = await self.open_directory()
        admin = self.need(IDelegateAdmin, directory)
        await admin.add_delegate(account=ANN, address=BOB)
        await self.need(IDirectoryAdmin, directory).remove_account(name=ANN)
        self.assertEqual(list(await admin.list_delegates()), [])
        await directory.add_account(name=ANN)
        self.assertFalse(await self.owns(directory, ANN, BOB))

    async def test_login_names(self) -> None:
        directory = await self.open_directory()
        for login in (ANN, "Ann@Example.ORG", "ann", "ANN"):
            self.assertEqual(await directory.find_account(login=login), ANN)
        for login in ("eve@example.org", "ann@example.com", "eve", "", "@", "@example.org"):
            self.assertIsNone(await directory.find_account(login=login))

    async def test_login_by_local_part_where_one_domain_is_served(self) -> None:
        directory = await self.open_directory({ANN: None, "cy@example.net": None})
        self.assertIsNone(await directory.find_account(login="ann"))
        self.assertEqual(await directory.find_account(login=ANN), ANN)

    async def test_age_of_accounts(self) -> None:
        directory = await self.open_directory()
        history = self.need(IAccountHistory, directory)
        created = await history.get_creation_time(account=ANN)
        self.assertIsInstance(created, int)
        if IDirectoryAdmin.providedBy(directory):
            await directory.add_account(name="new@example.org")
            newer = await history.get_creation_time(account="new@example.org")
            self.assertGreaterEqual(newer, created)
        self.assertIsNone(await history.get_creation_time(account="eve@example.org"))

    async def test_password_hashes(self) -> None:
        directory = await self.open_directory()
        self.assertEqual(await directory.get_password_hash(account=ANN), HASH)
        self.assertIsNone(await directory.get_password_hash(account=BOB))
        self.assertIsNone(await directory.get_password_hash(account="eve@example.org"))

    async def test_logins(self) -> None:
        directory = self.need(ILoginDirectory, await self.open_directory())
        for login in (ANN, "Ann@Example.ORG", "ann", BOB):
            found = await directory.find_login(login=login)
            self.assertEqual(found.account, await directory.find_account(login=login))
            self.assertEqual(found.password_hash, ACCOUNTS[found.account])
        for login in ("eve@example.org", "ann@example.com", "eve", "", "@"):
            self.assertIsNone(await directory.find_login(login=login))

    async def test_recalled_logins(self) -> None:
        directory = self.need(IRecallingDirectory, await self.open_directory())
        for login in (ANN, "Ann@Example.ORG", BOB, "eve@example.org", ""):
            for _ in range(2):
                # What it remembers, and for how long, is its own affair.
                recalled = directory.recall_login(login=login)
                found = await directory.find_login(login=login)
                self.assertIn(recalled, (None, found))


class _AdminTests(DirectoryBase):
    async def test_accounts(self) -> None:
        directory = await self.open_admin()
        self.assertEqual(list(await directory.list_accounts()), [ANN, BOB])
        await directory.add_account(name="Al@Example.org", password_hash=HASH)
        self.assertEqual(list(await directory.list_accounts()), ["al@example.org", ANN, BOB])
        self.assertEqual(await directory.get_password_hash(account="al@example.org"), HASH)
        for name in (ANN, "ANN@example.org"):
            with self.assertRaises(AccountExists):
                await directory.add_account(name=name)
        await directory.remove_account(name=ANN)
        self.assertNotIn(ANN, await directory.list_accounts())
        with self.assertRaises(NoSuchAccount):
            await directory.remove_account(name=ANN)
        with self.assertRaises(NoSuchRecipient):
            await self.resolve(directory, ANN)

    async def test_what_is_no_address(self) -> None:
        directory = await self.open_admin()
        for name in (
            "",
            "ann",
            "@example.org",
            "a b@example.org",
            "x@[127.0.0.1]",
            "x\0@y.example",
        ):
            with self.assertRaises(MailError):
                await directory.add_account(name=name)
        self.assertEqual(list(await directory.list_accounts()), [ANN, BOB])

    async def test_account_has_mail_of_its_own(self) -> None:
        directory = await self.open_admin()
        store = cast(IMailStore, self.need(IMailStore, directory))
        mailboxes = await (await store.open_account(name=ANN)).list_mailboxes()
        found = {info.name: info.special_use for info in mailboxes}
        self.assertEqual(found, dict(NEW_ACCOUNT_MAILBOXES))
        self.assertTrue(all(info.subscribed for info in mailboxes))
        await directory.remove_account(name=ANN)
        with self.assertRaises(NoSuchAccount):
            await store.open_account(name=ANN)
        await directory.add_account(name=ANN)
        inbox = await (await store.open_account(name=ANN)).open_mailbox(name="INBOX")
        self.assertEqual(list(await inbox.list_uids()), [])

    async def test_passwords(self) -> None:
        directory = await self.open_admin()
        await directory.set_password_hash(account=BOB, password_hash=HASH)
        self.assertEqual(await directory.get_password_hash(account=BOB), HASH)
        if IRecallingDirectory.providedBy(directory):
            await directory.find_login(login=BOB)
        await directory.set_password_hash(account=BOB, password_hash=None)
        if IRecallingDirectory.providedBy(directory):
            recalled = directory.recall_login(login=BOB)
            self.assertTrue(recalled is None or recalled.password_hash is None)
        self.assertIsNone(await directory.get_password_hash(account=BOB))
        with self.assertRaises(NoSuchAccount):
            await directory.set_password_hash(account="eve@example.org", password_hash=HASH)

    async def test_domains(self) -> None:
        directory = await self.open_admin()
        self.assertEqual(list(await directory.list_domains()), ["example.org"])
        await directory.add_domain(domain="Example.NET")
        await directory.add_account(name="cy@bücher.example")
        domains = list(await directory.list_domains())
        self.assertEqual(domains, ["example.net", "example.org", "xn--bcher-kva.example"])
        with self.assertRaises(AccountExists):
            await directory.add_domain(domain="example.net")
        for domain in ("", "a b", "[127.0.0.1]", "x@example.org", ".."):
            with self.assertRaises(MailError):
                await directory.add_domain(domain=domain)
        await directory.remove_domain(domain="Example.net")
        with self.assertRaises(NoSuchAccount):
            await directory.remove_domain(domain="example.net")
        with self.assertRaises(PermissionDenied):
            await directory.remove_domain(domain="example.org")

    async def test_domain_of_an_alias_stays(self) -> None:
        directory = await self.open_admin()
        await directory.add_domain(domain="example.net")
        await directory.add_alias(alias="@example.net", targets=[ANN])
        with self.assertRaises(PermissionDenied):
            await directory.remove_domain(domain="example.net")
        await directory.remove_alias(alias="@example.net")
        await directory.remove_domain(domain="example.net")
        with self.assertRaises(RelayDenied):
            await self.resolve(directory, "x@example.net")

    async def test_aliases(self) -> None:
        directory = await self.open_admin()
        await directory.add_alias(alias="Team@example.org", targets=[ANN, BOB])
        await directory.add_alias(alias="@example.org", targets=[ANN])
        found = [(alias, list(targets)) for alias, targets in await directory.list_aliases()]
        self.assertEqual(found, [("@example.org", [ANN]), ("team@example.org", [ANN, BOB])])
        await directory.remove_alias(alias="TEAM@example.org")
        self.assertEqual(await self.accounts(directory, "team@example.org"), [ANN])
        with self.assertRaises(NoSuchAccount):
            await directory.remove_alias(alias="team@example.org")

    async def test_aliases_that_cannot_be(self) -> None:
        directory = await self.open_admin()
        await directory.add_alias(alias="team@example.org", targets=[ANN])
        for alias in (ANN, "Ann@Example.org", "team@example.org"):
            with self.assertRaises(AccountExists):
                await directory.add_alias(alias=alias, targets=[BOB])
        with self.assertRaises(AccountExists):
            await directory.add_account(name="team@example.org")
        for alias, targets in (
            ("x@example.org", []),
            ("x@example.org", ["not an address"]),
            ("x", [ANN]),
            ("x@example.org", ["@example.org"]),
            ("x@example.org", ["X@example.org"]),
            ("@example.org", ["@example.org"]),
            ("@example.org", ["@"]),
            # Or mail to all of gmail.com would stay here because of one slip.
            ("x@not-served.example", [ANN]),
        ):
            with self.assertRaises(MailError):
                await directory.add_alias(alias=alias, targets=targets)
        self.assertEqual(len(await directory.list_aliases()), 1)

    async def test_aliases_of_a_removed_account(self) -> None:
        directory = await self.open_admin()
        await directory.add_alias(alias="a@example.org", targets=[ANN])
        await directory.add_alias(alias="team@example.org", targets=[ANN, BOB])
        await directory.remove_account(name=ANN)
        self.assertEqual(
            [alias for alias, _ in await directory.list_aliases()], ["team@example.org"]
        )
        self.assertEqual(await self.accounts(directory, "team@example.org"), [BOB])


class DirectoryContract(
    _ResolutionTests,
    _AccountTests,
    _AdminTests,
    AppPasswordTests,
    ScramTests,
    SecondFactorTests,
    QuotaTests,
    MaildropTests,
    FileQuotaTests,
    MaskTests,
    MetadataTests,
):
    """Tests of a directory, :class:`~mailkit.interfaces.IDirectory`.

    The hook is ``make_directory``.
    """


async def fill_directory(
    directory: IDirectoryAdmin,
    accounts: Mapping[str, str | None],
    aliases: Mapping[str, Sequence[str]],
) -> None:
    """Put accounts and aliases into an empty directory, for ``make_directory``."""
    for name, password_hash in accounts.items():
        await directory.add_account(name=name, password_hash=password_hash)
    for alias, targets in aliases.items():
        await directory.add_alias(alias=alias, targets=targets)
