"""What an account asks besides its right password, whoever says that it is right."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from mailkit.auth.app_passwords import AppPasswords, scope_of
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.located import MAX_LENGTH, LocatedPassword, text_of
from mailkit.auth.names import prepared_name
from mailkit.auth.refusals import WrongPassword
from mailkit.auth.totp import SecondFactors, SplitPassword, use_nothing
from mailkit.coroutines import run
from mailkit.errors import NoSuchAccount
from mailkit.identity import Login
from mailkit.interfaces import IAppPasswordDirectory, ILoginDirectory, ISecondFactorDirectory


class Restrictions:
    """Knows for what the accounts' own passwords are taken, and with which codes.

    :param directory: any; it knows of none where it does not provide their interfaces.
    :param seconds: tells the time.
    """

    def __init__(self, directory: Any, seconds: Callable[[], float]) -> None:
        self._directory = directory
        self.app_passwords: AppPasswords | None = None
        if IAppPasswordDirectory.providedBy(directory):
            self.app_passwords = AppPasswords(directory, seconds)
        self._second_factors: SecondFactors | None = None
        if ISecondFactorDirectory.providedBy(directory):
            self._second_factors = SecondFactors(directory, seconds)

    async def judge(
        self, login: Login, password: bytes | str, protocol: str
    ) -> SplitPassword | None:
        """The own password of an account that is restricted, as it was typed; None where it is not
        taken so."""
        account = str(login.account)
        if self.app_passwords is None and self._second_factors is None:
            # Nobody says what else is needed.
            return None
        try:
            if self.app_passwords is not None:
                scopes = await self._directory.get_password_scopes(account=account)
                if scopes is not None and scope_of(protocol) not in scopes:
                    return None
            if self._second_factors is None:
                return SplitPassword(password, use_nothing)
            return await self._second_factors.split(account, password)
        except NoSuchAccount:
            return None

    def pretend(self, password: bytes | str) -> None:
        """Take as long as :meth:`judge`, for an account that is not restricted, or nobody's."""
        if self._second_factors is not None:
            self._second_factors.pretend(password)


@implementer(ICredentialsChecker)
class RestrictedChecker:
    """Asks another checker about passwords, and the directory about what else is needed.

    So a user base elsewhere does not let in whom the directory would not.

    A :class:`~mailkit.auth.bases.UserBaseChecker` lets what is refused here take the time of a wrong
    password. Of others nobody knows what that is: they are refused when they have answered.

    :param inner: knows users and passwords.
    """

    def __init__(
        self,
        inner: ICredentialsChecker,
        directory: ILoginDirectory,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self.credentialInterfaces = inner.credentialInterfaces
        self._inner = inner
        self._directory = directory
        self._restrictions = Restrictions(directory, seconds)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        if IUsernamePassword.providedBy(credentials) and hasattr(credentials, "password"):
            return run(self._check(credentials))
        return maybeDeferred(self._inner.requestAvatarId, credentials)

    async def _check(self, credentials: Any) -> Any:
        login = await self._find(credentials.username)
        username, password = credentials.username, credentials.password
        address = getattr(credentials, "address", "")
        protocol = getattr(credentials, "protocol", "")
        held = getattr(credentials, "held", None)
        use: Callable[[], Awaitable[None]] = use_nothing
        hidden = False
        if login is None or not login.restricted:
            self._restrictions.pretend(password)
        else:
            account = str(login.account)
            split = await self._restrictions.judge(login, password, protocol)
            # As it was typed it may be right, but not enough.
            password, use, hidden = split or (password, lambda: _refuse(account), True)

        async def confirm(avatar_id: Any) -> None:
            found = await self._find(avatar_id)
            if (
                found is not None
                and found.restricted
                and (login is None or str(login.account) != str(found.account))
            ):
                # The user base has another name for the account, by which nothing could be asked for.
                raise WrongPassword(str(found.account))
            await use()

        if isinstance(self._inner, UserBaseChecker):
            return await self._inner.check(
                username, password, address, confirm=confirm, anew=hidden, held=held
            )
        asked = credentials
        if password != credentials.password:
            asked = LocatedPassword(username, _octets(password), address, protocol, held)
        avatar_id = await maybeDeferred(self._inner.requestAvatarId, asked)
        await confirm(avatar_id)
        return avatar_id

    async def _find(self, name: Any) -> Login | None:
        text = text_of(name) if isinstance(name, (bytes, str)) and len(name) <= MAX_LENGTH else None
        if not text:
            return None
        found = await self._directory.find_login(login=text)
        if found is None and (prepared := prepared_name(text)) is not None:
            found = await self._directory.find_login(login=prepared)
        return found


async def _refuse(account: str) -> None:
    raise WrongPassword(account)


def _octets(password: bytes | str) -> bytes:
    if isinstance(password, bytes):
        return password
    return password.encode("utf-8", "surrogatepass")
