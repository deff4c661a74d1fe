"""What crosses the contracts of accounts' files, :class:`mailkit.interfaces.IFileHome` and others."""

from __future__ import annotations

from typing import NamedTuple

#: A place below the home of an account: the names on the way; empty for the home itself.
FilePath = tuple[str, ...]

#: What a user may do, in the letters of RFC 3659 section 7.5.5: with a file (append, delete,
#: rename, read, write), and with a directory (create in it, delete, enter, rename, list, make
#: directories, purge).
FILE_RIGHTS, DIRECTORY_RIGHTS = "adfrw", "cdeflmp"


class FileEntry(NamedTuple):
    """A file or a directory of an account."""

    name: str
    is_directory: bool
    #: Octets.
    size: int
    #: Seconds since 1970; None where nobody knows.
    modified: float | None
    #: Tells two names of one file from two files (RFC 3659 section 7.5.2): no space, no semicolon.
    unique: str
    #: Letters of :data:`FILE_RIGHTS` or :data:`DIRECTORY_RIGHTS`.
    rights: str


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
