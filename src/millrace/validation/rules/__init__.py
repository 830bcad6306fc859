"""What the expectations ask, by the kind of rule."""
