"""HMAC-MD5's two states, which Dovecot keeps instead of a password (``{CRAM-MD5}``).

They are MD5's four words after the one block that the key fills (RFC 2104 section 4). The standard
library does not give them away, so that this block is worked off here, by RFC 1321 section 3.4.
"""

from __future__ import annotations

import hashlib
import math
import struct

_BLOCK = 64
_WORD = 0xFFFFFFFF
_BEGIN = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_SINES = [int(abs(math.sin(step + 1)) * 2**32) for step in range(64)]
_SHIFTS = [
    shift
    for four in ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))
    for shift in four * 4
]


def hmac_md5_states(key: bytes) -> bytes:
    """The outer state and the inner one, as Dovecot writes them: 32 octets."""
    if len(key) > _BLOCK:
        key = hashlib.md5(key, usedforsecurity=False).digest()
    key = key.ljust(_BLOCK, b"\0")
    return b"".join(_state(bytes(octet ^ pad for octet in key)) for pad in (0x5C, 0x36))


def _state(block: bytes) -> bytes:
    """MD5's words after this block, the first."""
    words = struct.unpack("<16I", block)
    a, b, c, d = _BEGIN
    for step in range(64):
        if step < 16:
            mixed, word = (b & c) | (~b & d), step
        elif step < 32:
            mixed, word = (d & b) | (~d & c), (5 * step + 1) % 16
        elif step < 48:
            mixed, word = b ^ c ^ d, (3 * step + 5) % 16
        else:
            mixed, word = c ^ (b | (~d & _WORD)), 7 * step % 16
        total = (a + mixed + _SINES[step] + words[word]) & _WORD
        shift = _SHIFTS[step]
        turned = (total << shift | total >> (32 - shift)) & _WORD
        a, d, c, b = d, c, b, (b + turned) & _WORD
    return struct.pack("<4I", *((x + y) & _WORD for x, y in zip((a, b, c, d), _BEGIN, strict=True)))
