"""What may stand in a close frame, by RFC 6455."""

from typing import Final

MAX_REASON_BYTES: Final = 123

NO_CODE: Final = 1005
"""RFC 6455, 7.4.1: a close frame without a code."""
ABNORMAL: Final = 1006
"""RFC 6455, 7.4.1: the connection ended without a close frame."""
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013


def close_code(code: int | bool | None) -> int:
    """The code to send: 1000 for None and True, or a number that RFC 6455, 7.4, allows."""
    if code is None or code is True:
        return 1000
    if isinstance(code, bool) or not isinstance(code, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"close code must be an int, not {code!r}")
    if 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999:
        return int(code)  # Perhaps it was a member of an enum.
    raise ValueError(
        f"close code {code} must not be sent (RFC 6455, 7.4): "
        "use 1000, a registered code, or 4000 to 4999 for codes of your own"
    )


def close_reason(reason: str | None) -> str:
    """The reason, if it fits into a close frame (RFC 6455, 5.5)."""
    if reason is None:
        return ""
    if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"close reason must be a str, not {reason!r}")
    if (size := len(reason.encode())) > MAX_REASON_BYTES:
        raise ValueError(
            f"close reason takes {size} bytes in UTF-8, but a close frame has room for "
            f"{MAX_REASON_BYTES} (RFC 6455, 5.5): shorten {reason!r}"
        )
    return reason
