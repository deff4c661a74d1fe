"""A SASL mechanism of one's own: users show tickets that a web application has given them."""

import hmac
from typing import NamedTuple

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from zope.interface import implementer

from mailkit.wire.sasl import SASLError, SASLServer, Success, decode_name


class ITicket(ICredentials):
    """A user's name, and a ticket."""


@implementer(ITicket)
class Ticket(NamedTuple):
    username: str
    ticket: bytes


class TicketServer(SASLServer):
    """One message: user name NUL ticket."""

    name = "X-TICKET"
    credentials = ITicket

    def step(self, response: bytes | None) -> bytes | Success:
        if response is None:
            return b""  # The client sends no initial response: ask for one.
        username, nul, ticket = response.partition(b"\0")
        if not nul:
            raise SASLError("X-TICKET wants user name NUL ticket")
        name = decode_name(username)
        return Success(Ticket(name, ticket), name)


@implementer(ICredentialsChecker)
class TicketChecker:
    """A ticket is an HMAC of the user's name under a key that the web application has too."""

    credentialInterfaces = (ITicket,)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def requestAvatarId(self, credentials: Ticket) -> str:
        right = hmac.new(self._key, credentials.username.encode(), "sha256").hexdigest()
        if not hmac.compare_digest(right.encode(), credentials.ticket):
            raise UnauthorizedLogin
        return credentials.username
