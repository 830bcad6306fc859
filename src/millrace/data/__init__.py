"""Where rows come from, and exactly which rows: sources, snapshots, splits."""
