"""Starting the service in a deployment folder: the lock, the log, the journal, the broker, the feed; then the loop."""

from __future__ import annotations

import ctypes
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, cast

from autotrader import logs
from autotrader.clock import Calendar, Clock, SystemClock
from autotrader.core import events as ev
from autotrader.errors import AutotraderError
from autotrader.execution.orders import Tell
from autotrader.journal.store import Journal
from autotrader.market.broker import Broker, BrokerError, BrokerOptions
from autotrader.market.feed import FeedOptions, LiveFeed
from autotrader.market.universe import load_universe
from autotrader.plugins.registry import load_broker, load_feed
from autotrader.rules.problems import render_text
from autotrader.secrets import Secrets
from autotrader.service.alerts import Alerts, connect
from autotrader.service.configurations import ConfigurationError, Configurations
from autotrader.service.presence import Heartbeat, ServiceLock, process_age
from autotrader.service.run import BROKER, Parts, Service
from autotrader.settings import SystemSettings, inside
from autotrader.validation.load import SYSTEM_FILE, load_files
from autotrader.validation.structure import build, read_document

log = logging.getLogger("autotrader.service")

TICK = timedelta(seconds=1)  # the loop turns at least so often
BROKER_AGAIN = timedelta(seconds=10)  # a broker that cannot be reached at the start is tried again
PUBLISH_EVERY = timedelta(seconds=5)
_M_ARENA_MAX = -8  # of malloc.h


class StartError(AutotraderError):
    """The service cannot run as it is configured; one sentence that says what to do."""


class Stopped(Exception):
    """The service was told to stop before it had begun."""


class Pause(Protocol):
    """How the loop waits."""

    def wake(self) -> None:
        """Ends the wait. From any thread."""
        ...

    def until(self, at: datetime) -> None:
        """Waits until then, or until it is woken, and not longer than a tick."""
        ...

    def seconds(self, seconds: float) -> None:
        """Lets so many seconds pass."""
        ...


class RealPause:
    """Waits in real time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = threading.Event()

    def wake(self) -> None:
        self._event.set()

    def until(self, at: datetime) -> None:
        left = min(at - self._clock.now(), TICK)
        if left > timedelta(0):
            self._event.wait(left.total_seconds())
        self._event.clear()

    def seconds(self, seconds: float) -> None:
        threading.Event().wait(seconds)


@dataclass
class Stop:
    """What signals ask for. asked: the service is to end; reload: the configuration is to be looked at."""

    asked: bool = False
    reload: bool = False


@dataclass(frozen=True)
class Deployment:
    """Where a service runs, and by which time. config: the configuration's folder.

    began: when the program's first line ran, by time.monotonic; None: the process does more than run a service.
    """

    home: Path
    config: Path
    clock: Clock = field(default_factory=SystemClock)
    pause: Pause | None = None
    terminal: Any = None  # where the log is shown; None: stderr
    began: float | None = None


@contextmanager
def opened(deployment: Deployment, stop: Stop) -> Iterator[tuple[Service, Pause]]:
    """A service that has recovered, if the broker answers, and is ready to turn, for as long as the block lasts.

    What protects comes first; all that only watches and tells is imported and opened after it.

    An AutotraderError where it cannot be: another one runs here, the configuration, the journal or the account is not
    what it should be. A broker that does not answer is waited for, where the account is known already.
    """
    clock = deployment.clock
    pause = deployment.pause or RealPause(clock)
    with ExitStack() as stack:
        system = _system(deployment.config)
        data = deployment.home / system.paths.data
        Configurations(deployment.config, data, _before_alerts)  # better wrong now than once all is connected
        broker_class, feed_class = _plugins(system)
        lock = ServiceLock(data)
        lock.take(clock.now())
        stack.callback(lock.release)
        stack.enter_context(logs.set_up(system.logging, data / "logs", clock, deployment.terminal))
        _share_one_heap()
        secrets, calendar = Secrets(deployment.home), Calendar()
        path = data / "journal.sqlite3"
        known = _account_of(path)
        found: tuple[Journal, Alerts] | None = None
        if known is not None:
            found = _recorded(stack, system, Journal.open(path, known, clock=clock), clock)

        def wait(error: BrokerError) -> None:
            """The account has been reached before, so what is wrong now may pass; people are told."""
            if found is None:
                raise error
            _tell_of_broker(deployment, system, *found, error)
            for _ in range(int(BROKER_AGAIN / TICK)):
                if stop.asked:
                    log.info("stopped cleanly, before the broker was reached")
                    raise Stopped
                pause.seconds(TICK.total_seconds())

        options = BrokerOptions(calendar, clock, system, secrets, pause.seconds, pause.wake)
        broker = _open_broker(lambda: broker_class.open(options), wait)
        stack.callback(broker.close)
        account = broker.account()
        if found is None:
            made = Journal.open(path, account.account_id, initial_cash=float(account.cash), clock=clock)
            found = _recorded(stack, system, made, clock)
        journal, alerts = found
        journal.check_account(account.account_id)
        configurations = Configurations(deployment.config, data, alerts.tell)
        feed: LiveFeed = feed_class.open(
            FeedOptions(
                inside(deployment.home, system.feed.path), system.feed.seed, calendar, clock, system, secrets,
                pause.seconds, pause.wake,
            )
        )  # fmt: skip
        stack.callback(feed.close)
        heartbeat = Heartbeat(data, secrets.value(system.watch.heartbeat_env), system.watch.heartbeat_seconds)
        parts = Parts(
            folder=deployment.config, data=data, broker=broker, feed=feed, journal=journal,
            configurations=configurations, universe=tuple(load_universe(inside(deployment.home, system.universe))),
            calendar=calendar, clock=clock, alerts=alerts,
            grace=timedelta(seconds=system.service.bar_grace_seconds),
            silence=timedelta(seconds=system.service.silence_seconds),
            clock_within=timedelta(seconds=system.service.clock_seconds),
            keep_logs_days=system.logging.keep_days, beat=heartbeat.beat, wake=pause.wake,
        )  # fmt: skip
        log.info("account %s at %s, %s, configuration %s", account.account_id, broker.name,
                 "LIVE: real money" if broker.is_live else "paper",
                 configurations.current.settings.config_hash[:12])  # fmt: skip
        service = Service(parts)
        service.recover()
        if deployment.began is not None:
            age = process_age()
            log.info("the start took %.2f s from the program's first line%s", time.monotonic() - deployment.began,
                     "" if age is None else f", {age:.2f} s from the process's beginning")  # fmt: skip
        connect(alerts, deployment.home, system.alerts)
        service.publish = publisher(stack, deployment, system, data, alerts.tell)
        yield service, pause


def run(deployment: Deployment, until: datetime | None = None) -> None:
    """Runs the service until a signal asks it to stop, or until a time. JournalError where it must not go on."""
    stop = Stop()
    with suppress(Stopped), _signals(stop), opened(deployment, stop) as (service, pause):
        while not stop.asked and (until is None or deployment.clock.now() < until):
            if stop.reload:
                stop.reload = False
                service.reload()
            pause.until(service.turn())
        log.info("stopped cleanly")


# --- parts --------------------------------------------------------------------------------------------------------


def _before_alerts(severity: ev.Severity, subject: str, happened: str, done: str, todo: str) -> None:
    """What is found before anybody can be told is found again, and told, a moment later."""


def _share_one_heap() -> None:
    """glibc gives threads heaps of their own, and the one of a night's scan stays as large as it was.

    Python's threads take turns anyway, so one does.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _system(config: Path) -> SystemSettings:
    """The settings of default.yaml, which are read at the start alone. ConfigurationError."""
    path = config / SYSTEM_FILE
    if not path.exists():
        return SystemSettings()
    loaded = load_files([path])
    if loaded.problems:
        raise ConfigurationError(render_text(loaded.problems, loaded.sources))
    built = build(SystemSettings, read_document(path))
    assert isinstance(built, SystemSettings)  # it has no problems
    return built


