"""Where a server listens, as options say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from twisted.python import usage

from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import TAKE_MAIL, Scopes, check_listeners, scopes, split_endpoint
from mailkit.tap.ports import parse_endpoint
from mailkit.tap.strict_options import StrictOptions


class EndpointOptions(StrictOptions):
    """Endpoints and named listeners; and where each setting was made, for errors about it."""

    #: Options that give endpoints: what the service calls each port, and the option's name.
    endpoint_options: ClassVar[dict[str, str]] = {}
    #: Another process has bound the sockets: endpoints are names for them.
    inherits = False

    def __init__(self) -> None:
        super().__init__()
        #: Endpoints as they were given, by what the service calls their ports: ``imap``, ``imaps``.
        self.endpoints: dict[str, list[str]] = {name: [] for name in self.endpoint_options}
        #: Named listeners, and the port of each.
        self.listeners: dict[str, str] = {}
        #: Where a setting was made, when not in an option of its name.
        self.places = {name: f"--{option}" for name, option in self.endpoint_options.items()}

    def add_endpoint(self, name: str, endpoint: str) -> None:
        """Remember an endpoint for a server; ``name`` is a key of :attr:`endpoint_options`.

        :param endpoint: it, or ``LISTENER=`` and it.
        :raises UsageError: it is none, or the listener cannot have that name.
        """
        listener, description = split_endpoint(endpoint)
        with self.naming(name):
            if listener:
                check_listeners({listener: name})
                if self.listeners.setdefault(listener, name) != name:
                    raise SettingError(f"{listener} is a listener of {self.listeners[listener]}")
            if not self.inherits:
                parse_endpoint(description)
        self.endpoints[name].append(endpoint)

    def list_endpoints(self) -> list[tuple[str, str, str]]:
        """The names of all ports, with their listeners' names or empty ones, and endpoints."""
        return [
            (name, *split_endpoint(each)) for name, some in self.endpoints.items() for each in some
        ]

    def scopes(self, services: Iterable[str] = TAKE_MAIL) -> Scopes:
        """For whom settings are that name one of these, or one of their listeners."""
        return scopes(services, self.listeners)

    def place(self, setting: str) -> str:
        """Where a setting was made, in words: ``--store``, or a line of a file."""
        # Some are tables of a file alone.
        option = f"--{setting}" if setting in self.option_names() else setting
        return self.places.get(setting, option)

    @contextmanager
    def naming(self, setting: str) -> Iterator[None]:
        """Turn a SettingError into a UsageError that says which setting it is about."""
        try:
            yield
        except SettingError as error:
            raise usage.UsageError(f"{self.place(setting)}: {error}") from error
