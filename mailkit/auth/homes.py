"""Where the files of accounts are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import quote

from zope.interface import implementer

from mailkit.errors import StoreUnavailable
from mailkit.interfaces import IFileHome


@implementer(IFileHome)
@dataclass(frozen=True)
class FileHome:
    """The home of one account."""

    name: str
    directory: str


class FileHomes:
    """Gives each account a directory of its name, made when it is first needed.

    :param directory: where these directories are.
    """

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)

    def open_home(self, account: str) -> FileHome:
        """The home of an account.

        :raises StoreUnavailable: it is not there and cannot be made.
        """
        path = os.path.join(self.directory, _file_name(account))
        try:
            os.makedirs(self.directory, 0o700, exist_ok=True)
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable("Your files are not available just now") from error
        return FileHome(account, path)


def _file_name(account: str) -> str:
    """The account's name as that of one directory: no slash, no NUL, neither ``.`` nor ``..``."""
    name = quote(account, safe="@+=")
    return f"%2E{name[1:]}" if name.startswith(".") else name
