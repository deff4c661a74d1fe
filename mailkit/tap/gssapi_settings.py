"""The table ``[gssapi]`` of a settings file: logins by Kerberos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailkit.auth.kerberos import KerberosAcceptor, KerberosSettings
from mailkit.kerberos import load_gssapi
from mailkit.tap.errors import SettingError, StartError
from mailkit.wire.domains import canonical_domain


def parse_gssapi(table: Mapping[str, Any]) -> KerberosSettings | None:
    """What a table says; None for an empty one: nobody logs in by a ticket.

    :raises SettingError: a key is not known or missing, a value is none for it, or the library is
        not installed.
    """
    if not table:
        return None
    unknown = table.keys() - {"keytab", "realms"}
    if unknown:
        raise SettingError(f"there is no {min(unknown)!r}; known are keytab, realms")
    keytab, realms = table.get("keytab"), table.get("realms")
    if not isinstance(keytab, str) or not keytab:
        raise SettingError("keytab must be the file with the keys of imap, pop and smtp")
    if isinstance(realms, str):
        realms = [realms]
    if isinstance(realms, list):
        realms = {realm: realm for realm in realms if isinstance(realm, str)}
    if not isinstance(realms, dict) or not realms:
        raise SettingError(
            'realms must name realms: "EXAMPLE.ORG", or { "EXAMPLE.ORG" = "domain" }'
        )
    domains = {}
    for realm, domain in realms.items():
        if not isinstance(domain, str) or not domain or not realm:
            raise SettingError(f"realms: {realm!r} must have the domain of its accounts")
        domains[realm] = canonical_domain(domain)
    try:
        load_gssapi()
    except ImportError as error:
        raise SettingError(str(error)) from error
    return KerberosSettings(keytab, domains)


def begin_accepting(settings: KerberosSettings, reactor: Any) -> KerberosAcceptor:
    """What takes tickets.

    :raises StartError: there are no keys.
    """
    acceptor = KerberosAcceptor(settings, reactor)
    try:
        acceptor.check()
    except ValueError as error:
        raise StartError("gssapi", settings.keytab, str(error)) from error
    return acceptor
