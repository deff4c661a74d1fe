"""The Received field (RFC 5321 section 4.4). No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from mailkit.model import Envelope, HookRecord

#: The field that tells what the hooks of the listener have said of a message.
HOOKS_FIELD = "X-Mailkit-Hooks"
#: Answers that it tells of, the first and the last, and characters of each reason.
MAX_HOOKS = 50
MAX_REASON = 200
#: Characters of a client's name, and of a solicitation class, that are shown.
MAX_NAME = 255

# What could end a comment (RFC 5322 section 3.2.2), or a line.
_NO_COMMENT = re.compile(r"[^\x20-\x27\x2a-\x5b\x5d-\x7e]")
_REGISTERED = re.compile(r"TLS_[A-Z0-9_]+")
# What OpenSSL calls the cipher suites of TLS 1.2.
_SUITE = re.compile(
    r"(?:(ECDHE|DHE)-(RSA|ECDSA)-)?"
    r"(?:(AES|CAMELLIA)(128|256)-(GCM-)?(SHA\d*)|(CHACHA20)-POLY1305)"
)
# Nobody shall read in a message who else has got it, or has not.
_ADDRESSES = frozenset(("add-recipient", "remove-recipient"))


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


@lru_cache(maxsize=64)
def registered_suite(cipher: str) -> str:
    """The name that IANA has for a cipher suite of OpenSSL's; empty for one that is not known."""
    if _REGISTERED.fullmatch(cipher):
        # Those of TLS 1.3 have one name only.
        return cipher
    found = _SUITE.fullmatch(cipher)
    if found is None:
        return ""
    exchange, signature, name, bits, mode, digest, chacha = found.groups()
    keys = f"{exchange}_{signature}" if exchange else "RSA"
    if chacha:
        return f"TLS_{keys}_WITH_CHACHA20_POLY1305_SHA256"
    return f"TLS_{keys}_WITH_{name}_{bits}_{'GCM' if mode else 'CBC'}_{digest}"


def received_field(
    envelope: Envelope,
    hostname: str,
    protocol: str,
    date: str,
    client_name: str = "",
    cipher: str = "",
) -> bytes:
    """The trace field of one transaction, folded.

    :param date: as in a Date field.
    :param client_name: the client's name as it is known from elsewhere than HELO.
    :param cipher: the cipher suite of TLS, as OpenSSL calls it.
    """
    peer = envelope.connection.peer
    source = envelope.helo
    if peer:
        name = f"{_NO_COMMENT.sub('?', client_name)[:MAX_NAME]} " if client_name else ""
        source += f" ({name}{address_literal(peer)})"
    # RFC 5321 section 7.2: more than one recipient is not shown.
    recipients = envelope.recipients
    recipient = ""
    # RFC 6531 section 3.7.3: it must be ASCII wherever the message goes without SMTPUTF8.
    if len(recipients) == 1 and recipients[0].path.is_ascii:
        recipient = f"\r\n\tfor <{recipients[0].path}>"
    # RFC 6710 section 7.
    priority = f" PRIORITY {envelope.priority}" if "MT-PRIORITY" in envelope.parameters else ""
    # RFC 8314 section 4.3.
    suite = registered_suite(cipher) if cipher else ""
    tls = f"\r\n\ttls {suite}" if suite else ""
    # RFC 3865 section 2.6: as a comment.
    words = [word for word in envelope.solicitation if len(word) <= MAX_NAME]
    solicit = "\r\n\t(SOLICIT=" + ",\r\n\t".join(words) + ")\r\n\t" if words else " "
    return (
        f"Received: from {source}\r\n\tby {hostname} with {protocol}{solicit}"
        f"id {envelope.transaction_id}{recipient}{priority}{tls};\r\n\t{date}\r\n"
    ).encode()


def hooks_field(history: Sequence[HookRecord]) -> bytes:
    """What the hooks have said and how long they took, folded; nothing if they said nothing.

    Refused recipients are not told of: the others shall not read who they were.
    """
    lines = [
        f"{_words(record)} {round(record.seconds * 1000)}ms"
        for record in history
        if record.step != "rcpt" or record.answer not in ("reject", "defer")
    ]
    if not lines:
        return b""
    if len(lines) > MAX_HOOKS:
        # The verdict comes last.
        lines[MAX_HOOKS // 2 : -(MAX_HOOKS // 2)] = ["..."]
    words = ";\r\n\t".join(lines)
    return f"{HOOKS_FIELD}: {words}\r\n".encode("ascii")


def _words(record: HookRecord) -> str:
    hook = _NO_COMMENT.sub("?", record.hook)[:MAX_REASON]
    reason = "" if record.answer in _ADDRESSES else record.reason
    if reason:
        reason = f" ({_NO_COMMENT.sub('?', reason)[:MAX_REASON]})"
    return f"{hook} {record.step} {record.answer}{reason}"
