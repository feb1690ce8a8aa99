"""Checks of the day's times: in order, inside the session, and fit for the order type."""

from __future__ import annotations

from datetime import time

from autotrader.rules.document import Path
from autotrader.validation.context import Context

_PRE_MARKET, _AUCTION, _OPEN, _CLOSE = time(4), time(9, 28), time(9, 30), time(16)


def times(context: Context) -> None:
    """Scan after the close, gap filter before the open, window inside the session, groups inside the window."""
    batch, entry = context.params.batch, context.params.entry
    opens, closes = entry.window.opens, entry.window.closes
    if not _OPEN <= opens < _CLOSE:
        message = f"{opens:%H:%M} is outside the session, 09:30 to 16:00"
        context.report(("entry", "window", "opens"), "time-outside", message)
        opens = _OPEN
    if closes > _CLOSE:
        message = f"{closes:%H:%M} is after the session's end, 16:00"
        context.report(("entry", "window", "closes"), "time-outside", message)
    elif closes <= opens:
        message = f"the window closes at {closes:%H:%M}, not after it opens ({opens:%H:%M})"
        context.report(("entry", "window", "closes"), "time-order", message)
        closes = _CLOSE
    if batch.gap_filter_time >= opens:
        message = f"the gap filter at {batch.gap_filter_time:%H:%M} must be before the window opens ({opens:%H:%M})"
        context.report(("batch", "gap_filter_time"), "time-order", message)
    elif batch.gap_filter_time < _PRE_MARKET:
        message = f"at {batch.gap_filter_time:%H:%M} there is no pre-market price yet; not before 04:00"
        context.report(("batch", "gap_filter_time"), "time-outside", message)
    if batch.scan_time < _CLOSE:
        message = f"the scan at {batch.scan_time:%H:%M} is before the close (16:00): the day's bar is not complete"
        context.report(("batch", "scan_time"), "time-order", message)
    for key, group in entry.groups.items():
        path: Path = ("entry", "groups", key, "at")
        if group.order == "opg":
            if not min(batch.gap_filter_time, _AUCTION) < group.at < _AUCTION:
                message = (
                    f"opg orders are sent after the gap filter ({batch.gap_filter_time:%H:%M}) and before 09:28, "
                    f"not at {group.at:%H:%M}"
                )
                context.report(path, "time-order-type", message)
        elif not opens <= group.at < closes:
            message = f"{group.at:%H:%M} is outside the entry window, {opens:%H:%M} to {closes:%H:%M}"
            context.report(path, "time-order", message)
