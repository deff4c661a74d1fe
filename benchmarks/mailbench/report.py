"""Figures, and the Markdown tables made of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .process import Meter

#: The server that the others are compared with.
SUBJECT = "mailkit"


@dataclass
class Figure:
    """One metric of one peer: every repetition."""

    workload: str
    metric: str
    unit: str
    peer: str
    values: list[float]
    low_is_better: bool = False
    #: CPU of load generator and server in cores, one pair a repetition; empty when not measured.
    cpu: list[tuple[float, float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Samples:
    """Collects the repetitions of one workload by metric."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, bool], list[float]] = {}
        self.cpu: dict[tuple[str, str, bool], list[tuple[float, float]]] = {}

    def add(
        self,
        metric: str,
        unit: str,
        value: float,
        meter: Meter | None = None,
        *,
        low_is_better: bool = False,
    ) -> None:
        """Note one repetition.

        :param meter: what ran while the value was measured, for the CPU figures.
        """
        key = (metric, unit, low_is_better)
        self.values.setdefault(key, []).append(value)
        if meter is not None:
            self.cpu.setdefault(key, []).append((meter.client, meter.server))

    def figures(self, workload: str, peer: str) -> list[Figure]:
        """What has been collected."""
        return [
            Figure(workload, key[0], key[1], peer, values, key[2], self.cpu.get(key, []))
            for key, values in self.values.items()
        ]


@dataclass
class Report:
    """All figures of a run."""

    facts: dict[str, Any]
    #: Name to what it has on disk when it says OK, in the order of the columns.
    peers: dict[str, str]
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Every value, ready for ``json.dumps``."""
        return asdict(self)

    def as_markdown(self) -> str:
        """One table a workload."""
        lines = []
        for workload in dict.fromkeys(figure.workload for figure in self.figures):
            figures = [figure for figure in self.figures if figure.workload == workload]
            lines += [f"### {workload}", "", *self._table(figures), ""]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines)

    def _table(self, figures: Sequence[Figure]) -> list[str]:
        present = {figure.peer for figure in figures}
        names = [name for name in self.peers if name in present]
        stars = ["*" if self.peers[name].startswith("no") else "" for name in names]
        titles = [f"{name}{star}" for name, star in zip(names, stars, strict=True)]
        lines = [
            f"| metric | unit | {' | '.join(titles)} |",
            "|---|---" + "|---:" * len(names) + "|",
        ]
        for metric, unit in dict.fromkeys((figure.metric, figure.unit) for figure in figures):
            cells = {f.peer: f for f in figures if (f.metric, f.unit) == (metric, unit)}
            arrow = " ↓" if next(iter(cells.values())).low_is_better else ""
            row = [_cell(cells.get(name), cells.get(SUBJECT)) for name in names]
            lines.append(f"| {metric} | {unit}{arrow} | {' | '.join(row)} |")
        return lines


def _cell(figure: Figure | None, subject: Figure | None) -> str:
    if figure is None:
        return "-"
    text = _number(figure.median)
    if subject is not None and subject is not figure and figure.median and subject.median:
        ratio = subject.median / figure.median
        text += f" (x{1 / ratio if figure.low_is_better else ratio:.2f})"
    if figure.cpu:
        client, server = (statistics.median(cores) for cores in zip(*figure.cpu, strict=True))
        text += f" [{client * 100:.0f}/{server * 100:.0f}]"
    return text


def _number(value: float) -> str:
    return (
        f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    )
