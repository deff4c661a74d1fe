"""How many files and connections the process may have open, and who gets them."""

from __future__ import annotations

import resource

#: Descriptors that no client gets: the store's log and index, listening ports, log files.
RESERVED = 100
#: Descriptors that a connection may need: itself, and the file of the message on its way.
EACH = 2


def open_files_limit() -> int:
    """Descriptors that this process may have now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def raise_open_files_limit() -> None:
    """Take as many descriptors as the system gives: a shell's usual 1024 are few for a server.

    For programs of our own; a library leaves its process alone.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        # Some systems name a limit here that they do not allow. What there was is still there.
        pass


def connection_share(servers: int) -> int:
    """Connections that each of some servers may have, so that enough is left for the store."""
    return max(1, (open_files_limit() - RESERVED) // EACH // max(1, servers))
