"""``logins`` of ``[queue]`` and its routes: a file with the logins for several servers."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any, NamedTuple

from mailkit.queue.hosts import Host
from mailkit.tap.config import parse_toml
from mailkit.tap.errors import SettingError
from mailkit.wire.domains import canonical_domain
from mailkit.wire.sasl_client import Credentials

#: Octets of the file.
MAX_FILE = 1024 * 1024
#: Who else may have which rights: those of the group may read it.
_FORBIDDEN = stat.S_IWGRP | stat.S_IRWXO
_KEYS = {"username", "password"}


class LoginTable(NamedTuple):
    """Logins by server, as ``name`` or ``name:port``."""

    logins: Mapping[str, Credentials]

    def find(self, host: Host) -> Credentials | None:
        """The login for a server; None where there is none."""
        name = canonical_domain(host.name)
        return self.logins.get(f"{name}:{host.port}") or self.logins.get(name)


def read_logins(path: str) -> LoginTable:
    """The logins in a file: a table of TOML for each server, with ``username`` and ``password``.

    :raises SettingError: it cannot be read, others may read it, or it has something else in it. No
        text of it is told.
    """
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _FORBIDDEN:
                raise SettingError(
                    f"{path} has passwords, and may be read or changed by others: chmod 640 it"
                )
            octets = file.read(MAX_FILE + 1)
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror or error}") from error
    if len(octets) > MAX_FILE:
        raise SettingError(f"{path} is larger than {MAX_FILE} octets")
    try:
        tables = parse_toml(octets)
    except ValueError:
        # Its text may be a line of the file.
        raise SettingError(f"{path} is no TOML") from None
    logins = {
        canonical_domain(name): _credentials(path, name, each) for name, each in tables.items()
    }
    if not logins:
        raise SettingError(f"{path} names no server")
    return LoginTable(logins)


def _credentials(path: str, server: str, table: Any) -> Credentials:
    name, _, port = server.partition(":")
    if not name or (":" in server and not (port.isascii() and port.isdecimal())):
        raise SettingError(f"{path}: a server is NAME or NAME:PORT")
    if (
        not isinstance(table, dict)
        or table.keys() != _KEYS
        or not all(isinstance(value, str) and value for value in table.values())
    ):
        raise SettingError(f"{path}: {server} must have a username and a password, two texts")
    return Credentials(table["username"], table["password"])
