"""``--milter``: filters that speak the milter protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, cast

from mailkit.tap.errors import SettingError

#: What ``--milter SERVICE:ENDPOINT`` may name: the services that take mail.
SERVICES = ("smtp", "lmtp", "submission")


def parse_milters(
    texts: Iterable[str],
    failure: str | None = None,
    reactor: Any = None,
    reuse: Collection[str] = (),
) -> dict[str, list[Any]]:
    """The hooks that ask milters, by service: one for all milters of a service.

    :param texts: ``ENDPOINT`` for all services that take mail, or ``SERVICE:ENDPOINT``.
    :param failure: what a milter that cannot be asked counts as; ``tempfail`` when None.
    :param reuse: those endpoints whose connections serve several clients, one after the other.
    :raises SettingError: a text is no client endpoint, or ``failure`` is none, or ``reuse`` names a
        milter that is not asked.
    """
    names: dict[str, list[str]] = {service: [] for service in SERVICES}
    for text in texts:
        service, _, endpoint = text.partition(":")
        if service in names:
            names[service].append(endpoint)
        else:
            for each in SERVICES:
                names[each].append(text)
    # Loaded when used: an IMAP server has no need of milters.
    from mailkit.milter.connection import Milter, MilterSettings
    from mailkit.milter.hook import MilterHook

    if failure not in (None, "tempfail", "accept", "reject"):
        raise SettingError(f"{failure!r} is not tempfail, accept or reject")
    asked = {endpoint for each in names.values() for endpoint in each}
    for endpoint in reuse:
        if endpoint not in asked:
            raise SettingError(f"no milter is asked at {endpoint!r}")
    settings = MilterSettings(failure=cast(Any, failure or "tempfail"))

    def make(endpoint: str) -> Milter:
        chosen = settings._replace(reuse=endpoint in reuse)
        return Milter(_endpoint(endpoint, reactor), endpoint, chosen, reactor)

    return {
        service: [MilterHook(*map(make, each))] if each else [] for service, each in names.items()
    }


def _endpoint(description: str, reactor: Any) -> Any:
    from twisted.internet.endpoints import clientFromString

    if reactor is None:
        from twisted.internet import reactor
    try:
        return clientFromString(reactor, description)
    except Exception as error:
        # Each kind of endpoint has its own parser, and plug-ins add more.
        raise SettingError(
            f"{description!r} is no client endpoint such as unix:/run/opendkim.sock or"
            f" tcp:127.0.0.1:11332 ({error})"
        ) from error


class MilterOptions:
    """The options, for commands that serve SMTP."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "milter-failure",
            None,
            None,
            "What a milter counts as that cannot be asked: tempfail, accept or reject the mail"
            " [default: tempfail]",
        ],
    ]
    milters: list[str]
    milter_reuse: list[str]

    def opt_milter(self, endpoint: str) -> None:
        """Let the milter at this ENDPOINT judge mail while it is received, such as
        unix:/run/opendkim.sock or tcp:127.0.0.1:11332; for one service with SERVICE:ENDPOINT. May
        be repeated: they are asked in this order."""
        self.milters.append(endpoint)

    def opt_milter_reuse(self, endpoint: str) -> None:
        """Keep connections to the milter at this ENDPOINT for further clients: for rspamd, and not
        for milters that are made with libmilter, such as OpenDKIM. May be repeated."""
        self.milter_reuse.append(endpoint)
