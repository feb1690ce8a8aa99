"""Alerts: one place that tells people what happened, what was done about it, and what they are to do.

Each is journaled, logged, and sent to the configured addresses. Sending has a thread of its own: nothing in it waits
for the network in the loop or raises into it. The same trouble is sent once, then counted.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from autotrader.clock import NEW_YORK, Clock
from autotrader.core import events as ev
from autotrader.errors import AutotraderError
from autotrader.secrets import Secrets, redact
from autotrader.settings import Alerts as AlertSettings

log = logging.getLogger("autotrader.alerts")

SEVERITIES: tuple[ev.Severity, ...] = ("info", "warning", "critical")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}
_TYPES = {"info": "info", "warning": "warning", "critical": "failure"}

QUEUE = 100  # alerts that wait to be sent; what comes on top is journaled and logged only
RETRY_SECONDS = (5.0, 30.0, 120.0)


class AlertError(AutotraderError):
    """The addresses for alerts cannot be used. The text does not hold them: they are secrets."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent."""

    severity: ev.Severity
    title: str
    body: str


class Sender(Protocol):
    """Where messages go; both calls return at once."""

    def send(self, message: Message) -> None: ...

    def close(self, timeout_seconds: float) -> None:
        """Waits at most so long for what is under way."""
        ...


@dataclass(slots=True)
class _Told:
    """The last time that a subject was sent, and what was not sent since."""

    at: datetime
    severity: ev.Severity
    again: int = 0
    latest: ev.Alerted | None = None


class Alerts:
    """Tells people. To be called from the loop's thread only."""

    def __init__(
        self,
        keep: Callable[[ev.Alerted], object],
        clock: Clock,
        sender: Sender | None = None,
        *,
        repeat: timedelta = timedelta(minutes=60),
        least: ev.Severity = "info",
        recent: Iterable[ev.Alerted] = (),
    ) -> None:
        """keep: makes an alert durable; where it cannot, the alert is told all the same.

        repeat: how long the same subject is not told again. least: what is sent. recent: what was told before a
        restart.
        """
        self._keep = keep
        self._clock = clock
        self._sender = sender
        self._early: deque[Message] = deque(maxlen=QUEUE)  # told before there was somebody to send them
        self._repeat = repeat
        self._least = SEVERITIES.index(least)
        self._told = {event.subject: _Told(event.at, event.severity) for event in recent}

    def tell(self, severity: ev.Severity, subject: str, happened: str, done: str, todo: str) -> None:
        """Says what happened, what was done about it, and what a person is to do.

        subject: what it is about, the same for the same trouble; within the time of no repeat it is counted, unless
        it got worse.
        """
        now = self._clock.now()
        # what is passed on here may quote a library's error, with an address in it that holds a key
        event = ev.Alerted(now, self._day(now), severity, subject, redact(happened), redact(done), redact(todo))
        known = self._told.get(subject)
        if known is not None and now - known.at < self._repeat:
            if SEVERITIES.index(severity) <= SEVERITIES.index(known.severity):
                known.again += 1
                known.latest = event
                log.debug("%s again: %s", subject, happened)
                return
        self._say(event, known)

    def tick(self) -> None:
        """Tells what was counted, once its time of no repeat is over. To be called now and then."""
        now = self._clock.now()
        for subject, known in list(self._told.items()):
            if now - known.at < self._repeat:
                continue
            if known.latest is None:
                del self._told[subject]
            else:
                latest = known.latest
                known.again -= 1  # the latest is the one that is told
                again = ev.Alerted(now, self._day(now), latest.severity, subject, latest.happened, latest.done,
                                   latest.todo)  # fmt: skip
                self._say(again, known)

    def over(self, subject: str) -> None:
        """The trouble is over: the next time, it is news."""
        self._told.pop(subject, None)

    @property
    def is_sent(self) -> bool:
        """Whether there is somebody to send them."""
        return self._sender is not None

    def send_through(self, sender: Sender) -> None:
        """Sends by this from now on, and what was told so far."""
        self._sender = sender
        while self._early:
            sender.send(self._early.popleft())

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Waits at most so long for what is being sent."""
        if self._sender is not None:
            self._sender.close(timeout_seconds)

    def _say(self, event: ev.Alerted, before: _Told | None) -> None:
        self._told[event.subject] = _Told(event.at, event.severity)
        happened = event.happened
        if before is not None and before.again > 0:
            since = before.at.astimezone(NEW_YORK)
            happened += f" (again, {_times(before.again)} more since {since:%H:%M})"
        log.log(_LEVELS[event.severity], "%s: %s; %s%s", event.subject, happened, event.done or "nothing was done",
                f"; to do: {event.todo}" if event.todo else "")  # fmt: skip
        try:
            self._keep(event)
        except AutotraderError as error:  # a full disk is no reason to keep quiet, on the contrary
            log.error("the alert about %s could not be journaled: %s", event.subject, error)
        if SEVERITIES.index(event.severity) >= self._least:
            message = _message(event, happened)
            self._early.append(message) if self._sender is None else self._sender.send(message)

    def _day(self, now: datetime) -> date:
        return now.astimezone(NEW_YORK).date()


def _message(event: ev.Alerted, happened: str) -> Message:
    lines = [f"Happened: {happened}", f"Done: {event.done or 'nothing'}", f"To do: {event.todo or 'nothing'}",
             f"{event.at.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"]  # fmt: skip
    return Message(event.severity, f"autotrader {event.severity}: {event.subject}", "\n".join(lines))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


# --- sending ------------------------------------------------------------------------------------------------------


class Address:
    """One address. name: what may be shown of it: its kind and place among the addresses, nothing of the secret."""

    def __init__(self, name: str, target: Any) -> None:
        self.name = name
        self._target = target

    def deliver(self, message: Message) -> bool:
        """Whether it arrived; takes as long as the address's time-outs allow."""
        return bool(
            self._target.notify(body=message.body, title=message.title, notify_type=_notify_type(message.severity))
        )


