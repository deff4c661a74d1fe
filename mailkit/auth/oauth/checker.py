"""The credentials checker for tokens."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from mailkit.auth.located import ExistingUser
from mailkit.auth.oauth.rules import TokenRules
from mailkit.coroutines import run
from mailkit.errors import TokenOfAnother, TokenRefused
from mailkit.interfaces import IBearerToken
from mailkit.wire.domains import canonical_domain

#: Octets of a token.
MAX_TOKEN = 8 * 1024


class TokenVerifier(Protocol):
    """Knows what a token says."""

    def claims(self, token: str) -> Awaitable[Mapping[str, Any]]:
        """
        :raises TokenRefused: nobody stands for it.
        :raises TemporaryFailure: nobody can tell just now.
        """


@implementer(ICredentialsChecker)
class BearerChecker:
    """Lets in whom a token names. The avatar id is what the rules' claim says.

    :param verifier: :class:`~mailkit.auth.oauth.tokens.SignedTokens` or
        :class:`~mailkit.auth.oauth.introspection.IntrospectedTokens`.
    :param must_expire: take no token that has no end.
    :param domains: whose users it may name, in canonical form; empty for all who have accounts. A
        name without a domain is one of the first.
    :param hosts: names of this server, in canonical form: a client that says it has connected to
        another is refused; empty for any.
    :param configuration_url: what clients are told who have no good token (RFC 7628 section 3.2.2).
    :param seconds: tells the time.
    """

    log = Logger()
    credentialInterfaces = (IBearerToken,)

    def __init__(
        self,
        verifier: TokenVerifier,
        rules: TokenRules,
        *,
        must_expire: bool = True,
        domains: Sequence[str] = (),
        hosts: Sequence[str] = (),
        configuration_url: str = "",
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self._verifier = verifier
        self._rules = rules
        self._must_expire = must_expire
        self._domains = tuple(domains)
        self._hosts = frozenset(hosts)
        self._configuration_url = configuration_url
        self._seconds = seconds

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        host = getattr(credentials, "host", "")
        return run(self.check(credentials.username, credentials.token, host))

    async def check(self, username: str, token: str, host: str = "") -> str:
        """The name of the user whose token it is.

        :param username: for whom it is shown; empty for whom it names.
        :param host: the server that the client says it has connected to; empty where it does not.
        :raises TokenRefused: it is not taken.
        :raises TokenOfAnother: it is somebody else's.
        :raises TemporaryFailure: nobody can tell just now.
        """
        try:
            if len(token) > MAX_TOKEN or not token.isascii():
                raise TokenRefused("too long, or not in ASCII")
            if host and self._hosts and canonical_domain(host) not in self._hosts:
                # Whoever pretends to be us may have passed on what it was given.
                raise TokenRefused("shown to another host", "invalid_request")
            claims = await self._verifier.claims(token)
            name = self._rules.judge(claims, self._seconds(), must_expire=self._must_expire)
            if self._domains and "@" not in name:
                name = f"{name}@{self._domains[0]}"
            if self._domains and canonical_domain(name.rpartition("@")[2]) not in self._domains:
                raise TokenRefused("for a user of another domain")
        except TokenRefused as error:
            self.log.info("a token was refused: {reason}", reason=error.text)
            scope = error.scope or self._rules.scope
            raise TokenRefused("", error.status, scope, self._configuration_url) from error
        if username and not is_same_user(username, name):
            raise TokenOfAnother(owner=name)
        # Whoever may name any address must not make us serve its domain.
        return name if self._domains else ExistingUser(name)


def is_same_user(username: str, name: str) -> bool:
    """Whether a user name means the one that a token names; the local part is enough.

    Letter case makes no difference, nor does the form of a domain.
    """
    wanted, _, wanted_domain = username.partition("@")
    local, _, domain = name.partition("@")
    if wanted.casefold() != local.casefold():
        return False
    return not wanted_domain or canonical_domain(wanted_domain) == canonical_domain(domain)
