"""``--passive-ports``, ``--files``, ``--ftp-mail`` and their like: what the FTP server is like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, ClassVar

from mailkit.files import FileQuota
from mailkit.homes.disk import FileHomes, threads_of
from mailkit.homes.mail import MailHomes
from mailkit.homes.mounts import MountedHomes
from mailkit.interfaces import IFileHomes, IFileQuotaDirectory
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.values import parse_file_quota

#: Names of the options.
PORTS, ADDRESS, FILES = "passive-ports", "passive-address", "files"
MAIL, QUOTA, PROTECT = "ftp-mail", "ftp-quota", "ftp-protect-data"
#: Those whose values may be wrong.
JUDGED = (PORTS, ADDRESS, MAIL, QUOTA)
#: Where homes are in the directory of a store.
DIRECTORY = "files"
#: The directory in which mail is.
MAIL_DIRECTORY = "Mail"
NO_QUOTA = FileQuota()
#: What may be done with mail.
MAIL_WAYS = ("no", "read", "append")


@dataclass(frozen=True)
class FTPSettings:
    """Settings of the FTP server."""

    passive_ports: range = range(0)
    passive_address: str = ""
    #: Directory of the homes; below that of the store when empty.
    files: str = ""
    #: One of :data:`MAIL_WAYS`.
    mail: str = "read"
    #: What the files of each account may take.
    quota: FileQuota = NO_QUOTA
    #: No data connections without TLS.
    protect_data: bool = False

    def parameters(self) -> dict[str, Any]:
        """Those of :class:`~mailkit.ftp.protocol.FTPFactory`."""
        return {
            "passive_ports": self.passive_ports,
            "passive_address": self.passive_address,
            "protect_data": self.protect_data,
        }

    def homes(self, store: Any, name: str, max_message_size: int, reactor: Any) -> IFileHomes:
        """Where accounts of a store have their files, and what these are.

        :param name: what ``--store`` says.
        :param max_message_size: octets of a file that becomes a message.
        :raises StartError: the store has no directory, and no other one is named.
        """
        directory = os.path.expanduser(self.files)
        if not directory:
            of_store = getattr(store, "directory", None)
            if not isinstance(of_store, str):
                reason = "this store has no directory for files: give --files DIR"
                raise StartError("store", name, reason)
            directory = os.path.join(of_store, DIRECTORY)
        in_thread = threads_of(reactor)
        quotas = store if IFileQuotaDirectory.providedBy(store) else None
        homes = FileHomes(directory, quota=self.quota, quotas=quotas, in_thread=in_thread)
        if self.mail == "no":
            return homes
        mail = MailHomes(
            store,
            append=self.mail == "append",
            max_message_size=max_message_size,
            in_thread=in_thread,
        )
        return MountedHomes(homes, {MAIL_DIRECTORY: mail})


def parse_ftp_settings(options: Mapping[str, Any]) -> FTPSettings:
    """The settings that the options tell.

    :raises SettingError: one of them cannot be.
    """
    address = options.get(ADDRESS) or ""
    if address:
        try:
            address = str(IPv4Address(address))
        except ValueError:
            raise SettingError(f"{address!r} is no IPv4 address, as PASV needs it") from None
    mail = options.get(MAIL) or "read"
    if mail not in MAIL_WAYS:
        raise SettingError(f"{mail!r} is none of {', '.join(MAIL_WAYS)}")
    return FTPSettings(
        _parse_ports(options.get(PORTS)),
        address,
        options.get(FILES) or "",
        mail,
        _parse_quota(options.get(QUOTA)),
        bool(options.get(PROTECT)),
    )


def _parse_quota(text: str | None) -> FileQuota:
    if text is None:
        return NO_QUOTA
    octets, files = parse_file_quota(text)
    return FileQuota(octets or 0, files or 0)


def _parse_ports(text: str | None) -> range:
    if text is None:
        return range(0)
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and len(text) <= 11:
        ports = range(int(first), int(last) + 1)
        if ports and ports[0] >= 1024 and ports[-1] <= 65535:
            return ports
    raise SettingError(f"{text!r} is no range of ports from 1024 on, such as 50000-50100")


class FTPOptions(StrictOptions):
    """The options, for commands that serve FTP."""

    optFlags: ClassVar[list[list[Any]]] = [
        [
            PROTECT,
            None,
            "Refuse data connections of FTP without TLS (PROT C), as the control connection's"
            " passwords are",
        ],
    ]
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
        [
            MAIL,
            None,
            None,
            "What clients of FTP find in the directory Mail: their messages to read, or also to"
            " append others to, or no mail (read, append, no) [default: read]",
        ],
        [
            QUOTA,
            None,
            None,
            "What the files of each account may take, and how many files and directories it may"
            " have: 10G, or 10G,50000 [default: no limit]",
        ],
    ]
