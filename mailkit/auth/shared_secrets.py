"""Logins by CRAM-MD5 and APOP, for accounts whose password is kept as it is."""

from __future__ import annotations

import secrets
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailkit.auth.passwords import PLAIN_PREFIX
from mailkit.auth.refusals import WrongPassword
from mailkit.coroutines import run
from mailkit.interfaces import ILoginDirectory, ISharedSecretLogin


@implementer(ICredentialsChecker)
class SharedSecretChecker:
    """Verifies digests by the passwords of a directory that begin with ``{PLAIN}``.

    The avatar id is the account's name. All other accounts look like wrong passwords.
    """

    credentialInterfaces = (ISharedSecretLogin,)

    def __init__(self, directory: ILoginDirectory) -> None:
        self._directory = directory
        self._nobodys = secrets.token_bytes(16)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return run(self._check(credentials))

    async def _check(self, credentials: Any) -> str:
        login = await self._directory.find_login(login=credentials.username)
        kept = (login.password_hash or "") if login and not login.restricted else ""
        has_secret = kept.startswith(PLAIN_PREFIX)
        secret = kept[len(PLAIN_PREFIX) :].encode("utf-8") if has_secret else self._nobodys
        proved = credentials.is_proved_by(secret)
        if login is None:
            raise UnauthorizedLogin
        if not (has_secret and proved):
            raise WrongPassword(str(login.account))
        return str(login.account)
