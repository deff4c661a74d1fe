"""Sends TLS reports each day to the domains that want them (RFC 8460)."""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailkit.errors import MailError
from mailkit.https import HTTPSClient
from mailkit.model import ConnectionInfo, Envelope, Path, Recipient
from mailkit.queue.tls_results import DAY, TLSResults
from mailkit.queue.tlsrpt import TLSReport, mail_address, write_message, write_report
from mailkit.wire.domains import canonical_domain

#: Seconds between two looks for days that are over.
LOOK_INTERVAL = 3600.0
#: Seconds after midnight (UTC) within which reports are sent (RFC 8460 section 4.1: not all at once).
MAX_DELAY = 4 * 3600
#: Days that are over for which it is tried still (RFC 8460 section 5.5).
MAX_DAYS = 2

#: Queues a message.
Submit = Callable[[Envelope, bytes], Awaitable[object]]


class TLSReporting:
    """Sends what was counted.

    :param contact: the address that the reports come from.
    :param submit: queues the message that brings a report.
    :param client: posts reports.
    :param delay: seconds after midnight; chosen by chance when None.
    """

    log = Logger()

    def __init__(
        self,
        results: TLSResults,
        contact: str,
        submit: Submit,
        client: HTTPSClient,
        clock: Any,
        *,
        organization: str = "",
        delay: float | None = None,
        token: Callable[[], str] = lambda: secrets.token_hex(12),
    ) -> None:
        self._results = results
        self._contact = contact
        self._submit = submit
        self._client = client
        self._clock = clock
        self._organization = organization or contact.rpartition("@")[2]
        self._delay = random.uniform(0, MAX_DELAY) if delay is None else delay
        self._token = token
        self._timer: Any = None
        self._work: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to look for days that are over."""
        self._timer = self._clock.callLater(0, self._look)

    async def stop(self) -> None:
        """Send nothing more; what was not sent is tried after the next start."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._work is not None:
            self._work.cancel()
        await self._results.close()

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_INTERVAL, self._look)
        if self._work is None:
            work = Deferred.fromCoroutine(self.send_all())
            # It may end at once.
            self._work = work if not work.called else None
            work.addErrback(self._failed).addBoth(self._done)

    def _done(self, _: object) -> None:
        self._work = None

    def _failed(self, failure: Any) -> None:
        if self._timer is not None:
            self.log.failure("TLS reports could not be sent", failure)

    async def send_all(self) -> None:
        """Send the reports about days that are over; those that fail are tried again later."""
        today = self._results.today
        self._results.forget(today - MAX_DAYS)
        for day in range(today - MAX_DAYS, today):
            if self._clock.seconds() < (day + 1) * DAY + self._delay:
                continue
            for domain in await self._results.list_domains(day):
                await self._send(day, domain)
        await self._results.flush()

    async def _send(self, day: int, domain: str) -> None:
        try:
            if await self._bring(day, domain):
                await self._results.remove(day, domain)
        except MailError as error:
            self.log.warn("{domain}: no TLS report: {error}", domain=domain, error=error.text)

    async def _bring(self, day: int, domain: str) -> bool:
        """Report to a domain what was counted; whether that is over."""
        places = await self._results.places(domain)
        if not places:
            return True
        policies = await self._results.get(day, domain)
        report = TLSReport(
            self._organization,
            self._contact,
            f"{day}.{self._token()}@{self._contact.rpartition('@')[2]}",
            _moment(day * DAY),
            _moment((day + 1) * DAY - 1),
            policies,
        )
        return await self._deliver(report, domain, places)

    async def _deliver(self, report: TLSReport, domain: str, places: Sequence[str]) -> bool:
        """Bring a report to all places; whether one has taken it."""
        addresses = [address for place in places if (address := mail_address(place))]
        taken = False
        for place in places:
            if not mail_address(place):
                taken = await self._post(place, report) or taken
        if addresses:
            token = self._token()
            octets = write_message(report, domain, addresses, self._clock.seconds(), token)
            await self._submit(self._envelope(addresses), octets)
            taken = True
        return taken

    async def _post(self, url: str, report: TLSReport) -> bool:
        try:
            headers = {"Content-Type": "application/tlsrpt+gzip"}
            response = await self._client.request("POST", url, headers, write_report(report))
        except MailError as error:
            self.log.warn("{url} takes no TLS report: {error}", url=url, error=error.text)
            return False
        if response.code // 100 != 2:
            self.log.warn("{url} takes no TLS report: {code}", url=url, code=response.code)
        return response.code // 100 == 2

    def _envelope(self, addresses: Sequence[str]) -> Envelope:
        local, _, domain = self._contact.rpartition("@")
        recipients = []
        for address in addresses:
            name, _, place = address.rpartition("@")
            path = Path(name, canonical_domain(place))
            recipients.append(Recipient(path, {"NOTIFY": "NEVER"}, frozenset({"NEVER"})))
        return Envelope(
            ConnectionInfo("report"), domain, Path(local, domain), recipients=recipients
        )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
