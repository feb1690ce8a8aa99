"""A generic rule engine: rule sets in YAML over declared facts, judged with evidence. Knows nothing of trading."""
