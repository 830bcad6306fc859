"""Is it still good: windows, late labels, triggers, alerts."""
