"""What a batch looks like, and the suite that follows from it."""
