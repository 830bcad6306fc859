"""Features as of the past: the as-of join, exact windows, more rows than memory holds."""
