"""The realm: from an authenticated name to an account, or to a delivery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

from mailkit.auth.guests import Guest, GuestAccount, GuestHome
from mailkit.auth.located import ExistingUser
from mailkit.auth.provisioning import provide_account
from mailkit.auth.residents import open_resident_home
from mailkit.coroutines import run
from mailkit.errors import AuthorizationFailed, NoSuchAccount
from mailkit.interfaces import (
    IAdministratorDirectory,
    IDeliveryAbilities,
    IDirectory,
    IDirectoryAdmin,
    IFileHome,
    IFileHomes,
    IMailAccount,
    IMailStore,
    IMessageDelivery,
    IRecallingStore,
)
from mailkit.model import Ability, ConnectionInfo

#: Makes the delivery for an account, or for an anonymous client (None), on a connection.
Deliveries = Callable[[str | None, ConnectionInfo], IMessageDelivery]
#: What must be given to a realm for some kinds of avatars.
_GIVEN = {IMessageDelivery: "deliveries", IFileHome: "homes"}

_Avatar = tuple[type[Interface], Any, Callable[[], None]]


@implementer(IRealm, IDeliveryAbilities)
class MailRealm:
    """Gives an authenticated user the account of that name, and anybody a delivery.

    :param store: opens accounts.
    :param directory: knows the canonical name of an account; without one the authenticated name
        is taken as it is.
    :param deliveries: makes deliveries; None where no mail is taken.
    :param create_accounts: an authenticated user without an account gets one. For checkers that
        know users the directory does not; needs an ``IDirectoryAdmin``.
    :param abilities: what the deliveries can promise, for clients that have not logged in.
    :param homes: where accounts have their files; None where they have none.
    """

    def __init__(
        self,
        store: IMailStore,
        directory: IDirectory | None = None,
        deliveries: Deliveries | None = None,
        create_accounts: bool = False,
        abilities: frozenset[Ability] = frozenset(),
        homes: IFileHomes | None = None,
    ) -> None:
        if create_accounts and not IDirectoryAdmin.providedBy(directory):
            raise ValueError("create_accounts needs a directory that can be changed")
        self.abilities = abilities
        self._store = store
        self._recall: Callable[..., IMailAccount | None] | None = None
        if IRecallingStore.providedBy(store):
            self._recall = store.recall_account
        self.directory = directory
        self._deliveries = deliveries
        self._homes = homes
        self._create_accounts = create_accounts

    def requestAvatar(
        self, avatar_id: bytes | str | tuple[()], mind: Any, *interfaces: type[Interface]
    ) -> Deferred[_Avatar]:
        return run(self._avatar(avatar_id, mind, interfaces))

    async def _avatar(
        self, avatar_id: bytes | str | tuple[()], mind: Any, interfaces: tuple[type[Interface], ...]
    ) -> _Avatar:
        account = None if avatar_id == () else await self._account_name(avatar_id)
        if isinstance(avatar_id, Guest):
            return await self._guest_avatar(account, mind, interfaces)
        return await self.get_avatar(account, mind, interfaces)

    async def _guest_avatar(
        self, account: str | None, mind: Any, interfaces: tuple[type[Interface], ...]
    ) -> _Avatar:
        if IMailAccount not in interfaces and IFileHome not in interfaces:
            raise AuthorizationFailed
        interface, avatar, logout = await self.get_avatar(account, mind, interfaces)
        view = GuestAccount(avatar) if interface is IMailAccount else GuestHome(avatar)
        return interface, view, logout

    async def get_avatar(
        self, account: str | None, mind: Any, interfaces: tuple[type[Interface], ...]
    ) -> _Avatar:
        """What ``requestAvatar`` gives, for an account's canonical name; None for anybody.

        :raises AuthorizationFailed: that is only for users who have logged in.
        :raises NotImplementedError: the realm has none of these.
        """
        if IMailAccount in interfaces and account is not None:
            return IMailAccount, await self._store.open_account(name=account), _nothing_to_release
        if IMessageDelivery in interfaces and self._deliveries is not None:
            return IMessageDelivery, self._deliveries(account, mind), _nothing_to_release
        if IFileHome in interfaces and account is not None and self._homes is not None:
            home = await self._homes.open_home(account=account)
            if self.directory is not None:
                home = await open_resident_home(self.directory, account, home)
            return IFileHome, home, _nothing_to_release
        if IMailAccount in interfaces:
            raise AuthorizationFailed("Mailboxes are only for users who have logged in")
        names = ", ".join(interface.__name__ for interface in interfaces)
        wanted = [_GIVEN[interface] for interface in interfaces if interface in _GIVEN]
        advice = f": give make_portal {', '.join(wanted)}" if wanted else ""
        raise NotImplementedError(f"this realm has no {names}{advice}")

    def recall_avatar(
        self, account: str | None, mind: Any, interface: type[Interface]
    ) -> _Avatar | None:
        """The same, for an account that was recalled; None where that has to wait, or is refused."""
        if interface is IMailAccount:
            if account is None or self._recall is None:
                return None
            avatar = self._recall(name=account)
            return None if avatar is None else (interface, avatar, _nothing_to_release)
        if interface is IMessageDelivery and self._deliveries is not None:
            return interface, self._deliveries(account, mind), _nothing_to_release
        return None

    async def find_acting(self, avatar_id: bytes | str, identity: str) -> str:
        """Canonical name of the account that a user wants to act for.

        :raises AuthorizationFailed: there is none, or the user is neither its owner nor an
            administrator.
        """
        user = await self._account_name(avatar_id)
        directory: Any = self.directory
        wanted: str | None = identity
        if directory is not None:
            wanted = await directory.find_account(login=identity)
        if wanted == user:
            return user
        if wanted is None or not IAdministratorDirectory.providedBy(directory):
            raise AuthorizationFailed
        if user not in await directory.list_administrators():
            raise AuthorizationFailed
        return wanted

    async def _account_name(self, avatar_id: bytes | str | tuple[()]) -> str:
        # A checker that gives None instead of raising UnauthorizedLogin has let nobody in.
        if not isinstance(avatar_id, (bytes, str)) or not avatar_id:
            raise TypeError(f"a checker gave {avatar_id!r}, which is no user's name")
        try:
            login = avatar_id.decode("utf-8") if isinstance(avatar_id, bytes) else str(avatar_id)
        except UnicodeDecodeError:
            raise NoSuchAccount from None
        if self.directory is None:
            return login
        name = await self.directory.find_account(login=login)
        if name is not None:
            return name
        if isinstance(avatar_id, ExistingUser):
            raise AuthorizationFailed("You have no account here")
        if not self._create_accounts:
            raise NoSuchAccount
        return await provide_account(self.directory, login)


def _nothing_to_release() -> None:
    """Logout: accounts and deliveries hold nothing for a connection."""
