"""The packaged list of symbols, and lists of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotrader.market.universe import Member, UniverseError, load_universe

GICS = {
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


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "universe.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_packaged_universe_is_the_index_with_eleven_sectors() -> None:
    members = load_universe()
    assert 495 <= len(members) <= 510
    assert {member.sector for member in members} == GICS
    assert [member.symbol for member in members] == sorted({member.symbol for member in members})
    assert {"BRK.B", "BF.B", "AAPL"} <= {member.symbol for member in members}
    assert all(member.name for member in members)


def test_sectors_agree_with_the_constituents_of_2026(real_data: Path) -> None:
    ours = {member.symbol: member.sector for member in load_universe()}
    theirs = {member.symbol: member.sector for member in load_universe(real_data / "sp500_constituents_2026.csv")}
    different = {symbol: (ours[symbol], theirs[symbol]) for symbol in ours.keys() & theirs.keys()}
    assert {symbol: pair for symbol, pair in different.items() if pair[0] != pair[1]} == {}
    gone, new = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    assert len(gone) + len(new) <= 30, f"the packaged list lags: no longer members {gone}, not yet listed {new}"


def test_a_list_of_ones_own_is_sorted_and_further_columns_are_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeffname,symbol,weight,sector\n"Beta, Inc.",B,1,Tech\nAlpha, A ,2,Energy\n')
    assert load_universe(path) == (Member("A", "Alpha", "Energy"), Member("B", "Beta, Inc.", "Tech"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column symbol, name, sector is missing; it is empty"),
        ("symbol,name\nA,Alpha\n", "column sector is missing; it has symbol, name"),
        ("symbol,name,sector\n", "holds no symbol"),
        ("symbol,name,sector\nA,Alpha,Energy\nA,Again,Energy\n", "csv:3: symbol A stands there twice"),
        ("symbol,name,sector\n,Alpha,Energy\n", "csv:2: symbol is empty"),
        ("symbol,name,sector\nA,Alpha\n", "csv:2: sector is empty"),
        (b"symbol,name,sector\nA,\xff\xfe,Energy\n", "cannot be read as CSV"),
        ("symbol,name,sector\nA,Alpha,\x1b[31mEnergy\n", "csv:2: holds an invisible character"),
    ],
)
def test_a_list_that_cannot_be_used_says_where(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UniverseError) as caught:
        load_universe(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UniverseError, match=r"none\.csv: cannot be read"):
        load_universe(tmp_path / "none.csv")
    with pytest.raises(UniverseError, match="cannot be read"):
        load_universe(tmp_path)
