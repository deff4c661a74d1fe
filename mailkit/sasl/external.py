"""EXTERNAL (RFC 4422 appendix A): the client is who its certificate says, as TLS has verified."""

from __future__ import annotations

from typing import Any, NamedTuple

from zope.interface import implementer

from mailkit._typing import override
from mailkit.interfaces import ICertificateLogin
from mailkit.wire.sasl import Lookup, SASLContext, SASLError, SASLServer, Step, Success, decode_name


@implementer(ICertificateLogin)
class CertificateLogin(NamedTuple):
    """Credentials: a certificate, and the account that is asked for."""

    username: str
    certificate: bytes


def find_account(login: CertificateLogin) -> Lookup:
    """Asks a checker of such credentials whose they are: an account's name, or None."""
    return Lookup(lambda checker: checker.find_account(login))


def with_certificate(login: CertificateLogin, account: str | None) -> Success:
    """A login by certificate, for the account that was found or for none."""
    return Success(login, account or login.username)


class ExternalServer(SASLServer):
    """EXTERNAL."""

    name = "EXTERNAL"
    plaintext = False
    credentials = ICertificateLogin

    def __init__(self, context: SASLContext) -> None:
        super().__init__(context)
        self._login: CertificateLogin | None = None

    @classmethod
    @override
    def is_available(cls, context: SASLContext) -> bool:
        return context.peer_certificate() is not None

    @override
    def step(self, response: bytes | None) -> Step:
        if response is None:
            return b""
        certificate = self.context.peer_certificate()
        if certificate is None:
            raise SASLError("There is no certificate of yours")
        # The authorization identity is judged with the certificate, which may be for several.
        identity = decode_name(response)
        if "\0" in identity:
            raise SASLError("A user name holds no NUL")
        self._login = CertificateLogin(identity, certificate)
        return find_account(self._login)

    @override
    def resume(self, answer: Any) -> Step:
        assert self._login is not None
        return with_certificate(self._login, answer)
