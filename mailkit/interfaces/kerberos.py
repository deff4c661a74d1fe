"""The contract of logins by Kerberos tickets."""

from __future__ import annotations

from zope.interface import Attribute, Interface


class IKerberosLogin(Interface):
    """Credentials: a ticket that was accepted, or none (RFC 4752)."""

    principal: str = Attribute("""Whose ticket it is; empty where it was refused.""")