def addresses(urls: str, timeout_seconds: float = 10.0) -> list[Address]:
    """The addresses in a text of apprise URLs. AlertError where one cannot be used."""
    import apprise
    from apprise.utils.parse import parse_urls

    _silence()
    found = []
    with warnings.catch_warnings():  # its plugins are imported now, some of which use what Python will drop
        warnings.simplefilter("ignore", DeprecationWarning)
        for place, url in enumerate(parse_urls(urls), 1):  # type: ignore[no-untyped-call]
            name = f"{urlsplit(url).scheme or 'address'} #{place}"
            target = apprise.Apprise.instantiate(url, suppress_exceptions=True)
            if target is None:
                raise AlertError(f"the alert address {name} is not one that apprise understands")
            target.socket_connect_timeout = target.socket_read_timeout = timeout_seconds
            found.append(Address(name, target))
    if urls.strip() and not found:
        raise AlertError("the alert addresses hold no URL that apprise understands")
    return found


class AppriseSender:
    """Sends in a thread of its own, in order, and tries again what did not arrive; it never blocks or raises."""

    def __init__(
        self, targets: Sequence[Address], *, retry_seconds: Sequence[float] = RETRY_SECONDS, size: int = QUEUE
    ) -> None:
        self._targets = targets
        self._retry = retry_seconds
        self._queue: queue.Queue[Message | None] = queue.Queue(size)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            log.error("%s was not sent: %d alerts wait to be sent already", message.title, self._queue.maxsize)

    def close(self, timeout_seconds: float) -> None:
        """Sends what is waiting, once, for at most so long."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_seconds)
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            log.error("alerts are still being sent after %.0f s; they are given up", timeout_seconds)

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            for target in self._targets:
                self._deliver(target, message)

    def _deliver(self, target: Address, message: Message) -> None:
        for wait in (*self._retry, None):
            try:
                if target.deliver(message):
                    return
                problem = "it was not taken"
            except Exception as error:  # noqa: BLE001  # apprise's plugins raise what they like; the text may hold the address
                problem = type(error).__name__
            log.warning("%s did not reach %s: %s", message.title, target.name, problem)
            if wait is None or self._closing.wait(wait):
                break
        log.error("%s was not delivered to %s", message.title, target.name)


def connect(alerts: Alerts, home: Path, settings: AlertSettings) -> None:
    """Has alerts sent to a deployment's addresses. Those that cannot be used are themselves told, and stop nothing.

    apprise takes a while to import: until then alerts are kept, and sent afterwards.
    """
    if alerts.is_sent:
        return
    try:
        urls = Secrets(home).value(settings.urls_env)
        targets = addresses(urls, settings.timeout_seconds) if urls else []
    except AutotraderError as error:
        alerts.tell("warning", "alert addresses", str(error), "alerts are journaled and logged, and sent to nobody",
                    "put it right, check it by `autotrader notify --test`, restart the service")  # fmt: skip
        return
    if targets:
        alerts.send_through(AppriseSender(targets))


def _notify_type(severity: ev.Severity) -> Any:
    import apprise

    return apprise.NotifyType(_TYPES[severity])


def _silence() -> None:
    """Apprise logs addresses that it cannot read, as they are; what has to be said is said here."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
