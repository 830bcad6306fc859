"""Change what production runs, and change it back: releases, smoke test, rollback."""
