"""From a configuration folder to everything that runs by it, or to all its problems at once."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from autotrader.core.rulebook import Rulebook, build_rulebook
from autotrader.core.strategy import Strategy
from autotrader.core.types import Blackout
from autotrader.plugins import registry
from autotrader.rules.document import Document, DocumentError
from autotrader.rules.problems import Problem
from autotrader.settings import Settings, StrategyParams, SystemSettings, config_hash
from autotrader.validation.checks import Checked, check
from autotrader.validation.salvage import salvage
from autotrader.validation.json_schema import STRATEGY_PARAMS, SYSTEM, structure_schema
from autotrader.validation.structure import build, check_structure, read_document, without_repeats

_PACKAGE = Path(__file__).parents[1]
# One copy in the source tree, packaged beside the code when installed.
PACKAGED_CONFIG = next(p for p in (_PACKAGE / "default_config", _PACKAGE.parent / "config") if p.is_dir())
PARAMS_FILE, SYSTEM_FILE, BLACKOUTS_FILE = "strategy_params.yaml", "default.yaml", "blackouts.csv"


@dataclass(frozen=True, eq=False)
class Configuration:
    """A sound configuration: settings, compiled rules, blackouts.

    plugin_classes: strategy name -> its plugin's class, for the enabled ones.
    """

    settings: Settings
    rulebook: Rulebook
    blackouts: tuple[Blackout, ...]
    plugin_classes: Mapping[str, type[Strategy]]

    @property
    def enabled(self) -> tuple[str, ...]:
        """The strategies that give signals, in the order of the file."""
        return tuple(self.plugin_classes)

    def strategies(self) -> dict[str, Strategy]:
        """The enabled strategies, ready to be asked."""
        declared = self.settings.params.strategies
        return {
            name: plugin(plugin.Params.model_validate(declared[name].signal))
            for name, plugin in self.plugin_classes.items()
        }


@dataclass(frozen=True, eq=False)
class Loaded:
    """What loading gave. configuration: None where there is an error. sources: file -> text, for showing problems."""

    configuration: Configuration | None
    problems: tuple[Problem, ...]
    sources: Mapping[str, str]

    @cached_property
    def unreadable(self) -> bool:
        return any(problem.code == "unreadable" for problem in self.problems)

    def exit_code(self, *, strict: bool = False) -> int:
        """0 clean, 1 problems, 2 unreadable. strict: warnings are problems too."""
        if self.unreadable:
            return 2
        bad = [problem for problem in self.problems if strict or problem.severity == "error"]
        return 1 if bad else 0


def load_configuration(folder: Path) -> Loaded:
    """Reads, checks and compiles the files of a folder. The parameters are required, the others have defaults."""
    paths = [folder / PARAMS_FILE]
    paths += [path for name in (SYSTEM_FILE, BLACKOUTS_FILE) if (path := folder / name).exists()]
    return load_files(paths)


def load_files(paths: Sequence[Path]) -> Loaded:
    """The same for named files: default.yaml is the system's, *.csv are blackouts, any other the strategies'."""
    reading = _Reading()
    params: StrategyParams | None = None
    checked: Checked | None = None
    system = SystemSettings()
    blackouts: tuple[Blackout, ...] = ()
    for path in paths:
        if path.suffix == ".csv":
            blackouts += reading.blackouts(path)
        elif path.name == SYSTEM_FILE:
            system = reading.system(path) or system
        else:
            params, checked = reading.params(path)
    problems = tuple(sorted(reading.problems))
    configuration = None
    if params is not None and checked is not None and not any(p.severity == "error" for p in problems):
        settings = Settings(params, system, config_hash(params, checked.versions))
        configuration = Configuration(settings, build_rulebook(params), blackouts, checked.plugin_classes)
    return Loaded(configuration, problems, reading.sources)


class _Reading:
    """Reads files and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.sources: dict[str, str] = {}

    def params(self, path: Path) -> tuple[StrategyParams | None, Checked | None]:
        """The strategies' parameters where their structure is sound, and what the checks found out."""
        document, problems = self._document(path)
        if document is None:
            self.problems += problems
            return None, None
        problems = without_repeats(problems + check_structure(document, structure_schema(STRATEGY_PARAMS)))
        sound: StrategyParams | None = None
        if not problems:
            built = build(StrategyParams, document)
            if isinstance(built, list):
                problems = built
            else:
                sound = built
        if sound is not None:
            checked = check(sound, document, lambda at: at)
            self.problems += checked.problems
            return sound, checked
        fallback = read_document(PACKAGED_CONFIG / PARAMS_FILE).data
        salvaged = salvage(StrategyParams, document.data, fallback)
        if salvaged is not None:
            mended, origin = salvaged
            found = check(mended, document, origin).problems
            problems = without_repeats(problems + [problem for problem in found if problem.severity == "error"])
        self.problems += problems
        return None, None

    def system(self, path: Path) -> SystemSettings | None:
        document, problems = self._document(path)
        if document is not None:
            problems = without_repeats(problems + check_structure(document, structure_schema(SYSTEM)))
            if not problems:
                built = build(SystemSettings, document)
                if isinstance(built, SystemSettings):
                    self._check_plugins(built, document)
                    return built
                problems = built
        self.problems += problems
        return None

    def blackouts(self, path: Path) -> tuple[Blackout, ...]:
        """The rows of blackouts.csv: symbol, from, to, reason."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            self.problems.append(Problem(str(path), 1, 1, "unreadable", f"cannot be read: {reason}"))
            return ()
        self.sources[str(path)] = text
        rows = list(csv.reader(text.splitlines()))
        if not rows or [name.strip() for name in rows[0]] != ["symbol", "from", "to", "reason"]:
            message = "the first line must be symbol,from,to,reason"
            self.problems.append(Problem(str(path), 1, 1, "blackouts", message))
            return ()
        found = []
        for line, row in enumerate(rows[1:], start=2):
            if not any(cell.strip() for cell in row):
                continue
            try:
                symbol, first, last, reason = (cell.strip() for cell in row)
                item = Blackout(symbol, date.fromisoformat(first), date.fromisoformat(last), reason)
            except ValueError:
                message = "expected symbol,from,to,reason with dates like 2026-01-31"
                self.problems.append(Problem(str(path), line, 1, "blackouts", message))
                continue
            if not item.symbol or item.first > item.last:
                message = "the symbol is empty" if not item.symbol else f"{item.first} is after {item.last}"
                self.problems.append(Problem(str(path), line, 1, "blackouts", message))
                continue
            found.append(item)
        return tuple(found)

    def _document(self, path: Path) -> tuple[Document | None, list[Problem]]:
        try:
            document = read_document(path)
        except DocumentError as error:
            self.sources[str(path)] = error.text
            return error.document, list(error.problems)
        self.sources[str(path)] = document.text
        return document, []

    def _check_plugins(self, system: SystemSettings, document: Document) -> None:
        for kind, name, known in (
            ("feed", system.feed.name, registry.feeds()),
            ("broker", system.broker.name, registry.brokers()),
        ):
            if name not in known and known:
                message = f'there is no {kind} plugin "{name}"; installed: {", ".join(known)}'
                self.problems.append(document.problem((kind, "name"), "unknown-plugin", message))
