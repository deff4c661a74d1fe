"""``--passive-ports``, ``--passive-address``, ``--files``: what the FTP server is like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, ClassVar

from mailkit.homes.disk import FileHomes
from mailkit.tap.errors import SettingError, StartError

#: Names of the options.
PORTS, ADDRESS, FILES = "passive-ports", "passive-address", "files"
#: Where homes are in the directory of a store.
DIRECTORY = "files"


@dataclass(frozen=True)
class FTPSettings:
    """Settings of the FTP server."""

    passive_ports: range = range(0)
    passive_address: str = ""
    #: Directory of the homes; below that of the store when empty.
    files: str = ""

    def parameters(self) -> dict[str, Any]:
        """Those of :class:`~mailkit.ftp.protocol.FTPFactory`."""
        return {"passive_ports": self.passive_ports, "passive_address": self.passive_address}

    def homes(self, store: Any, name: str) -> FileHomes:
        """Where accounts of a store have their files.

        :param name: what ``--store`` says.
        :raises StartError: the store has no directory, and no other one is named.
        """
        if self.files:
            return FileHomes(os.path.expanduser(self.files))
        directory = getattr(store, "directory", None)
        if not isinstance(directory, str):
            reason = "this store has no directory for files: give --files DIR"
            raise StartError("store", name, reason)
        return FileHomes(os.path.join(directory, DIRECTORY))


def parse_ftp_settings(options: Mapping[str, Any]) -> FTPSettings:
    """The settings that the options tell.

    :raises SettingError: there are no such ports, or the address is none of IPv4.
    """
    address = options.get(ADDRESS) or ""
    if address:
        try:
            address = str(IPv4Address(address))
        except ValueError:
            raise SettingError(f"{address!r} is no IPv4 address, as PASV needs it") from None
    return FTPSettings(_parse_ports(options.get(PORTS)), address, options.get(FILES) or "")


def _parse_ports(text: str | None) -> range:
    if text is None:
        return range(0)
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and len(text) <= 11:
        ports = range(int(first), int(last) + 1)
        if ports and ports[0] >= 1024 and ports[-1] <= 65535:
            return ports
    raise SettingError(f"{text!r} is no range of ports from 1024 on, such as 50000-50100")


class FTPOptions:
    """The options, for commands that serve FTP."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            PORTS,
            None,
            None,
            "Ports where clients of FTP connect for data, such as 50000-50100 [default: any]",
        ],
        [
            ADDRESS,
            None,
            None,
            "IPv4 address that PASV tells clients, behind an address translator"
            " [default: the one that they have connected to]",
        ],
        [
            FILES,
            None,
            None,
            "Directory with a home for each account that uses FTP"
            " [default: files in the store's directory]",
        ],
    ]
