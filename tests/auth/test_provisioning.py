"""Mail and accounts for users whom a user base knows."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer, providedBy
from zope.interface.verify import verifyObject

from mailkit.auth.provisioning import UNKNOWN_SECONDS, UserDirectory
from mailkit.coroutines import run
from mailkit.errors import NoSuchRecipient, RelayDenied, TemporaryFailure
from mailkit.identity import Login
from mailkit.interfaces import IDirectory, IDirectoryAdmin, IUserLookup
from mailkit.model import Path, Resolution
from mailkit.store.memory import MemoryStore

ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"


@implementer(IUserLookup)
class Users:
    def __init__(self, **accounts: str) -> None:
        self.accounts = {f"{name}@example.org": account for name, account in accounts.items()}
        self.trouble = False
        self.asked: list[str] = []

    async def find_login(self, login: str) -> Login | None:
        self.asked.append(login)
        if self.trouble:
            raise TemporaryFailure
        account = self.accounts.get(login)
        return None if account is None else Login(account, None)


class UserDirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.do(self.store.add_account(name=ANN))
        self.clock = Clock()
        self.users = Users(bob=BOB, robert=BOB)

    def do(self, coroutine: Any) -> Any:
        return self.successResultOf(run(coroutine))

    def directory(self, create_accounts: bool = True) -> UserDirectory:
        return UserDirectory(
            self.store,
            self.users,
            create_accounts=create_accounts,
            seconds=cast(Any, self.clock.seconds),
        )

    def resolve(self, directory: UserDirectory, address: str) -> Resolution:
        found: Resolution = self.do(directory.resolve(path=Path(*address.split("@"))))
        return found

    def refused(self, directory: UserDirectory, address: str, error: type[Exception]) -> None:
        self.failureResultOf(run(directory.resolve(path=Path(*address.split("@")))), error)

    def accounts(self) -> list[str]:
        return list(self.do(self.store.list_accounts()))

    def test_provides_what_the_store_does(self) -> None:
        directory = self.directory()
        verifyObject(IDirectory, directory)
        verifyObject(IDirectoryAdmin, directory)
        self.assertEqual(set(providedBy(directory)), set(providedBy(self.store)))
        self.assertEqual(self.do(cast(Any, directory).list_domains()), ["example.org"])

    def test_a_user_of_the_base_gets_an_account_with_the_first_mail(self) -> None:
        directory = self.directory()
        self.assertEqual(self.resolve(directory, BOB), Resolution((BOB,), ""))
        self.assertEqual(self.accounts(), [ANN, BOB])
        self.resolve(directory, BOB)
        # Now the store knows him.
        self.assertEqual(self.users.asked, [BOB])

    def test_the_account_may_have_another_name(self) -> None:
        directory = self.directory()
        self.assertEqual(self.resolve(directory, "robert@example.org").accounts, (BOB,))
        self.assertEqual(self.accounts(), [ANN, BOB])

    def test_sub_addresses(self) -> None:
        found = self.resolve(self.directory(), "bob+Lists@example.org")
        self.assertEqual((found.accounts, found.detail), ((BOB,), "Lists"))
        found = self.resolve(self.directory(), "ann+Lists@example.org")
        self.assertEqual((list(found.accounts), found.detail), ([ANN], "Lists"))

    def test_only_those_who_have_an_account_where_none_is_made(self) -> None:
        directory = self.directory(create_accounts=False)
        self.refused(directory, BOB, NoSuchRecipient)
        self.do(self.store.add_account(name=BOB))
        self.assertEqual(self.resolve(directory, "robert@example.org").accounts, (BOB,))

    def test_nobody_is_nobody_and_that_is_remembered_for_a_time(self) -> None:
        directory = self.directory()
        self.refused(directory, EVE, NoSuchRecipient)
        self.refused(directory, "Eve@Example.ORG", NoSuchRecipient)
        self.refused(directory, "eve@example.net", RelayDenied)
        self.assertEqual(self.users.asked, [EVE, "eve@example.net"])
        self.users.accounts[EVE] = EVE
        self.clock.advance(UNKNOWN_SECONDS)
        self.assertEqual(self.resolve(directory, EVE).accounts, (EVE,))

    def test_users_go_before_a_catch_all(self) -> None:
        self.do(self.store.add_alias(alias="@example.org", targets=[ANN]))
        directory = self.directory()
        self.assertEqual(list(self.resolve(directory, BOB).accounts), [BOB])
        self.assertEqual(list(self.resolve(directory, EVE).accounts), [ANN])

    def test_an_alias_of_the_store_keeps_its_name(self) -> None:
        self.do(self.store.add_alias(alias=BOB, targets=[ANN]))
        self.assertEqual(list(self.resolve(self.directory(), BOB).accounts), [ANN])
        self.assertEqual(self.accounts(), [ANN])

    def test_trouble_of_the_base_is_not_an_unknown_address(self) -> None:
        self.users.trouble = True
        directory = self.directory()
        self.refused(directory, BOB, TemporaryFailure)
        self.assertEqual(list(self.resolve(directory, ANN).accounts), [ANN])

    def test_postmaster_without_domain_asks_nobody(self) -> None:
        found = self.do(self.directory().resolve(path=Path("Postmaster", "")))
        self.assertEqual(list(found.accounts), [ANN])
        self.assertEqual(self.users.asked, [])
