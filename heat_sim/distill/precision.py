"""The number format of the matrix products in training."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from heat_sim.distill.settings import Precision


def resolve_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """Return what `auto` means on this processor; other values are returned as they are.

    bfloat16 is chosen only where the processor has matrix units for it (AMX). With the vector instructions alone
    (AVX-512 BF16) small matrices are slower than in float32, emulated still more.

    >>> resolve_precision("float32")
    'float32'
    """
    if precision != "auto":
        return precision
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("amx_bf16") else "float32"


def mixed_precision(precision: Precision) -> AbstractContextManager[None]:
    """Return a context in which matrix products run in the given format; parameters and sums stay float32.

    >>> with mixed_precision("bfloat16"):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=resolve_precision(precision) == "bfloat16")
