"""Row conditions, in the forms that Great Expectations writes."""
