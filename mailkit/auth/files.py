"""Files that a user base needs from the start."""

from __future__ import annotations


def require_readable(path: str) -> None:
    """Let a server that is set up wrongly not start, rather than have it refuse everybody later.

    :raises ValueError: the file cannot be read.
    """
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
