"""Credentials checkers: the store's own accounts, and several checkers in a row."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, maybeDeferred
from zope.interface import Interface, implementer

from mailkit.auth.app_passwords import parse_app_password
from mailkit.auth.located import MAX_LENGTH, LocatedPassword, text_of
from mailkit.auth.names import canonical_name, domain_of, prepared_name
from mailkit.auth.pacing import Hold
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.refusals import WrongPassword
from mailkit.auth.restrictions import Restrictions
from mailkit.auth.scram import KeyMaker
from mailkit.auth.totp import use_nothing
from mailkit.coroutines import run
from mailkit.errors import MailError
from mailkit.identity import Login
from mailkit.interfaces import (
    IBearerToken,
    IDirectory,
    ILoginDirectory,
    IRecallingDirectory,
    IScramDirectory,
    IUserLookup,
    IVouchedUser,
)


@implementer(ICredentialsChecker)
class DirectoryChecker:
    """Checks passwords against the hashes of a directory. The avatar id is the account's name.

    A user that does not exist, one without a password and a wrong password fail with the same
    text, after the same time.

    :param seconds: tells the time.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self,
        directory: IDirectory,
        hasher: PasswordHasher | None = None,
        *,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._hasher = hasher or PasswordHasher()
        self._restrictions = Restrictions(directory, seconds)
        self._key_maker: KeyMaker | None = None
        if IScramDirectory.providedBy(directory):
            self._key_maker = KeyMaker(directory, self._hasher)
        self._recall: Callable[..., Login | None] = _recall_nobody
        if IRecallingDirectory.providedBy(directory):
            self._recall = directory.recall_login
        self._find: Callable[..., Awaitable[Login | None]] = self._ask_twice
        if ILoginDirectory.providedBy(directory):
            self._find = directory.find_login

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        # Those of MailPortal know where they come from.
        address = getattr(credentials, "address", "")
        protocol = getattr(credentials, "protocol", "")
        return run(self.check(credentials.username, credentials.password, address, protocol))

    async def check(
        self,
        username: bytes | str,
        password: bytes | str,
        address: str = "",
        protocol: str = "",
    ) -> str:
        """Name of the account whose password it is.

        :param address: the client's: where passwords wait to be verified, addresses take turns.
        :param protocol: by which it comes: not every password is taken by each.
        :raises UnauthorizedLogin: there is none.
        :raises AuthenticationFailed: it was one, but is no longer valid.
        :raises AuthorizationFailed: it is one for other protocols.
        """
        if len(username) > MAX_LENGTH or len(password) > MAX_LENGTH:
            raise UnauthorizedLogin
        name = text_of(username)
        # What the directory still knows of the last time has not changed since, nor what keys it wants.
        is_known = name is not None and self._recall(login=name) is not None
        login = await self._find(login=name) if name else None
        if login is None and name and (prepared := prepared_name(name)) is not None:
            login = await self._find(login=prepared)
        if login is not None and self._remembers(login, password):
            # A polling client's, as most are; the time tells nobody more than that it is in.
            if not is_known:
                self._make_keys(login, password)
            return login.account
        refusal = WrongPassword(str(login.account)) if login else UnauthorizedLogin()
        app_passwords = self._restrictions.app_passwords
        app_password = app_passwords and parse_app_password(password)
        if app_passwords is not None and app_password:
            # First, as it takes no time, whoever the user is.
            account = login.account if login else name or ""
            if await app_passwords.verify(str(account), app_password, protocol, address):
                return str(account)
        use: Callable[[], Awaitable[None]] = use_nothing
        anew = False
        if login is not None and login.restricted:
            split = await self._restrictions.judge(login, password, protocol)
            if split is None:
                login = None
            else:
                password, use, anew = split
        else:
            self._restrictions.pretend(password)
        if login is None or login.password_hash is None:
            await self._hasher.verify_nobody(password, address)
            raise refusal
        if not await self._hasher.judge(login.password_hash, password, address, use, anew=anew):
            raise refusal
        if not login.restricted:
            self._make_keys(login, password)
        # What the directory knew besides the name may have changed meanwhile.
        return str(login.account)

    def recall(self, username: bytes | str, password: bytes | str) -> str | None:
        """What :meth:`check` returns, when both are known from the last time; None otherwise."""
        if len(username) > MAX_LENGTH or len(password) > MAX_LENGTH:
            return None
        name = text_of(username)
        login = self._recall(login=name) if name else None
        if login is None:
            return None
        account, password_hash, restricted = login
        if password_hash is None or restricted:
            return None
        return account if self._hasher.remembers(password_hash, password) else None

    def _remembers(self, login: Login, password: bytes | str) -> bool:
        """Whether it is the account's own password, and was verified lately."""
        return (
            login.password_hash is not None
            and not login.restricted
            and self._hasher.remembers(login.password_hash, password)
        )

    def _make_keys(self, login: Login, password: bytes | str) -> None:
        """Have the keys for SCRAM made that the directory wants, and lacks."""
        if self._key_maker is not None and login.password_hash is not None:
            self._key_maker.note(str(login.account), login.password_hash, password)

    async def _ask_twice(self, login: str) -> Login | None:
        directory = self.directory
        account = await directory.find_account(login=login)
        if account is None:
            return None
        return Login(account, await directory.get_password_hash(account=account))


