"""`python -m pnasnet`: the command line."""

from .cli import main

main(prog_name="pnasnet")
