"""The ARC community's test suite: 171 messages, each with what a verifier is to find."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from mailkit.signing.arc import Record, Verifier

SUITE = Path(__file__).resolve().parents[3] / "shared/corpus/arc/arc-draft-validation-tests.yml"
MISSING = (
    "PyYAML is not installed (pip install .[test])"
    if find_spec("yaml") is None
    else ""
    if SUITE.is_file()
    else "no ../shared/corpus/arc beside the checkout"
)


def scenarios() -> Iterator[tuple[str, dict[str, Any], dict[str, Record]]]:
    """Name and case, and what stands in DNS."""
    import yaml

    for scenario in yaml.safe_load_all(SUITE.read_text("utf-8")):
        texts = scenario.get("txt-records") or {}
        records = {name.lower().rstrip("."): Record(text) for name, text in texts.items()}
        for name, case in scenario["tests"].items():
            yield name, case, records


@skipIf(MISSING, MISSING)
class ValidationTests(SynchronousTestCase):
    def test_all(self) -> None:
        wrong, count = [], 0
        for name, case, records in scenarios():
            count += 1
            octets = case["message"].replace("\n", "\r\n").encode()
            found = Verifier(octets, records).find().chain
            # Empty: a set says itself that the chain has failed.
            if (found or "") != case["cv"].lower():
                wrong.append((name, case["cv"], found))
        self.assertEqual(wrong, [])
        self.assertGreater(count, 150)
