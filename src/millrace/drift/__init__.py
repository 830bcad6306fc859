"""Did the distribution move: statistics, decisions, reports."""
