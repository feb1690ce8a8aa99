"""Requests to Alpaca, through the official client: bounded in time and number, repeated only where nothing can double.

The client itself has no time-out, and repeats order requests (measured: four orders for one). So its session is
wrapped, its retries are off, and only what reads is asked again, by `get`.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import cached_property
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from autotrader import logs
from autotrader.clock import Clock
from autotrader.plugins.alpaca.answers import Answered, Unanswered, answered, may_pass
from autotrader.plugins.alpaca.endpoints import Endpoints, endpoints
from autotrader.plugins.alpaca.wire import parsed
from autotrader.secrets import Credentials
from autotrader.settings import Alpaca

if TYPE_CHECKING:
    from alpaca.common.rest import RESTClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.trading.client import TradingClient

log = logging.getLogger("autotrader.alpaca")

T = TypeVar("T")
Wait = Callable[[float], None]


class Patience(NamedTuple):
    """How often something is asked for again.

    pauses: seconds before each further try. longest: how long the end of the server's limit is waited for at most.
    after_silence: also where the time for an answer ran out, which has taken long already.
    """

    pauses: Sequence[float]
    longest: float = 0.0
    after_silence: bool = False


SOON = Patience((0.3, 1.0))  # where the decision loop waits
NIGHTLY = Patience((1.0, 2.0, 4.0, 8.0), longest=61.0, after_silence=True)  # where only the night does
_ORDERS_RESERVE = 20  # requests a minute that only orders and cancels may use
_MINUTE = timedelta(minutes=1)
_TRADING = "alpaca.trading.client"


class RateLimit:
    """At most so many requests in any minute of the clock, over all threads. What orders need is kept free for them."""

    def __init__(self, per_minute: int, clock: Clock, wait: Wait) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._wait = wait
        self._lock = Lock()
        self._taken: deque[datetime] = deque()

    def take(self, *, for_order: bool) -> None:
        """Returns when the request may go."""
        limit = self._per_minute if for_order else self._per_minute - _ORDERS_RESERVE
        while (seconds := self._seconds_until(limit)) > 0:
            log.info("%d requests in the last minute: waiting %.1f s", limit, seconds)
            self._wait(seconds)

    def _seconds_until(self, limit: int) -> float:
        with self._lock:
            now = self._clock.now()
            while self._taken and not now - _MINUTE < self._taken[0] <= now:  # a clock that was set back forgets
                self._taken.popleft()
            if len(self._taken) < limit:
                self._taken.append(now)
                return 0.0
            return (self._taken[-limit] + _MINUTE - now).total_seconds()


_limits: WeakValueDictionary[tuple[str, str, int], RateLimit] = WeakValueDictionary()
_limits_lock = Lock()


def shared_limit(key: tuple[str, str], per_minute: int, clock: Clock, wait: Wait) -> RateLimit:
    """One limit for one key at one server, though broker and feed are opened apart: Alpaca counts by account.

    One for each clock: by one that stands still, since nobody moves it any more, no request would ever go again.
    """
    with _limits_lock:
        return _limits.setdefault((*key, id(clock)), RateLimit(per_minute, clock, wait))


class Connection:
    """The client's REST half. requests: how many were sent."""

    def __init__(self, settings: Alpaca, credentials: Credentials, clock: Clock, wait: Wait = time.sleep) -> None:
        self.settings = settings
        self.endpoints: Endpoints = endpoints(settings)
        self.credentials = credentials
        self.clock = clock
        self.requests = 0
        self._wait = wait
        key = (credentials.key_id, self.endpoints.trading)
        self._limit = shared_limit(key, settings.requests_per_minute, clock, wait)
        logs.quiet()

    @cached_property
    def trading(self) -> TradingClient:
        """The client for the account and its orders."""
        client_class = _sdk(_TRADING, "TradingClient")
        keys = self.credentials
        client: TradingClient = client_class(
            keys.key_id, keys.secret, paper=not self.settings.live, raw_data=True, url_override=self.endpoints.trading
        )
        self._bound(client)
        return client

    @cached_property
    def data(self) -> StockHistoricalDataClient:
        """The client for prices."""
        client_class = _sdk("alpaca.data.historical.stock", "StockHistoricalDataClient")
        keys = self.credentials
        client: StockHistoricalDataClient = client_class(
            keys.key_id, keys.secret, raw_data=True, url_override=self.endpoints.data
        )
        self._bound(client)
        return client

    def get(
        self,
        client: RESTClient,
        path: str,
        params: Mapping[str, Any] | None = None,
        patience: Patience = SOON,
        **more: Any,
    ) -> Any:
        """What the server has at this path, as it came. Unanswered or Answered after the last try."""
        for seconds in patience.pauses:
            pause = seconds
            try:
                return self.once(lambda: client.get(path, dict(params or {}), **more))
            except Unanswered as error:
                if error.timed_out and not patience.after_silence:
                    raise
                log.warning("GET %s: %s; asked again", path, error)
            except Answered as error:
                if not may_pass(error):
                    raise
                pause = max(seconds, min(error.reset or 0.0, patience.longest))
                log.warning("GET %s: %s; asked again in %.1f s", path, error, pause)
            self._wait(pause)
        return self.once(lambda: client.get(path, dict(params or {}), **more))

    def once(self, call: Callable[[], T]) -> T:
        """One request of the client, not repeated. Unanswered or Answered where it gave no result."""
        from requests.exceptions import RequestException, Timeout
        from urllib3.exceptions import HTTPError
        from urllib3.exceptions import TimeoutError as OutOfTime

        APIError: type[Any] = _sdk("alpaca.common.exceptions", "APIError")  # noqa: N806
        try:
            return call()
        except APIError as error:
            # what the client raised holds the body as it came, and a body may repeat what it was sent
            raise answered(error.status_code or 0, str(error), self._reset(error.response)) from None
        except (RequestException, HTTPError, OSError) as error:
            silent = isinstance(error, Timeout | OutOfTime)
            raise Unanswered(_trouble(error), timed_out=silent) from error
        except ValueError as error:  # the client's own reading of a body that is no JSON
            raise Unanswered(f"an answer that cannot be read ({type(error).__name__})") from error

    def _reset(self, response: Any) -> float | None:
        """Seconds until the server's limit ends, where it says so."""
        given = response.headers.get("X-RateLimit-Reset") if response is not None else None
        try:
            return None if given is None else float(given) - self.clock.now().timestamp()
        except ValueError:
            return None

    def _bound(self, client: Any) -> None:
        """Gives the client time-outs and the shared limit, and takes its retries away."""
        from autotrader.plugins.alpaca.deadline import WholeAnswers

        client._retry = 0
        session = client._session
        for scheme in ("http://", "https://"):
            session.mount(scheme, WholeAnswers())
        session.trust_env = not self.endpoints.local  # no proxy between us and this machine
        original = session.request

        def request(method: str, url: str, **options: Any) -> Any:
            self._limit.take(for_order=method.upper() != "GET")
            self.requests += 1
            timeout = (self.settings.connect_seconds, self.settings.read_seconds)
            response = original(method, url, timeout=timeout, stream=True, **options)
            self._read(response)
            return response

        session.request = request

    def _read(self, response: Any) -> None:
        """The body, so that a time-out shows as one; requests itself would call it a broken connection."""
        from requests.exceptions import TooManyRedirects
        from urllib3.exceptions import HTTPError

        try:
            response._content, response._content_consumed = response.raw.read(decode_content=True), True
        except (HTTPError, OSError):
            response.close()
            raise
        if 300 <= response.status_code < 400:  # the client would read the body as an answer
            raise TooManyRedirects(f"redirected to {response.headers.get('Location', 'nowhere')}")
        response.json = lambda: parsed(response.content)


