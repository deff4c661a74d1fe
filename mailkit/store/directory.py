"""A directory for backends: its users are looked up where the backend has them."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from mailkit.identity import Login
from mailkit.interfaces import ILoginDirectory
from mailkit.model import Path, Resolution
from mailkit.store import addresses
from mailkit.wire.domains import canonical_domain


@implementer(ILoginDirectory)
class AddressDirectory:
    """Base class of a directory over two methods: which domains there are, and who has an address.

    It knows what there is to know of addresses: letter case, sub-addresses, domains in Unicode, user
    names without a domain, Postmaster, and aliases where :meth:`find_alias` gives them. Addresses and
    domains come in canonical form: in lower case, domains with A-labels (``xn--``).

    :cvar separator: between user and detail of a sub-address; empty for none.
    :cvar postmaster: the account that gets mail for Postmaster where nobody has that address (RFC 5321
        section 4.5.1 wants somebody to); None for nobody.
    """

    separator = "+"
    postmaster: str | None = None

    async def list_domains(self) -> Sequence[str]:
        """To be overridden: the domains of all addresses, in canonical form."""
        raise NotImplementedError

    async def find_user(self, address: str) -> Login | None:
        """To be overridden: who has that address, in canonical form; None for nobody.

        The name of the account is such an address, too, so that it can be looked up again.
        """
        raise NotImplementedError

    async def find_alias(self, address: str) -> Sequence[str] | None:
        """May be overridden: targets of an alias, or of a domain's catch-all (``@example.org``), each a
        full address; None for no alias."""
        return None

    # ILoginDirectory

    async def resolve(self, path: Path) -> Resolution:
        return await addresses.resolve(self, path, separator=self.separator)

    async def owns_address(self, account: str, path: Path) -> bool:
        return await addresses.owns_address(self, account, path, separator=self.separator)

    async def find_account(self, login: str) -> str | None:
        found = await self.find_login(login)
        return None if found is None else found.account

    async def find_login(self, login: str) -> Login | None:
        address = await addresses.login_address(self, login)
        return None if address is None else await self._find(address)

    async def get_password_hash(self, account: str) -> str | None:
        found = await self._find(account)
        return None if found is None else found.password_hash

    # mailkit.store.addresses.AddressBook

    async def is_domain(self, domain: str) -> bool:
        return domain in map(canonical_domain, await self.list_domains())

    async def find_address(self, address: str) -> str | None:
        found = await self._find(address)
        return None if found is None else found.account

    async def is_delegate(self, account: str, address: str) -> bool:
        return False

    async def first_account(self) -> str | None:
        return self.postmaster

    async def _find(self, address: str) -> Login | None:
        """The same without what is no address: a catch-all, or what a client typed."""
        local, _, domain = address.rpartition("@")
        return await self.find_user(address) if local and domain else None
