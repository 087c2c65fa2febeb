"""The command `pnasnet`: each command parses, calls one public function and prints; docs/commands.md describes them."""

from .app import main

__all__ = ["main"]
