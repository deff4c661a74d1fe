"""DSN (RFC 3461): which reports the sender wants, and what shall stand in them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from mailkit.model import Ability, Envelope, OriginalRecipient, Recipient
from mailkit.smtp.extensions.extension import Extension, Promised
from mailkit.smtp.grammar import Refused, parse_xtext

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

#: Characters of ENVID and of ORCPT (RFC 3461 sections 4.4 and 4.2).
MAX_ENVID = 100
MAX_ORCPT = 500

_CONDITIONS = frozenset(("SUCCESS", "FAILURE", "DELAY"))
_ADDRESS_TYPE = re.compile(r"[!#$%&'*+/0-9=?A-Z^_`a-z{|}~-]+")
# RFC 6533 section 3. The characters that need not be embedded, and one that is.
_PLAIN = r"[!-*,-<>-\[\]-~\x80-\U0010ffff]"
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_UTF8_ADDRESS = re.compile(rf"(?:{_PLAIN}|\\x\{{[0-9A-F]{{2,6}}\}})+")


def ret_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """RET (RFC 3461 section 4.3)."""
    ret = (value or "").upper()
    if ret not in ("FULL", "HDRS"):
        raise Refused(501, "5.5.4", "RET is FULL or HDRS")
    envelope.ret = ret


def envid_parameter(connection: SMTPProtocol, envelope: Envelope, value: str | None) -> None:
    """ENVID (RFC 3461 section 4.4)."""
    if not value or len(value) > MAX_ENVID:
        raise Refused(501, "5.5.4", f"ENVID is 1 to {MAX_ENVID} characters of xtext")
    envelope.envid = _printable("ENVID", value)


def notify_parameter(
    connection: SMTPProtocol, envelope: Envelope, recipient: Recipient, value: str | None
) -> Recipient:
    """NOTIFY (RFC 3461 section 4.1)."""
    conditions = (value or "").upper().split(",")
    wanted = frozenset(conditions)
    if conditions != ["NEVER"] and (not wanted <= _CONDITIONS or len(wanted) < len(conditions)):
        raise Refused(501, "5.5.4", "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY")
    return replace(recipient, notify=wanted)


def orcpt_parameter(
    connection: SMTPProtocol, envelope: Envelope, recipient: Recipient, value: str | None
) -> Recipient:
    """ORCPT (RFC 3461 section 4.2, RFC 6533 section 3)."""
    address_type, semicolon, encoded = (value or "").partition(";")
    if not (semicolon and encoded and _ADDRESS_TYPE.fullmatch(address_type)):
        raise Refused(501, "5.5.4", "ORCPT is an address type, a semicolon and an address")
    if len(value or "") > MAX_ORCPT:
        raise Refused(501, "5.5.4", f"ORCPT has more than {MAX_ORCPT} characters")
    if address_type.lower() == "utf-8":
        address = _decode_utf8_address(encoded, envelope.smtputf8)
    else:
        # lenient: Postfix 3.7 writes UTF-8 as xtext; RFC 6533 section 3 has a type for that.
        address = _printable("ORCPT", encoded, "utf-8")
        if not address.isascii():
            address_type = "utf-8"
    return replace(recipient, orcpt=OriginalRecipient(address_type, address))


def _printable(name: str, value: str, charset: str = "ascii") -> str:
    try:
        text = parse_xtext(value).decode(charset)
    except ValueError:
        raise Refused(501, "5.5.4", f"{name} is not xtext of {charset.upper()}") from None
    if not text.replace("\t", " ").isprintable():
        raise Refused(501, "5.5.4", f"{name} has characters that are not printable")
    return text


def _decode_utf8_address(encoded: str, smtputf8: bool) -> str:
    if not _UTF8_ADDRESS.fullmatch(encoded) or not (smtputf8 or encoded.isascii()):
        raise Refused(501, "5.5.4", "ORCPT has characters that must be written as \\x{...}")
    codes = [int(found, 16) for found in _EMBEDDED.findall(encoded)]
    if any(code > 0x10FFFF or 0xD800 <= code < 0xE000 for code in codes):
        raise Refused(501, "5.5.4", "ORCPT names a character that does not exist")
    address = _EMBEDDED.sub(lambda found: chr(int(found[1], 16)), encoded)
    if not address.isprintable():
        raise Refused(501, "5.5.4", "ORCPT has characters that are not printable")
    return address


DSN = Extension(
    "DSN",
    available=Promised(Ability.DSN),
    mail_parameters={"RET": ret_parameter, "ENVID": envid_parameter},
    recipient_parameters={"NOTIFY": notify_parameter, "ORCPT": orcpt_parameter},
)
