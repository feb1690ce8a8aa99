"""Every code that a finding may have: stable, one line each, what it means."""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    # the file
    "unreadable": "The file cannot be opened: it is missing, a folder, or not permitted.",
    "too-large": "The file is far larger than any configuration.",
    "not-utf8": "The file is not UTF-8 text.",
    "control-character": "An invisible character stands in the text.",
    # YAML
    "empty-document": "The file holds nothing but comments.",
    "not-a-mapping": "The file does not begin with lines of `key: value`.",
    "several-documents": "A line `---` begins a second document.",
    "syntax": "The YAML, or an expression, cannot be read.",
    "tab": "A tab stands where YAML wants spaces.",
    "too-deep": "Lists and mappings are nested too deeply.",
    "needs-quotes": "YAML takes an unquoted text apart, or for something else.",
    "key-without-value": "Inside braces a key has no value, often for want of a space after its colon.",
    "key-not-text": "A key is a number, a flag, a list or a mapping.",
    "duplicate-key": "A mapping has the same key twice.",
    "anchor": "Anchors (&) and aliases (*) are not read.",
    "merge-key": "Merging with << is not read.",
    "tag": "A ! begins a tag in YAML; it is not `not`.",
    "ambiguous-time": "Some readers of YAML take an unquoted time for a number.",
    "ambiguous-date": "Some readers of YAML take an unquoted date for a date, others for text.",
    "ambiguous-word": "Some readers of YAML take on, off, yes, no, y and n for true and false.",
    "ambiguous-number": "Readers of YAML disagree about this number: octal, hexadecimal, with underscores, infinite.",
    "number-too-large": "A number beyond the largest that can be calculated with.",
    # the form
    "unknown-key": "A key that has no meaning here.",
    "missing-key": "A key that must be there is not.",
    "wrong-type": "A value of another type is expected.",
    "wrong-form": "A text, time or name is not written as it must be.",
    "not-allowed": "A value, or a piece of an expression, that is not allowed here.",
    "out-of-range": "A number is too large or too small to make sense.",
    "too-few": "A list or mapping has too few entries.",
    "too-many": "A list, mapping or text is too long.",
    "invalid": "A plugin refuses the value.",
    # expressions
    "empty-expression": "An expression is empty.",
    "expression-too-long": "An expression has too many characters.",
    "expression-too-deep": "An expression is nested too deeply.",
    "bad-word": "A word of an expression is written differently: AND, None, True.",
    "bad-character": "A character of an expression is not plain ASCII, such as a typographic quote.",
    "unknown-fact": "A name that this stage does not know: misspelt, or known at another stage.",
    "unknown-function": "There is no such function.",
    "wrong-arguments": "A function is given too few, too many or unfit arguments.",
    "wrong-kind": "A number stands where a condition is needed, or the other way round, or text with a number.",
    "unknown-value": "A fact is compared with a word that it can never be.",
    "always-true": "A number is compared with one that it is always beyond (warning).",
    "never-true": "A number is compared with one that it never reaches (warning).",
    "units": "A number is compared with one in another unit (warning).",
    # names
    "name-defined-twice": "A name means two things: a fact, a parameter, a strategy's value or an indicator.",
    "misspelt-name": "Nothing reads a declared name, but a name very much like it is asked for.",
    "duplicate-rule": "Two rules of a set have the same name.",
    "large-percent": "A value that by its name is a share is above 100%, or a ratio above 10 (warning).",
    "negative-value": "A share, a multiple or a limit by its name is below zero (warning).",
    "unused-parameter": "No rule reads a parameter or a strategy's value (warning).",
    # indicators and history
    "indicator-order": "An indicator reads itself, or one that is declared below it.",
    "missing-indicator": "An indicator that a strategy, the ranking or the sizing needs is not declared.",
    "short-history": "So few sessions are read that an indicator is never known.",
    "short-warmup": "Symbols with no more than min_bars bars are scanned without some indicators (warning).",
    "short-memory": "An indicator still depends on where the history begins (warning).",
    # plugins, strategies, weights
    "unknown-plugin": "There is no plugin of that name.",
    "failing-plugin": "A plugin does not load, or does not start with its parameters.",
    "unknown-strategy": "An entry group or a weight names a strategy that is not there.",
    "unknown-regime": "A row of weights is for a regime that no rule names.",
    "no-group": "An enabled strategy is in no entry group, so that it could never enter.",
    "two-groups": "A strategy is in two entry groups, or in one twice.",
    "weights-sum": "Weights do not add up to 1, or shares of equity to more than 1.",
    "missing-value": "A rule needs a value that a strategy does not have.",
    "hidden-stop": "A stop lies, often or always, behind another one, where it never decides (warning).",
    "unreachable-rule": "A rule stands below one that always decides: it is never asked.",
    "failing-exit": "An exit rule that fails on something often unknown stands before others (warning).",
    # times
    "time-order": "Two times of the day are in the wrong order.",
    "time-outside": "A time is outside the session.",
    "time-order-type": "A group's time does not fit its order type.",
    # blackouts.csv
    "blackouts": "A line of blackouts.csv is not a symbol, two dates and a reason.",
}
