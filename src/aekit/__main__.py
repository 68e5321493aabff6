"""Run the command line as ``python -m aekit``."""

from aekit.cli import main

main()
