"""What a change does of which nobody wants to hear more, as it crosses the contracts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class QuietResult(NamedTuple):
    """Outcome of ``store_quietly``."""

    #: How many of the messages were there, and not left alone.
    found: int
    #: UIDs whose flags are others now, ascending.
    changed: Sequence[int]
    #: Modification sequence that these messages have now; 0 when there are none.
    modseq: int
    #: The highest one of the mailbox before.
    before: int
    #: UIDs left alone because their modseq exceeds ``unchanged_since``, ascending.
    modified: Sequence[int] = ()
