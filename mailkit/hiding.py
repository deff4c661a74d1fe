"""Values that hold secrets, and show none of them: a log or a traceback may have their ``repr``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


def hiding(*secret: str) -> Callable[[type[_T]], type[_T]]:
    """Decorates a class of named tuples: their ``repr`` leaves out what these fields hold.

    A dataclass has ``field(repr=False)`` for that.
    """

    def decorate(kind: type[_T]) -> type[_T]:
        fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
        assert set(secret) <= set(fields)
        shown = [name for name in fields if name not in secret]

        def __repr__(self: Any) -> str:  # noqa: N807
            values = (f"{name}={getattr(self, name)!r}" for name in shown)
            return f"{kind.__name__}({', '.join((*values, '...'))})"

        kind.__repr__ = __repr__  # type: ignore[method-assign]
        return kind

    return decorate
