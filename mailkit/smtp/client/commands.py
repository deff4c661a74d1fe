"""From an envelope to MAIL and RCPT, as far as the server can carry what it asks for. No I/O.

What a server lacks is left out where the standard of the extension allows that, and refused where
it does not: the message, or one recipient, then fails before anything is sent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from mailkit.client.security import TLSInfo
from mailkit.model import Envelope, Path, Recipient
from mailkit.smtp.client.extensions import Extensions
from mailkit.wire.domains import MAX_DOMAIN
from mailkit.wire.xtext import encode_utf8_address, encode_xtext

# RFC 2852 section 4: at most nine digits.
_MAX_BY = 999_999_999
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_DOMAIN = re.compile(r"[\x00-\x20\x7f<>@,]")


class Unsendable(Exception):
    """Our own judgement: the message, or a recipient, cannot go to this server.

    :param enhanced: enhanced status code, also of what kind the failure is.
    """

    def __init__(self, enhanced: str, text: str) -> None:
        super().__init__(enhanced, text)
        self.enhanced = enhanced
        self.text = text


# Where messages come from that others have written.
_RECEIVED = ("smtp", "submission", "lmtp")


class ContentNeeds(NamedTuple):
    """What the octets of a message ask of a server."""

    size: int
    #: An octet above 127 stands in the body, or in a header that is no UTF-8.
    eight_bit: bool = False
    #: The header is internationalized (RFC 6532).
    utf8_header: bool = False
    #: There is a NUL, or a CR or LF that stands alone: BODY=BINARYMIME.
    binary: bool = False


def check_message(
    envelope: Envelope, needs: ContentNeeds, extensions: Extensions, tls: TLSInfo | None, now: float
) -> None:
    """Judge what concerns all recipients.

    :param now: seconds since the epoch.
    :raises Unsendable: the message cannot go to this server.
    """
    if not _is_safe(envelope.reverse_path):
        raise Unsendable("5.1.7", "The sender's address cannot be sent")
    if envelope.require_tls and not envelope.reverse_path.is_null:
        # RFC 8689 section 4.2.1; section 5: a report is not lost for it.
        if tls is None or not tls.verified:
            raise Unsendable("5.7.10", "REQUIRETLS: the connection has no verified TLS")
        if not extensions.require_tls:
            raise Unsendable("5.7.30", "REQUIRETLS: the server does not support it")
    if not extensions.smtputf8:
        if needs.utf8_header and _may_insist(envelope):
            raise Unsendable("5.6.9", "The header is UTF-8, and the server has no SMTPUTF8")
        if ascii_path(envelope.reverse_path) is None:
            raise Unsendable(
                "5.6.7", "The sender's address is not ASCII, and the server has no SMTPUTF8"
            )
    if extensions.size and needs.size > extensions.size:
        # RFC 1870 section 6.1
        raise Unsendable(
            "5.3.4",
            f"The message has {needs.size} octets, the server takes {extensions.size} at most",
        )
    _check_times(envelope, extensions, now)


def _may_insist(envelope: Envelope) -> bool:
    """Whether a UTF-8 header is a reason to fail where the server has no SMTPUTF8."""
    # lenient: much mail has such headers without having asked for SMTPUTF8, and its clients expect
    # that it goes on as it came, as it does from other relays.
    return envelope.smtputf8 or envelope.connection.protocol not in _RECEIVED


def _check_times(envelope: Envelope, extensions: Extensions, now: float) -> None:
    by = envelope.deliver_by
    if by is not None and by.mode == "R":
        # RFC 2852 section 4.1.4.1
        left = by.deadline - int(now)
        if left <= 0:
            raise Unsendable("5.4.7", "The time for the delivery is over")
        if extensions.deliver_by is None:
            raise Unsendable("5.3.3", "The server has no DELIVERBY, which the sender insists on")
        if left < extensions.deliver_by:
            raise Unsendable(
                "5.4.7", f"The server promises no delivery within {left} seconds (DELIVERBY)"
            )
    if envelope.hold_until is not None and envelope.hold_until > now:
        release = extensions.future_release
        if release is None:
            raise Unsendable("5.3.3", "The server has no FUTURERELEASE, and it is too early")
        # RFC 4865 section 4.1 (3)
        if envelope.hold_until - now > release.max_interval:
            raise Unsendable(
                "5.5.4", f"The server holds messages for {release.max_interval} seconds at most"
            )


def check_recipient(recipient: Recipient, extensions: Extensions) -> None:
    """Judge what concerns one recipient.

    :raises Unsendable: it cannot be told to this server.
    """
    if not _is_safe(recipient.path):
        raise Unsendable("5.1.3", "The address cannot be sent")
    if not extensions.smtputf8 and ascii_path(recipient.path) is None:
        raise Unsendable("5.6.7", "The address is not ASCII, and the server has no SMTPUTF8")
    rrvs = recipient.rrvs
    if rrvs is not None and rrvs.action == "R" and "RRVS" not in extensions.keywords:
        # RFC 7293 section 5.2.1
        raise Unsendable("5.7.19", "The server cannot tell how long the address has its owner")


def mail_command(
    envelope: Envelope,
    needs: ContentNeeds,
    body: str,
    smtputf8: bool,
    extensions: Extensions,
    now: float,
) -> bytes:
    """MAIL with its line end, for a message that :func:`check_message` let pass.

    :param body: the value of BODY, or nothing to leave it out.
    :param smtputf8: :func:`uses_smtputf8`.
    """
    parts = [f"MAIL FROM:<{_wire_path(envelope.reverse_path, smtputf8)}>"]
    if body:
        parts.append(f"BODY={body}")
    if extensions.size is not None:
        parts.append(f"SIZE={needs.size}")
    if smtputf8:
        parts.append("SMTPUTF8")
    if extensions.dsn:
        # RFC 3461 section 5.2.2 (a): never to a server that does not have it.
        if envelope.ret:
            parts.append(f"RET={envelope.ret}")
        if envelope.envid:
            parts.append(f"ENVID={encode_xtext(envelope.envid)}")
    if envelope.require_tls and extensions.require_tls:
        parts.append("REQUIRETLS")
    if envelope.deliver_by is not None and extensions.deliver_by is not None:
        left = max(-_MAX_BY, min(_MAX_BY, envelope.deliver_by.deadline - int(now)))
        trace = "T" if envelope.deliver_by.trace else ""
        parts.append(f"BY={left};{envelope.deliver_by.mode}{trace}")
    relayed = envelope.connection.protocol in _RECEIVED
    if extensions.mt_priority and (envelope.priority or relayed):
        # RFC 6710 section 4.2: a relay passes on 0, too. Section 4.3: left out where it is not known.
        parts.append(f"MT-PRIORITY={envelope.priority}")
    if envelope.hold_until is not None and envelope.hold_until > now and extensions.future_release:
        parts.append(f"HOLDFOR={max(1, int(envelope.hold_until - now))}")
    if envelope.submitter is not None and extensions.auth:
        # RFC 4954 section 5
        submitter = envelope.submitter
        parts.append(f"AUTH={submitter if submitter == '<>' else encode_xtext(submitter)}")
    if envelope.solicitation and "NO-SOLICITING" in extensions.keywords:
        # RFC 3865 section 2.7
        parts.append(f"SOLICIT={','.join(envelope.solicitation)}")
    return _command(parts)


def rcpt_command(
    recipient: Recipient, smtputf8: bool, extensions: Extensions, late: bool = False
) -> bytes:
    """RCPT with its line end, for a recipient that :func:`check_recipient` let pass.

    :param late: the sender must hear of a delay (RFC 2852 section 4.1.4.2).
    """
    parts = [f"RCPT TO:<{_wire_path(recipient.path, smtputf8)}>"]
    if extensions.dsn:
        notify = recipient.notify
        if late and notify != frozenset(("NEVER",)):
            notify = (notify or frozenset(("FAILURE",))) | {"DELAY"}
        if notify is not None:
            parts.append(f"NOTIFY={','.join(sorted(notify))}")
        if recipient.orcpt is not None:
            kind, address = recipient.orcpt
            encoded = (
                encode_utf8_address(address) if kind.lower() == "utf-8" else encode_xtext(address)
            )
            parts.append(f"ORCPT={kind};{encoded}")
    if recipient.rrvs is not None and "RRVS" in extensions.keywords:
        since = datetime.fromtimestamp(recipient.rrvs.since, timezone.utc)
        parts.append(f"RRVS={since:%Y-%m-%dT%H:%M:%SZ};{recipient.rrvs.action}")
    return _command(parts)


def _command(parts: list[str]) -> bytes:
    line = " ".join(parts)
    if _CONTROL.search(line):
        # What was made by hand must not bring commands of its own.
        raise Unsendable("5.5.4", "A value of the envelope has control characters")
    return line.encode("utf-8") + b"\r\n"


def uses_smtputf8(
    envelope: Envelope,
    recipients: Sequence[Recipient],
    needs: ContentNeeds,
    extensions: Extensions,
) -> bool:
    """Whether MAIL gets the parameter SMTPUTF8: where it is needed (RFC 6531 section 3.4)."""
    if not extensions.smtputf8:
        return False
    if needs.utf8_header or not envelope.reverse_path.is_ascii:
        return True
    return not all(recipient.path.is_ascii for recipient in recipients)


def body_value(needs: ContentNeeds, extensions: Extensions) -> str | None:
    """The value of BODY for a message as it is; None where it must be converted first.

    Nothing where the parameter is left out.
    """
    if needs.binary:
        return "BINARYMIME" if extensions.binary_mime else None
    if needs.eight_bit:
        return "8BITMIME" if extensions.eight_bit_mime else None
    return ""


def ascii_path(path: Path) -> Path | None:
    """The same address in ASCII, or None where there is none.

    A domain has an equal one made of A-labels; a local part has not (RFC 6531 section 3.2).
    """
    if path.is_ascii:
        return path
    if not path.local_part.isascii() or len(path.domain) > MAX_DOMAIN:
        return None
    domain = unicodedata.normalize("NFC", path.domain).lower()
    labels = [
        # What IDNA2008 (RFC 5891) makes of every valid label.
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
        for label in domain.split(".")
    ]
    return Path(path.local_part, ".".join(labels))


def _is_safe(path: Path) -> bool:
    return not (_CONTROL.search(path.local_part) or _NOT_IN_DOMAIN.search(path.domain))


def _wire_path(path: Path, smtputf8: bool) -> str:
    if path.is_ascii or smtputf8:
        return str(path)
    converted = ascii_path(path)
    assert converted is not None
    return str(converted)
