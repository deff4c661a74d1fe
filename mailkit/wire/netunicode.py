"""Net-Unicode (RFC 5198), as far as names of mailboxes need it (RFC 9051 section 5.1)."""

from __future__ import annotations

import unicodedata

#: Characters of a text that is normalised; marks are sorted in quadratic time.
MAX_TEXT = 2048


def net_unicode(text: str) -> str:
    """The text in normalization form C, in which an accented letter is written in one way.

    One of more than :data:`MAX_TEXT` characters stays as it is: no name is so long in any form.
    """
    return text if text.isascii() or len(text) > MAX_TEXT else unicodedata.normalize("NFC", text)
