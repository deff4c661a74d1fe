"""Why a checker refuses, as far as the log is to know."""

from __future__ import annotations

from twisted.cred.error import UnauthorizedLogin


class WrongPassword(UnauthorizedLogin):
    """There is such an account: for the log, never for the client.

    :param account: its name.
    """

    def __init__(self, account: str) -> None:
        super().__init__()
        self.account = account
