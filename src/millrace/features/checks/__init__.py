"""Whether serving and training say the same, bit for bit."""
