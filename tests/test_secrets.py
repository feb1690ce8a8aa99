"""Keys: where they may be kept, and that their values leave in no log, traceback, repr or file."""

from __future__ import annotations

import base64
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import canary
import pytest

from autotrader import logs
from autotrader.clock import NEW_YORK, VirtualClock
from autotrader.secrets import REDACTED, Credentials, Secrets, SecretsError, redact, remember
from autotrader.settings import Logging

pytest_plugins = ["pytester"]

TEN = datetime(2024, 3, 5, 10, tzinfo=NEW_YORK)
BOTH = {"APCA_API_KEY_ID": canary.KEY_ID, "APCA_API_SECRET_KEY": canary.SECRET}
ENV = f"APCA_API_KEY_ID={canary.KEY_ID}\nAPCA_API_SECRET_KEY='{canary.SECRET}'\n"


@pytest.fixture(autouse=True)
def _known() -> None:
    Credentials(canary.KEY_ID, canary.SECRET)


def write(home: Path, text: str = ENV, mode: int = 0o600) -> Path:
    (home / "config").mkdir(exist_ok=True)
    file = home / "config" / ".env"
    file.write_text(text)
    file.chmod(mode)
    return file


# --- where they come from ---------------------------------------------------------------------------------------------


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    write(tmp_path, "APCA_API_KEY_ID=another-key\nAPCA_API_SECRET_KEY=another-secret\n", mode=0o644)
    assert Secrets(tmp_path, BOTH).credentials() == Credentials(canary.KEY_ID, canary.SECRET)


def test_the_file_is_read_where_the_environment_has_none(tmp_path: Path) -> None:
    write(tmp_path)
    assert Secrets(tmp_path, {}).credentials() == Credentials(canary.KEY_ID, canary.SECRET)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    file = write(tmp_path, mode=mode)
    with pytest.raises(SecretsError, match=f"chmod 600 {file}"):
        Secrets(tmp_path, {}).credentials()
    with pytest.raises(SecretsError, match="chmod 600"):
        Secrets(tmp_path, {}).value("AUTOTRADER_ALERT_URLS")


def test_without_keys_it_is_said_where_to_put_them(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match=r"set APCA_API_KEY_ID and APCA_API_SECRET_KEY .*config/\.env"):
        Secrets(tmp_path, {}).credentials()


def test_one_key_without_the_other_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="the environment has APCA_API_KEY_ID but no APCA_API_SECRET_KEY"):
        Secrets(tmp_path, {"APCA_API_KEY_ID": canary.KEY_ID}).credentials()
    write(tmp_path, f"APCA_API_SECRET_KEY='{canary.SECRET}'\n")
    with pytest.raises(SecretsError, match="but no APCA_API_KEY_ID"):
        Secrets(tmp_path, {}).credentials()


def test_a_key_as_short_as_a_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="too short"):
        Secrets(tmp_path, {**BOTH, "APCA_API_KEY_ID": "key"}).credentials()


def test_nothing_in_the_file_is_put_into_the_environment_or_expanded(tmp_path: Path) -> None:
    write(tmp_path, "APCA_API_KEY_ID=${HOME}-and-more\nAPCA_API_SECRET_KEY=secret-of-twenty\nOTHER=1\n")
    assert Secrets(tmp_path, {}).credentials().key_id == "${HOME}-and-more"
    import os

    assert "OTHER" not in os.environ


def test_other_secrets_come_from_the_same_places_and_are_redacted_too(tmp_path: Path) -> None:
    write(tmp_path, "URLS='tgram://bot-token-1 mailto://user:pass@host'\n")
    assert Secrets(tmp_path, {"URLS": "json://elsewhere-1"}).value("URLS") == "json://elsewhere-1"
    assert Secrets(tmp_path, {}).value("URLS") == "tgram://bot-token-1 mailto://user:pass@host"
    assert Secrets(tmp_path, {}).value("NOTHING") is None
    assert redact("sent to mailto://user:pass@host") == f"sent to {REDACTED}"


# --- redaction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [canary.KEY_ID, canary.SECRET])
def test_a_value_is_redacted_in_every_form(value: str) -> None:
    forms = [value, quote(value, safe=""), json.dumps(value), repr(value), base64.b64encode(value.encode()).decode()]
    for form in forms:
        assert not canary.is_in(redact(f"before {form} after"))
    assert redact(f"before {value} after") == f"before {REDACTED} after"
    assert redact("nothing to hide") == "nothing to hide"


def test_credentials_show_nothing_of_themselves() -> None:
    credentials = Credentials(canary.KEY_ID, canary.SECRET)
    assert not canary.is_in(f"{credentials} {credentials!r} {[credentials]}")


def test_a_word_of_three_letters_is_no_secret() -> None:
    remember("abc")
    assert redact("abc") == "abc"


