"""Writing architectures and problems: golden files under another version, and what no file can say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import parse_einsum
from heat_sim.errors import SpecError
from heat_sim.specs import (
    dump_architecture,
    dump_ert,
    dump_problem,
    load_architecture,
    load_problem,
    parse_architecture,
    parse_problem,
)
from heat_sim.specs.directives import Version

from .spec_texts import V4, changed, spec_of

GOLDEN = Path(__file__).parents[1] / "golden"
REFUSED = ("08_bad_unknown_key",)
CASES = {folder.name: folder for folder in sorted(GOLDEN.glob("timeloop*/[0-9]*")) if folder.name not in REFUSED}


@pytest.mark.parametrize("version", ["0.3", "0.4"])
@pytest.mark.parametrize("name", CASES)
def test_golden_files_in_either_version(name: str, version: Version) -> None:
    spec = load_architecture(CASES[name] / "arch.yaml", ert=CASES[name] / "ert.yaml")
    einsum = load_problem(CASES[name] / "problem.yaml")
    assert parse_problem(dump_problem(einsum, version=version)) == einsum
    if version == "0.3" and any(level.is_virtual for level in spec.architecture.levels):
        with pytest.raises(SpecError, match=r"as v0.3: v0.3 has no mesh without a storage .got level inter_pe_spatial"):
            dump_architecture(spec, version=version)
        return
    read = parse_architecture(dump_architecture(spec, version=version) + dump_ert(spec.architecture))
    assert (read.architecture, read.constraints) == (spec.architecture, spec.constraints)
    if version == spec.version:
        assert read.spatial_targets == spec.spatial_targets


def test_free_attributes_are_written(tmp_path: Path) -> None:
    text = changed(
        V4, "width: 64, depth: 100", 'width: 64, depth: 100, technology: "45nm", type: "LPDDR4", n_banks: 2, x: null'
    )
    spec = spec_of(tmp_path, changed(text, "    class: SRAM\n", "    class: SRAM\n    subclass: my_sram\n"))
    for version in ("0.3", "0.4"):
        read = parse_architecture(dump_architecture(spec, version=version) + dump_ert(spec.architecture))
        glb = read.components["GLB"]
        assert (glb.class_name, glb.subclass) == ("SRAM", "my_sram")
        assert [glb.attributes[key] for key in ("technology", "type", "n_banks", "x")] == ["45nm", "LPDDR4", 2, None]


DRAM = StorageLevel(name="DRAM", drains_in_place=False, fanout_x=2)
RF = StorageLevel(name="RF", capacity_words=8)
CHIP = Architecture(name="chip", levels=(DRAM, RF), compute_name="MAC", compute_energy_pj=1.0)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (replace(CHIP, levels=(DRAM, replace(RF, capacity_words=None))),
         "cannot be written: .*RF: storage without a size"),
        (replace(CHIP, levels=(DRAM, StorageLevel(name="mesh", is_virtual=True, fanout_y=2), RF)),
         "a file cannot say this .*Name a virtual level inter_NAME_spatial"),
        (replace(CHIP, levels=(replace(DRAM, fanout_x=1),
                               StorageLevel(name="inter_pe_spatial", is_virtual=True, fanout_y=2), RF)),
         "a file cannot say this .*below a level with a mesh only"),
        (replace(CHIP, name="RF"), "cannot be written: .*RF: name used twice"),
        (replace(CHIP, levels=(replace(DRAM, name="{{ x }}"), RF)), "cannot be written: .*templating"),
        (replace(CHIP, levels=(replace(DRAM, name="a.b"), RF)), "cannot be written: .*no table in the ERT"),
        (replace(CHIP, clock_hz=1.2345678901234567e9), "a file cannot say this"),
    ],
)  # fmt: skip
def test_what_no_file_can_say_is_not_written(architecture: Architecture, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        dump_architecture(architecture, version="0.4")


def test_v03_has_no_words_for_what_is_not_listed(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path, changed(V4, "depth: 32}\n", "depth: 32}\n    constraints: {dataspace: {keep_only: [A]}}\n")
    )
    with pytest.raises(SpecError, match=r"as v0.3, constraints at RF: v0.3 has no keep_only"):
        dump_architecture(spec, version="0.3")


def test_long_names_of_rank_variables_are_for_v03(tmp_path: Path) -> None:
    einsum = parse_einsum("Y[s,o1] = X[s,i1] * W[o1,i1]", extents=dict(s=2, o1=3, i1=4), name="layer")
    assert parse_problem(dump_problem(einsum, version="0.3")) == einsum
    with pytest.raises(SpecError, match=r"einsum layer as v0.4 cannot be written: .*not a dimension name .got o1"):
        dump_problem(einsum, version="0.4")


@pytest.mark.parametrize("name", ["yes", "a b", "1", "é"])
def test_odd_names_of_tensors_survive(name: str) -> None:
    einsum = parse_einsum("Z[m] = A[m]", extents={"m": 3})
    odd = replace(einsum, name=name, output=replace(einsum.output, name=name))
    assert parse_problem(dump_problem(odd, version="0.4")) == odd


def test_coefficients_below_1_cannot_be_written() -> None:
    conv = parse_einsum("O[p] = I[2*p+r] * W[r]", extents=dict(p=4, r=3))
    window = replace(conv.inputs[0], projection=((("p", -1), ("r", 1)),))
    with pytest.raises(SpecError, match=r"as v0.4 cannot be written: .*default: not an integer in range"):
        dump_problem(replace(conv, inputs=(window, conv.inputs[1])), version="0.4")
