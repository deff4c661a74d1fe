"""Whose a client's certificate is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailkit.auth.located import MAX_LENGTH
from mailkit.certificates import UNREADABLE
from mailkit.coroutines import run
from mailkit.interfaces import ICertificateLogin, IDirectory

#: Names of one certificate that are looked at.
MAX_NAMES = 50

# RFC 9598 section 3: id-on-SmtpUTF8Mailbox.
_UTF8_MAILBOX = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")
_UTF8_STRING = 0x0C


class CertificateNames(NamedTuple):
    """What makes a certificate an account's, besides that its authority is trusted."""

    #: Its e-mail addresses (subjectAltName: rfc822Name, and SmtpUTF8Mailbox of RFC 9598).
    emails: bool = True
    #: Its common name.
    common_name: bool = False
    #: Accounts by SHA-256 of the certificate, hexadecimal; these certificates have no other.
    fingerprints: Mapping[str, str] = {}


@implementer(ICredentialsChecker)
class CertificateChecker:
    """Knows the accounts of certificates that TLS has verified. The avatar id is the account's name.

    :param directory: has the accounts.
    :param names: what of a certificate names its accounts.
    """

    credentialInterfaces = (ICertificateLogin,)

    def __init__(self, directory: IDirectory, names: CertificateNames | None = None) -> None:
        self._directory = directory
        names = names or CertificateNames()
        self._names = names._replace(
            fingerprints={
                fingerprint.replace(":", "").lower(): login
                for fingerprint, login in names.fingerprints.items()
            }
        )

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return run(self._check(credentials))

    async def _check(self, credentials: Any) -> str:
        account = await self.find_account(credentials)
        if account is None:
            raise UnauthorizedLogin
        return account

    async def find_account(self, credentials: Any) -> str | None:
        """The account that is asked for, if the certificate is its; else the first that it has."""
        wanted: str | None = None
        if credentials.username:
            if len(credentials.username) > MAX_LENGTH:
                return None
            wanted = await self._directory.find_account(login=credentials.username)
            if wanted is None:
                return None
        for login in self._logins(credentials.certificate):
            account: str | None = await self._directory.find_account(login=login)
            if account is not None and (wanted is None or account == wanted):
                return account
        return None

    def _logins(self, der: bytes) -> Iterator[str]:
        names = self._names
        named = names.fingerprints.get(hashlib.sha256(der).hexdigest())
        if named is not None:
            yield named
            return
        try:
            certificate = x509.load_der_x509_certificate(der)
            found = list(certificate_names(certificate, names))
        except UNREADABLE:
            # What cannot be read names nobody.
            return
        yield from found[:MAX_NAMES]


def certificate_names(certificate: x509.Certificate, wanted: CertificateNames) -> Iterator[str]:
    """User names that stand in a certificate.

    :raises: one of :data:`~mailkit.certificates.UNREADABLE`: it has something that cannot be read.
    """
    if wanted.emails:
        try:
            kind = x509.SubjectAlternativeName
            alternatives = certificate.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            pass
        else:
            yield from alternatives.get_values_for_type(x509.RFC822Name)
            for other in alternatives.get_values_for_type(x509.OtherName):
                if other.type_id == _UTF8_MAILBOX:
                    yield _utf8_string(other.value)
    if wanted.common_name:
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            yield str(attribute.value)


def _utf8_string(der: bytes) -> str:
    """The text of a UTF8String.

    :raises ValueError: it is none.
    """
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise ValueError("not a UTF8String")
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    if len(der) != start + length:
        raise ValueError("a UTF8String of another length")
    return der[start:].decode("utf-8")
