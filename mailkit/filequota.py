"""How much there is of an account's files, and may be."""

from __future__ import annotations

from typing import NamedTuple


class FileQuota(NamedTuple):
    """What the files of one account may take; 0 is no limit."""

    #: Of all files together.
    octets: int = 0
    #: Files and directories.
    files: int = 0


class FileUsage(NamedTuple):
    """What the files of one account take, and may take; a limit of 0 is none."""

    octets: int
    files: int
    max_octets: int = 0
    max_files: int = 0
