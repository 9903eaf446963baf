"""The random generators and the equality of reports."""

from __future__ import annotations

import numpy as np
import pytest

from heat_sim.errors import SpecError
from heat_sim.mapping import check_mapping
from heat_sim.testing import (
    EINSUMS,
    PLAIN_KINDS,
    EinsumKind,
    assert_same_counts,
    random_architecture,
    random_einsum,
    random_mapping,
)


@pytest.mark.parametrize("kind", EINSUMS)
def test_einsums_are_what_their_kind_says_and_within_their_ops(kind: EinsumKind) -> None:
    for seed in range(20):
        einsum = random_einsum(np.random.default_rng(seed), kind=kind, max_ops=64)
        assert einsum.ops <= 64
        assert all(tensor.is_plain for tensor in einsum.tensors) == (kind in PLAIN_KINDS)


def test_same_seed_same_nest() -> None:
    def draw(seed: int) -> object:
        rng = np.random.default_rng(seed)
        einsum, architecture = random_einsum(rng), random_architecture(rng)
        return einsum, architecture, random_mapping(rng, einsum=einsum, architecture=architecture)

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_mappings_are_valid_and_use_what_there_is_to_use() -> None:
    seen = {"spatial": 0, "bypass": 0, "both axes": 0}
    for seed in range(500):
        rng = np.random.default_rng(seed)
        einsum, architecture = random_einsum(rng), random_architecture(rng)
        mapping = random_mapping(rng, einsum=einsum, architecture=architecture, both_axes=True)
        check_mapping(einsum, architecture, mapping)
        storages = [(s, m) for s, m in zip(architecture.levels, mapping.levels, strict=True) if not s.is_virtual]
        seen["spatial"] += any(level.spatial for level in mapping.levels)
        seen["bypass"] += any(len(level.keep) < len(einsum.tensors) for _, level in storages)
        seen["both axes"] += any(
            len({loop.rank_var for loop in level.spatial}) < len(level.spatial) for level in mapping.levels
        )
    assert min(seen.values()) > 10, seen


def test_imperfect_mappings_are_valid_and_imperfect_in_time_and_in_space() -> None:
    seen = {"temporal": 0, "x": 0, "y": 0}
    for seed in range(500):
        rng = np.random.default_rng(seed)
        einsum, architecture = random_einsum(rng), random_architecture(rng)
        mapping = random_mapping(rng, einsum=einsum, architecture=architecture, both_axes=True, imperfect=True)
        check_mapping(einsum, architecture, mapping)
        for level in mapping.levels:
            for loop in level.loops:
                seen[loop.dimension] += loop.residual is not None
    assert min(seen.values()) > 10, seen


def test_one_axis_per_rank_variable_unless_asked_for() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        mapping = random_mapping(rng, einsum=random_einsum(rng), architecture=random_architecture(rng))
        for level in mapping.levels:
            assert len({loop.rank_var for loop in level.spatial}) == len(level.spatial)


def test_bad_requests_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SpecError, match=r"bad max_ops \(got 0, expected at least 1\)"):
        random_einsum(rng, max_ops=0)
    with pytest.raises(SpecError, match=r"bad number of storages \(got 5, expected 1 to 4\)"):
        random_architecture(rng, storages=5)


def test_reports_that_differ_are_named_field_by_field() -> None:
    expected = {"case": "x", "levels": [{"name": "GLB", "A": {"reads": 3, "energy_pJ": 1.0}}, {"name": "RF", "A": {}}]}
    same = {"case": "y", "levels": [{"name": "GLB", "A": {"reads": 3, "energy_pJ": 1.0 + 1e-12}}, {"name": "RF"}]}
    other = {"levels": [{"name": "GLB", "A": {"reads": 4, "energy_pJ": 1.1}}, {"name": "RF", "A": {}}]}
    with pytest.raises(AssertionError, match=r"^1 difference: levels\.RF\.A: got None, expected \{\}$"):
        assert_same_counts(same, expected)
    assert_same_counts(other, other | {"case": "z"})
    with pytest.raises(
        AssertionError,
        match=r"^2 differences: levels\.GLB\.A\.reads: got 4, expected 3; "
        r"levels\.GLB\.A\.energy_pJ: got 1\.1, expected 1\.0$",
    ):
        assert_same_counts(other, expected)


def test_a_missing_level_and_a_long_list_of_differences() -> None:
    with pytest.raises(AssertionError, match=r"levels: got \[\], expected \[\{'name': 'GLB'\}\]"):
        assert_same_counts({"levels": []}, {"levels": [{"name": "GLB"}]})
    with pytest.raises(AssertionError, match=r"^7 differences: a: got None, expected 0; .*; and 2 more$"):
        assert_same_counts({}, dict.fromkeys("abcdefg", 0))
