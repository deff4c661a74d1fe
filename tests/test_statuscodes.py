"""Enhanced status codes: those that are registered, and no others (RFC 3463 section 2)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mailkit

#: IANA's registry (RFC 5248) without the classes: the highest detail of each subject. X.6.10 is not
#: used any more.
REGISTERED = {0: 0, 1: 10, 2: 4, 3: 6, 4: 7, 5: 6, 6: 9, 7: 30}
_is_code = re.compile(r"([245])\.(\d{1,3}\.\d{1,3})").fullmatch
_is_detail = re.compile(r"\d{1,3}\.\d{1,3}").fullmatch


def is_registered(detail: str) -> bool:
    """
    :param detail: subject and detail.
    """
    subject, number = map(int, detail.split("."))
    return number <= REGISTERED.get(subject, -1)


@cache
def groups() -> Sequence[tuple[str, list[object]]]:
    """Constants that stand side by side in what speaks SMTP, in a tuple or as arguments, with the
    module; None for what is no constant."""
    here = Path(mailkit.__file__).parent
    folders = "checks", "delivery", "milter", "queue", "smtp"
    paths = chain([here / "statuscodes.py"], *((here / name).rglob("*.py") for name in folders))
    return [
        (str(path.relative_to(here)), group)
        for path in paths
        for group in _groups_in(ast.parse(path.read_text(encoding="utf-8")))
    ]


def _groups_in(tree: ast.AST) -> Iterator[list[object]]:
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.Tuple):
            values = node.elts
        elif isinstance(node, ast.Call):
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Dict):
            values = node.values
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            values = [node.value]
        if values:
            yield [value.value if isinstance(value, ast.Constant) else None for value in values]


class RegistryTests(SynchronousTestCase):
    def test_every_code_is_registered(self) -> None:
        count = 0
        for name, group in groups():
            for value in group:
                if isinstance(value, str) and (found := _is_code(value)) is not None:
                    count += 1
                    self.assertTrue(is_registered(found[2]), (name, value))
        self.assertGreater(count, 200)

    def test_every_code_agrees_with_its_reply(self) -> None:
        # RFC 2034 section 4: 5.X.X with 5yz, and so on.
        count = 0
        for name, group in groups():
            for code, enhanced in pairwise(group):
                # Nobody has replied where there is no code.
                if isinstance(code, int) and code and isinstance(enhanced, str):
                    found = _is_code(enhanced)
                    count += found is not None
                    self.assertTrue(
                        found is None or str(code)[0] == found[1], (name, code, enhanced)
                    )
        self.assertGreater(count, 100)

    def test_what_checks_find(self) -> None:
        details = [
            (name, value)
            for name, group in groups()
            if name.startswith("checks")
            for value in group
            if isinstance(value, str) and _is_detail(value)
        ]
        self.assertGreater(len(details), 5)
        for name, detail in details:
            self.assertTrue(is_registered(detail), (name, detail))
