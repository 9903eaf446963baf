"""Print the tables of docs/validation.md: AccelForge's figures beside ours.

Run: python -m tests.published.accelforge.table
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from tests.published.accelforge.cases import CHAINS, HERTZ, JOULE, MATMULS, Chain, mappings_of
from tests.published.accelforge.rules import RULES, figures_of
from tests.published.accelforge.search import Cost, plain, under_its_rules

HEADERS = (
    ("matmuls", "published", "its mappings, its rules", "map_cascade, its rules", "map_cascade", "EDP / published"),
    ("matmuls", "its mappings, our rules", "+ drain", "+ unicast", "+ time", "map_cascade: EDP / that of its mappings"),
)


def markdown(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def rows(chain: Chain) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """Yield a row of each table for the chain unfused, then fused."""
    count, extent = MATMULS[chain.workload]
    result = plain(chain)
    for fused, best in ((False, result.unfused), (True, result.best)):
        published = Cost(*(chain.published(fused=fused)[key] for key in ("energy", "latency")))
        ours = Cost(best.energy_pj * JOULE[chain.design], best.cycles / HERTZ[chain.design])
        steps = [_theirs(chain, fused=fused, rules=RULES[:number]) for number in range(len(RULES) + 1)]
        name = f"{chain.design}, {count} of {extent}^3, {'fused' if fused else 'unfused'}"
        costs = (published, steps[-1], under_its_rules(chain)[fused], ours)
        yield (
            (name, *(_text(chain, cost) for cost in costs), f"{ours.edp / published.edp:.4f}"),
            (name, *(_text(chain, cost) for cost in steps), f"{ours.edp / steps[0].edp:.4f}"),
        )


def _theirs(chain: Chain, *, fused: bool, rules: Sequence[str]) -> Cost:
    """Return what AccelForge's mappings cost by our model and some of its rules."""
    figures = [figures_of(chain.design, *each, rules=rules) for each in mappings_of(chain, fused=fused)]
    return Cost(sum(each.energy for each in figures), sum(each.latency for each in figures))


def _text(chain: Chain, cost: Cost) -> str:
    if chain.design == "simple":
        return f"{cost.energy:,.0f}; {cost.latency:,.0f}"
    return f"{cost.energy * 1e6:#.6g}; {cost.latency * 1e6:#.7g}"


def main() -> None:
    """Print both tables."""
    found = [row for chain in CHAINS for row in rows(chain)]
    for header, body in zip(HEADERS, zip(*found, strict=True), strict=True):
        lines = [markdown(header), f"|---|{'---:|' * (len(header) - 1)}", *map(markdown, body)]
        sys.stdout.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
