"""What every test shares: one thread per worker, plots without a screen, and the hypothesis profiles."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Set before numpy, torch and matplotlib are imported: the workers of pytest-xdist already use every core.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["MPLBACKEND"] = "Agg"

# The same examples on every machine and in every run, so that a red test is red for everybody.
settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
# New examples each time: HYPOTHESIS_PROFILE=explore make test
settings.register_profile("explore", parent=settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
