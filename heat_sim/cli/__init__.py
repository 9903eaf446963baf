"""The `heat-sim` command."""

from heat_sim.cli.app import main

__all__ = ["main"]
