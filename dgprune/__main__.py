"""`python -m dgprune`."""

from dgprune.cli import main

main()
