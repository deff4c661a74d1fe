"""Users of this machine, or whoever else PAM knows, asked by python-pam in threads."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from mailkit.auth.located import NotAsked
from mailkit.auth.names import canonical_name, complete_name, local_name
from mailkit.auth.workers import MAX_THREADS, THREADS, TIMEOUT, Workers
from mailkit.errors import AccountDisabled, PasswordExpired, TemporaryFailure
from mailkit.interfaces import IClosableUserBase, IPasswordVerifier

#: The extra that brings python-pam.
EXTRA = "pam"
#: Where Linux-PAM has its services.
DIRECTORIES = ("/etc/pam.d", "/usr/lib/pam.d")

# From <security/_pam_types.h>: what says something of the user alone.
_SUCCESS = 0
_REFUSALS = frozenset({6, 7, 10, 11})  # PERM_DENIED, AUTH_ERR, USER_UNKNOWN, MAXTRIES
_EXPIRED = frozenset({12, 16, 27})  # NEW_AUTHTOK_REQD, CRED_EXPIRED, AUTHTOK_EXPIRED
_CLOSED = frozenset({13})  # ACCT_EXPIRED

_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
# What cannot be the name of a user, and may mean something to a module.
_BAD_NAME = re.compile(r"[\x00-\x20\x7f:/]")


@implementer(IPasswordVerifier, IClosableUserBase)
class PAMUsers:
    """Users whom PAM knows.

    :param service: which file of ``/etc/pam.d`` says how.
    :param domains: whose users PAM knows without their domain.
    :param reactor: Twisted's own when None.
    """

    log = Logger()
    #: As its modules do, each for as long as it is told to (pam_fail_delay(3)).
    refuses_slowly = True

    def __init__(
        self,
        service: str,
        *,
        domains: Sequence[str] = (),
        threads: int = THREADS,
        timeout: float = TIMEOUT,
        reactor: Any = None,
    ) -> None:
        self._service = service
        self.at_once = threads
        self._domains = tuple(domains)
        self._workers = Workers("mailkit-pam", reactor, threads=threads, timeout=timeout)

    async def verify_password(self, login: str, password: bytes) -> str | None:
        name = complete_name(canonical_name(login), self._domains)
        user = local_name(name, self._domains)
        user = name if user is None else user
        if not user or _BAD_NAME.search(user):
            raise NotAsked
        try:
            code, reason = await self._workers.run(
                lambda: _authenticate(self._service, user, password)
            )
        except TemporaryFailure:
            self.log.error("PAM does not answer in time, or too many ask it")
            raise
        if code == _SUCCESS:
            return name
        if code in _REFUSALS:
            return None
        if code in _EXPIRED:
            raise PasswordExpired
        if code in _CLOSED:
            raise AccountDisabled
        self.log.error(
            "PAM's service {service} fails: {reason}", service=self._service, reason=reason
        )
        raise TemporaryFailure

    async def close(self) -> None:
        self._workers.close()


def _authenticate(service: str, user: str, password: bytes) -> tuple[int, str]:
    """PAM's code, and what it means; in a thread."""
    import pam

    handle = pam.PamAuthenticator()
    # No credentials (tickets, groups) are made: nobody becomes that user here.
    handle.authenticate(user.encode("utf-8"), password, service, resetcreds=False)
    return handle.code, str(handle.reason)


def make(
    service: str,
    threads: int = THREADS,
    timeout: float = TIMEOUT,
    domains: Sequence[str] = (),
) -> PAMUsers:
    """What ``--auth pam:SERVICE`` stands for.

    :raises ValueError: there is no such service.
    :raises ImportError: python-pam is not installed, or this system has no PAM.
    """
    try:
        import pam
    except ImportError:
        raise ImportError(f"PAM needs python-pam: pip install 'twisted-mailkit[{EXTRA}]'") from None
    try:
        pam.PamAuthenticator()
    except (OSError, AttributeError) as error:
        raise ImportError(f"this system has no PAM that python-pam could use: {error}") from error
    if not _SERVICE.match(service):
        raise ValueError(f"{service!r} is no name of a service")
    # PAM takes "other" for one that is missing, which refuses everybody.
    found = [directory for directory in DIRECTORIES if os.path.isdir(directory)]
    if found and not any(os.path.exists(os.path.join(each, service)) for each in found):
        raise ValueError(f"there is no {DIRECTORIES[0]}/{service}")
    if not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads must be from 1 to {MAX_THREADS}")
    return PAMUsers(service, domains=domains, threads=threads, timeout=timeout)
