"""What a search shows: figures of the front it is told, at the bound that was asked for."""

from __future__ import annotations

from heat_sim.cli.live import Live
from heat_sim.codesign.aims import Aims, parse_constraints
from heat_sim.codesign.strategy import Generation

FRONT = ((0.5, 0.1), (0.25, 0.3), (1.0, 0.0))
"""(EDP over dense, loss)."""


def shown(aims: Aims, front=FRONT) -> str:
    notes = []
    live = Live(aims=aims, tick=lambda done, note: notes.append((done, note)))
    live(Generation(index=3, evaluations=60, front=front))
    assert live.rate > 0
    ((done, note),) = notes
    assert done == 3
    return note


def test_hypervolume_and_the_gain_at_the_bound() -> None:
    # towards (1, 1): (1 - .25) * (1 - .3) + (1 - .5) * (.3 - .1)
    assert shown(Aims()).startswith("60 designs, front 3, hypervolume 0.625, EDP gain 2.0x at loss 0.2, ")
    bounded = Aims(constraints=parse_constraints(["loss <= 0.3"]))
    assert "EDP gain 4.0x at loss 0.3" in shown(bounded)


def test_other_objectives_show_what_they_have() -> None:
    assert "EDP gain to 4.0x" in shown(Aims(objectives=("edp", "parameters")))
    assert shown(Aims(objectives=("energy", "cycles"))).startswith("60 designs, front 3, ")
    assert "EDP gain 1.0x" in shown(Aims(), front=())
