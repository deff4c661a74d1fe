"""Sets of network addresses. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

#: Stands for all clients over UNIX sockets, which have no address.
UNIX = "unix"


class Networks:
    """Addresses that somebody has named one by one, by network, or as ``unix``.

    :param names: ``192.0.2.7``, ``192.0.2.0/24``, ``2001:db8::/32``, ``unix``.
    :raises ValueError: one of them is none.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._unix = False
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for name in names:
            if name.lower() == UNIX:
                self._unix = True
                continue
            try:
                self._networks.append(ipaddress.ip_network(name, strict=False))
            except ValueError:
                raise ValueError(
                    f"{name!r} is no network such as 192.0.2.0/24, no address and not {UNIX!r}"
                ) from None

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def __contains__(self, host: object) -> bool:
        """Whether an address is among them; the empty one is that of a UNIX socket."""
        if not isinstance(host, str) or not host:
            return self._unix and not host
        return bool(self._networks) and any(
            address in network for address in _addresses(host) for network in self._networks
        )


@lru_cache(maxsize=1024)
def _addresses(host: str) -> Sequence[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """What the text of an address stands for."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ()
    # A socket for both families shows IPv4 clients so.
    mapped = getattr(address, "ipv4_mapped", None)
    return (address,) if mapped is None else (address, mapped)
