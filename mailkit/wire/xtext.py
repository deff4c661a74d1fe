"""Text in printable ASCII, as parameters of SMTP and delivery reports have it."""

from __future__ import annotations

# RFC 6533 section 3: QCHAR.
_QCHAR = frozenset(range(0x21, 0x7F)) - frozenset(b"+=\\")


def encode_xtext(text: str) -> str:
    """RFC 3461 section 4: printable ASCII but ``+`` and ``=``; the rest as ``+`` and two digits."""
    return "".join(
        chr(octet) if 0x21 <= octet < 0x7F and octet not in b"+=" else f"+{octet:02X}"
        for octet in text.encode("utf-8")
    )


def encode_utf8_address(address: str) -> str:
    """RFC 6533 section 3: utf-8-addr-xtext, which every server may get."""
    return "".join(
        character if ord(character) in _QCHAR else f"\\x{{{ord(character):02X}}}"
        for character in address
    )
