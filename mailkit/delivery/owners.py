"""What a directory knows of addresses: who has them, and since when."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from mailkit.errors import NoSuchRecipient, OwnerChanged, OwnerUnknown
from mailkit.interfaces import IAccountHistory, IAddressQueries, IDeliveryAbilities, IDirectory
from mailkit.model import Ability, Path, Recipient, Resolution
from mailkit.wire.domains import canonical_domain

#: Addresses that belong to a task and not to a person (RFC 2142): RFC 7293 section 5.1 exempts them.
ROLES = frozenset(
    [
        "abuse",
        "ftp",
        "hostmaster",
        "info",
        "marketing",
        "news",
        "noc",
        "postmaster",
        "sales",
        "security",
        "support",
        "usenet",
        "uucp",
        "webmaster",
        "www",
    ]
)


def local_abilities(directory: IDirectory) -> frozenset[Ability]:
    """What final delivery to accounts of a directory can promise.

    Mail goes no further, so nothing leaves TLS; and it is delivered or refused while the client
    waits, so a deadline is kept. Reports cannot be sent without a queue.
    """
    abilities = {Ability.REQUIRETLS, Ability.DELIVERBY, Ability.QUERIES}
    if IAccountHistory.providedBy(directory):
        abilities.add(Ability.VALID_SINCE)
    return frozenset(abilities)


@implementer(IAddressQueries, IDeliveryAbilities)
class AddressOwners:
    """The part of a delivery that asks the directory about owners of addresses."""

    _directory: IDirectory

    @property
    def abilities(self) -> frozenset[Ability]:
        return local_abilities(self._directory)

    async def verify_address(self, text: str) -> Sequence[Path]:
        path = await self._find(text)
        resolution = await self._directory.resolve(path=path)
        if len(resolution.accounts) == 1 and not resolution.remote and not resolution.detail:
            return [_path(resolution.accounts[0])]
        return [path]

    async def expand_list(self, text: str) -> Sequence[Path]:
        path = await self._find(text)
        resolution = await self._directory.resolve(path=path)
        if is_own_address(path, resolution):
            # RFC 5321 section 3.5.2
            raise NoSuchRecipient("That is a user name, not a mailing list")
        return [*map(_path, resolution.accounts), *resolution.remote]

    async def _find(self, text: str) -> Path:
        """The address that somebody means."""
        if "@" not in text:
            account = await self._directory.find_account(login=text)
            if account is None:
                raise NoSuchRecipient
            text = account
        return _path(text)

    async def check_owner(self, recipient: Recipient, resolution: Resolution) -> bool:
        """Compare RRVS with the age of the account (RFC 7293 section 5.1).

        :returns: whether that was to be done.
        :raises OwnerChanged: the account is younger.
        :raises OwnerUnknown: nobody knows.
        """
        valid = recipient.rrvs
        if valid is None or recipient.path.local_part.lower() in ROLES:
            return False
        if not resolution.accounts and resolution.remote == (recipient.path,):
            # RFC 7293 section 5.1.1: the next server is asked.
            return False
        created = None
        if IAccountHistory.providedBy(self._directory) and is_own_address(
            recipient.path, resolution
        ):
            created = await self._directory.get_creation_time(account=resolution.accounts[0])
        if created is None:
            # Aliases come and go, and nobody notes when.
            raise OwnerUnknown
        if created > valid.since:
            raise OwnerChanged
        return True


def _path(address: str) -> Path:
    local, _, domain = address.rpartition("@")
    return Path(local, domain)


def is_own_address(path: Path, resolution: Resolution) -> bool:
    """The address is an account's own, or a sub-address of it, and no alias."""
    if len(resolution.accounts) != 1 or resolution.remote:
        return False
    local = path.local_part.lower()
    if resolution.detail:
        local = local[: -len(resolution.detail) - 1]
    return f"{local}@{canonical_domain(path.domain)}" == resolution.accounts[0]
