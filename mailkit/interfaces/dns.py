"""The contract of a resolver."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from mailkit.dns.records import Answer, RecordType


class IDNSResolver(Interface):
    """Asks the domain name system. :class:`mailkit.dns.resolver.DNSResolver` is one."""

    def lookup(name: str, type: RecordType) -> Awaitable[Answer]:
        """The records of one type that a name has, at the end of its aliases.

        :param name: in any case, with A-labels or U-labels, with or without the last dot. What
            can't be a name is one that does not exist.
        :raises DNSTimeout: no name server has answered.
        :raises DNSFailure: they have answered, and do not know (SERVFAIL, REFUSED).
        """
