"""``[queue.return-paths]``: return paths of our own, and what becomes of what comes back by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mailkit.errors import MailError
from mailkit.queue.return_paths import ReturnPaths
from mailkit.store.addresses import valid_domain
from mailkit.tap.errors import SettingError
from mailkit.tap.routes import read_secret

_KEYS = ("domain", "secret-file", "senders", "bounces")
#: Who hears of bounces: the sender by mail and whoever listens to events, or the latter alone.
BOUNCES = ("sender", "events")


class ReturnPathSettings(NamedTuple):
    """What the table says."""

    paths: ReturnPaths
    to_sender: bool = True


def parse_return_paths(table: Mapping[str, Any]) -> ReturnPathSettings:
    """Read the table.

    :raises SettingError: something in it is unknown, missing or makes no sense.
    """
    values = {key.replace("_", "-"): value for key, value in table.items()}
    for key in values:
        if key not in _KEYS:
            raise SettingError(f"return-paths: there is no setting {key!r}; known are {_KEYS}")
    domain, file = values.get("domain"), values.get("secret-file")
    if not isinstance(domain, str) or not isinstance(file, str):
        raise SettingError("return-paths needs a domain and a secret-file")
    senders = values.get("senders")
    if senders is not None and not (
        isinstance(senders, list) and all(isinstance(each, str) and "@" in each for each in senders)
    ):
        raise SettingError("return-paths: senders must be a list of addresses, or of @domain")
    bounces = values.get("bounces", BOUNCES[0])
    if bounces not in BOUNCES:
        raise SettingError(f"return-paths: bounces must be one of {', '.join(BOUNCES)}")
    try:
        paths = ReturnPaths(read_secret(file), valid_domain(domain), senders)
    except (ValueError, MailError) as error:
        raise SettingError(f"return-paths: {error}") from error
    return ReturnPathSettings(paths, bounces == BOUNCES[0])
