"""What went wrong with a connection by Twisted, for people."""

from __future__ import annotations

import os

from twisted.internet.error import ConnectError, TimeoutError


def why_not_connected(error: BaseException) -> str:
    """Why a connection cannot be made, in the system's words and without what Twisted puts around them."""
    if isinstance(error, TimeoutError):
        return "nobody answered in time"
    if isinstance(error, ConnectError):
        if error.osError:
            return os.strerror(error.osError)
        if error.args and error.args[0]:
            return str(error.args[0])
    return str(error) or type(error).__name__
