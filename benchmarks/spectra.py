"""Spectra of pretrained matrices: the table that stand-ins for weights are made from (`heat_sim.codesign.stand_in`).

Run: python -m benchmarks.spectra
"""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load_file

from heat_sim.distill.sources import MINILM, fetch

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def main() -> None:
    """Print the singular values at these shares of their number, over their root mean square."""
    tensors = load_file(str(fetch(MINILM) / "model.safetensors"))
    weights = [value for name, value in tensors.items() if "encoder.layer" in name and value.ndim == 2]
    print("shares " + " ".join(f"{share:g}" for share in SHARES))
    for what, square in (("square", True), ("oblong", False)):
        rows = []
        for weight in weights:
            if (weight.shape[0] == weight.shape[1]) == square:
                values = np.linalg.svd(weight, compute_uv=False)
                values /= np.sqrt(np.mean(values**2))
                rows.append(np.interp(SHARES, np.linspace(0, 1, len(values)), values))
        for statistic in (np.min, np.median, np.max):
            found = " ".join(f"{value:.3f}" for value in statistic(np.array(rows), axis=0))
            print(f"{what}, {statistic.__name__} of {len(rows)}: {found}")


if __name__ == "__main__":
    main()
