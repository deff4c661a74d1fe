"""A portal in one call, for programs that embed a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

from twisted.cred.checkers import AllowAnonymousAccess, ICredentialsChecker
from twisted.cred.credentials import Anonymous, IAnonymous, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import Interface, implementer

from mailkit._typing import override
from mailkit.auth.certificates import CertificateChecker, CertificateNames
from mailkit.auth.checkers import (
    AuthRule,
    ChainChecker,
    DirectoryChecker,
    VouchedUserChecker,
)
from mailkit.auth.guests import GuestChecker
from mailkit.auth.kerberos import KerberosAcceptor, KerberosChecker
from mailkit.auth.located import LocatedPassword
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.realm import Deliveries, MailRealm
from mailkit.auth.restrictions import RestrictedChecker
from mailkit.auth.scram import ScramChecker
from mailkit.auth.shared_secrets import SharedSecretChecker
from mailkit.coroutines import run
from mailkit.errors import AuthorizationFailed
from mailkit.guard import LoginGuard
from mailkit.interfaces import (
    IActingPortal,
    IAppPasswordDirectory,
    IDirectory,
    IDirectoryAdmin,
    IFileHomes,
    ILoginDirectory,
    IMailStore,
    IRecallingPortal,
    IScramDirectory,
    ISecondFactorDirectory,
)
from mailkit.model import Ability, ConnectionInfo

_UNKNOWN = ConnectionInfo("")


@implementer(IActingPortal, IRecallingPortal)
class MailPortal(Portal):
    """A portal that tells checkers where a password comes from, and lets administrators act for others.

    It hands a login from our checker to our realm without looking up the name again, and asks our
    realm for the avatar of anybody itself. Other checkers, realms and credentials go the usual way.

    :ivar guard: slows down logins by whatever protocol uses the portal.
    """

    def __init__(
        self,
        realm: IRealm,
        checkers: Iterable[ICredentialsChecker] = (),
        *,
        guard: LoginGuard | None = None,
    ) -> None:
        super().__init__(realm, checkers)
        self.guard = guard or LoginGuard()

    @override
    def login(self, credentials: Any, mind: Any, *interfaces: Any) -> Deferred[Any]:
        realm = self.realm
        if isinstance(credentials, Anonymous):
            anybody = self.checkers.get(IAnonymous)
            if isinstance(anybody, AllowAnonymousAccess) and isinstance(realm, MailRealm):
                return run(realm.get_avatar(None, mind, interfaces))
        elif isinstance(credentials, UsernamePassword):
            info = mind if isinstance(mind, ConnectionInfo) else _UNKNOWN
            if (ours := self._ours()) is not None:
                return run(_log_in(*ours, credentials, info, mind, interfaces))
            credentials = LocatedPassword(
                credentials.username, credentials.password, info.peer, info.protocol
            )
        return super().login(credentials, mind, *interfaces)

    def _ours(self) -> tuple[DirectoryChecker, MailRealm] | None:
        """Checker and realm, if both are ours and take their users from the same directory."""
        checker, realm = self.checkers.get(IUsernamePassword), self.realm
        if (
            isinstance(checker, DirectoryChecker)
            and isinstance(realm, MailRealm)
            and checker.directory is realm.directory
        ):
            return checker, realm
        return None

    def recall(self, credentials: Any, mind: Any, interface: type[Interface]) -> Any:
        if isinstance(credentials, Anonymous):
            anybody, realm = self.checkers.get(IAnonymous), self.realm
            if isinstance(anybody, AllowAnonymousAccess) and isinstance(realm, MailRealm):
                return realm.recall_avatar(None, mind, interface)
            return None
        if type(credentials) is not UsernamePassword or (ours := self._ours()) is None:
            return None
        checker, realm = ours
        account = checker.recall(credentials.username, credentials.password)
        return None if account is None else realm.recall_avatar(account, mind, interface)

    def login_as(
        self, credentials: Any, identity: str, mind: Any, *interfaces: Any
    ) -> Deferred[Any]:
        return run(self._log_in_as(credentials, identity, mind, interfaces))

    async def _log_in_as(
        self, credentials: Any, identity: str, mind: Any, interfaces: tuple[Any, ...]
    ) -> Any:
        realm = self.realm
        checker = next((c for i, c in self.checkers.items() if i.providedBy(credentials)), None)
        if checker is None:
            raise UnauthorizedLogin
        if isinstance(credentials, UsernamePassword):
            info = mind if isinstance(mind, ConnectionInfo) else _UNKNOWN
            credentials = LocatedPassword(
                credentials.username, credentials.password, info.peer, info.protocol
            )
        avatar_id: Any = await maybeDeferred(checker.requestAvatarId, credentials)
        if not isinstance(realm, MailRealm) or avatar_id == ():
            raise AuthorizationFailed
        account = await realm.find_acting(avatar_id, identity)
        return await realm.get_avatar(account, mind, interfaces)


async def _log_in(
    checker: DirectoryChecker,
    realm: MailRealm,
    credentials: UsernamePassword,
    info: ConnectionInfo,
    mind: Any,
    interfaces: tuple[Any, ...],
) -> Any:
    account = await checker.check(
        credentials.username, credentials.password, info.peer, info.protocol
    )
    return await realm.get_avatar(account, mind, interfaces)


def _restricted(
    checker: ICredentialsChecker | AuthRule, directory: IDirectory | None
) -> ICredentialsChecker | AuthRule:
    """The same, asked for what the directory wants besides a password.

    Our checker asks for that by itself.
    """
    if isinstance(checker, AuthRule):
        inner: Any = _restricted(checker.checker, directory)
        return replace(checker, checker=inner)
    if isinstance(checker, ChainChecker):
        return ChainChecker([_restricted(rule, directory) for rule in checker.rules])
    if (
        isinstance(checker, (DirectoryChecker, RestrictedChecker))
        or IUsernamePassword not in checker.credentialInterfaces
        or not (
            IAppPasswordDirectory.providedBy(directory)
            or ISecondFactorDirectory.providedBy(directory)
        )
    ):
        return checker
    return RestrictedChecker(checker, cast(ILoginDirectory, directory))


def make_portal(
    store: IMailStore,
    checkers: Sequence[ICredentialsChecker | AuthRule] = (),
    *,
    directory: IDirectory | None = None,
    deliveries: Deliveries | None = None,
    create_accounts: bool | None = None,
    hasher: PasswordHasher | None = None,
    abilities: frozenset[Ability] = frozenset(),
    homes: IFileHomes | None = None,
    guard: LoginGuard | None = None,
    guest_of: str = "",
    certificates: CertificateNames | None = None,
    kerberos: KerberosAcceptor | None = None,
) -> Portal:
    """A portal where users log in to their accounts, and anybody delivers mail.

    :param checkers: asked in turn, those with a rule for their domains alone; the accounts and
        passwords of ``directory`` when empty.
    :param directory: the accounts; the store itself when it is one.
    :param deliveries: makes deliveries; clients may then also log in as ``Anonymous()`` for one.
    :param create_accounts: make an account for a user whom ``checkers`` know and the directory
        does not; None for: when checkers are given and the directory can be changed.
    :param hasher: verifies the directory's passwords.
    :param abilities: what the deliveries can promise, for clients that have not logged in.
    :param homes: where accounts have their files; None where they have none.
    :param guard: slows down whoever guesses passwords; one for all portals of a store is best.
    :param guest_of: the account that anonymous users may read (SASL ANONYMOUS, and FTP's user of that
        name); empty for no such users.
    :param certificates: whose the certificates of clients are that TLS has verified; None where
        nobody logs in by one.
    :param kerberos: takes tickets; None where nobody logs in by one.
    :raises ValueError: there is neither a checker nor a directory.
    """
    if directory is None and IDirectory.providedBy(store):
        directory = store
    external: list[ICredentialsChecker | AuthRule] = [
        _restricted(each, directory) for each in checkers
    ]
    if not external:
        if directory is None:
            raise ValueError("a store that is no directory needs a checker")
        external.append(DirectoryChecker(directory, hasher))
    if create_accounts is None:
        create_accounts = bool(checkers) and IDirectoryAdmin.providedBy(directory)
    realm = MailRealm(store, directory, deliveries, create_accounts, abilities, homes)
    portal = MailPortal(realm, guard=guard)
    if deliveries is not None:
        portal.registerChecker(AllowAnonymousAccess())
        if directory is not None:
            # What a trusted client of SMTP names is a user here, or nobody.
            portal.registerChecker(VouchedUserChecker(directory))
    if len(external) == 1 and isinstance(external[0], DirectoryChecker):
        # Beside others, some users would have no keys.
        own = external[0].directory
        if IScramDirectory.providedBy(own):
            portal.registerChecker(ScramChecker(own))
        if ILoginDirectory.providedBy(own):
            portal.registerChecker(SharedSecretChecker(own))
    if guest_of:
        portal.registerChecker(GuestChecker(guest_of))
    if certificates is not None and directory is not None:
        portal.registerChecker(CertificateChecker(directory, certificates))
    if kerberos is not None and directory is not None:
        portal.registerChecker(KerberosChecker(directory, kerberos))
    only = external[0]
    if len(external) > 1 or isinstance(only, AuthRule):
        only = ChainChecker(external)
    portal.registerChecker(only)
    return portal
