"""A batch of mappings gives what each mapping gives alone (docs/model.md, rule 11)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from heat_sim.errors import HeatError, InfeasibleError, MappingError
from heat_sim.model import MappingBatch, batch_of, evaluate, evaluate_batch
from heat_sim.testing import random_mapping
from tests.properties.nests import Case, nests


def without_networks(case: Case) -> Case:
    levels = tuple(replace(level, hop_energy_pj=0.0, router_energy_pj=0.0) for level in case.architecture.levels)
    return case._replace(architecture=replace(case.architecture, levels=levels))


@given(nests())
@settings(max_examples=200)
def test_a_batch_gives_what_each_mapping_gives_alone(case: Case) -> None:
    case = without_networks(case)
    rng = np.random.default_rng(0)
    others = [random_mapping(rng, einsum=case.einsum, architecture=case.architecture) for _ in range(3)]
    mappings = [case.mapping, *others]
    result = evaluate_batch(case.einsum, case.architecture, batch_of(case.einsum, mappings))
    for number, mapping in enumerate(mappings):
        report = evaluate(case.einsum, case.architecture, mapping, link_transfers=False)
        assert result.valid[number]
        assert result.cycles[number] == report.cycles
        assert result.energy_pj[number] == pytest.approx(report.energy_pj, rel=1e-12)


@given(nests())
@settings(max_examples=100)
def test_what_one_refuses_the_batch_marks_invalid(case: Case) -> None:
    """A bound too many, a mesh too small, a level too small, a tensor nowhere kept."""
    case = without_networks(case)
    batch = batch_of(case.einsum, [case.mapping])
    spoiled = {
        "loop_bound": batch.loop_bound * 2,
        "mesh_x": batch.mesh_x * 64,
        "keep": batch.keep & False,
    }
    for field, array in spoiled.items():
        result = evaluate_batch(case.einsum, case.architecture, replace(batch, **{field: array}))
        assert not result.valid[0]
        assert np.isnan(result.energy_pj[0])
    small = replace(
        case.architecture,
        levels=tuple(
            replace(level, capacity_words=None if level.is_virtual else 1) for level in case.architecture.levels
        ),
    )
    try:
        evaluate(case.einsum, small, case.mapping)
        fits = True
    except InfeasibleError:
        fits = False
    assert bool(evaluate_batch(case.einsum, small, batch).valid[0]) == fits


def test_an_empty_batch_is_refused_and_networks_that_cost_are_too() -> None:
    case = Case(*_first())
    with pytest.raises(MappingError, match="no mapping"):
        batch_of(case.einsum, [])
    levels = (replace(case.architecture.levels[0], hop_energy_pj=1.0), *case.architecture.levels[1:])
    with pytest.raises(HeatError, match="networks cost energy"):
        evaluate_batch(case.einsum, replace(case.architecture, levels=levels), batch_of(case.einsum, [case.mapping]))


def _first() -> Case:
    from heat_sim.testing import random_architecture, random_einsum

    rng = np.random.default_rng(1)
    einsum, architecture = random_einsum(rng, kind="matmul"), random_architecture(rng)
    return Case(einsum, architecture, random_mapping(rng, einsum=einsum, architecture=architecture))


def test_a_batch_has_a_length() -> None:
    case = _first()
    assert isinstance(batch_of(case.einsum, [case.mapping] * 3), MappingBatch)
    assert len(batch_of(case.einsum, [case.mapping] * 3)) == 3
