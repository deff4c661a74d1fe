"""Directories over two methods of a backend's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.identity import Login
from mailkit.interfaces import IDirectory
from mailkit.store.directory import AddressDirectory
from mailkit.testing import DirectoryContract

ANN = "ann@example.org"


class Users(AddressDirectory):
    """Two methods over a dictionary, and what they were asked."""

    def __init__(self, accounts: Mapping[str, str | None]) -> None:
        self._accounts = accounts
        self.asked: list[str] = []

    async def list_domains(self) -> Sequence[str]:
        return sorted({name.rpartition("@")[2] for name in self._accounts})

    async def find_user(self, address: str) -> Login | None:
        self.asked.append(address)
        if address not in self._accounts:
            return None
        return Login(address, self._accounts[address])


class AliasedUsers(Users):
    """A third one besides."""

    def __init__(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__(accounts)
        self._aliases = aliases

    async def list_domains(self) -> Sequence[str]:
        names = (*self._accounts, *self._aliases)
        return sorted({name.rpartition("@")[2] for name in names})

    async def find_alias(self, address: str) -> Sequence[str] | None:
        return self._aliases.get(address)


class UsersContractTests(DirectoryContract, TestCase):
    has_aliases = False

    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> IDirectory:
        users = Users(accounts)
        users.postmaster = next(iter(accounts))
        return users


class AliasedUsersContractTests(DirectoryContract, TestCase):
    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> IDirectory:
        users = AliasedUsers(accounts, aliases)
        users.postmaster = next(iter(accounts))
        return users


class AskingTests(SynchronousTestCase):
    def test_only_canonical_addresses_are_asked_for(self) -> None:
        users = Users({ANN: None})
        for login in (
            "ANN",
            "Ann@Example.ORG",
            "@example.org",
            "ann@",
            "@",
            "",
            "eve@bücher.example",
        ):
            self.successResultOf(Deferred.fromCoroutine(users.find_login(login=login)))
        self.assertEqual(users.asked, [ANN, ANN, "eve@xn--bcher-kva.example"])