def _trouble(error: BaseException) -> str:
    """Why there is no answer, in a few words. The libraries' own are long, and hold the whole address."""
    from urllib3.exceptions import NameResolutionError
    from urllib3.exceptions import TimeoutError as OutOfTime

    chain: list[BaseException] = [error]
    while (deeper := _deeper(chain[-1])) is not None and deeper not in chain:
        chain.append(deeper)
    if any(isinstance(each, NameResolutionError) for each in chain):
        return "no answer: the server's name is not known; is there a network?"
    known = next((each for each in reversed(chain) if isinstance(each, OSError) and each.strerror), None)
    if known is not None:
        return f"no answer: {str(known.strerror).lower()}"
    if any(isinstance(each, OutOfTime) for each in chain):
        return "no answer in time"
    return f"no answer ({type(chain[-1]).__name__}: {chain[-1]})"


def _deeper(error: BaseException) -> BaseException | None:
    """What an error was made from: urllib3 and requests hand it on as a reason or an argument."""
    given = (getattr(error, "reason", None), *error.args, error.__cause__, error.__context__)
    return next((each for each in given if isinstance(each, BaseException)), None)


def _sdk(module: str, name: str) -> Any:
    """A class of the official client, which imports a part of websockets that warns of its own age."""
    with warnings.catch_warnings(), _without_pandas() if module == _TRADING else nullcontext():
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(import_module(module), name)


class _Later(ModuleType):
    """Stands for a module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def _without_pandas() -> Iterator[None]:
    """The trading client imports pandas for a request of its own that nobody here makes: 0.3 s, of a start that has
    positions to protect."""
    if "pandas" in sys.modules:
        yield
        return
    stands_in = sys.modules["pandas"] = _Later("pandas")
    try:
        yield
    finally:
        if sys.modules.get("pandas") is stands_in:
            del sys.modules["pandas"]
