"""For your own tests: a conformance suite for each port, and stores that live in memory."""
