"""What can be served, and the factory of each."""

from __future__ import annotations

from typing import Any

from twisted.cred.portal import Portal

from mailkit.connection import CommandFactory
from mailkit.tap.errors import SettingError

#: Servers under TLS from the first octet, and what is served under it.
IMPLICIT_TLS = {"submissions": "submission", "pop3s": "pop3", "imaps": "imap", "ftps": "ftp"}
#: All that can be served, in the order in which programs show it.
PORT_NAMES = (
    *("smtp", "lmtp", "submission", "submissions", "pop3", "pop3s", "imap", "imaps"),
    *("ftp", "ftps"),
)


def make_factory(
    protocol: str, portal: Portal | None, hostname: str, max_message_size: int, **settings: Any
) -> CommandFactory:
    """The factory of a protocol.

    :raises SettingError: there is no such protocol.
    """
    # Loaded when used: a POP3 server has no need of IMAP.
    if protocol == "smtp":
        from mailkit.smtp.protocol import SMTPFactory

        return SMTPFactory(portal, hostname=hostname, max_size=max_message_size, **settings)
    if protocol == "lmtp":
        from mailkit.smtp.lmtp import LMTPFactory

        return LMTPFactory(portal, hostname=hostname, max_size=max_message_size, **settings)
    if protocol == "submission":
        from mailkit.smtp.submission import SubmissionFactory

        return SubmissionFactory(portal, hostname=hostname, max_size=max_message_size, **settings)
    if protocol == "pop3":
        from mailkit.pop3.protocol import POP3Factory

        return POP3Factory(portal, **settings)
    if protocol == "imap":
        from mailkit.imap.protocol import IMAPFactory

        return IMAPFactory(portal, max_message_size=max_message_size, **settings)
    if protocol == "ftp":
        from mailkit.ftp.protocol import FTPFactory

        return FTPFactory(portal, **settings)
    raise SettingError(f"there is no server {protocol!r}; known are {', '.join(PORT_NAMES)}")
