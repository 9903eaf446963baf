"""What a folder's `config.json` says of the factorised matrices: all that is needed to run them, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from heat_sim.distill.embedding import FactorizedEmbedding
from heat_sim.distill.joint import JointMember, JointProduct
from heat_sim.distill.layers import FactorizedLinear
from heat_sim.errors import SpecError, describe


def matrix_entries(student: nn.Module) -> list[dict[str, Any]]:
    """Return one entry per factorised matrix, or per matrices that share cores, in the order of the modules.

    Each has `modules` (paths in the model), `format`, `ranks`, `out_modes`, `in_modes`, `padding`, `out_features` and
    `in_features`, `cores` (name and shape), `terms` (the einsums of each, in order), `one_input` (whether the modules
    are the rows of one product) and `lent` (cores that the first module lends the others). With one input, modes and
    cores are those of all modules together; otherwise of each one.

    Args:
        student: As `factorize` returns it.

    Raises:
        SpecError: An embedding is factorised, or nothing is.

    >>> import torch
    >>> from heat_sim.tensorize import Factorization, LayerDesign, Tensorization
    >>> shape = Tensorization(out_modes=(4,), in_modes=(6,))
    >>> design = LayerDesign(factorization=Factorization(format="low-rank", tensorization=shape, ranks=(2,)),
    ...                      trees=((("X", "G2"), "G1"),))
    >>> layer = FactorizedLinear(design, cores=[torch.ones(4, 2), torch.ones(2, 6)], bias=None)
    >>> (entry,) = matrix_entries(nn.Sequential(layer))
    >>> entry["modules"], entry["cores"], entry["terms"][0][0]
    (['0'], [['G1', [4, 2]], ['G2', [2, 6]]], {'equation': 'ab,cb->ac', 'inputs': ['X', 'G2'], 'output': 'T1'})
    """
    shared: dict[FactorizedLinear, dict[str, nn.Module]] = {}  # by the module that holds the shared cores
    for path, module in student.named_modules():
        if isinstance(module, FactorizedEmbedding):
            raise SpecError(
                describe(f"export, {path}", "cannot be written", got="a factorised embedding", expected="a dense one",
                         remedy="Export the student before its embeddings are compressed, or its dense form.")
            )  # fmt: skip
        if isinstance(module, JointMember):
            shared.setdefault(module.product, {})[path] = module
        elif isinstance(module, FactorizedLinear) and not isinstance(module, JointProduct):
            shared.setdefault(module.lender or module, {})[path] = module
    if not shared:
        raise SpecError(
            describe("export", "nothing is factorised", got=type(student).__name__, expected="a student",
                     remedy="Save a dense model with its own save_pretrained.")
        )  # fmt: skip
    return [_entry(holder, modules) for holder, modules in shared.items()]


def _entry(holder: FactorizedLinear, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    factorization = holder.design.factorization
    modes = factorization.tensorization
    borrowed = {
        name
        for module in modules.values()
        if isinstance(module, FactorizedLinear) and module.lender is not None
        for name in module.lender.cores
        if name not in module.cores
    }

    def place(path: str) -> int:
        """Return the row block of a member of a product; of other modules the lender comes first."""
        module = modules[path]
        return module.place if isinstance(module, JointMember) else int(module is not holder)

    return {
        "modules": sorted(modules, key=place),
        "format": factorization.format,
        "ranks": [*factorization.ranks],
        "out_features": factorization.out_features,
        "in_features": factorization.in_features,
        "out_modes": [*modes.out_modes],
        "in_modes": [*modes.in_modes],
        "padding": [*modes.padding],
        "cores": [
            [name, [*shape]] for name, shape in zip(factorization.core_names, factorization.core_shapes, strict=True)
        ],
        "lent": [name for name in factorization.core_names if name in borrowed],
        "one_input": isinstance(holder, JointProduct),
        "terms": [
            [{"equation": step.equation, "inputs": [*step.inputs], "output": step.output} for step in steps]
            for steps in holder.terms
        ],
    }
