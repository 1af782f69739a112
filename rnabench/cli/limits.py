"""The option --max-minutes, checked where it is turned into a stop request."""

from __future__ import annotations

from rnabench.errors import InvalidValue
from rnabench.stopping import StopRequest


def stop_request(max_minutes: float | None) -> StopRequest:
    """Raises InvalidValue for a limit that is not positive."""
    if max_minutes is not None and not max_minutes > 0:
        raise InvalidValue("--max-minutes", max_minutes, "a positive number of minutes")
    return StopRequest(max_minutes)