@pytest.fixture
def terminal() -> Iterator[io.StringIO]:
    """A handler as another library would set it up: nothing of ours in it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("somebody.else")
    logger.addHandler(handler)
    yield text
    logger.removeHandler(handler)


def test_what_any_library_logs_to_any_handler_is_redacted(terminal: io.StringIO) -> None:
    log = logging.getLogger("somebody.else")
    log.error("headers %s", {"APCA-API-SECRET-KEY": canary.SECRET})
    log.error("key %(key)s", {"key": canary.KEY_ID})
    log.error(canary.SECRET)
    log.error("one too many %s", canary.KEY_ID, canary.SECRET)  # noqa: PLE1205
    try:
        raise ValueError(f"cannot use {canary.SECRET}")
    except ValueError:
        log.exception("it failed")
    log.error("with its stack", stack_info=True)
    assert "it failed" in terminal.getvalue()
    assert "ValueError: cannot use [redacted]" in terminal.getvalue()
    assert not canary.is_in(terminal.getvalue())


def test_an_uncaught_error_is_printed_without_the_key() -> None:
    code = (
        "import threading\nfrom autotrader.secrets import Credentials\n"
        f"keys = Credentials({canary.KEY_ID!r}, {canary.SECRET!r})\n"
        "def fail():\n    raise ValueError(keys.key_id + keys.secret)\n"
        "thread = threading.Thread(target=fail)\nthread.start()\nthread.join()\nfail()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.count("ValueError: [redacted][redacted]") == 2
    assert not canary.is_in(ran.stderr)


# --- logs -------------------------------------------------------------------------------------------------------------


def lines(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for file in sorted(folder.iterdir()) for line in file.read_text().splitlines()]


def test_the_terminal_gets_readable_lines_and_the_file_json(tmp_path: Path) -> None:
    text = io.StringIO()
    with logs.set_up(Logging(), tmp_path, VirtualClock(TEN), text):
        logging.getLogger("autotrader.orders").warning("%s is late", "a fill")
        logging.getLogger("autotrader.orders").debug("not shown")
    assert text.getvalue() == "2024-03-05 10:00:00 warn  orders: a fill is late\n"
    assert lines(tmp_path) == [
        {"at": "2024-03-05T10:00:00.000-05:00", "level": "warning", "logger": "autotrader.orders",
         "message": "a fill is late"}
    ]  # fmt: skip
    logging.getLogger("autotrader.orders").warning("nobody listens any more")
    assert len(lines(tmp_path)) == 1


def test_for_machines_the_terminal_gets_json_too(tmp_path: Path) -> None:
    text = io.StringIO()
    with logs.set_up(Logging(json=True), None, VirtualClock(TEN), text):
        logging.getLogger("autotrader").info("one\ntwo")
    assert json.loads(text.getvalue())["message"] == "one\ntwo"


def test_logs_hold_no_key_whatever_is_logged(tmp_path: Path) -> None:
    text = io.StringIO()
    with logs.set_up(Logging(level="debug"), tmp_path, VirtualClock(TEN), text):
        log = logging.getLogger("autotrader")
        log.info("%r", {"secret": canary.SECRET})
        try:
            raise ValueError(canary.SECRET)
        except ValueError:
            log.exception("with %s", quote(canary.SECRET, safe=""))
    assert text.getvalue().count(REDACTED) == 3
    assert "ValueError: [redacted]" in lines(tmp_path)[1]["trace"]
    assert not canary.is_in(text.getvalue())
    assert not canary.files_with_keys(tmp_path)


def test_each_day_has_a_file_and_old_ones_go(tmp_path: Path) -> None:
    clock = VirtualClock(TEN)
    (tmp_path / "notes.txt").write_text("mine")
    with logs.set_up(Logging(keep_days=2), tmp_path, clock, io.StringIO()):
        for _ in range(5):
            logging.getLogger("autotrader").info("a day")
            clock.advance_to(clock.now() + timedelta(days=1))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["2024-03-07.jsonl", "2024-03-08.jsonl", "2024-03-09.jsonl", "notes.txt"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.jsonl")} == {0o600}


def test_a_day_begins_at_midnight_in_new_york(tmp_path: Path) -> None:
    clock = VirtualClock(datetime(2024, 3, 5, 23, 30, tzinfo=NEW_YORK))
    with logs.set_up(Logging(), tmp_path, clock, io.StringIO()):
        logging.getLogger("autotrader").info("late")
    assert [path.name for path in tmp_path.iterdir()] == ["2024-03-05.jsonl"]


def test_what_would_log_the_wire_stays_at_info(tmp_path: Path) -> None:
    text = io.StringIO()
    with logs.set_up(Logging(level="debug"), tmp_path, VirtualClock(TEN), text):
        for name in ("websockets.client", "urllib3.connectionpool", "asyncio"):
            logging.getLogger(name).debug("> GET /v2/account")
        logging.getLogger("autotrader").debug("shown")
    assert text.getvalue().count("\n") == 1


def test_threads_are_guarded_as_well() -> None:
    assert threading.excepthook is not threading.__excepthook__


# --- the guard of this suite ------------------------------------------------------------------------------------------


def test_a_test_that_writes_a_key_fails(pytester: pytest.Pytester) -> None:
    here = Path(__file__).parent
    pytester.makeconftest(f"import sys\nsys.path.insert(0, {str(here)!r})\nfrom conftest_of_all import *\n")
    (pytester.path / "conftest_of_all.py").write_text((here / "conftest.py").read_text())
    pytester.makepyfile(
        """
        import logging
        import canary

        def test_prints():
            print(canary.KEY_ID)

        def test_fails():
            assert canary.SECRET == ""

        def test_leaves_a_file(tmp_path):
            (tmp_path / "a.log").write_text("x" + canary.SECRET)

        def test_keeps_it_where_it_belongs(tmp_path):
            (tmp_path / ".env").write_text("x" + canary.SECRET)
        """
    )
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    ran.assert_outcomes(passed=2, failed=2, errors=1)
    assert not canary.is_in(ran.stdout.str())
