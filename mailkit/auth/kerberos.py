"""Whose a ticket of Kerberos 5 is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from mailkit import kerberos
from mailkit.auth.located import MAX_LENGTH
from mailkit.auth.workers import Workers
from mailkit.coroutines import run
from mailkit.errors import TemporaryFailure
from mailkit.interfaces import IDirectory, IKerberosLogin
from mailkit.sasl.gssapi import Accepted, KerberosLogin, Resolved
from mailkit.wire.gssapi import SERVICES, SecurityContext
from mailkit.wire.sasl import SASLError

# A user's principal as MIT shows it: one component, nothing escaped (RFC 1964 section 2.1.1).
_USER = re.compile(r"([^@/\\\0]+)@([^@/\\\0]+)")


@dataclass(frozen=True)
class KerberosSettings:
    """Which tickets are taken, and whose they are."""

    #: Path of the file with the keys of ``imap/HOST``, ``pop/HOST`` and ``smtp/HOST``.
    keytab: str
    #: Realms whose users may log in, each with the domain of their accounts. Realms that the own one
    #: trusts are no reason to trust them here.
    realms: Mapping[str, str] = field(default_factory=dict)

    def login_of(self, principal: str) -> str | None:
        """The user name of a principal; None for one that is no user's, or of another realm.

        ``ann/admin`` is not ``ann``.
        """
        found = _USER.fullmatch(principal)
        domain = self.realms.get(found[2]) if found else None
        return f"{found[1]}@{domain}" if found and domain else None


class KerberosAcceptor(Workers):
    """Takes tickets, in threads: a keytab and the replay cache are files.

    :param new_context: makes the server's side of a context, for a service and a keytab.
    """

    log = Logger()

    def __init__(
        self,
        settings: KerberosSettings,
        reactor: Any = None,
        *,
        new_context: Callable[[str, str], SecurityContext] = kerberos.accept_context,
        **more: Any,
    ) -> None:
        super().__init__("mailkit-kerberos", reactor, **more)
        self.settings = settings
        self._new_context = new_context
        # Those that have keys; all of them until somebody looks.
        self._services = frozenset(SERVICES.values())

    def check(self) -> None:
        """Find out which services there are keys of. Waits for the disk.

        :raises ValueError: there are none.
        :raises ImportError: the library is missing.
        """
        found, reason = set(), ""
        for service in sorted({*SERVICES.values()}):
            try:
                self._new_context(service, self.settings.keytab)
            except kerberos.KerberosError as error:
                reason = str(error)
            else:
                found.add(service)
        if not found:
            raise ValueError(f"{self.settings.keytab} has no key for imap, pop or smtp: {reason}")
        self._services = frozenset(found)

    def serves(self, protocol: str) -> bool:
        """Whether clients of a protocol are to be offered to log in by a ticket.

        RFC 4752 section 3.2: not where no ticket could be taken.
        """
        return SERVICES.get(protocol) in self._services

    async def accept(
        self, service: str, context: SecurityContext | None, token: bytes
    ) -> Accepted | None:
        """Take a client's token; None for one that is refused.

        :param context: None for the first.
        :raises TemporaryFailure: nobody can judge it now.
        """

        def work() -> Accepted:
            known = context or self._new_context(service, self.settings.keytab)
            return Accepted(known, known.step(token))

        try:
            return await self.run(work)
        except SASLError as error:
            self.log.info(
                "a ticket for {service} is refused: {reason}", service=service, reason=str(error)
            )
            return None
        except kerberos.KerberosError as error:
            self.log.error(
                "{keytab} cannot be used for {service}: {reason}",
                keytab=self.settings.keytab,
                service=service,
                reason=str(error),
            )
            raise TemporaryFailure from None


@implementer(ICredentialsChecker)
class KerberosChecker:
    """Knows the accounts of principals. The avatar id is the account's name.

    :param directory: has the accounts.
    """

    credentialInterfaces = (IKerberosLogin,)

    def __init__(self, directory: IDirectory, acceptor: KerberosAcceptor) -> None:
        self._directory = directory
        self._acceptor = acceptor
        self.accept = acceptor.accept

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return run(self._check(credentials))

    async def _check(self, credentials: Any) -> str:
        account = await self._find(self._acceptor.settings.login_of(credentials.principal))
        if account is None:
            raise UnauthorizedLogin
        return account

    async def resolve(self, credentials: KerberosLogin, identity: str) -> Resolved:
        """Who logs in, and as whom: a user may name itself by any of its names.

        :param identity: what the client wants to act as; empty for the ticket's own.
        """
        principal = credentials.principal
        account = await self._find(self._acceptor.settings.login_of(principal))
        if identity in ("", principal) or (account and await self._find(identity) == account):
            identity = ""
        return Resolved(account or principal, identity)

    async def _find(self, login: str | None) -> str | None:
        if not login or len(login) > MAX_LENGTH:
            return None
        return await self._directory.find_account(login=login)
