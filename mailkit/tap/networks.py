"""Networks in options: ``NETWORK`` for all services, ``SERVICE:NETWORK`` for one."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import Scopes
from mailkit.wire.networks import Networks


def parse_networks(texts: Iterable[str], services: Scopes) -> dict[str, Networks]:
    """The networks of each service.

    :raises SettingError: a text names none.
    """
    return {each: Networks(names) for each, names in parse_names(texts, services).items()}


def parse_names(texts: Iterable[str], services: Scopes) -> dict[str, list[str]]:
    """The names of networks of each service.

    :raises SettingError: a text names none.
    """
    names: dict[str, list[str]] = {service: [] for service in services}
    for text in texts:
        service, colon, network = text.partition(":")
        chosen: Collection[str] = services.get(service, ()) if colon else ()
        if not chosen:
            # IPv6 addresses have colons too.
            chosen, network = services, text
        try:
            Networks([network])
        except ValueError as error:
            known = ", ".join(services)
            raise SettingError(f"{error}; before a colon may stand one of {known}") from None
        for each in chosen:
            names[each].append(network)
    return names
