"""One row at a time: a suite compiled to a function, for requests and streams."""
