"""Settings for POP3 as a store keeps them."""

from __future__ import annotations

import json

from mailkit.errors import LimitExceeded
from mailkit.model import MaildropSettings
from mailkit.store.naming import validate_name

#: Mailboxes of one maildrop.
MAX_MAILBOXES = 20
#: Days after which messages expire, and seconds between logins, at most.
MAX_EXPIRE = 36_500
MAX_LOGIN_DELAY = 86_400

DEFAULT_SETTINGS = MaildropSettings()


def checked_settings(settings: MaildropSettings) -> MaildropSettings:
    """The settings, names of mailboxes in their canonical form and each once.

    :raises LimitExceeded: there are no mailboxes, or too many, or a number is out of range.
    :raises InvalidMailboxName: that cannot be the name of a mailbox.
    """
    names = tuple(dict.fromkeys(validate_name(name) for name in settings.mailboxes))
    if not 0 < len(names) <= MAX_MAILBOXES:
        raise LimitExceeded(f"A maildrop has 1 to {MAX_MAILBOXES} mailboxes")
    if settings.expire is not None and not 0 < settings.expire <= MAX_EXPIRE:
        raise LimitExceeded(f"Messages expire after 1 to {MAX_EXPIRE} days")
    if settings.login_delay is not None and not 0 <= settings.login_delay <= MAX_LOGIN_DELAY:
        raise LimitExceeded(f"A login delay is 0 to {MAX_LOGIN_DELAY} seconds")
    return settings._replace(mailboxes=names)


def encode_settings(settings: MaildropSettings) -> str | None:
    """What differs from the usual, as JSON; None for nothing."""
    values = {
        name: value
        for name, value in settings._asdict().items()
        if value != getattr(DEFAULT_SETTINGS, name)
    }
    return json.dumps(values) if values else None


def decode_settings(text: str | None) -> MaildropSettings:
    """What :func:`encode_settings` made."""
    if text is None:
        return DEFAULT_SETTINGS
    values = json.loads(text)
    if "mailboxes" in values:
        values["mailboxes"] = tuple(values["mailboxes"])
    return MaildropSettings(**values)
