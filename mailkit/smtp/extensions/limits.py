"""LIMITS (RFC 9422): how much a client may ask for, from the listener's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailkit.smtp.extensions.extension import Extension, OfListener

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

# The values have at most six digits.
_MOST = 999_999


def _announce(connection: SMTPProtocol) -> str:
    factory = connection.factory
    transactions = min(factory.max_transactions, _MOST)
    return f"MAILMAX={transactions} RCPTMAX={min(factory.max_recipients, _MOST)}"


LIMITS = Extension("LIMITS", announce=OfListener(_announce))
