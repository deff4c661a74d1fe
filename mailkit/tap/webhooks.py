"""``[[queue.webhooks]]``: programs that hear of the queue's events by HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailkit.queue.webhooks import Webhook, read_webhook_secret
from mailkit.tap.errors import SettingError
from mailkit.tap.routes import read_secret

_KEYS = ("url", "secret-file", "events")
#: Programs, and secrets of each.
MAX_WEBHOOKS = 20
MAX_SECRETS = 5


def parse_webhooks(tables: Sequence[Any]) -> list[Webhook]:
    """Read the tables.

    :raises SettingError: something in one is unknown, missing or makes no sense.
    """
    if len(tables) > MAX_WEBHOOKS:
        raise SettingError(f"there may be {MAX_WEBHOOKS} webhooks, and no more")
    webhooks = [_parse(table) for table in tables]
    urls = [each.url for each in webhooks]
    for url in urls:
        if urls.count(url) > 1:
            raise SettingError(f"webhooks: {url} is there twice")
    return webhooks


def _parse(table: Any) -> Webhook:
    if not isinstance(table, dict):
        raise SettingError("webhooks must be tables: [[queue.webhooks]]")
    values = {str(key).replace("_", "-"): value for key, value in table.items()}
    for key in values:
        if key not in _KEYS:
            raise SettingError(
                f"webhooks: there is no setting {key!r}; known are {', '.join(_KEYS)}"
            )
    url, file, events = values.get("url"), values.get("secret-file"), values.get("events")
    if not isinstance(url, str) or not isinstance(file, str):
        raise SettingError("webhooks: each needs a url and a secret-file")
    if events is not None and not (
        isinstance(events, list) and all(isinstance(each, str) for each in events)
    ):
        raise SettingError("webhooks: events must be a list of names")
    try:
        lines = read_secret(file).decode("utf-8").split()
        secrets = [read_webhook_secret(line) for line in lines[:MAX_SECRETS]]
        return Webhook(url, secrets, events)
    except ValueError as error:
        raise SettingError(f"webhooks: {error}") from error
