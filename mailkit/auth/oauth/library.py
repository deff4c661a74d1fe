"""PyJWT, which knows the forms of tokens; loaded when there are some to verify."""

from __future__ import annotations

from typing import Any

#: What to do without it.
MISSING = "tokens of OAuth need another library: pip install 'twisted-mailkit[oauth]'"


def load_jwt() -> Any:
    """The module ``jwt``.

    :raises ImportError: it is not installed; the text says how it is.
    """
    try:
        import jwt
    except ImportError as error:
        raise ImportError(MISSING) from error
    return jwt
