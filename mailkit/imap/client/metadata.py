"""Entries about mailboxes and about the server (RFC 5464), and URLs that let others read a message
(RFC 4467), for :class:`~mailkit.imap.client.session.Session`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mailkit.client.errors import ProtocolError
from mailkit.imap.client.commands import Command, Part, astring, nstring8, quoted
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.sharing import SharingCommands
from mailkit.imap.client.values import AuthorizedURLs, FetchedURLs, Metadata, Status


class MetadataAnswer(NamedTuple):
    """What GETMETADATA tells."""

    #: Values by entry as the server writes it; None for one that has none.
    entries: Mapping[str, bytes | None]
    #: Octets of the largest value that was left out because of ``max_size``; 0 where none was.
    longest: int = 0


class MetadataCommands(SharingCommands):
    """Commands about entries and URLs; none needs a selected mailbox."""

    async def get_metadata(
        self,
        name: str | None,
        entries: Iterable[str],
        *,
        depth: int | None = 0,
        max_size: int | None = None,
    ) -> MetadataAnswer:
        """Values of entries.

        :param name: of a mailbox; None for the server.
        :param entries: ``/private/comment``, ``/shared/vendor/acme/x``, ...
        :param depth: levels below the entries that are told too: 0, 1, or None for all.
        :param max_size: octets of the values that are told.
        :raises NotOffered: the server has no METADATA.
        """
        self._need_metadata(name)
        found: dict[str, bytes | None] = {}

        def collect(response: Typed) -> bool:
            if isinstance(response, Metadata):
                found.update(response.entries)
                return True
            return False

        command = Command("GETMETADATA", answers=frozenset(("METADATA",)), collect=collect)
        options = [] if depth == 0 else [f"DEPTH {'infinity' if depth is None else depth}"]
        if max_size is not None:
            options.insert(0, f"MAXSIZE {max_size}")
        if options:
            command.add("(", " ".join(options), ")")
        command.add(self._place(name))
        command.add(*_listed([[astring(entry)] for entry in entries]))
        status = await self._connection.run(command)
        return MetadataAnswer(found, _longest(status))

    async def set_metadata(self, name: str | None, entries: Mapping[str, bytes | None]) -> None:
        """Change entries: all or none.

        :param name: of a mailbox; None for the server.
        :param entries: values by entry; None takes one away.
        :raises Refused: with the code ``METADATA``, whose arguments say why: ``MAXSIZE 1024``,
            ``TOOMANY``, ``NOPRIVATE``.
        """
        self._need_metadata(name)
        command = Command("SETMETADATA").add(self._place(name))
        pairs: list[list[Part]] = [
            [astring(entry), b" ", nstring8(value)] for entry, value in entries.items()
        ]
        await self._connection.run(command.add(*_listed(pairs)))

    def _need_metadata(self, name: str | None) -> None:
        self._need("METADATA", *(["METADATA-SERVER"] if name is None else []))

    def _place(self, name: str | None) -> Part:
        return b'""' if name is None else self._mailbox(name)

    # URLs.

    async def authorize_urls(self, urls: Sequence[str]) -> Sequence[str]:
        """Sign URLs of messages or their parts, so that others may read them (GENURLAUTH).

        :param urls: such as ``imap://ann@example.org/INBOX/;UID=20/;URLAUTH=anonymous``.
        :returns: the same with what proves the permission, in the same order.
        :raises NotOffered: the server has no URLAUTH.
        """
        self._need("URLAUTH")
        found: list[str] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, AuthorizedURLs):
                found.extend(response.urls)
                return True
            return False

        command = Command("GENURLAUTH", answers=frozenset(("GENURLAUTH",)), collect=collect)
        for url in urls:
            command.add(quoted(url.encode("ascii"))).add("INTERNAL")
        await self._connection.run(command)
        if len(found) != len(urls):
            raise ProtocolError("The mail server signs other URLs", command="GENURLAUTH")
        return found

    async def fetch_urls(self, urls: Sequence[str]) -> Mapping[str, bytes | None]:
        """What signed URLs stand for, up to ``ResponseLimits.strings`` octets (URLFETCH).

        :returns: by URL; None where the server does not give it.
        """
        self._need("URLAUTH")
        found: dict[str, bytes | None] = {}

        def collect(response: Typed) -> bool:
            if isinstance(response, FetchedURLs):
                found.update(response.contents)
                return True
            return False

        command = Command("URLFETCH", answers=frozenset(("URLFETCH",)), collect=collect)
        for url in urls:
            command.add(quoted(url.encode("ascii")))
        await self._connection.run(command)
        return {url: found.get(url) for url in urls}

    async def reset_url_key(self, name: str | None = None) -> None:
        """Take back what URLs of a mailbox, or of all, were signed for (RESETKEY)."""
        self._need("URLAUTH")
        command = Command("RESETKEY")
        await self._connection.run(command if name is None else command.add(self._mailbox(name)))


def _listed(items: Iterable[Sequence[Part]]) -> list[Part]:
    """Arguments in parentheses.

    :raises ValueError: there are none.
    """
    parts: list[Part] = []
    for item in items:
        parts += [b" " if parts else b"(", *item]
    if not parts:
        raise ValueError("no entry is named")
    return [*parts, b")"]


def _longest(status: Status) -> int:
    """RFC 5464 section 4.2.1: ``METADATA LONGENTRIES 2199``."""
    if status.code is not None and status.code.name == "METADATA":
        name, _, number = status.code.arguments.partition(b" ")
        if name.upper() == b"LONGENTRIES" and number.isdigit() and len(number) < 20:
            return int(number)
    return 0
