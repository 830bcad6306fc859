"""`python -m millrace` is `millrace`."""

import sys

from millrace.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
