"""Some fields of headers, for many messages at once: found without reading the others. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache


def choose_fields(names: Iterable[bytes]) -> Callable[[Iterable[bytes]], list[bytes]]:
    """What takes headers, and gives the octets of their fields of these names, in message order.

    Folded lines and line ends come as they are; the last line of a header may lack its end.

    :param names: in whatever case.
    """
    find = _pattern(frozenset(name.lower() for name in names)).findall

    def choose(headers: Iterable[bytes]) -> list[bytes]:
        headers = list(headers)
        # Each run of fields comes with the line end before it, and without its own.
        if [header for header in headers if header[-1:] != b"\n"]:
            return [_with_ends(find(b"\n" + header), header) for header in headers]
        joined = [b"".join(find(b"\n" + header)) for header in headers]
        return [fields and fields[1:] + b"\n" for fields in joined]

    return choose


@lru_cache(maxsize=256)
def _pattern(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Finds runs of fields of these lower-case names, with folded lines, behind a line end."""
    # The line end is what is looked for first, and quickly found; a look at one octet is enough for
    # most lines, as a branch that begins with a letter is passed over quickly. Sorted by length, so
    # that no name hides one that it begins.
    rests: dict[bytes, list[bytes]] = {}
    for name in sorted(names, key=len, reverse=True):
        for letter in {name[:1].upper(), name[:1]}:
            rests.setdefault(letter, []).append(re.escape(name[1:]))
    branches = [b"%b(?i:%b)" % (re.escape(a), b"|".join(rests[a])) for a in sorted(rests)]
    letters = re.escape(b"".join(rests))
    begin = b"(?:%b)[ \t]*:" % b"|".join(branches)
    return re.compile(
        rb"\n(?=[%b])%b.*(?:\n(?=[%b \t])(?:[ \t]|%b).*)*" % (letters, begin, letters, begin)
    )


def _with_ends(runs: Sequence[bytes], header: bytes) -> bytes:
    """Fields with the line end behind each, which the last one of a header may lack."""
    lacks = not runs or (b"\n" + header).endswith(runs[-1])
    return b"".join([*runs, b"" if lacks else b"\n"])[1:]
