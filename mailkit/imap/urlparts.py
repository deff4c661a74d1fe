"""What an IMAP URL names: octets of a message, found and read like those of FETCH."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from mailkit.errors import (
    BadURL,
    InvalidMailboxName,
    NoSuchAccount,
    NoSuchMailbox,
    NoSuchMessage,
)
from mailkit.imap.content import PIECE, MessageContent
from mailkit.imap.fetch import Section, locate
from mailkit.imap.url import IMAPURL, URLFault, parse_url
from mailkit.imap.urlauth import may_access, same_user, verifies
from mailkit.interfaces import IMailAccount, IMailbox


class URLPart:
    """The octets that a URL names; closed by whoever has opened it.

    :ivar section: where they are in the message.
    """

    def __init__(
        self, content: MessageContent, section: Section, found: bytes | tuple[int, int]
    ) -> None:
        self.content = content
        self.section = section
        self._found = found

    @property
    def size(self) -> int:
        """How many octets."""
        found = self._found
        return len(found) if isinstance(found, bytes) else found[1] - found[0]

    def octets(self) -> Iterator[bytes]:
        """Some at a time; without NUL, as BODY gives them."""
        found = self._found
        if isinstance(found, bytes):
            yield found
            return
        for start in range(*found, PIECE):
            yield self.content.read(start, min(start + PIECE, found[1])).replace(b"\0", b"\x80")

    def close(self) -> None:
        self.content.close()


async def open_part(
    mailbox: IMailbox, url: IMAPURL, drain: Callable[[], Awaitable[None]]
) -> URLPart:
    """Find what a URL names in its mailbox.

    :param drain: awaited before each piece of a large message that has to be looked through.
    :raises BadURL: the mailbox is another one now, or there is no such message or part.
    """
    try:
        if url.uid_validity is not None:
            info = await mailbox.get_info()
            if info.uid_validity != url.uid_validity:
                raise BadURL("The mailbox has another UIDVALIDITY")
        content = MessageContent(await mailbox.open_message(uid=url.uid))
    except (NoSuchMailbox, NoSuchMessage) as error:
        raise BadURL(error.text) from None
    try:
        if content.large and url.section.parts:
            await content.load(drain)
            await content.parse(drain)
        found = locate(url.section, content)
        if found is None:
            raise BadURL("The message has no such part")
    except BaseException:
        content.close()
        raise
    return URLPart(content, url.section, found)


async def open_url(
    url: bytes,
    account: IMailAccount,
    selected: IMailbox | None,
    drain: Callable[[], Awaitable[None]],
) -> URLPart:
    """What a URL without a server names, for whoever is logged in (RFC 4469 section 3).

    :param selected: a mailbox that is open already.
    :raises BadURL: there is no such thing here.
    """
    try:
        parsed = parse_url(url)
        if parsed.host or parsed.access:
            raise BadURL("The URL must begin with the mailbox, as in /Drafts/;UID=1")
        if selected is not None and selected.name == parsed.mailbox:
            mailbox = selected
        else:
            mailbox = await account.open_mailbox(name=parsed.mailbox)
        return await open_part(mailbox, parsed, drain)
    except URLFault as fault:
        raise BadURL(str(fault), url) from None
    except BadURL as error:
        error.url = url
        raise
    except (NoSuchMailbox, InvalidMailboxName) as error:
        raise BadURL(error.text, url) from None


async def open_authorized(
    url: IMAPURL,
    account: Any,
    now: float,
    drain: Callable[[], Awaitable[None]],
    is_submission: bool,
) -> URLPart:
    """What a URL with URLAUTH names, with the rights of its owner (RFC 4467 section 6).

    :param account: who asks; provides :class:`~mailkit.interfaces.IURLKeys`.
    :param now: seconds since the epoch.
    :param is_submission: the account is that of a submission server.
    :raises BadURL: it does not hold, or not for this account.
    """
    key, owner = None, None
    if url.user:
        try:
            owner = account if same_user(url.user, account.name) else None
            owner = owner or await account.open_owner(owner=url.user)
            key = await owner.find_access_key(mailbox=url.mailbox)
        except (NoSuchAccount, NoSuchMailbox, InvalidMailboxName):
            # The token is computed all the same: nobody shall learn from the time it takes.
            key = None
    if not verifies(url, key) or owner is None:
        raise BadURL("The URL is not authorized")
    if url.expire is not None and url.expire <= now:
        raise BadURL("The URL has expired")
    if not may_access(url, account.name, is_submission):
        raise BadURL("The URL is meant for somebody else")
    mailbox = await owner.open_mailbox(name=url.mailbox)
    return await open_part(mailbox, url, drain)
