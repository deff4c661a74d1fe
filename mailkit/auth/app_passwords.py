"""App passwords: one for each program, for some protocols, until some day.

The server makes them: a prefix that is no secret, by which they are found, and a hundred random bits.
Against guessing so many, a slow hash helps no more than a fast one, so they cost no time at a login.
What has not their form is never looked for among them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection

from twisted.logger import Logger

from mailkit.auth.secret_texts import ALPHABET, NOBODYS, grouped, is_kept, keep, new_text
from mailkit.coroutines import run
from mailkit.errors import AuthorizationFailed, PasswordExpired
from mailkit.expiring import ExpiringMap
from mailkit.identity import AppPassword
from mailkit.interfaces import IAppPasswordDirectory

_PREFIX_LENGTH = 4
_SECRET_LENGTH = 20

#: Octets of the longest way to write one, with something between all its characters.
_MAX_WRITTEN = 2 * (_PREFIX_LENGTH + _SECRET_LENGTH)
_is_app_password = re.compile(f"[{ALPHABET}]{{{_PREFIX_LENGTH + _SECRET_LENGTH}}}").fullmatch

#: Scopes that there are; ``web`` is for what is no mail protocol.
SCOPES = ("imap", "pop3", "smtp", "ftp", "web")
#: Seconds between two notes of its use.
NOTE_SECONDS = 24 * 3600.0
#: Uses that are remembered as noted.
_MAX_NOTED = 10_000


def scope_of(protocol: str) -> str:
    """The scope that a protocol, as :attr:`~mailkit.model.ConnectionInfo.protocol` has it, needs."""
    return "smtp" if protocol == "submission" else protocol


def new_app_password(
    scopes: Collection[str], now: int, *, label: str = "", expires: int | None = None
) -> tuple[str, AppPassword]:
    """A new one: as its user gets it, which is not kept, and as a directory keeps it."""
    plain = new_text(_PREFIX_LENGTH + _SECRET_LENGTH)
    kept = AppPassword(plain[:_PREFIX_LENGTH], keep(plain), frozenset(scopes), now, expires, label)
    return grouped(plain), kept


def parse_app_password(password: bytes | str) -> str | None:
    """The characters that count; None for what cannot be an app password.

    Letter case, spaces and dashes are whatever people and programs make of them.
    """
    if not _PREFIX_LENGTH + _SECRET_LENGTH <= len(password) <= _MAX_WRITTEN:
        return None
    text = password if isinstance(password, str) else password.decode("latin-1")
    plain = text.replace("-", "").replace(" ", "").lower()
    return plain if _is_app_password(plain) else None


class AppPasswords:
    """Verifies the app passwords of a directory, and notes their use now and then.

    :param seconds: tells the time.
    """

    log = Logger()

    def __init__(
        self, directory: IAppPasswordDirectory, seconds: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._seconds = seconds
        self._noted: ExpiringMap[tuple[str, str], bool] = ExpiringMap(_MAX_NOTED, seconds)

    async def verify(self, account: str, plain: str, protocol: str, address: str) -> bool:
        """Whether it is one of the account's.

        :param account: what the user has typed where there is no such account: it takes as long.
        :param plain: what :func:`parse_app_password` found.
        :raises PasswordExpired: it was one of them.
        :raises AuthorizationFailed: it is, but not for this protocol.
        """
        prefix = plain[:_PREFIX_LENGTH]
        found = await self._directory.find_app_password(account=account, prefix=prefix)
        correct = is_kept(found.digest if found else NOBODYS, plain)
        if found is None or not correct:
            return False
        now = self._seconds()
        if found.expires is not None and now >= found.expires:
            raise PasswordExpired
        if scope_of(protocol) not in found.scopes:
            # Whoever has the secret may know what is wrong with it.
            raise AuthorizationFailed("That app password is for other services")
        if found.used is None or not 0 <= now - found.used < NOTE_SECONDS:
            self._note(account, prefix, address, protocol)
        return True

    def _note(self, account: str, prefix: str, address: str, protocol: str) -> None:
        """Let the directory note the use; the login does not wait for it."""
        if self._noted.get((account, prefix)):
            return
        self._noted.set((account, prefix), True, NOTE_SECONDS)

        async def note() -> None:
            try:
                await self._directory.note_app_password_use(
                    account=account,
                    prefix=prefix,
                    used=int(self._seconds()),
                    address=address,
                    protocol=protocol,
                )
            except Exception:
                # Whatever a directory of somebody else's may raise; the login is good all the same.
                self.log.failure("the use of an app password could not be noted")

        run(note())
