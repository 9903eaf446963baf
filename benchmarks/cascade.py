"""Speed and gains of the search over cascades: fused groups, contraction orders, attention and feed-forward blocks.

Run: python -m benchmarks.cascade [--quick] [--only TABLE ...]
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.cascade_cases import (
    EDP,
    FULL,
    PRESETS,
    QUICK,
    Sizes,
    Timed,
    attention,
    chain,
    dense,
    encoder,
    feed_forward,
    machine,
    tensor_train,
    timed,
    vector_unit_of,
    warm_up,
)
from benchmarks.mapper import table
from heat_sim.codesign.network_cost import NetworkCoster
from heat_sim.einsum import Cascade, Einsum
from heat_sim.mapper.cascade import MappedCascade
from heat_sim.mapper.layer import LayerResult, Machine
from heat_sim.tensorize.contraction import ContractionTree, mac_optimal_tree, tree_to_text

SAME = 1 + 1e-9
"""Two EDPs within this factor are the same."""

EFFORT = ("wall s", "CPU s", "plans", "searches", "optimum")


def effort(timing: Timed[object], plans: int) -> tuple[str, ...]:
    """Return the cells under `EFFORT`."""
    return (
        f"{timing.seconds:.3f}", f"{timing.cpu_seconds:.3f}", f"{plans:,}", f"{timing.searches:,}",
        "proven" if timing.proven else "no proof",
    )  # fmt: skip


def chains(sizes: Sizes) -> None:
    """Print two chained matmuls."""

    def rows() -> Iterable[Sequence[object]]:
        for preset in PRESETS:
            on = machine(preset)
            timing = timed(on, partial(on.map_cascade, chain(*sizes.chain), objective=EDP))
            found = timing.found
            yield (
                preset, "1", *effort(timing, found.plans), f"{found.unfused_value:.4g}", f"{found.value:.4g}",
                f"{found.unfused_value / found.value:.3f}", where(found.best),
            )  # fmt: skip

    table(
        f"Two chained matmuls, {'x'.join(map(str, sizes.chain))} (m, k, f, n), EDP in pJ cycles",
        ("accelerator", "target s", *EFFORT, "unfused EDP", "fused EDP", "unfused / fused", "groups"),
        rows(),
    )


def where(best: MappedCascade) -> str:
    """Return the groups as text: how many einsums each has, and its common loops."""
    groups = []
    for group in best.groups:
        loops = " ".join(f"{var}:{bound}" for var, bound in group.plan.loops)
        groups.append(f"{len(group.plan.einsums)}{f' ({loops})' if loops else ''}")
    return " + ".join(groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The contraction orders of one layer on one accelerator: every tree, and the one with the fewest ops.

    Attributes:
        every: Over all trees.
        fewest: Over what is left to choose with the MAC-optimal tree: steps ahead of time, fusion, mappings.
    """

    every: LayerResult
    fewest: LayerResult

    @property
    def fused_ratio(self) -> float:
        """EDP of the MAC-optimal tree over that of the EDP-optimal one, both as they run best."""
        return self.fewest.result.value / self.every.result.value

    @property
    def unfused_ratio(self) -> float:
        """The same where nothing is fused."""
        return self.fewest.result.unfused_value / self.every.result.unfused_value

    @property
    def whole_ratio(self) -> float:
        """EDP of the MAC-optimal tree without fusion over the best of all."""
        return self.fewest.result.unfused_value / self.every.result.value

    @property
    def tree(self) -> ContractionTree:
        """The EDP-optimal one."""
        tree = self.every.best.order.tree
        assert tree is not None
        return tree


def orders_of(layer: Einsum, on: Machine) -> Orders:
    """Return both searches; the second one finds most parts known."""
    return Orders(every=on.map_layer(layer, activations="X"), fewest=on.map_mac_optimal(layer, activations="X"))


