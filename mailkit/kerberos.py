"""Security contexts of Kerberos 5, by the library ``gssapi``. Everything here may wait: call it in threads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mailkit._typing import override
from mailkit.wire.gssapi import SecurityContext
from mailkit.wire.sasl import SASLError

MISSING = "Kerberos needs gssapi: pip install 'twisted-mailkit[gssapi]'"


class KerberosError(Exception):
    """Kerberos says no: to a keytab, or to a client without a ticket."""


def load_gssapi() -> Any:
    """The module ``gssapi``.

    :raises ImportError: it is not installed, or the system has no library for it.
    """
    try:
        import gssapi
    except ImportError as error:
        raise ImportError(f"{MISSING} ({error})") from error
    except OSError as error:
        # It looks for the system's library when it is imported.
        raise ImportError(f"gssapi cannot be used: {error}") from error
    return gssapi


class LibraryContext(SecurityContext):
    """A security context of the library's."""

    def __init__(self, context: Any) -> None:
        self._gssapi = load_gssapi()
        self._context = context
        # Or it would answer what it refuses with a token, and fail at whatever is asked for next.
        context.__DEFER_STEP_ERRORS__ = False

    @property
    @override
    def complete(self) -> bool:
        return bool(self._context.complete)

    @property
    @override
    def principal(self) -> str:
        return str(self._context.initiator_name)

    @override
    def step(self, token: bytes) -> bytes:
        return self._call(lambda: self._context.step(token or None) or b"")

    @override
    def wrap(self, message: bytes) -> bytes:
        return self._call(lambda: self._context.wrap(message, False).message)

    @override
    def unwrap(self, token: bytes) -> bytes:
        return self._call(lambda: self._context.unwrap(token).message)

    def _call(self, work: Any) -> bytes:
        try:
            return bytes(work())
        except self._gssapi.exceptions.GSSError as error:
            raise SASLError(f"Kerberos: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What GSS-API says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def accept_context(service: str, keytab: str) -> SecurityContext:
    """A server's.

    :param service: such as ``imap``, of whatever host the keytab has keys for.
    :raises KerberosError: the keytab has no key for it.
    """
    gssapi = load_gssapi()
    try:
        credentials = gssapi.Credentials(
            name=gssapi.Name(service, gssapi.NameType.hostbased_service),
            usage="accept",
            mechs=[gssapi.MechType.kerberos],
            store={b"keytab": os.fsencode(keytab)},
        )
        return LibraryContext(gssapi.SecurityContext(creds=credentials, usage="accept"))
    except gssapi.exceptions.GSSError as error:
        raise KerberosError(reason_of(error)) from error


def begin_context(
    service: str, host: str, store: Mapping[str, str] | None = None
) -> tuple[SecurityContext, bytes]:
    """A client's, and its first token.

    :param store: where tickets and keys are, as MIT's ``krb5`` has it: ``ccache``,
        ``client_keytab``; those of the environment when None.
    :raises KerberosError: there is no ticket for that server.
    """
    gssapi = load_gssapi()
    flags = gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.integrity
    kept = {key.encode(): os.fsencode(value) for key, value in (store or {}).items()}
    try:
        credentials = gssapi.Credentials(usage="initiate", store=kept) if kept else None
        context = LibraryContext(
            gssapi.SecurityContext(
                name=gssapi.Name(f"{service}@{host}", gssapi.NameType.hostbased_service),
                creds=credentials,
                flags=flags,
                mech=gssapi.MechType.kerberos,
                usage="initiate",
            )
        )
        return context, context.step(b"")
    except (gssapi.exceptions.GSSError, SASLError) as error:
        raise KerberosError(reason_of(error)) from error
