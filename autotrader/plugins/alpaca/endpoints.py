"""Which servers are spoken to, and that an account is the one that was meant: paper unless two things say live."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from autotrader.errors import AutotraderError
from autotrader.settings import Alpaca

PAPER, LIVE = "https://paper-api.alpaca.markets", "https://api.alpaca.markets"
DATA, DATA_STREAM = "https://data.alpaca.markets", "wss://stream.data.alpaca.markets"
PAPER_PREFIX = "PA"  # of the numbers of paper accounts


class AlpacaError(AutotraderError):
    """The configuration or the account is not what it has to be; one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """trading, data: base URLs without the version. updates, bars: full URLs of the two streams.

    local: a server on this machine, where nobody's money is.
    """

    trading: str
    data: str
    updates: str
    bars: str
    local: bool


def endpoints(settings: Alpaca) -> Endpoints:
    """AlpacaError: an address that would send keys in the open, or to the live market without `live`."""
    live = LIVE if settings.live else PAPER
    trading, data = settings.url or live, settings.url or DATA
    streams = settings.stream_url or (_as_stream(settings.url) if settings.url else None)
    updates, bars = streams or _as_stream(live), streams or DATA_STREAM
    for url in (trading, data, updates, bars):
        _check(url, settings)
    return Endpoints(
        trading.rstrip("/"),
        data.rstrip("/"),
        f"{updates.rstrip('/')}/stream",
        f"{bars.rstrip('/')}/v2/{settings.data_feed}",
        local=all(is_local(url) for url in (trading, data, updates, bars)),
    )


def check_account(settings: Alpaca, number: str, *, local: bool) -> None:
    """AlpacaError: another account than the configured one, or a live one where paper is meant, or the reverse."""
    if settings.account is not None and number != settings.account:
        raise AlpacaError(
            f"these keys are those of account {number}, and alpaca.account names {settings.account}: nothing is done"
        )
    if local:
        return
    is_paper = number.startswith(PAPER_PREFIX)
    if settings.live and is_paper:
        raise AlpacaError(f"alpaca.live is true, but {number} is a paper account: nothing is done")
    if not settings.live and not is_paper:
        raise AlpacaError(f"{number} is no paper account, and alpaca.live is not true: nothing is done")


def is_local(url: str) -> bool:
    """Whether the server is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check(url: str, settings: Alpaca) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "ws", "wss"} or not parts.hostname:
        raise AlpacaError(f'"{url}" is no address like http://127.0.0.1:8700')
    if parts.scheme in {"http", "ws"} and not is_local(url):
        raise AlpacaError(f"{url} would send the keys unencrypted; use https")
    if parts.hostname == urlsplit(LIVE).hostname and not settings.live:
        raise AlpacaError(f"{url} is the live market, and alpaca.live is not true: nothing is done")


def _as_stream(url: str) -> str:
    """http -> ws, https -> wss."""
    return f"ws{url.removeprefix('http')}" if url.startswith("http") else url
