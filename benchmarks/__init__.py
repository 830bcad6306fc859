"""How fast Millrace is, as ratios against raw limits and named peers, each measured in one run.

    python -m benchmarks [NAME ...] [--json]

Compare ratios, not milliseconds: both sides of a ratio were measured in turns, under the same load.
"""
