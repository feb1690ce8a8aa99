"""A declarative rules engine that trades: every decision is a rule set in YAML, judged by one engine."""
