"""The header by which a proxy tells whom it speaks for: PROXY protocol, versions 1 and 2. No I/O.

The protocol is HAProxy's; sections are those of its ``proxy-protocol.txt``.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import NamedTuple

#: Octets of a header of version 1, with its line end (section 2.1).
MAX_V1 = 107
#: Octets of a header of version 2 with all that proxies put behind the addresses.
MAX_V2 = 4096

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PREFIX = b"PROXY "
_FIXED = len(_SIGNATURE) + 4
_V1 = re.compile(rb"PROXY TCP([46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) (\d{1,5}) (\d{1,5})")
# What stands behind UNKNOWN is ignored.
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?")

# Section 2.2.
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_MAX_FAMILY, _MAX_TRANSPORT = 3, 2
_TLV_TLS, _TLV_TLS_VERSION, _TLV_TLS_CIPHER = 0x20, 0x21, 0x23
_CLIENT_TLS = 0x01


class ToldClient(NamedTuple):
    """A client as a proxy tells it."""

    peer: str
    peer_port: int
    #: Where the client has connected to.
    local: str
    local_port: int
    #: The client speaks TLS to the proxy.
    tls: bool = False
    tls_version: str = ""
    tls_cipher: str = ""


class ProxyHeader(NamedTuple):
    """A header."""

    #: Octets that it takes.
    length: int
    #: None when the proxy speaks for itself, or does not know for whom.
    client: ToldClient | None


def read_header(octets: bytes) -> ProxyHeader | None:
    """The header at the beginning of a connection; None while it is not complete.

    :raises ValueError: there is none, or it is wrong.
    """
    start = octets[: len(_SIGNATURE)]
    if _SIGNATURE.startswith(start):
        return _read_v2(octets)
    if _PREFIX.startswith(start[: len(_PREFIX)]):
        return _read_v1(octets)
    raise ValueError("no PROXY header")


def _read_v1(octets: bytes) -> ProxyHeader | None:
    end = octets.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(octets) >= MAX_V1 or b"\n" in octets:
            raise ValueError("a PROXY line without its end")
        return None
    line = octets[:end]
    length = end + 2
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(length, None)
    found = _V1.fullmatch(line)
    if found is None:
        raise ValueError("bad PROXY line")
    version = int(found[1])
    peer, local = (_address(text.decode("ascii"), version) for text in found.group(2, 3))
    ports = [int(port) for port in found.group(4, 5)]
    if max(ports) > 0xFFFF:
        raise ValueError("bad port in a PROXY line")
    return ProxyHeader(length, ToldClient(peer, ports[0], local, ports[1]))


def _address(text: str, version: int) -> str:
    address = ipaddress.ip_address(text)
    if address.version != version:
        raise ValueError("an address of the wrong family in a PROXY line")
    return _text(address)


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    # A proxy with one socket for both families tells IPv4 clients so.
    return str(getattr(address, "ipv4_mapped", None) or address)


def _read_v2(octets: bytes) -> ProxyHeader | None:
    if len(octets) < _FIXED:
        return None
    command, kind, size = struct.unpack_from("!BBH", octets, len(_SIGNATURE))
    length = _FIXED + size
    if command not in (_LOCAL, _PROXY):
        raise ValueError("a PROXY header of another version, or with another command")
    # Section 2.2: behind LOCAL the family is ignored.
    if command == _PROXY and (kind >> 4 > _MAX_FAMILY or kind & 15 > _MAX_TRANSPORT):
        raise ValueError("a PROXY header for an unknown family or transport")
    if length > MAX_V2:
        raise ValueError("a PROXY header that is too long")
    if len(octets) < length:
        return None
    if command == _LOCAL or kind not in (_TCP4, _TCP6):
        # Section 2.2: LOCAL is the proxy itself, and what is not implemented counts as UNSPEC.
        return ProxyHeader(length, None)
    width = 4 if kind == _TCP4 else 16
    values = octets[_FIXED:length]
    if size < 2 * width + 4:
        raise ValueError("a PROXY header without its addresses")
    peer = _text(ipaddress.ip_address(values[:width]))
    local = _text(ipaddress.ip_address(values[width : 2 * width]))
    ports = struct.unpack_from("!HH", values, 2 * width)
    client = ToldClient(peer, ports[0], local, ports[1])
    tls = _read_tlvs(values[2 * width + 4 :]).get(_TLV_TLS)
    return ProxyHeader(length, client if tls is None else _with_tls(client, tls))


def _read_tlvs(octets: bytes) -> dict[int, bytes]:
    """Section 2.2: the vectors behind the addresses; the first of each type."""
    values: dict[int, bytes] = {}
    position = 0
    while position < len(octets):
        if len(octets) - position < 3:
            raise ValueError("a PROXY header with half a vector")
        kind, size = struct.unpack_from("!BH", octets, position)
        position += 3
        if len(octets) - position < size:
            raise ValueError("a PROXY header with half a vector")
        values.setdefault(kind, octets[position : position + size])
        position += size
    return values


def _with_tls(client: ToldClient, value: bytes) -> ToldClient:
    # Section 2.2.6: a bit field, the result of the verification, then vectors.
    if len(value) < 5:
        raise ValueError("a PROXY header with half a vector")
    if not value[0] & _CLIENT_TLS:
        return client
    known = _read_tlvs(value[5:])
    return client._replace(
        tls=True,
        tls_version=_word(known.get(_TLV_TLS_VERSION, b"")),
        tls_cipher=_word(known.get(_TLV_TLS_CIPHER, b"")),
    )


def _word(octets: bytes) -> str:
    """A name as it may stand in a header field or a log."""
    return "".join(c for c in octets[:64].decode("ascii", "ignore") if "!" <= c <= "~")
