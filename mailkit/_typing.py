"""Typing names that Python 3.10 does not have yet."""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import override
else:
    _T = TypeVar("_T")

    def override(method: _T) -> _T:
        """Type checkers know what it means; modules that read messages need no other package."""
        return method


__all__ = ["override"]
