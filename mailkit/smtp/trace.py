"""The Received field (RFC 5321 section 4.4). No I/O."""

from __future__ import annotations

from mailkit.model import Envelope


def protocol_keyword(envelope: Envelope, esmtp: bool, base: str = "SMTP") -> str:
    """The ``with`` clause: RFC 3848, and RFC 6531 section 4.3 for SMTPUTF8."""
    if not esmtp:
        return base
    prefix = "UTF8" if envelope.smtputf8 else "E" if base == "SMTP" else ""
    secured = "S" if envelope.connection.tls else ""
    return f"{prefix}{base}{secured}{'A' if envelope.account is not None else ''}"


def address_literal(host: str) -> str:
    """RFC 5321 section 4.1.3, without the zone of a link-local address."""
    host = host.partition("%")[0]
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


def received_field(envelope: Envelope, hostname: str, protocol: str, date: str) -> bytes:
    """The trace field of one transaction, folded.

    :param date: as in a Date field.
    """
    peer = envelope.connection.peer
    source = f"{envelope.helo} ({address_literal(peer)})" if peer else envelope.helo
    # RFC 5321 section 7.2: more than one recipient is not shown.
    recipients = envelope.recipients
    recipient = f"\r\n\tfor <{recipients[0].path}>" if len(recipients) == 1 else ""
    # RFC 6710 section 7.
    priority = f" PRIORITY {envelope.priority}" if "MT-PRIORITY" in envelope.parameters else ""
    return (
        f"Received: from {source}\r\n\tby {hostname} with {protocol} "
        f"id {envelope.transaction_id}{recipient}{priority};\r\n\t{date}\r\n"
    ).encode()
