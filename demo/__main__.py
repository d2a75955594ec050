"""Runs the demo: `python -m demo`."""

import sys

from demo.program import main

sys.exit(main(sys.argv[1:]))
