"""Logging in to other servers by Kerberos: tickets for the mechanism GSSAPI (RFC 4752)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.threads import deferToThread

from mailkit.kerberos import KerberosError, begin_context
from mailkit.wire.gssapi import client_mechanisms
from mailkit.wire.sasl_client import Credentials, SASLClient

__all__ = ["KerberosError", "get_ticket"]


async def get_ticket(
    service: str, host: str, store: Mapping[str, str] | None = None
) -> Mapping[str, Callable[[Credentials], SASLClient]]:
    """What a client's settings take as ``mechanisms``, for one connection: GSSAPI with a ticket.

    The KDC is asked for it in a thread.

    :param service: ``imap``, ``pop`` or ``smtp``.
    :param host: the server's name, as the KDC has it.
    :param store: where tickets and keys are, as MIT's ``krb5`` has it: ``ccache``,
        ``client_keytab``; those of the environment when None.
    :raises KerberosError: there is no ticket for that server.
    :raises ImportError: the extra ``gssapi`` is not installed.
    """
    context, first = await deferToThread(begin_context, service, host, store)
    return client_mechanisms(context, first)
