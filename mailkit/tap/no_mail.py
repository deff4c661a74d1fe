"""``twistd mailkit-no-mail``: says on port 25 that this host accepts no mail."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.application.service import MultiService
from twisted.python import usage

from mailkit._typing import override
from mailkit.tap.errors import SettingError
from mailkit.tap.ports import ListenPort, parse_endpoint
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.values import check_hostname


class Options(StrictOptions):
    """Where to listen, and under what name."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["hostname", None, None, "What the server calls itself [default: the machine's name]"],
    ]
    longdesc = (
        "For a host that accepts no mail: answers 521 (RFC 7504) to whoever wants to bring some, so"
        " that it goes back at once instead of being tried again for days. It needs no store."
    )

    def __init__(self) -> None:
        super().__init__()
        self.listen: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen at this ENDPOINT, such as tcp:25; may be repeated."""
        try:
            parse_endpoint(endpoint)
        except SettingError as error:
            raise usage.UsageError(f"--listen: {error}") from error
        self.listen.append(endpoint)

    @override
    def postOptions(self) -> None:
        if not self.listen:
            raise usage.UsageError("give at least one --listen")
        if self["hostname"] is not None:
            try:
                check_hostname(self["hostname"])
            except SettingError as error:
                raise usage.UsageError(f"--hostname: {error}") from error


def makeService(options: Options) -> MultiService:
    """What twistd runs."""
    from mailkit.smtp.nomail import NoMailFactory

    service = MultiService()
    factory: Any = NoMailFactory(hostname=options["hostname"])
    for endpoint in options.listen:
        port: Any = ListenPort(endpoint, factory)
        port.setServiceParent(service)
    return service