def tensor_trains(sizes: Sizes) -> None:
    """Print a tensor-train layer against the dense one."""
    tokens, in_modes, out_modes = sizes.train
    features = f"{math.prod(in_modes)} -> {math.prod(out_modes)}"

    def rows() -> Iterable[Sequence[object]]:
        for preset in PRESETS:
            for rank in sizes.train_ranks:
                layer = tensor_train(tokens, in_modes, out_modes, rank)
                on, alone = machine(preset), machine(preset, fuse=False)
                timing = timed(on, partial(on.map_layer, layer, activations="X"))
                orders = Orders(every=timing.found, fewest=on.map_mac_optimal(layer, activations="X"))
                unfused = alone.map_layer(layer, activations="X")
                matrix = alone.map_cascade(Cascade(name="dense", einsums=(dense(layer),)), objective=EDP)
                result = orders.every.result
                proven = "proven" if on.parts.is_proven and alone.parts.is_proven else "no proof"
                yield (
                    preset, rank, "10", *effort(timing, result.plans)[:-1], proven, orders.every.orders,
                    *(f"{each:.4g}" for each in (matrix.value, result.unfused_value, result.value)),
                    f"{matrix.value / result.value:.2f}", _text(unfused), _text(orders.every),
                    tree_to_text(mac_optimal_tree(layer)), f"{orders.unfused_ratio:.4f}", f"{orders.fused_ratio:.4f}",
                )  # fmt: skip

    table(
        f"A tensor train of three cores, {features}, {tokens} tokens, every contraction tree; EDP in pJ cycles; *MAC / "
        "EDP*: EDP of the tree with the fewest multiply-accumulates over that of the best tree, unfused and fused",
        (
            "accelerator", "rank", "target s", *EFFORT, "orders", "dense EDP", "unfused EDP", "fused EDP",
            "dense / fused", "best tree unfused", "best tree fused", "MAC-optimal tree", "MAC / EDP unfused",
            "MAC / EDP fused",
        ),
        rows(),
    )  # fmt: skip


def _text(found: LayerResult) -> str:
    tree = found.best.order.tree
    assert tree is not None
    return tree_to_text(tree)


def contraction_orders(sizes: Sizes) -> None:
    """Print how often, and by how much, the MAC-optimal tree is not the EDP-optimal one."""
    cases: list[tuple[str, str, Orders, float]] = []

    def rows() -> Iterable[Sequence[object]]:
        for preset in PRESETS:
            for grid in sizes.grids:
                for rank in grid.ranks:
                    for tokens in sizes.grid_tokens:
                        layer = grid.layer(tokens, rank)
                        on = machine(preset)
                        timing = timed(on, partial(orders_of, layer, on))
                        orders = timing.found
                        cases.append((preset, grid.name, orders, timing.cpu_seconds))
                        result = orders.every.result
                        yield (
                            preset, grid.name, rank, tokens, *effort(timing, result.plans),
                            f"{result.unfused_value / result.value:.3f}", tree_to_text(orders.tree),
                            tree_to_text(mac_optimal_tree(layer)), f"{orders.unfused_ratio:.4f}",
                            f"{orders.fused_ratio:.4f}", f"{orders.whole_ratio:.3f}",
                        )  # fmt: skip

    table(
        "MAC-optimal against EDP-optimal trees, case by case; *MAC / EDP* as above, the last column: the MAC-optimal "
        "tree without fusion over the best of all",
        (
            "accelerator", "format", "rank", "tokens", *EFFORT, "unfused / fused", "EDP-optimal tree",
            "MAC-optimal tree", "MAC / EDP unfused", "MAC / EDP fused", "MAC unfused / EDP fused",
        ),
        rows(),
    )  # fmt: skip
    kinds = [(preset, grid.name) for preset in PRESETS for grid in sizes.grids]
    parts = [(*kind, [case for case in cases if case[:2] == kind]) for kind in kinds]
    table(
        "The same, summed up: in how many cases the MAC-optimal tree costs more than the EDP-optimal one, and the "
        "geometric mean and the largest of all EDP ratios",
        (
            "accelerator", "format", "cases", "CPU s", "unfused: costs more", "unfused: mean", "unfused: largest",
            "fused: costs more", "fused: mean", "fused: largest", "MAC unfused / EDP fused: mean", "largest",
        ),
        (summary(preset, name, some) for preset, name, some in [*parts, ("**all**", "", cases)]),
    )  # fmt: skip


def summary(preset: str, name: str, cases: Sequence[tuple[str, str, Orders, float]]) -> Sequence[object]:
    """Return the cells of some cases together."""
    cells: list[object] = [preset, name, len(cases), f"{sum(cpu for *_, cpu in cases):.1f}"]
    for pick in ("unfused_ratio", "fused_ratio"):
        ratios = [getattr(orders, pick) for _, _, orders, _ in cases]
        cells += [f"{sum(ratio > SAME for ratio in ratios) / len(ratios):.0%}", *_mean_and_most(ratios)]
    return [*cells, *_mean_and_most([orders.whole_ratio for _, _, orders, _ in cases])]


def _mean_and_most(ratios: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.geometric_mean(ratios):.3f}", f"{max(ratios):.3f}"


