"""Names with wildcards: ``*`` for anything, ``%`` for anything within one level. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mailkit.model import SEPARATOR

#: Characters of a command's patterns together, neighbouring wildcards joined.
MAX_PATTERN = 4000


def simplify(pattern: str) -> str:
    """Join neighbouring wildcards: they match what the strongest of them matches."""
    parts: list[str] = []
    for character in pattern:
        if parts and character in "*%" and parts[-1] in ("*", "%"):
            if character == "*":
                parts[-1] = "*"
        else:
            parts.append(character)
    return "".join(parts)


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A test for names that match one simplified pattern."""
    if "*" not in pattern and "%" not in pattern:
        return pattern.__eq__
    head, last = pattern[:-1], pattern[-1]
    if "*" not in head and "%" not in head:
        # Most patterns are like this one.
        if last == "*":
            return lambda name: name.startswith(head)
        return lambda name: name.startswith(head) and SEPARATOR not in name[len(head) :]
    return automaton([pattern]).matches


def automaton(patterns: Iterable[str]) -> Automaton:
    """What matches any of some patterns."""
    steps: dict[str, int] = {}
    first = stars = percents = final = 0
    bit = 1
    for pattern in patterns:
        first |= bit
        for character in pattern:
            if character == "*":
                stars |= bit
            elif character == "%":
                percents |= bit
            else:
                steps[character] = steps.get(character, 0) | bit
                bit <<= 1
        final |= bit
        bit <<= 1
    return Automaton(steps, first, stars, percents, final)


class Automaton:
    """Matches names with patterns: a bit says how many literal characters of one are matched.

    All states of all patterns are the bits of one number: time is linear in the name, whatever the
    patterns (a regular expression would try all combinations of many wildcards).
    """

    __slots__ = ("final", "first", "percents", "stars", "steps")

    def __init__(
        self, steps: Mapping[str, int], first: int, stars: int, percents: int, final: int
    ) -> None:
        self.steps = steps
        self.first = first
        self.stars = stars
        self.percents = percents
        self.final = final

    def matches(self, name: str, any_case: int = 0) -> bool:
        """Whether it is the whole name.

        :param any_case: so many characters of the name, capitals, match small letters too.
        """
        states = self.first
        for position, character in enumerate(name):
            step = self.steps.get(character, 0)
            if position < any_case:
                step |= self.steps.get(character.lower(), 0)
            stay = self.stars if character == SEPARATOR else self.stars | self.percents
            states = (states & step) << 1 | states & stay
            if not states:
                return False
        return bool(states & self.final)
