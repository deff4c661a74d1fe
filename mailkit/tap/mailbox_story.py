"""Where a message is, as values for programs and in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mailkit.mime import decode_text
from mailkit.smtp.trace import HOOKS_FIELD, MAX_HOOKS, MAX_REASON
from mailkit.store.sqlite.finding import FoundMessage
from mailkit.tap.story import iso_date, printable, show_date

#: Characters of a header field that are shown, and of the one of our hooks: all that they wrote.
MAX_FIELD = 300
MAX_HOOKS_FIELD = MAX_HOOKS * (2 * MAX_REASON + 50)


def stored_values(found: FoundMessage) -> dict[str, Any]:
    """A message in a mailbox, for JSON."""
    return {
        "account": found.account,
        "mailbox": found.mailbox,
        "uid": found.uid,
        "flags": sorted(found.flags),
        "arrived": iso_date(found.internal_date),
        "saved": iso_date(found.save_date),
        "subject": _field(found, b"subject"),
        "received": [_text(value) for value in found.header.get_all(b"received")],
        "authentication_results": [
            _text(value) for value in found.header.get_all(b"authentication-results")
        ],
        "hooks": _field(found, HOOKS_FIELD.lower().encode("ascii"), MAX_HOOKS_FIELD),
    }


def _field(found: FoundMessage, name: bytes, limit: int = MAX_FIELD) -> str | None:
    value = found.header.get(name)
    return None if value is None else _text(value, limit)


def _text(value: bytes, limit: int = MAX_FIELD) -> str:
    text = printable(" ".join(decode_text(value).split()))
    return text if len(text) <= limit else f"{text[:limit]}..."


def tell_stored(found: FoundMessage) -> Iterator[str]:
    """Where a message is, line by line."""
    flags = " ".join(sorted(found.flags)) or "none"
    yield (
        f"{found.account} has it in {printable(found.mailbox)}, UID {found.uid}, since"
        f" {show_date(found.save_date)}; flags: {flags}."
    )
    values = stored_values(found)
    for received in values["received"]:
        yield f"  Received: {received}"
    for results in values["authentication_results"]:
        yield f"  Authentication-Results: {results}"
    if values["hooks"] is not None:
        yield f"  {HOOKS_FIELD}: {values['hooks']}"
