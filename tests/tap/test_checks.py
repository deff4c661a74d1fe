"""The table [checks] of the settings file."""

from __future__ import annotations

import inspect
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from mailkit.checks.greylist import MemoryValues
from mailkit.hooks import MailHook, find_steps
from mailkit.store.memory import MemoryStore
from mailkit.tap.checks import CHECKS, Checks
from mailkit.tap.errors import SettingError

CLOCK = cast(IReactorTime, Clock())
#: All that there are.
EVERYTHING = {
    **dict.fromkeys(CHECKS, True),
    "dns-lists": {"block": "bl.example"},
    "recipients": {"server": "inside.example:25"},
}


class SettingTests(SynchronousTestCase):
    def hooks(self, settings: dict[str, Any], store: object = None) -> dict[str, list[Any]]:
        return Checks(settings).make(store, CLOCK)

    def names(self, **settings: Any) -> list[str]:
        checks = Checks(settings)
        self.assertEqual([hook.name for hook in checks.make(None, CLOCK)["smtp"]], checks.names)
        return checks.names

    def wrong(self, wanted: str, **settings: Any) -> None:
        error = self.assertRaises(SettingError, Checks, settings)
        self.assertIn(wanted, str(error))

    def test_what_is_on_by_itself_asks_nobody(self) -> None:
        self.assertEqual(self.names(), ["rates", "content-limits", "helo"])
        for name, (place, is_on) in CHECKS.items():
            parameters = inspect.signature(namedAny(place)).parameters  # type: ignore[no-untyped-call]
            self.assertEqual(namedAny(place).name, name)  # type: ignore[no-untyped-call]
            self.assertFalse(is_on and {"resolver", "values"} & set(parameters), name)

    def test_switches(self) -> None:
        off = dict.fromkeys(CHECKS, False)
        self.assertEqual(Checks(off).names, [])
        self.assertEqual(self.hooks(off), {})
        self.assertEqual(self.names(**{**off, "greylisting": True}), ["greylisting"])
        self.assertEqual(self.names(**EVERYTHING), list(CHECKS))
        self.assertEqual(self.names(**{**off, "sender_domain": {}}), ["sender-domain"])

    def test_every_check_is_a_hook(self) -> None:
        for hook in self.hooks(EVERYTHING)["smtp"]:
            self.assertIsInstance(hook, MailHook)
            find_steps(hook)

    def test_services(self) -> None:
        hooks = self.hooks({})
        self.assertEqual([hook.name for hook in hooks["submission"]], ["rates"])
        # They count together.
        self.assertIs(hooks["submission"][0], hooks["smtp"][0])
        self.assertNotIn("lmtp", hooks)

    def test_settings_reach_the_check(self) -> None:
        self.wrong("the delay must be shorter", greylisting={"delay": 9, "retry-window": 8})
        self.wrong("greylisting: the delay", greylisting={"delay": 9, "retry_window": 8})
        self.names(greylisting={"delay": 9, "retry-window": 10.5, "exempt": "192.0.2.0/24"})

    def test_lists_in_dns(self) -> None:
        block = ["one.example", {"zone": "two.example", "weight": 2, "answers": "127.0.0.2"}]
        (hook,) = [
            h for h in self.hooks({"dns-lists": {"block": block}})["smtp"] if "dns" in h.name
        ]
        zones = [(each.zone, each.weight, list(each.answers)) for each in hook._block]
        self.assertEqual(
            zones, [("one.example", 1.0, ["127.0.0.0/8"]), ("two.example", 2.0, ["127.0.0.2"])]
        )
        for item in (5, {"weight": 2}, {"zone": "x", "color": "red"}, [["x"]]):
            self.wrong("dns-lists.block must be zones", **{"dns-lists": {"block": item}})
        self.wrong("answers", **{"dns-lists": {"block": {"zone": "x", "answers": 5}}})
        self.wrong("dns-lists.block", **{"dns-lists": {"block": {"zone": "x", "answers": "y"}}})

    def test_where_greylisting_remembers(self) -> None:
        for store, expected in ((MemoryStore(), MemoryStore), (object(), MemoryValues)):
            hooks = self.hooks({"greylisting": True}, store)["smtp"]
            self.assertIsInstance(hooks[-1]._values, expected)

    def test_what_is_wrong(self) -> None:
        self.wrong("there is no check 'greylist'; known are rates, early-talkers", greylist=True)
        self.wrong("helo must be true, false, or a table", helo="yes")
        self.wrong("helo has no setting 'hello'; known are own-name", helo={"hello": 1})
        self.wrong("helo has no setting 'clock'", helo={"clock": 1})
        self.wrong("helo.own-name must be one of reject, defer", helo={"own-name": "shoot"})
        self.wrong("helo.points must be a number", helo={"points": "many"})
        self.wrong("helo.points is out of all measure", helo={"points": 10**12})
        self.wrong("helo.spare-postmaster must be true or false", helo={"spare-postmaster": 1})
        self.wrong("helo.exempt must be a string or an array", helo={"exempt": [1]})
        self.wrong("helo: 'x'", helo={"exempt": "x"})
        self.wrong("rates.max-keys must be a whole number", rates={"max-keys": True})
        self.wrong("rates.address-errors must be a string", rates={"address-errors": 5})
        self.wrong("recipients: it needs a server to ask", recipients=True)
        self.wrong("'many' is no rate", rates={"address-errors": "many"})
        self.wrong("dns-lists: it needs a list to ask", **{"dns-lists": True})
        self.wrong("'a b' is no zone", **{"dns-lists": {"allow": "a b"}})
        self.wrong("the delay is 0 to 300 seconds", **{"early-talkers": {"delay": -1}})
        self.wrong("the delay is 0 to 300 seconds", **{"early-talkers": {"delay": 301}})

    def test_name_servers(self) -> None:
        for text, server in (
            ("192.0.2.53", ("192.0.2.53", 53)),
            ("127.0.0.1:5353", ("127.0.0.1", 5353)),
            ("::1", ("::1", 53)),
            ("[::1]:5353", ("::1", 5353)),
        ):
            checks = Checks({"nameservers": text})
            self.assertEqual(checks._servers, [server])
        for text in ("ns.example", "192.0.2.53:x", "", 5, [["x"]]):
            self.wrong("is no address such as 127.0.0.1:53", nameservers=text)
