"""The words everyone uses: records, errors, clock, ids. Standard library only, no I/O."""
