"""What users say about messages (RFC 5257), as it crosses the contracts."""

from __future__ import annotations

from typing import NamedTuple


class Annotation(NamedTuple):
    """A value about a message, or about one of its parts."""

    #: The entry's name, such as ``/comment``; letter case counts.
    entry: str
    #: None for no value: to store it removes the one that is there.
    value: bytes | None
    #: Everybody who may read the mailbox has the same value; else each user has one of their own.
    shared: bool = False


class AnnotationChange(NamedTuple):
    """A value has become another one, or has gone."""

    uid: int
    entry: str
    #: Modification sequence of the change.
    modseq: int
