"""Kerberos without any: tickets that say whose they are, and contexts that believe them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mailkit._typing import override
from mailkit.auth.kerberos import KerberosAcceptor, KerberosSettings
from mailkit.kerberos import KerberosError
from mailkit.wire.gssapi import SecurityContext
from mailkit.wire.sasl import SASLError

T = TypeVar("T")
REALMS = {"EXAMPLE.ORG": "example.org"}


class ToyContext(SecurityContext):
    """Either side.

    :param ticket: the client's principal; empty for a server.
    :param mutual: the server answers the ticket.
    """

    def __init__(self, ticket: str = "", mutual: bool = True) -> None:
        self._ticket = ticket
        self._mutual = mutual
        self._principal = ""
        self._complete = False

    @property
    @override
    def complete(self) -> bool:
        return self._complete

    @property
    @override
    def principal(self) -> str:
        return self._principal

    @override
    def step(self, token: bytes) -> bytes:
        if self._ticket:
            if not token:
                self._complete = not self._mutual
                return b"ticket " + self._ticket.encode()
            if token != b"proof":
                raise SASLError("that is no proof")
            self._complete = True
            return b""
        if not token.startswith(b"ticket "):
            raise SASLError("that is no ticket")
        self._principal = token[7:].decode()
        self._complete = True
        return b"proof" if self._mutual else b""

    @override
    def wrap(self, message: bytes) -> bytes:
        return b"<" + message + b">"

    @override
    def unwrap(self, token: bytes) -> bytes:
        if token[:1] != b"<" or token[-1:] != b">":
            raise SASLError("that is not wrapped")
        return token[1:-1]


class ToyAcceptor(KerberosAcceptor):
    """Takes toy tickets, at once. Services without a key are those in :attr:`without`."""

    def __init__(self, mutual: bool = True) -> None:
        super().__init__(KerberosSettings("keytab", REALMS), new_context=self.make_context)
        self.mutual = mutual
        self.without: set[str] = set()
        self.asked: list[str] = []

    def make_context(self, service: str, keytab: str) -> SecurityContext:
        self.asked.append(service)
        if service in self.without:
            raise KerberosError("no key")
        return ToyContext(mutual=self.mutual)

    @override
    async def run(self, work: Callable[[], T]) -> T:
        return work()


def choice(identity: bytes = b"", head: bytes = b"\1\0\0\0") -> bytes:
    """What a client says last."""
    return b"<" + head + identity + b">"


OFFER = choice()
