"""What a session of FTP remembers."""

from __future__ import annotations

from dataclasses import dataclass

from mailkit.files import FilePath
from mailkit.ftp.grammar import FACTS


@dataclass
class Session:
    """One session; AUTH begins another (RFC 4217 section 4)."""

    #: What USER said, until PASS.
    user: bytes | None = None
    #: The account, once the client has logged in.
    account: str = ""
    directory: FilePath = ()
    #: TYPE I; the other one is ASCII, which is the default (RFC 959 section 5.1).
    binary: bool = False
    #: Where the next transfer begins (REST).
    restart: int = 0
    rename_from: FilePath | None = None
    #: PBSZ was given, and data connections are under TLS (RFC 4217 sections 8 and 9).
    buffer_size_set: bool = False
    protected: bool = False
    #: After EPSV ALL nothing but EPSV opens data connections (RFC 2428 section 4).
    only_epsv: bool = False
    facts: tuple[str, ...] = FACTS
    #: STATs that were answered during the transfer at work.
    statuses: int = 0
    #: Commands in a row that were none.
    errors: int = 0

    def take_restart(self) -> int:
        """Where the transfer begins that is asked for now."""
        restart, self.restart = self.restart, 0
        return restart
