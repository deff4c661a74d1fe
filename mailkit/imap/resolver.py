"""What submission servers are told of URLs (RFC 4468), without a connection between the two."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailkit.coroutines import pause
from mailkit.errors import BadURL, MailError, NoSuchAccount
from mailkit.imap.url import URLFault, parse_url
from mailkit.imap.urlauth import same_user
from mailkit.imap.urlparts import open_authorized
from mailkit.interfaces import IMailStore, IURLKeys, IURLResolver
from mailkit.model import URLContent


@implementer(IURLResolver)
class StoreURLResolver:
    """Reads what users of a store have authorized by URLAUTH (RFC 4467).

    :param find_store: gives the store, which may be opened late.
    :param clock: source of time, and of turns of the reactor.
    """

    def __init__(self, find_store: Callable[[], IMailStore], clock: IReactorTime) -> None:
        self._find_store = find_store
        self._clock = clock

    async def open_url(self, url: bytes, account: str) -> URLContent:
        try:
            parsed = parse_url(url)
        except URLFault as fault:
            raise BadURL(f"IMAP URL resolution failed: {fault}", url) from None
        kind, _, user = parsed.access.partition("+")
        # RFC 4468 section 3.3: a URL for a submission server is for one of its users.
        if kind.lower() == "user" or (user and not same_user(user, account)):
            raise BadURL("IMAP URL authorization failed: it is meant for somebody else", url)
        try:
            asking = await self._find_store().open_account(name=account)
            if not IURLKeys.providedBy(asking):
                raise BadURL("IMAP URL resolution failed: no URLs are authorized here", url)
            part = await open_authorized(
                parsed, asking, self._clock.seconds(), self._turn, is_submission=True
            )
        except NoSuchAccount as error:
            raise BadURL(error.text, url) from None
        except BadURL as error:
            raise BadURL(f"IMAP URL resolution failed: {error.text}", url) from None
        except MailError as error:
            if error.temporary:
                raise
            raise BadURL(f"IMAP URL resolution failed: {error.text}", url) from None
        return URLContent(part.size, part.octets(), part.close)

    async def _turn(self) -> None:
        await pause(self._clock, 0)
