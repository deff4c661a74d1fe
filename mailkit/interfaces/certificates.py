"""The contract of logins by a client's certificate."""

from __future__ import annotations

from zope.interface import Attribute, Interface


class ICertificateLogin(Interface):
    """Credentials: a certificate that TLS has verified."""

    username: str = Attribute("""The account that the client asks for; empty for its own.""")

    certificate: bytes = Attribute("""DER.""")
