"""CRC-32 of two pieces together, from those of each: when the first one is known last."""

from __future__ import annotations

# Polynomials have their highest power in the lowest bit, as in zlib.
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials over GF(2), modulo that of CRC-32."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


def _make_powers() -> list[int]:
    # Of x, to 8, 16, 32 and so on: what a length in octets, doubled, multiplies a CRC by.
    power = 1 << 30
    for _ in range(3):
        power = _multiply(power, power)
    powers = []
    for _ in range(64):
        powers.append(power)
        power = _multiply(power, power)
    return powers


_POWERS = _make_powers()


def combine_crc(first: int, second: int, length: int) -> int:
    """The CRC-32 of two pieces together.

    :param first: of the first piece, as ``zlib.crc32`` gives it.
    :param second: of the second.
    :param length: octets of the second, less than 2**64.
    """
    for power in _POWERS:
        if not length:
            break
        if length & 1:
            first = _multiply(power, first)
        length >>= 1
    return first ^ second
