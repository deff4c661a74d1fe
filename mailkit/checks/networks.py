"""Addresses of clients, and networks of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

#: This machine.
LOOPBACK = ("127.0.0.0/8", "::1/128")

_Address = IPv4Address | IPv6Address


def parse_address(text: str) -> _Address | None:
    """The address, IPv4 out of IPv6 (``::ffff:192.0.2.1``) as such; None when it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_of(text: str, ipv4_bits: int = 24, ipv6_bits: int = 64) -> str:
    """The network around an address, as ``192.0.2.0/24``; what is no address stays as it is."""
    address = parse_address(text)
    if address is None:
        return text
    bits = ipv4_bits if address.version == 4 else ipv6_bits
    return str(ip_network((address, bits), strict=False))


# RFC 6052: IPv4 hosts seen through a translator.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_reachable(text: str) -> bool:
    """Whether an address can be that of a host somewhere else in the Internet."""
    address = parse_address(text)
    if address is None:
        return False
    if isinstance(address, IPv6Address) and address in _NAT64:
        return True
    return address.is_global and not address.is_multicast
