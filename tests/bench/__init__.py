"""Benchmarks: ours against peers and against the floor, always in one run; see ``python -m tests.bench --help``."""
