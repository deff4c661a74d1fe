"""Which messages a search of header fields need not look at: summaries exclude most of them.

A summary has the octets of the usual fields. A look at those of hundreds of messages at once takes a
tenth of the time that it takes to fold their texts, which is done for what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailkit.folding import fold, longest_token
from mailkit.model import SUMMARY_FIELDS
from mailkit.query import And, Collation, HeaderContains, Or, Query
from mailkit.screening import may_contain
from mailkit.store.sqlite import fields


def is_kept(query: Query) -> bool:
    """Whether the kept texts of header fields tell something about this condition."""
    return (
        isinstance(query, HeaderContains)
        # They are folded.
        and (query.collation is Collation.UNICODE_CASEMAP or not query.text)
        and query.name.lower().encode("utf-8", "replace") in fields.COLUMNS
    )


def may_match(query: Query, headers: Sequence[bytes]) -> set[int] | None:
    """The places of those headers whose messages may match; None when they do not tell.

    :param headers: those fields of each that a summary has.
    """
    match query:
        case And(queries=queries):
            known = [found for part in queries if (found := may_match(part, headers)) is not None]
            return set.intersection(*known) if known else None
        case Or(queries=queries):
            every: set[int] = set()
            for part in queries:
                if (found := may_match(part, headers)) is None:
                    return None
                every |= found
            return every
        case HeaderContains(name=name, text=text) if is_kept(query):
            field, token = name.lower().encode(), longest_token(fold(text))
            if token and field in SUMMARY_FIELDS:
                return may_contain(headers, field, token)
    return None