def blocks(sizes: Sizes) -> None:
    """Print attention and the feed-forward block, fused and not."""

    def rows() -> Iterable[Sequence[object]]:
        for preset in PRESETS:
            for tokens in sizes.tokens:
                softmax, online = (attention(tokens, sizes, softmax=name) for name in ("softmax", "online_softmax"))
                for name, cascades in (("attention", (softmax, online)), ("FFN", (feed_forward(tokens, sizes),))):
                    timings = [
                        timed(on, partial(on.map_cascade, cascade, objective=EDP))
                        for cascade in cascades
                        for on in [machine(preset)]
                    ]
                    unfused = timings[0].found.unfused
                    base = unfused.energy_pj * unfused.cycles
                    yield (
                        preset, tokens, name, "unfused", *[""] * (len(EFFORT) - 1), effort(timings[0], 0)[-1],
                        *_cost(unfused, base),
                    )  # fmt: skip
                    for timing, cascade in zip(timings, cascades, strict=True):
                        how = cascade.name.partition(", ")[2]
                        yield (
                            preset, tokens, name, f"fused{f', {how}' if how else ''}",
                            *effort(timing, timing.found.plans), *_cost(timing.found.best, base),
                        )  # fmt: skip

    units = "; ".join(
        f"{preset} {unit.energy_pj:g} pJ, {unit.operations_per_cycle:g} lanes"
        for preset in PRESETS
        for unit in [vector_unit_of(machine(preset).architecture)]
    )
    table(
        f"Attention ({sizes.heads} heads of {sizes.head_features} features) and feed-forward block ({sizes.hidden} -> "
        f"{4 * sizes.hidden} -> {sizes.hidden}, gelu); EDP in pJ cycles. Vector unit: a lane per column of the array, "
        f"an operation for the energy of a MAC ({units}). The row *unfused* comes from the search of the row after it",
        (
            "accelerator", "tokens", "block", "how", *EFFORT, "EDP", "unfused / this", "DRAM words",
            "energy uJ", "cycles", "groups",
        ),
        rows(),
    )  # fmt: skip


def _cost(best: MappedCascade, base: float) -> tuple[str, ...]:
    """Return EDP, words of the outermost level and the rest of a block."""
    words = sum(row.main_words for row in best.rows())
    return (
        f"{best.energy_pj * best.cycles:.4g}", f"{base / (best.energy_pj * best.cycles):.3f}", f"{words:,}",
        f"{best.energy_pj / 1e6:.2f}", f"{best.cycles:,}", where(best),
    )  # fmt: skip


def networks(sizes: Sizes) -> None:
    """Print whole encoders, one design of each kind, costed cold and once more."""
    designs = [("dense", False, 0.0), ("low-rank", False, 0.0), ("tt-matrix", True, 0.01)]
    if sizes is FULL:
        designs.append(("tt-matrix", False, 0.0))

    def rows() -> Iterable[Sequence[object]]:
        for preset in PRESETS if sizes is FULL else PRESETS[:1]:
            for name, merged, gap in designs:
                network, design = encoder(sizes, name)
                on = machine(preset, merged=merged, gap=gap)
                coster = NetworkCoster(machine=on)
                timing = timed(on, partial(coster.cost, network, design))
                warm = timed(on, partial(coster.cost, network, design))
                alone = NetworkCoster(machine=machine(preset, fuse=False, merged=merged)).cost(network, design)
                cost = timing.found
                proof = f"gap {gap:.0%}" if gap and timing.proven else "proven" if timing.proven else "no proof"
                yield (
                    preset, f"{name}{', merged' if merged else ''}", f"{timing.seconds:.2f}",
                    f"{timing.cpu_seconds:.2f}", f"{1000 * warm.seconds:.2f}", f"{timing.searches:,}", proof,
                    f"{alone.edp_pj_cycles:.4g}", f"{cost.edp_pj_cycles:.4g}",
                    f"{alone.edp_pj_cycles / cost.edp_pj_cycles:.3f}",
                )  # fmt: skip

    table(
        f"Whole encoders of BERT-base's shape, {sizes.tokens[0]} tokens, softmax and gelu on the vector unit of the "
        "table above: one design point cold (every matrix over all contraction orders, fused), and again when known; "
        "low-rank of a sixth of the features, tensor-trains of three cores of rank 8",
        (
            "accelerator", "design", "cold: wall s", "cold: CPU s", "warm: ms", "searches", "optimum", "unfused EDP",
            "fused EDP", "unfused / fused",
        ),
        rows(),
    )  # fmt: skip


TABLES: dict[str, Callable[[Sizes], None]] = {
    "chains": chains, "tensor-trains": tensor_trains, "orders": contraction_orders, "blocks": blocks,
    "networks": networks,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cascade", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all of it runs")
    parser.add_argument("--only", nargs="+", choices=tuple(TABLES), default=None, help="print these tables only")
    options = parser.parse_args(arguments)
    print(f"Python {platform.python_version()}, {platform.machine()}, numpy {np.__version__}; one thread", flush=True)
    warm_up()
    for name in options.only or TABLES:
        TABLES[name](QUICK if options.quick else FULL)


if __name__ == "__main__":
    main()
