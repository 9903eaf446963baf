"""Names of the strategies, for a command line that does not import pymoo to print its help."""

EVOLUTIONARY = ("nsga2", "nsga3", "age-moea", "sms-emoa")
"""Multi-objective algorithms of pymoo."""
BASELINES = ("heat", "uniform", "tensorly", "random")
"""HEAT's own procedure, and what does not search."""
