"""Which messages a session is shown, and what they are called. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from mailkit.model import POP3_DELETED, MailboxInfo, MaildropSettings, MessageInfo

_SEEN = "\\Seen"
_DAY = 86400
# The spelling is that of whoever has used the keyword first.
_DELETED = POP3_DELETED.lower()


class Choice:
    """Chooses the messages of one mailbox.

    :param now: seconds since the epoch.
    """

    def __init__(self, settings: MaildropSettings, now: float) -> None:
        self._settings = settings
        self._everything = shows_everything(settings)
        self._since = 0.0 if settings.expire is None else now - settings.expire * _DAY
        #: UIDs of messages that are too old.
        self.expired: list[int] = []

    def of(self, messages: Sequence[MessageInfo]) -> Sequence[MessageInfo]:
        """Those that are shown."""
        if self._everything:
            return messages
        return [message for message in messages if self._is_shown(message)]

    def _is_shown(self, message: MessageInfo) -> bool:
        # Mail that was imported is as old as its stay here.
        arrived = message.internal_date if message.save_date is None else message.save_date
        if self._settings.expire is not None and arrived <= self._since:
            self.expired.append(message.uid)
            return False
        if self._settings.hide_seen and _SEEN in message.flags:
            return False
        return not (self._settings.keep and any(f.lower() == _DELETED for f in message.flags))


def shows_everything(settings: MaildropSettings) -> bool:
    """Nothing is hidden, and nothing expires."""
    return not (settings.keep or settings.hide_seen or settings.expire)


def mailbox_mark(info: MailboxInfo) -> bytes:
    """What tells identifiers of a mailbox's messages from those of INBOX and of other mailboxes.

    By what the mailbox is for ever, or by its name where nothing else is known.
    """
    return b".%08x" % zlib.crc32((info.mailbox_id or info.name).encode("utf-8"))
