"""Logins by SCRAM against the keys of a directory, and making keys of passwords."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.refusals import WrongPassword
from mailkit.coroutines import run
from mailkit.errors import MailError
from mailkit.interfaces import IScramDirectory, IScramLogin
from mailkit.wire.sasl import SASLError
from mailkit.wire.scram import FoundKeys, ScramKeys, derive_keys

#: Seconds for which it is remembered which mechanisms all accounts can use.
MECHANISM_SECONDS = 10.0


def keys_of(password: bytes | str, mechanisms: Sequence[str]) -> list[ScramKeys]:
    """The keys of a password. Takes some milliseconds for each.

    Without any for a password that is no UTF-8: no client of SCRAM can send such a thing.
    """
    if isinstance(password, bytes):
        try:
            password = password.decode("utf-8")
        except UnicodeDecodeError:
            return []
    try:
        return [derive_keys(mechanism, password) for mechanism in mechanisms]
    except SASLError:
        # Nothing is left of it after SASLprep.
        return []


@implementer(ICredentialsChecker)
class ScramChecker:
    """Verifies proofs by the keys of a directory. The avatar id is the account's name.

    :param seconds: tells the time.
    """

    credentialInterfaces = (IScramLogin,)
    log = Logger()

    def __init__(
        self, directory: IScramDirectory, *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._seconds = seconds
        self._mechanisms: frozenset[str] = frozenset()
        self._asked = float("-inf")

    @property
    def scram_mechanisms(self) -> frozenset[str]:
        """Mechanisms that all users of the directory can use, as it has told lately."""
        if self._seconds() - self._asked >= MECHANISM_SECONDS:
            self._asked = self._seconds()
            run(self._ask()).addErrback(
                lambda failure: self.log.failure("nobody knows who can use SCRAM", failure)
            )
        return self._mechanisms

    async def _ask(self) -> None:
        self._mechanisms = frozenset(await self._directory.list_scram_mechanisms())

    async def find_scram_keys(self, login: str, mechanism: str) -> FoundKeys:
        """What a mechanism must know before it can ask for a proof."""
        return await self._directory.find_scram_keys(login=login, mechanism=mechanism)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return run(self._check(credentials))

    async def _check(self, credentials: Any) -> str:
        account, keys = await self.find_scram_keys(credentials.username, credentials.mechanism)
        proved = credentials.is_proved_by(keys)
        if account is None:
            raise UnauthorizedLogin
        if not proved:
            raise WrongPassword(account)
        return account


class KeyMaker:
    """Makes keys when a password is known for a moment: at a login by another mechanism.

    So a store comes to have keys for all its accounts without anybody changing a password.
    """

    log = Logger()

    def __init__(self, directory: IScramDirectory, hasher: PasswordHasher) -> None:
        self._directory = directory
        self._hasher = hasher

    def note(self, account: str, password_hash: str, password: bytes | str) -> None:
        """The password has been verified; the login does not wait for its keys."""
        run(self._make(account, password_hash, password)).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        # They are made at the next login.
        if failure.check(MailError) is None:
            self.log.failure("no SCRAM keys could be made", failure)

    async def _make(self, account: str, password_hash: str, password: bytes | str) -> None:
        directory = self._directory
        missing = []
        for mechanism in await directory.get_scram_policy():
            found = await directory.find_scram_keys(login=account, mechanism=mechanism)
            if found.account is None:
                missing.append(mechanism)
        if not missing:
            return
        keys = await self._hasher.compute(lambda: keys_of(password, missing))
        await directory.add_scram_keys(
            account=account, password_hash=password_hash, scram_keys=keys
        )
