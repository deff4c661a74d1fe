"""``--anonymous SERVICE:ACCOUNT``: whom anonymous users are guests of."""

from __future__ import annotations

from collections.abc import Iterable

from mailkit.tap.errors import SettingError

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
