"""Pure trading functions and values: no I/O, no clock, no randomness."""
