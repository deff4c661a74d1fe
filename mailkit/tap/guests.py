"""``--anonymous SERVICE:ACCOUNT``: whom anonymous users are guests of."""

from __future__ import annotations

from collections.abc import Iterable

from mailkit.tap.errors import SettingError
from mailkit.tap.strict_options import StrictOptions

#: Services that let anonymous users in, where they are told to.
SERVICES = ("imap", "ftp")


def parse_guests(texts: Iterable[str]) -> dict[str, str]:
    """The account of each service.

    :raises SettingError: a text is not of that form, or a service has two.
    """
    guests: dict[str, str] = {}
    for text in texts:
        service, _, account = text.partition(":")
        if service not in SERVICES or not account:
            known = " or ".join(SERVICES)
            raise SettingError(f"{text!r} must be {known}, a colon, and the account to be read")
        if service in guests:
            raise SettingError(f"{service} has an account for anonymous users already")
        guests[service] = account
    return guests


class GuestOptions(StrictOptions):
    """The option, for commands that serve IMAP or FTP."""

    list_settings = ["anonymous"]

    def opt_anonymous(self, guest: str) -> None:
        """Let anybody read, without a password, what an account has: SERVICE:ACCOUNT, where SERVICE
        is imap or ftp. May be repeated."""
        self.lists["anonymous"].append(guest)
