"""The contract of an account's files, which FTP serves."""

from __future__ import annotations

from zope.interface import Attribute, Interface


class IFileHome(Interface):
    """The avatar that a realm gives to FTP: where an account's files are."""

    name: str = Attribute("""Canonical name of the account.""")

    directory: str = Attribute(
        """Absolute path of a directory of this machine, which exists. The account's user reads and
        writes what is in it; nothing that lies outside can be reached from there."""
    )
