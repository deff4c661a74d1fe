"""Named searches: what SEARCH FILTER stands for (RFC 5466). No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mailkit.errors import MailError
from mailkit.imap.grammar import Arguments, SyntaxFault

#: Filters within filters.
MAX_PASSES = 10
#: Octets of all filters that one search names, each as often as it does.
MAX_OCTETS = 64 * 1024

#: Where filters are among the entries about the server; what comes first goes before the other.
ROOTS = ("/private/filters/values/", "/shared/filters/values/")

# RFC 5466 section 4: ATOM-CHAR without "/".
_NAME = re.compile(r"[^/]+")


class UndefinedFilter(MailError):
    """A search names a filter that does not exist, or that leads back to itself.

    :param name: as the client has written it.
    """

    def __init__(self, name: bytes) -> None:
        super().__init__("There is no such filter")
        self.name = name


def read_name(arguments: Arguments) -> bytes:
    """The name of a filter."""
    name = arguments.atom("The name of a filter")
    if b"/" in name:
        raise SyntaxFault("The name of a filter has no '/'")
    return name


def find_filters(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    """The filters among the entries about the server, by name in lower case."""
    filters: dict[str, bytes] = {}
    for root in reversed(ROOTS):
        for entry, value in entries.items():
            if entry.startswith(root) and _NAME.fullmatch(entry, len(root)):
                filters[entry[len(root) :]] = value
    return filters
