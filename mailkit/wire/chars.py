"""Character classes, built from the ABNF of the standards, as sets of octets and regex classes."""

from __future__ import annotations

import re
from collections.abc import Iterable


def octet_class(octets: Iterable[int]) -> bytes:
    """The inside of a regular-expression character class that matches just these octets."""
    return b"".join(re.escape(bytes((octet,))) for octet in sorted(octets))


#: RFC 5234 appendix B.1
ALPHA = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
DIGIT = frozenset(b"0123456789")
CTL = frozenset(range(0x20)) | {0x7F}
VCHAR = frozenset(range(0x21, 0x7F))
CHAR = frozenset(range(0x01, 0x80))

#: RFC 5322 section 3.2.3
ATEXT = ALPHA | DIGIT | frozenset(b"!#$%&'*+-/=?^_`{|}~")
#: RFC 5321 section 4.1.2: what may stand in a quoted local part without a backslash.
QTEXT_SMTP = (frozenset(range(0x20, 0x7F))) - frozenset(b'"\\')

#: RFC 3501 section 9: list-wildcards, quoted-specials, resp-specials, atom-specials.
LIST_WILDCARDS = frozenset(b"%*")
QUOTED_SPECIALS = frozenset(b'"\\')
RESP_SPECIALS = frozenset(b"]")
ATOM_SPECIALS = frozenset(b"(){ ") | CTL | LIST_WILDCARDS | QUOTED_SPECIALS | RESP_SPECIALS
ATOM_CHAR = CHAR - ATOM_SPECIALS
ASTRING_CHAR = ATOM_CHAR | RESP_SPECIALS
TAG_CHAR = ASTRING_CHAR - frozenset(b"+")
LIST_CHAR = ATOM_CHAR | LIST_WILDCARDS | RESP_SPECIALS
