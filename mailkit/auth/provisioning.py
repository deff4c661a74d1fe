"""Accounts of the store for users whom a user base knows, and delivery to them."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from zope.interface import alsoProvides, providedBy

from mailkit.auth.names import canonical_name
from mailkit.errors import AccountExists, NoSuchAccount
from mailkit.expiring import ExpiringMap
from mailkit.interfaces import IUserLookup
from mailkit.model import Path, Resolution
from mailkit.wire.domains import canonical_domain

#: Addresses of which it is remembered that no user base knows them.
MAX_UNKNOWN = 10_000
#: Seconds for which that holds.
UNKNOWN_SECONDS = 60.0

_log = Logger()


async def provide_account(directory: Any, login: str) -> str:
    """Canonical name of the account of an authenticated user, made if there is none.

    :param directory: also an ``IDirectoryAdmin``.
    :raises NoSuchAccount: it cannot be made, for it is an alias.
    :raises MailError: the name cannot be an account's.
    """
    name = login
    if "@" not in login and (domains := await directory.list_domains()):
        # A bare name among several domains belongs to the first.
        name = f"{login}@{domains[0]}"
    if (found := await directory.find_account(login=name)) is not None:
        return str(found)
    try:
        await directory.add_account(name=name)
    except AccountExists:
        # Another connection of the same user was faster, or it is an alias.
        pass
    else:
        _log.info("made account {account}, which a user base knows", account=name)
    if (found := await directory.find_account(login=name)) is None:
        raise NoSuchAccount
    return str(found)


class UserDirectory:
    """A directory that also knows the users of a user base as recipients.

    An address is looked up among the directory's accounts, then in the user base, as it stands and
    without its sub-address, then among aliases and catch-alls. Everything else is the directory's,
    and this provides whatever that does.

    :param directory: the store's.
    :param users: says who has an address; its users may have mail though there is no account yet.
    :param create_accounts: they get one when mail comes; without it only those who have one do.
    :param seconds: tells the time.
    """

    separator = "+"

    def __init__(self, directory: Any, users: Any, *, create_accounts: bool, seconds: Any) -> None:
        self._directory = directory
        self._users: IUserLookup = users
        self._create_accounts = create_accounts
        self._unknown: ExpiringMap[str, bool] = ExpiringMap(MAX_UNKNOWN, seconds)
        self.separator = getattr(directory, "separator", self.separator)
        alsoProvides(self, *providedBy(directory))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._directory, name)

    async def resolve(self, path: Path) -> Resolution:
        """As :meth:`mailkit.interfaces.IDirectory.resolve`."""
        if path.domain and path.local_part:
            for address, detail in self._candidates(path):
                if await self._directory.find_account(login=address) is not None:
                    # Found below by the same rules, with whatever else these say.
                    break
                account = await self._find_user(address)
                if account is not None:
                    return Resolution((account,), detail)
        resolution: Resolution = await self._directory.resolve(path=path)
        return resolution

    def _candidates(self, path: Path) -> list[tuple[str, str]]:
        """What an address may stand for, each with the detail of the sub-address."""
        local, domain = path.local_part, canonical_domain(path.domain)
        found = [(f"{local}@{domain}", "")]
        user, separator, detail = local.partition(self.separator) if self.separator else ("",) * 3
        if separator and user:
            found.append((f"{user}@{domain}", detail))
        return found

    async def _find_user(self, address: str) -> str | None:
        """The account of a user of the base, who may get mail; None when there is none."""
        key = canonical_name(address)
        if self._unknown.get(key):
            return None
        login = await self._users.find_login(login=address)
        if login is not None:
            try:
                if self._create_accounts:
                    return await provide_account(self._directory, login.account)
                found: str | None = await self._directory.find_account(login=login.account)
                return found
            except NoSuchAccount:
                # An alias of the store has that name.
                return None
        self._unknown.set(key, True, UNKNOWN_SECONDS)
        return None
