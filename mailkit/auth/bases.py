"""User bases as checkers: users who are known elsewhere than in the store."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from mailkit.auth.located import MAX_LENGTH, NotAsked, text_of
from mailkit.auth.names import prepared_name
from mailkit.auth.pacing import Hold, Question, Refusals
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.refusals import WrongPassword
from mailkit.auth.turns import Entrance
from mailkit.coroutines import run
from mailkit.errors import MailError, TemporaryFailure
from mailkit.identity import Login
from mailkit.interfaces import IClosableUserBase, IPasswordVerifier, IUserLookup

#: Passwords that a base verifies at the same time, unless it says otherwise.
AT_ONCE = 16
#: Those that may wait for that; when there are more, whose clients have the least claim come back
#: later.
MAX_WAITING = 256
#: Seconds for which they do, whatever the base takes: clients do not wait for ever either.
MAX_WAIT = 20.0
#: Stored passwords of users seen lately, whose like a user that does not exist is given.
MAX_LIKENESSES = 64

#: Called with the name of the account, once its password is found to be right; whoever is not to be
#: let in all the same is refused there.
Confirm = Callable[[str], Awaitable[None]]


async def confirm_nothing(account: str) -> None:
    """The password is enough."""


@implementer(ICredentialsChecker, IClosableUserBase)
class UserBaseChecker:
    """Checks passwords by a user base. The avatar id is the name of the account.

    A user that does not exist and a wrong password fail with the same text, after the same time; where
    the base itself verifies passwords, refusals are held back for that. What goes wrong in the base
    is a temporary failure, never a wrong password. When the base can be asked for users, so can
    this.

    :param base: provides ``IUserLookup``, ``IPasswordVerifier`` or both. Where it verifies passwords,
        an attribute ``at_once`` may say how many it can at the same time, and ``refuses_slowly`` that it
        takes its time over a wrong password; it may raise :class:`~mailkit.auth.located.NotAsked`.
    :param hasher: verifies stored passwords; of its own when None.
    :param clock: source of time for those who wait, and refusals; the reactor when None.
    :raises TypeError: it provides neither.
    """

    log = Logger()

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self,
        base: Any,
        hasher: PasswordHasher | None = None,
        *,
        clock: IReactorTime | None = None,
    ) -> None:
        self.base = base
        self._hasher = hasher
        self._verifies = IPasswordVerifier.providedBy(base)
        if IUserLookup.providedBy(base):
            alsoProvides(self, IUserLookup)
        elif not self._verifies:
            raise TypeError(f"{base!r} provides neither IUserLookup nor IPasswordVerifier")
        if clock is None:
            from twisted.internet import reactor

            clock = cast(IReactorTime, reactor)
        self._clock = clock
        self._refusals = Refusals(clock, slow=getattr(base, "refuses_slowly", False))
        at_once = getattr(base, "at_once", AT_ONCE)
        self._entrance = Entrance(at_once, MAX_WAITING, MAX_WAIT, clock)
        self._key = os.urandom(16)
        #: Each with a random number: the nearest one to a name's number is what the name gets.
        self._likenesses: dict[str, int] = {}

    def use_hasher(self, hasher: PasswordHasher) -> None:
        """Let passwords be verified in threads that are shared with others."""
        self._hasher = hasher

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        # Those of MailPortal know where they come from.
        address = getattr(credentials, "address", "")
        held = getattr(credentials, "held", None)
        return run(self.check(credentials.username, credentials.password, address, held=held))

    async def check(
        self,
        username: bytes | str,
        password: bytes | str,
        address: str = "",
        *,
        confirm: Confirm = confirm_nothing,
        anew: bool = False,
        held: list[Hold] | None = None,
    ) -> str:
        """Name of the account whose password it is.

        :param address: the client's: where passwords wait to be verified, addresses take turns.
        :param confirm: asks what else is needed. What it refuses takes the time of a wrong password.
        :param anew: it will refuse, so that no password is taken from memory.
        :param held: gets what the caller waits for before he tells a refusal; it is waited for here
            when None.
        :raises UnauthorizedLogin: there is none.
        :raises TemporaryFailure: the base cannot tell just now.
        """
        if isinstance(password, str):
            password = password.encode("utf-8", "surrogatepass")
        login = text_of(username)
        if len(username) > MAX_LENGTH or len(password) > MAX_LENGTH:
            raise UnauthorizedLogin
        # RFC 4616 section 2, and RFC 4513 section 5.1.2: an empty one would be no login at all.
        if not login or not password or "\0" in login or b"\0" in password:
            raise UnauthorizedLogin
        if self._verifies:
            account, refusal, hold = await self._verify(login, password, address, confirm)
            if refusal is None:
                return account
            if held is None:
                await hold()
            else:
                held.append(hold)
            raise refusal
        found = await self.find_login(login)
        if found is None and (prepared := prepared_name(login)) is not None:
            found = await self.find_login(prepared)
        return await self._compare(login, found, password, address, confirm, anew)

    async def _verify(
        self, login: str, password: bytes, address: str, confirm: Confirm
    ) -> tuple[str, LoginFailed | None, Hold]:
        """Let the base verify it, when it is the address's turn.

        :returns: the account, as it is: it may be one for whom no account is made; or why there is none;
            and what a refusal waits for.
        """
        await self._entrance.enter(address)
        question = self._refusals.ask()
        good: bool | None = None
        account, refusal = "", None
        try:
            account = await self._ask_for_account(login, password, question)
            # What counts does so at once; only the answer waits.
            await confirm(account)
            good = True
        except LoginFailed as error:
            good, refusal = False, error
        finally:
            self._entrance.leave(address, good)
        return account, refusal, self._refusals.hold(question)

    async def _ask_for_account(self, login: str, password: bytes, question: Question) -> str:
        """The account whose password it is, as the base has it.

        :raises LoginFailed: nobody's.
        """
        asked = False
        try:
            for name in (login, prepared_name(login)):
                if name is None:
                    continue
                with suppress(NotAsked):
                    account: str | None = await self._ask(
                        "verify_password", login=name, password=password
                    )
                    asked = True
                    if account is not None:
                        return account
        except LoginFailed:
            self._refusals.note(question)
            raise
        if asked:
            self._refusals.note(question)
        raise UnauthorizedLogin

    async def _compare(
        self,
        login: str,
        found: Login | None,
        password: bytes,
        address: str,
        confirm: Confirm,
        anew: bool,
    ) -> str:
        if self._hasher is None:
            self._hasher = PasswordHasher()
        # For users too, as it takes its time.
        likeness = self._likeness(login)
        if found is None or found.password_hash is None:
            await self._hasher.verify_nobody(password, address, likeness)
            raise UnauthorizedLogin
        self._remember(found.password_hash)
        account = found.account
        if not await self._hasher.judge(
            found.password_hash, password, address, lambda: confirm(account), anew=anew
        ):
            raise WrongPassword(account)
        return account

    def _remember(self, stored: str) -> None:
        if stored not in self._likenesses:
            self._likenesses[stored] = secrets.randbits(64)
            if len(self._likenesses) > MAX_LIKENESSES:
                del self._likenesses[next(iter(self._likenesses))]

    def _likeness(self, login: str) -> str | None:
        """A stored password that takes as long; the same one for a name as long as it is there."""
        octets = login.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(octets, digest_size=8, key=self._key).digest()
        name = int.from_bytes(digest, "big")
        return min(
            self._likenesses, key=lambda stored: self._likenesses[stored] ^ name, default=None
        )

    async def find_login(self, login: str) -> Login | None:
        """As :meth:`mailkit.interfaces.IUserLookup.find_login`."""
        if not login or len(login) > MAX_LENGTH or "\0" in login:
            return None
        found: Login | None = await self._ask("find_login", login=login)
        return found

    async def _ask(self, question: str, **arguments: Any) -> Any:
        """What a method of the base answers; trouble of its own is a temporary failure.

        :raises MailError: as the base does.
        """
        try:
            return await getattr(self.base, question)(**arguments)
        except (MailError, LoginFailed, CancelledError):
            raise
        except Exception:
            # Whatever the code of somebody else's may do.
            self.log.failure("the user base {base} has failed", base=type(self.base).__name__)
            raise TemporaryFailure from None

    async def close(self) -> None:
        if IClosableUserBase.providedBy(self.base):
            await self.base.close()