def _recall_nobody(login: str) -> Login | None:
    """For a directory that remembers nothing."""
    return None


@implementer(ICredentialsChecker)
class VouchedUserChecker:
    """Believes who vouches for a user, as long as the directory has an account for the name.

    Whoever makes such credentials has judged that the one who vouches may.
    """

    credentialInterfaces = (IVouchedUser,)

    def __init__(self, directory: IDirectory) -> None:
        self._directory = directory

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return run(self._find(credentials.username))

    async def _find(self, username: str) -> str:
        account: str | None = None
        if 0 < len(username) <= MAX_LENGTH:
            account = await self._directory.find_account(login=username)
        if account is None:
            raise UnauthorizedLogin
        return account


@implementer(ICredentialsChecker)
class StoreAccounts:
    """Stands for the store's own accounts in rules that are made before there is a store."""

    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return fail(UnauthorizedLogin())


@dataclass(frozen=True)
class AuthRule:
    """A checker, and who asks it."""

    checker: ICredentialsChecker
    #: Canonical domains whose users it is for; empty for everybody. A user name without a domain is
    #: one of the first.
    domains: tuple[str, ...] = ()
    #: When it refuses somebody, those behind it are not asked.
    final: bool = False

    def name_for(self, login: str) -> str | None:
        """What the checker is asked for when somebody gives this name; None when it is not."""
        if not self.domains:
            return login
        domain = domain_of(canonical_name(login))
        if not domain:
            return f"{login}@{self.domains[0]}"
        return login if domain in self.domains else None


@implementer(ICredentialsChecker, IUserLookup)
class ChainChecker:
    """Asks several checkers in turn until one knows the credentials.

    A Portal holds one checker for each credentials interface and replaces it without a word; this
    one may be put there for any number. A checker that fails on its own side does not stop the
    ones after it; its failure is told when they refuse too.

    :param checkers: checkers, or rules that say whose users they are for.
    """

    def __init__(self, checkers: Iterable[ICredentialsChecker | AuthRule]) -> None:
        self.rules = tuple(
            each if isinstance(each, AuthRule) else AuthRule(each) for each in checkers
        )
        interfaces: dict[type[Interface], None] = {}
        for rule in self.rules:
            interfaces.update(dict.fromkeys(rule.checker.credentialInterfaces))
        self.credentialInterfaces = tuple(interfaces)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return run(self._ask(credentials))

    async def _ask(self, credentials: Any) -> Any:
        trouble: MailError | None = None
        refusal: LoginFailed | None = None
        # One after the other, and all of them: somebody else's user waits for none.
        held: list[Hold] = []
        for rule in self.rules:
            checker = rule.checker
            named = _for_rule(credentials, rule, held)
            if not any(i.providedBy(named) for i in checker.credentialInterfaces):
                continue
            try:
                return await maybeDeferred(checker.requestAvatarId, named)
            except LoginFailed as error:
                refusal = refusal or error
            except MailError as error:
                trouble = trouble or error
            if rule.final:
                break
        for hold in held:
            await hold()
        raise trouble or refusal or UnauthorizedLogin()

    async def find_login(self, login: str) -> Login | None:
        """As :meth:`mailkit.interfaces.IUserLookup.find_login`, from the first that knows him."""
        trouble: MailError | None = None
        for rule in self.rules:
            name = rule.name_for(login)
            if name is None or not IUserLookup.providedBy(rule.checker):
                continue
            try:
                found: Login | None = await rule.checker.find_login(login=name)
            except MailError as error:
                trouble = trouble or error
                continue
            if found is not None:
                return found
        if trouble is not None:
            raise trouble
        return None


# Credentials in which nothing is lost that a LocatedPassword has not.
_OURS = (UsernamePassword, LocatedPassword)


def _for_rule(credentials: Any, rule: AuthRule, held: list[Hold]) -> Any:
    """The credentials as the rule's checker gets them; None when it does not.

    :param held: gets what is waited for before a refusal is told.
    """
    if IBearerToken.providedBy(credentials):
        # A token says itself whose it is.
        return credentials
    is_password = IUsernamePassword.providedBy(credentials) and hasattr(credentials, "password")
    username: Any = getattr(credentials, "username", b"")
    if rule.domains:
        login = text_of(username)
        name = None if login is None else rule.name_for(login)
        if name is None or not (is_password or name == login):
            return None
        if name != login:
            username = name.encode()
    if not is_password:
        return credentials
    if type(credentials) not in _OURS and username == credentials.username:
        # An embedder's own, which may tell more than a name and a password.
        return credentials
    return LocatedPassword(
        username,
        credentials.password,
        getattr(credentials, "address", ""),
        getattr(credentials, "protocol", ""),
        held,
    )
