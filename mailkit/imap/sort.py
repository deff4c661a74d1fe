"""What SORT is asked for (RFC 5256 section 5, RFC 5957 section 5). No I/O."""

from __future__ import annotations

from collections.abc import Callable

from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.query import SortCriterion, SortKey

#: Criteria of one SORT.
MAX_CRITERIA = 20

_KEYS = {key.value.encode("ascii"): key for key in SortKey}
_DISPLAY = frozenset((SortKey.DISPLAYFROM, SortKey.DISPLAYTO))


def parse_criteria(
    arguments: Arguments, offers: Callable[[bytes], bool]
) -> tuple[SortCriterion, ...]:
    """``(REVERSE DATE SUBJECT)``.

    :param offers: tells whether a capability is offered.
    """

    def read() -> SortCriterion:
        name = arguments.word("A sort criterion")
        reverse = name == b"REVERSE"
        if reverse:
            arguments.space()
            name = arguments.word("A sort criterion")
        key = _KEYS.get(name)
        if key is None or (key in _DISPLAY and not offers(b"SORT=DISPLAY")):
            raise SyntaxFault(f"{name.decode('ascii')} is not a sort criterion")
        return SortCriterion(key, reverse)

    criteria = arguments.parenthesized(read)
    if len(criteria) > MAX_CRITERIA:
        raise SyntaxFault(f"SORT takes at most {MAX_CRITERIA} criteria")
    return tuple(criteria)
