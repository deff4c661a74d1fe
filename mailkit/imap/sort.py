"""What SORT is asked for (RFC 5256 section 5, RFC 5957 section 5). No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from mailkit.imap.annotate import CAPABILITY, read_sort_key
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.query import SortCriterion, SortKey

#: Criteria of one SORT.
MAX_CRITERIA = 20


class AnnotationCriterion(NamedTuple):
    """By the value of an annotation (RFC 5257 section 4.9); no backend is asked for it."""

    entry: str
    shared: bool
    reverse: bool = False


#: One criterion of a sort.
Criterion: TypeAlias = SortCriterion | AnnotationCriterion

_KEYS = {key.value.encode("ascii"): key for key in SortKey}
_DISPLAY = frozenset((SortKey.DISPLAYFROM, SortKey.DISPLAYTO))


def parse_criteria(
    arguments: Arguments, offers: Callable[[bytes], bool]
) -> tuple[bool | None, tuple[Criterion, ...]]:
    """``(REVERSE DATE SUBJECT)``.

    :returns: whether the messages are sorted by relevancy in reverse (RFC 6203 section 6), None if
        they are not sorted by it, and the other criteria.
    :param offers: tells whether a capability is offered.
    """

    by_relevancy: bool | None = None
    count = 0

    def read() -> Criterion | None:
        nonlocal by_relevancy, count
        count += 1
        name = arguments.word("A sort criterion")
        reverse = name == b"REVERSE"
        if reverse:
            arguments.space()
            name = arguments.word("A sort criterion")
        if name == b"RELEVANCY" and offers(b"SEARCH=FUZZY"):
            if count > 1:
                raise SyntaxFault("RELEVANCY has to be the first criterion")
            by_relevancy = reverse
            return None
        if name == b"ANNOTATION" and offers(CAPABILITY):
            arguments.space()
            entry, shared = read_sort_key(arguments)
            return AnnotationCriterion(entry, shared, reverse)
        key = _KEYS.get(name)
        if key is None or (key in _DISPLAY and not offers(b"SORT=DISPLAY")):
            raise SyntaxFault(f"{name.decode('ascii')} is not a sort criterion")
        return SortCriterion(key, reverse)

    criteria = arguments.parenthesized(read)
    if len(criteria) > MAX_CRITERIA:
        raise SyntaxFault(f"SORT takes at most {MAX_CRITERIA} criteria")
    return by_relevancy, tuple(filter(None, criteria))
