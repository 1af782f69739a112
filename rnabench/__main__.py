"""`python -m rnabench`."""

from rnabench.cli.main import main

main()
