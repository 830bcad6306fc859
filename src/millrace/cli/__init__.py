"""The command line: one module per noun. A command holds no logic."""
