"""Writes autotrader/market/sp500.csv, the packaged universe, from pytickersymbols.

    .venv/bin/python tools/make_universe.py

The package's members carry industries from several taxonomies; the GICS sector is the one among them that bears a GICS
name. Where there are two such names or none, or an outdated one, the reviewed table below decides.
"""

from __future__ import annotations

import csv
from pathlib import Path

from pytickersymbols import PyTickerSymbols

TARGET = Path(__file__).parent.parent / "autotrader" / "market" / "sp500.csv"

GICS = frozenset(
    {
        "Communication Services",
        "Consumer Discretionary",
        "Consumer Staples",
        "Energy",
        "Financials",
        "Health Care",
        "Industrials",
        "Information Technology",
        "Materials",
        "Real Estate",
        "Utilities",
    }
)

REVIEWED = {
    # reclassified since the package's source was written
    "APP": "Communication Services",
    "DD": "Industrials",
    # utilities whose business is also described as energy
    "AES": "Utilities",
    "ATO": "Utilities",
    "CEG": "Utilities",
    "CMS": "Utilities",
    "DUK": "Utilities",
    "ED": "Utilities",
    # real estate, which was part of the financials until 2016
    "DOC": "Real Estate",
    "EQIX": "Real Estate",
    "EQR": "Real Estate",
    "FRT": "Real Estate",
    "PSA": "Real Estate",
    # two taxonomies with a name in common
    "GEV": "Industrials",
    "GRMN": "Consumer Discretionary",
    "MCO": "Financials",
    "MSCI": "Financials",
    "STE": "Health Care",
}


def sector(symbol: str, industries: list[str]) -> str:
    if symbol in REVIEWED:
        return REVIEWED[symbol]
    named = GICS.intersection(industries)
    if len(named) != 1:
        raise SystemExit(f"{symbol}: {sorted(industries)} name {len(named)} GICS sectors; add it to the reviewed table")
    return next(iter(named))


def main() -> None:
    stocks = {stock["symbol"].replace("-", "."): stock for stock in PyTickerSymbols().get_stocks_by_index("S&P 500")}
    unused = REVIEWED.keys() - stocks.keys()
    if unused:
        raise SystemExit(f"no longer in the index, remove from the reviewed table: {sorted(unused)}")
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["symbol", "name", "sector"])
        for symbol, stock in sorted(stocks.items()):
            writer.writerow([symbol, stock["name"].strip(), sector(symbol, stock["industries"])])


if __name__ == "__main__":
    main()
