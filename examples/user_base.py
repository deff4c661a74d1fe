"""Users of your own, in a table: --auth user_base.Members:members.csv (name,address,hash)."""

import csv

from zope.interface import implementer

from mailkit.identity import Login
from mailkit.interfaces import IUserLookup


@implementer(IUserLookup)
class Members:
    """The members of a club, who log in with their name or their address."""

    def __init__(self, path):
        self.path = path

    async def find_login(self, login):
        # Small and local: whatever waits belongs into a thread (deferToThread).
        with open(self.path, newline="", encoding="utf-8") as file:
            for name, address, password_hash in csv.reader(file):
                if login.lower() in (name.lower(), address.lower()):
                    return Login(address, password_hash)
        return None
