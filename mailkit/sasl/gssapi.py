"""GSSAPI (RFC 4752), server side: the client shows a ticket of Kerberos 5."""

from __future__ import annotations

from typing import NamedTuple

from zope.interface import implementer

from mailkit._typing import override
from mailkit.interfaces import IKerberosLogin
from mailkit.wire import gssapi
from mailkit.wire.gssapi import SecurityContext
from mailkit.wire.sasl import Lookup, SASLContext, SASLError, SASLServer, Step, Success, decode_name


@implementer(IKerberosLogin)
class KerberosLogin(NamedTuple):
    """Credentials: whose ticket was accepted."""

    principal: str


class Accepted(NamedTuple):
    """What has come of a client's token."""

    context: SecurityContext
    #: Answers it; empty for nothing.
    token: bytes


class Resolved(NamedTuple):
    """Who logs in, for the log, and as whom it wants to act."""

    account: str
    #: Empty for itself.
    identity: str


class GSSAPIServer(SASLServer):
    """GSSAPI, without a security layer."""

    name = gssapi.NAME
    plaintext = False
    credentials = IKerberosLogin

    def __init__(self, context: SASLContext) -> None:
        super().__init__(context)
        self._begun = False
        # Its messages go by :class:`SecurityContext`, each when the one before is done.
        self._security: SecurityContext | None = None
        self._offered = False
        self._login = KerberosLogin("")

    @classmethod
    @override
    def is_available(cls, context: SASLContext) -> bool:
        return context.protocol in gssapi.SERVICES

    @override
    def step(self, response: bytes | None) -> Step:
        if response is None and not self._begun:
            self._begun = True
            return b""
        self._begun = True
        security, token = self._security, response or b""
        if security is None or not security.complete:
            service = gssapi.SERVICES[self.context.protocol]
            return Lookup(lambda checker: checker.accept(service, security, token))
        if not self._offered:
            # RFC 4752 section 3.1: a client that has what it needs says nothing.
            if token:
                raise SASLError("The security context was established")
            return self._offer(security)
        identity = decode_name(gssapi.read_choice(security, token))
        if "\0" in identity:
            raise SASLError("A user name holds no NUL")
        self._login = KerberosLogin(security.principal)
        return Lookup(lambda checker: checker.resolve(self._login, identity))

    @override
    def resume(self, answer: Accepted | Resolved | None) -> Step:
        if answer is None:
            # The portal refuses nobody's ticket, so that the guard and the log hear of it.
            return Success(self._login, self._login.principal)
        if isinstance(answer, Resolved):
            return Success(self._login, answer.account, answer.identity)
        self._security = answer.context
        if answer.context.complete and not answer.token:
            return self._offer(answer.context)
        return answer.token

    def _offer(self, security: SecurityContext) -> bytes:
        self._offered = True
        return gssapi.offer_no_layer(security)
