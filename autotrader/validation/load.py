"""From a configuration folder to everything that runs by it, or to all its problems at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from autotrader.core.rulebook import Rulebook
from autotrader.plugins import registry
from autotrader.rules.document import Document, DocumentError
from autotrader.rules.problems import Problem, suggest
from autotrader.settings import Settings, StrategyParams, SystemSettings, config_hash
from autotrader.validation.blackouts import read_blackouts
from autotrader.validation.checks import check
from autotrader.validation.context import Checked, words
from autotrader.validation.structure import build, check_structure, read_document, read_text

if TYPE_CHECKING:
    from autotrader.core.strategy import Strategy
    from autotrader.core.types import Blackout

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
    paths += [path for name in (SYSTEM_FILE, BLACKOUTS_FILE) if os.path.lexists(path := folder / name)]
    return load_files(paths)


def load_files(paths: Sequence[Path]) -> Loaded:
    """The same for named files: default.yaml is the system's, *.csv are blackouts, any other the strategies'."""
    reading = _Reading()
    checked: Checked | None = None
    system: SystemSettings | None = None
    blackouts: tuple[Blackout, ...] = ()
    for path in dict.fromkeys(paths):
        if path.suffix == ".csv":
            blackouts += reading.blackouts(path)
        elif path.name == SYSTEM_FILE:
            system = reading.system(path) or system
        else:
            checked = reading.params(path)
    problems = tuple(sorted(reading.problems))
    configuration = None
    if checked is not None and not any(problem.severity == "error" for problem in problems):
        params = checked.rulebook.params
        settings = Settings(params, system or SystemSettings(), config_hash(params, checked.versions))
        configuration = Configuration(settings, checked.rulebook, blackouts, checked.plugin_classes)
    return Loaded(configuration, problems, reading.sources)


class _Reading:
    """Reads files and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.sources: dict[str, str] = {}

    def params(self, path: Path) -> Checked | None:
        """What the checks found out about the strategies' parameters; None where the file has errors."""
        document, problems, mended = self._document(path)
        if document is None:
            self.problems += problems
            return None
        built = build(StrategyParams, document)
        if not problems and not isinstance(built, list):
            checked = check(built, document)
            self.problems += checked.problems
            return checked
        problems += _form(StrategyParams, document, built, problems, mended)
        from autotrader.validation.salvage import salvage

        # Something is wrong with the form: whatever else is wrong is told all the same.
        salvaged = salvage(StrategyParams, document.data, _packaged_params())
        if salvaged is not None:
            found = check(salvaged.params, document, replace(salvaged, read=self._read_on(path, mended))).problems
            problems += _further(problems, found, mended)
        self.problems += problems
        return None

    def system(self, path: Path) -> SystemSettings | None:
        """The system's settings; None where the file has errors."""
        document, problems, mended = self._document(path)
        if document is not None:
            built = build(SystemSettings, document)
            if not problems and isinstance(built, SystemSettings):
                self._check_plugins(built, document)
                return built
            from autotrader.validation.salvage import salvage

            problems += _form(SystemSettings, document, built, problems, mended)
            salvaged = salvage(SystemSettings, document.data, {})
            if salvaged is not None:
                self._check_plugins(salvaged.params, document)
        self.problems += problems
        return None

    def blackouts(self, path: Path) -> tuple[Blackout, ...]:
        """The rows of blackouts.csv: symbol, from, to, reason."""
        try:
            text = read_text(path)
        except DocumentError as error:
            self.sources[str(path)] = error.text
            self.problems += error.problems
            return ()
        self.sources[str(path)] = text
        found, problems = read_blackouts(text, str(path))
        self.problems += problems
        return found

    def _read_on(self, path: Path, lines: frozenset[int]) -> frozenset[str]:
        """The words of some lines, from 1, as they were written."""
        source = self.sources[str(path)].split("\n")
        return frozenset(words([source[line - 1] for line in lines]))

    def _document(self, path: Path) -> tuple[Document | None, list[Problem], frozenset[int]]:
        """The document as far as it can be read, its problems, and the lines with stand-ins."""
        try:
            document = read_document(path)
        except DocumentError as error:
            self.sources[str(path)] = error.text
            return error.document, list(error.problems), error.mended
        self.sources[str(path)] = document.text
        return document, [], frozenset()

    def _check_plugins(self, system: SystemSettings, document: Document) -> None:
        for kind, name, installed in (
            ("feed", system.feed.name, registry.feeds),
            ("broker", system.broker.name, registry.brokers),
        ):
            try:
                known = installed()
            except registry.PluginError as error:
                self.problems.append(document.problem((kind, "name"), "failing-plugin", str(error)))
                continue
            if name not in known and known:
                near = suggest(name, known)
                hint = f'did you mean "{near}"?' if near else f"installed: {', '.join(known)}"
                message = f'there is no {kind} plugin "{name}"; {hint}'
                self.problems.append(document.problem((kind, "name"), "unknown-plugin", message))


def _form(
    model: type[BaseModel],
    document: Document,
    built: BaseModel | list[Problem],
    problems: list[Problem],
    mended: frozenset[int],
) -> list[Problem]:
    """What is wrong with the form. The schema says it better than the model, but is slower to ask."""
    from autotrader.validation.json_schema import STRATEGY_PARAMS, SYSTEM, structure_schema

    schema = structure_schema(STRATEGY_PARAMS if model is StrategyParams else SYSTEM)
    found = check_structure(document, schema) or (built if isinstance(built, list) else [])
    return _further(problems, found, mended)


def _further(problems: list[Problem], found: list[Problem], mended: frozenset[int]) -> list[Problem]:
    """What is found beyond the earlier problems: elsewhere, and not about what stands in for a broken value."""
    places = {(problem.line, problem.column) for problem in problems}
    return [each for each in found if each.line not in mended and (each.line, each.column) not in places]


@cache
def _packaged_params() -> dict[str, Any]:
    """What stands in for broken parts. In a checkout it may be the very file that is broken: then nothing does."""
    try:
        return read_document(PACKAGED_CONFIG / PARAMS_FILE).data
    except DocumentError:
        return {}
