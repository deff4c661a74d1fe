"""The backend with users and passwords in its table: --store backend_users.SentMailOfUsers:sent.db."""

from backend import SentMail

from mailkit.identity import Login
from mailkit.store.directory import AddressDirectory


class SentMailOfUsers(AddressDirectory, SentMail):
    postmaster = "ann@example.org"

    def __init__(self, path):
        super().__init__(path)
        self._db.execute("CREATE TABLE IF NOT EXISTS users (address PRIMARY KEY, hash)")

    async def list_domains(self):
        query = "SELECT DISTINCT SUBSTR(address, INSTR(address, '@') + 1) FROM users ORDER BY 1"
        return [domain for (domain,) in self._db.execute(query)]

    async def find_user(self, address):
        query = "SELECT address, hash FROM users WHERE address = ?"
        row = self._db.execute(query, (address,)).fetchone()
        return None if row is None else Login(*row)
