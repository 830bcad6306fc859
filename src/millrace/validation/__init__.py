"""Is this batch fit to use: expectation suites and their results."""