def _plugins(system: SystemSettings) -> tuple[Any, Any]:
    """The broker's and the feed's class. StartError where they know no running market."""
    broker, feed = load_broker(system.broker.name), load_feed(system.feed.name)
    if not hasattr(feed, "streamed") or not hasattr(broker, "open"):
        raise StartError(
            f"the feed {system.feed.name} and the broker {system.broker.name} know no running market: set feed.name "
            "and broker.name to alpaca in config/default.yaml, with the keys of a paper account in config/.env, or "
            "with alpaca.url set to the address that `autotrader simulate-alpaca` shows; days of a made-up market are "
            "played by `autotrader demo`"
        )
    return broker, feed


def _account_of(path: Path) -> str | None:
    if not path.exists():
        return None
    with Journal.read(path) as journal:
        return journal.account_id


def _open_broker(open_: Callable[[], Any], wait: Callable[[BrokerError], None]) -> Broker:
    """wait: until it is tried again; raises where it is not."""
    while True:
        try:
            return cast("Broker", open_())
        except BrokerError as error:
            wait(error)


def _recorded(stack: ExitStack, system: SystemSettings, journal: Journal, clock: Clock) -> tuple[Journal, Alerts]:
    """The journal, and the alerts that it keeps."""
    stack.enter_context(closing(journal))
    repeat = timedelta(minutes=system.alerts.repeat_minutes)
    recent = [event for event in journal.recent_events() if isinstance(event, ev.Alerted)]
    alerts = Alerts(journal.append, clock, repeat=repeat, least=system.alerts.least, recent=recent)
    stack.callback(alerts.close)
    return journal, alerts


def _tell_of_broker(
    deployment: Deployment, system: SystemSettings, journal: Journal, alerts: Alerts, error: BrokerError
) -> None:
    connect(alerts, deployment.home, system.alerts)
    log.error("the broker cannot be reached: %s; tried again in %.0f s", error, BROKER_AGAIN.total_seconds())
    alerts.tell("critical", BROKER, f"the service has started, and the broker cannot be reached: {error}",
                "it is tried again; what is held has its stops at the broker, and nobody watches it otherwise",
                "see whether the broker has trouble, and whether the keys in .env are right")  # fmt: skip
    alerts.tick()
    journal.commit()


def publisher(
    stack: ExitStack, deployment: Deployment, system: SystemSettings, data: Path, tell: Tell
) -> Callable[[Service], None]:
    """Hands the service's state to /health and /status; a port that is taken is told and stops nothing."""
    if not system.watch.port:
        return lambda _: None
    from autotrader.service.watch import Snapshot, Watch, WatchError, token

    try:
        watch = Watch(system.watch.port, token(data), deployment.clock, system.watch.stale_seconds)
    except (WatchError, OSError) as error:
        tell("warning", "watch", str(error), "the service runs, without /health and /status", "then restart it")
        return lambda _: None
    stack.callback(watch.close)
    last: list[tuple[datetime, Any]] = []

    def publish(service: Service) -> None:
        now = deployment.clock.now()
        if not last or now - last[0][0] >= PUBLISH_EVERY:
            last[:] = [(now, service.state(now))]
        watch.publish(Snapshot(now, last[0][1]))

    return publish


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT end the loop after its turn, SIGHUP has the configuration looked at; also during the start.

    A handler only writes down what is wanted: whatever it could wake may be held by the very thread it interrupts.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.asked = True

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        stop.reload = True

    handlers: dict[signal.Signals, Any] = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: hang_up}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
