"""One vendor per file, found by entry-point name and imported late."""
