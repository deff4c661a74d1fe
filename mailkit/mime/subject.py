"""The base subject, by which subjects are sorted and threads are joined (RFC 5256)."""

from __future__ import annotations

import re

_SPACE = re.compile(r"[ \t\r\n]+")
_UNCOMMON_SPACE = re.compile(r"[\t\r\n]|  ")
# RFC 5256 section 5, without the surrounding repetition.
_BLOB = re.compile(r"\[[^\[\]]*\] *")
_REFWD = re.compile(r"(?:re|fwd?) *(?:\[[^\[\]]*\] *)?:", re.IGNORECASE | re.ASCII)
_FORWARD = "[fwd:"
# What leaders begin with, and trailers end with; nothing is left of an empty subject.
_MAY_LEAD = frozenset(("", " ", "[", "r", "R", "f", "F"))
_MAY_TRAIL = frozenset((" ", ")", "]"))


def base_subject(subject: str) -> str:
    """The subject without its reply and forward marks (RFC 5256 section 2.1).

    :param subject: decoded, as :func:`~mailkit.mime.words.decode_text` gives it.
    """
    return split_subject(subject)[0]


def split_subject(subject: str) -> tuple[str, bool]:
    """The base subject, and whether the subject is that of a reply or a forward (section 3)."""
    # (1) Tabs, continuations and several spaces become one space.
    text = _SPACE.sub(" ", subject) if _UNCOMMON_SPACE.search(subject) else subject
    if text[:1] not in _MAY_LEAD and text[-1:] not in _MAY_TRAIL:
        return text, False
    start, end = 0, len(text)
    reply = False
    while True:
        # (2) Trailers.
        while end > start:
            if text[end - 1] == " ":
                end -= 1
            elif text[max(end - 5, start) : end].lower() == "(fwd)":
                end -= 5
                reply = True
            else:
                break
        # (3), (4), (5) Leaders, and blobs before a base.
        start, found = _skip_leaders(text, start, end)
        reply = reply or found
        # (6) [fwd: ... ]
        wrapped = text[start : min(start + len(_FORWARD), end)].lower() == _FORWARD
        if not wrapped or end - start <= len(_FORWARD) or text[end - 1] != "]":
            return text[start:end], reply
        start += len(_FORWARD)
        end -= 1
        reply = True


def _skip_leaders(text: str, start: int, end: int) -> tuple[int, bool]:
    """Where the base begins, and whether a reply mark stood before it."""
    reply = False
    while start < end:
        if text[start] == " ":
            start += 1
            continue
        # A run of blobs, looked at once: leader if a mark follows, else what may be dropped.
        last = position = start
        while blob := _BLOB.match(text, position, end):
            last, position = position, blob.end()
        if mark := _REFWD.match(text, position, end):
            start = mark.end()
            reply = True
        elif position < end:
            return position, reply
        else:
            # Nothing follows: the last blob is the base.
            return last, reply
    return start, reply
