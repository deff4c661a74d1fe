"""Files that a command of root's makes for a server that runs as another user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def acting_as_owner(directory: str) -> Iterator[None]:
    """Let root act as the owner of a directory, who may have put links into it.

    What is made meanwhile belongs to that user. Others than root stay who they are.

    :raises OSError: there is no such directory.
    """
    owner = os.stat(directory)
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
