"""The mapping cache: what its keys tell apart, and that no file, process or disk makes it crash or lie."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import HeatError, MappingError
from heat_sim.mapper import cache_key as key_module
from heat_sim.mapper.cache import MappingCache, cache_key, cache_path, decode_mapping, encode_mapping
from heat_sim.mapper.cache import _alone as alone
from heat_sim.mapper.objective import OBJECTIVES, Objective, parse_objective
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapping import LevelConstraints
from heat_sim.model import evaluate
from heat_sim.testing import EINSUMS, random_architecture, random_einsum, random_mapping

MATMUL = "Z[m,n] = A[m,k] * B[k,n]"
LEVEL = StorageLevel(name="GLB", capacity_words=64, area_mm2=1.0, fanout_x=2, fanout_y=2)
CHANGED: dict[str, Any] = {
    "capacity_words": None,
    "word_bits": 8,
    "words_per_access": 2,
    "read_energy_pj": 0.5,
    "write_energy_pj": 0.5,
    "update_energy_pj": 0.5,
    "leakage_energy_pj_per_cycle": 0.5,
    "fanout_x": 4,
    "fanout_y": 4,
    "read_bandwidth_words_per_cycle": float("inf"),
    "write_bandwidth_words_per_cycle": 1.5,
    "shared_bandwidth_words_per_cycle": 1.5,
    "multiple_buffering": 2.0,
    "min_utilization": 0.5,
    "network_fill_latency_cycles": 1,
    "network_drain_latency_cycles": 1,
    "hop_energy_pj": 0.5,
    "router_energy_pj": 0.5,
    "drains_in_place": False,
    "is_virtual": True,
}
"""Another value for every field that can change a cost."""
DEMANDED: dict[str, Any] = {
    "keep": frozenset("A"),
    "bypass": frozenset("A"),
    "others": "keep",
    "temporal_bounds": {"m": 2},
    "spatial_bounds": {"m": 2},
    "temporal_limits": {"m": (1, 2)},
    "spatial_limits": {"m": (1, 2)},
    "temporal_only": True,
    "spatial_only": True,
    "temporal_order": ("m",),
    "spatial_order": ("m",),
    "split": 1,
}
"""Every constraint."""


def machine(level: StorageLevel = LEVEL, **changes: Any) -> Architecture:
    given: dict[str, Any] = {"name": "toy", "compute_name": "MAC", "compute_energy_pj": 1.0}
    given["levels"] = (StorageLevel(name="DRAM"), level)
    return Architecture(**(given | changes))


def einsum(text: str = MATMUL, **extents: int) -> Einsum:
    return parse_einsum(text, extents={"m": 4, "n": 6, "k": 8} | extents)


def key(
    workload: Einsum | None = None,
    architecture: Architecture | None = None,
    *,
    objective: Objective = OBJECTIVES["edp"],
    imperfect: bool = False,
    settings: dict[str, object] | None = None,
    **space: Any,
) -> str:
    return cache_key(
        map_space(workload or einsum(), architecture or machine(), **space),
        objective=objective,
        imperfect=imperfect,
        settings=settings,
    )


@pytest.mark.parametrize("field", [field.name for field in fields(StorageLevel)])
def test_key_changes_with_every_field_of_a_level_that_can_change_a_cost(field: str) -> None:
    costless: dict[str, Any] = {"name": "other", "area_mm2": None}
    changes = costless if field in costless else CHANGED
    changed = replace(LEVEL, **{field: changes[field]})
    assert changed != LEVEL
    assert (key(architecture=machine(changed)) == key()) == (field in costless)


@pytest.mark.parametrize("field", [field.name for field in fields(LevelConstraints)])
def test_key_changes_with_every_constraint_and_where_it_stands(field: str) -> None:
    demand = replace(LevelConstraints(), **{field: DEMANDED[field]})
    keys = [key(constraints=where) for where in ({}, {"GLB": demand}, {"DRAM": demand})]
    assert len(set(keys)) == 3
    assert key(constraints={"GLB": LevelConstraints()}) == keys[0]


def test_key_changes_with_whatever_else_the_answer_depends_on() -> None:
    keys = [
        key(),
        key(architecture=machine(compute_energy_pj=2.0)),
        key(architecture=machine(levels=(LEVEL,))),
        key(einsum(m=12)),
        key(einsum(n=12)),
        key(einsum(k=12)),
        key(einsum("Z[m,n] = A[m,n] * B[n]")),
        key(einsum("Z[b,m,n] = A[b,m,k] * B[b,k,n]", b=2)),
        key(both_axes=True),
        key(min_parallelism=0.5),
        key(imperfect=True),
        key(settings={"budget": 100}),
        key(settings={"budget": 101}),
        *(key(objective=objective) for name, objective in OBJECTIVES.items() if name != "edp"),
        *(key(objective=parse_objective(text)) for text in ("weighted:2", "weighted:3")),
        key(objective=replace(OBJECTIVES["edp"], energy_exponent=2)),  # under the same name
    ]
    assert len(set(keys)) == len(keys)


def test_key_does_not_change_with_names_or_the_order_of_ranks() -> None:
    demand: dict[str, Any] = {"keep": frozenset("B"), "temporal_order": ("k", "n"), "spatial_limits": {"m": (1, 2)}}
    others: dict[str, Any] = {
        "keep": frozenset({"weight"}),
        "temporal_order": ("i", "o"),
        "spatial_limits": {"t": (1, 2)},
    }
    layer = parse_einsum("y[t,o] = x[t,i] * weight[o,i]", extents={"o": 6, "i": 8, "t": 4}, name="layer")
    other = machine(replace(LEVEL, name="SRAM"), name="chip", compute_name="PE", compute_area_mm2=2.0, clock_hz=1e9)
    assert key(layer, other) == key()
    assert key(layer, other, constraints={"SRAM": LevelConstraints(**others)}) == key(
        constraints={"GLB": LevelConstraints(**demand)}
    )
    assert key(einsum("Z[m,n,u] = A[u,m,k] * B[k,n,u]", u=1)) == key()  # a rank variable of extent 1


def test_a_constraint_on_a_rank_variable_of_extent_1_counts() -> None:
    """Its loops may take a place in an order that decides the axis of others."""
    layer = einsum("Z[m,n,u] = A[u,m,k] * B[k,n,u]", u=1)
    orders = (("u", "m"), ("m", "u"), ("m",))
    demands = [{"GLB": LevelConstraints(spatial_order=order, split=1)} for order in orders]
    assert len({key(layer, constraints=demand) for demand in demands}) == len(demands)


def test_equal_numbers_make_equal_keys() -> None:
    assert key(architecture=machine(compute_energy_pj=1)) == key(architecture=machine(compute_energy_pj=1.0))


def test_members_of_a_class_are_told_from_the_whole_class() -> None:
    """Two members may lie along both axes of a mesh, one may not, so their best mappings may differ."""
    parted = parse_einsum("Z[i,j,n] = A[i,j,k] * B[k,n]", extents={"i": 2, "j": 2, "n": 6, "k": 8})
    swapped = parse_einsum("Z[j,i,n] = A[i,j,k] * B[n,k]", extents={"k": 8, "n": 6, "i": 2, "j": 2})
    assert key(parted) != key()
    assert key(parted) == key(swapped)


def test_projections_of_sliding_windows_are_told_apart() -> None:
    texts = ("Z[p] = A[p+r] * B[r]", "Z[p] = A[2*p+r] * B[r]", "Z[p] = A[p+2*r] * B[r]", "Z[p] = A[p] * B[r]")
    keys = [key(parse_einsum(text, extents={"p": 4, "r": 4})) for text in texts]
    assert len(set(keys)) == len(keys)
    assert key(parse_einsum("out[x] = in_[2*x+f] * w[f]", extents={"f": 4, "x": 4})) == keys[1]


def test_a_change_of_the_model_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MappingCache(tmp_path / "c") as cache:
        cache.put(key(), {"cycles": 1})
        monkeypatch.setattr(key_module, "MODEL_VERSION", "another")
        assert cache.get(key()) is None


def test_model_version_is_the_content_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("einsum.py", "architecture.py", "mapping.py", "model/traffic.py", "mapper/search.py", "cli/map.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a = 1\n")
    monkeypatch.setattr(key_module, "__file__", str(tmp_path / "mapper" / "cache_key.py"))
    version = key_module.model_version.__wrapped__
    versions = [version()]
    for name in ("einsum.py", "architecture.py", "mapping.py", "model/traffic.py", "mapper/search.py"):
        (tmp_path / name).write_text("a = 2\n")
        versions.append(version())
    (tmp_path / "model/traffic.py").rename(tmp_path / "model/words.py")
    versions.append(version())
    assert len(set(versions)) == len(versions)
    (tmp_path / "cli/map.py").write_text("a = 2\n")
    assert version() == versions[-1]


@given(st.sampled_from(sorted(EINSUMS)), st.integers(0, 10**6), st.booleans())
@settings(max_examples=80)
def test_mapping_decodes_for_other_names_to_the_same_counts(kind: Any, seed: int, imperfect: bool) -> None:
    rng = np.random.default_rng(seed)
    workload = random_einsum(rng, kind=kind, max_ops=256)
    architecture = random_architecture(rng)
    is_window = any(not tensor.is_plain for tensor in workload.tensors)
    mapping = random_mapping(
        rng, einsum=workload, architecture=architecture, imperfect=imperfect and not is_window
    )  # fmt: skip
    value = encode_mapping(mapping, workload, architecture)
    assert evaluate(workload, architecture, decode_mapping(value, workload, architecture)).to_json() == (
        evaluate(workload, architecture, mapping).to_json()
    )
    other, chip = renamed(workload, rng=rng), renamed_levels(architecture)
    assert key(other, chip) == key(workload, architecture)
    ours = evaluate(workload, architecture, mapping, link_transfers=False)
    theirs = evaluate(other, chip, decode_mapping(value, other, chip), link_transfers=False)
    assert (theirs.energy_pj, theirs.cycles) == (ours.energy_pj, ours.cycles)


def renamed(workload: Einsum, *, rng: np.random.Generator) -> Einsum:
    """Return the einsum with other names; if it is plain, with other orders of ranks and extents too."""
    is_plain = all(tensor.is_plain for tensor in workload.tensors)
    accesses = []
    for tensor in workload.tensors:
        projection = tuple(tuple((f"{var}_2", factor) for var, factor in rank) for rank in tensor.projection)
        if is_plain and len(workload.inputs) == 2:
            projection = tuple(projection[place] for place in rng.permutation(len(projection)).tolist())
        accesses.append(replace(tensor, name=f"T{tensor.name}", projection=projection))
    return Einsum(
        name="other",
        inputs=tuple(accesses[:-1]),
        output=accesses[-1],
        extents=tuple((f"{var}_2", extent) for var, extent in reversed(workload.extents)),
    )


def renamed_levels(architecture: Architecture) -> Architecture:
    levels = tuple(replace(level, name=f"{level.name}_2") for level in architecture.levels)
    return replace(architecture, name="other", compute_name="PE", levels=levels)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"levels": []},
        {"levels": [{"keep": [0], "loops": []}] * 2},  # nothing keeps B
        {"levels": [{"keep": [0, 1, 2], "loops": [[0, 4, "temporal", None]]}] * 2},  # m twice
        {"levels": [{"keep": [7], "loops": []}] * 2},
        {"levels": [{"keep": [0, 1, 2], "loops": [[0, 4]]}] * 2},
        {"levels": [{"keep": [0, 1, 2], "loops": [[0, "4", "temporal", None]]}] * 2},
    ],
)
def test_other_values_decode_to_nothing(value: dict[str, Any]) -> None:
    with pytest.raises(MappingError, match=r"cached mapping of Z|mapping"):
        decode_mapping(value, einsum(), machine())


def test_entries_outlive_the_process_that_made_them(tmp_path: Path) -> None:
    value = {"energy_pJ": 0.1 + 0.2, "cycles": 12, "front": [[1, None]], "bound": float("inf")}
    with MappingCache(tmp_path / "made" / "c.sqlite3") as cache:
        cache.put("key", {"cycles": 1})
        cache.put("key", value)
    cache.put("later", value)  # closed: neither stored nor an error
    assert cache.get("key") is None
    with MappingCache(tmp_path / "made" / "c.sqlite3") as cache:
        assert cache.get("key") == value
        assert cache.get("later") is None


def test_default_place_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("HEAT_SIM_CACHE", raising=False)
    assert cache_path() == tmp_path / "xdg" / "heat_sim" / "mappings.sqlite3"
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "own"))
    with MappingCache() as cache:
        assert cache.path == tmp_path / "own" / "mappings.sqlite3"
    assert cache.path.is_file()


def test_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    with MappingCache(tmp_path / "c", max_entries=3) as cache:
        for name in "abc":
            cache.put(name, {})
        assert cache.get("a") == {}
        cache.put("d", {})
        cache.put("d", {})
        assert [name for name in "abcd" if cache.get(name) is not None] == ["a", "c", "d"]
    with pytest.raises(HeatError, match=r"bad max_entries \(got 0, expected at least 1\)"):
        MappingCache(tmp_path / "c", max_entries=0)


def write_entries(path: Path, writer: int, start: Any) -> None:
    start.wait()
    with MappingCache(path) as cache:
        for number in range(50):
            cache.put(f"{writer}/{number}", {"number": number})
            cache.put("shared", {"pad": "x" * 5000, "writer": writer})
            assert cache.get(f"{writer}/{number}") == {"number": number}


def test_four_processes_at_once_lose_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    (tmp_path / "c").write_bytes(b"no database" * 1000)  # all four find it damaged at once
    writers = [context.Process(target=write_entries, args=(tmp_path / "c", writer, start)) for writer in range(4)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
    assert [process.exitcode for process in writers] == [0, 0, 0, 0]
    with MappingCache(tmp_path / "c") as cache:
        found = [[cache.get(f"{writer}/{number}") for number in range(50)] for writer in range(4)]
        shared = cache.get("shared")
    assert found == [[{"number": number} for number in range(50)]] * 4
    assert shared is not None
    assert len(shared["pad"]) == 5000
    assert not caplog.records


def put_from_child(cache: MappingCache) -> None:
    parents = cache._connection
    assert cache.get("parent") == {"cycles": 1}
    assert cache._connection is not parents
    cache.put("child", {"cycles": 2})


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_makes_its_own_connection(tmp_path: Path) -> None:
    with MappingCache(tmp_path / "c") as cache:
        cache.put("parent", {"cycles": 1})
        child = multiprocessing.get_context("fork").Process(target=put_from_child, args=(cache,))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert cache.get("child") == {"cycles": 2}


def test_files_are_opened_and_replaced_one_process_at_a_time(tmp_path: Path) -> None:
    opener = threading.Thread(target=lambda: MappingCache(tmp_path / "c").close())
    with alone(tmp_path / "c"):
        opener.start()
        opener.join(0.3)
        assert opener.is_alive()
    opener.join(30)
    assert not opener.is_alive()


def test_threads_share_a_cache(tmp_path: Path) -> None:
    with MappingCache(tmp_path / "c") as cache:

        def work(number: int) -> None:
            for entry in range(25):
                cache.put(f"{number}/{entry}", {"entry": entry})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(cache.get(f"{number}/{entry}") == {"entry": entry} for number in range(4) for entry in range(25))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "c"
    with MappingCache(path) as cache:
        for number in range(200):
            cache.put(f"key{number}", {"number": number, "pad": "x" * 100})
    return path


@pytest.mark.parametrize("content", [b"no database", b"no database" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_file_is_moved_aside(filled: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    filled.write_bytes(content)
    with caplog.at_level(logging.WARNING), MappingCache(filled) as cache:
        assert cache.get("key1") is None
        cache.put("key1", {"cycles": 1})
        assert cache.get("key1") == {"cycles": 1}
    assert filled.with_name("c.corrupt").read_bytes() == content
    assert "it is moved to c.corrupt and a new one begun" in caplog.text


def test_a_folder_in_its_place_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "c").mkdir()
    with MappingCache(tmp_path / "c") as cache:
        cache.put("key", {"cycles": 1})
        assert cache.get("key") == {"cycles": 1}
    assert (tmp_path / "c.corrupt").is_dir()


def test_a_table_of_another_kind_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with MappingCache(tmp_path / "c") as cache:
        assert cache._connection is not None
        cache._connection.executescript("DROP TABLE mapping; CREATE TABLE mapping (key TEXT, other TEXT)")
    with MappingCache(tmp_path / "c") as cache:
        cache.put("key", {"cycles": 1})
        assert cache.get("key") == {"cycles": 1}


def test_damage_under_way_replaces_the_file_once(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    with MappingCache(filled) as first, MappingCache(filled) as second:
        with filled.open("r+b") as file:
            file.write(b"\xff" * filled.stat().st_size)
        assert first.get("key1") is None
        first.put("new", {"cycles": 1})
        assert second.get("key1") is None
        assert second.get("new") == first.get("new") == {"cycles": 1}
    assert len([record for record in caplog.records if "moved" in record.message]) == 1


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.integers(1, 255), st.booleans())
@settings(max_examples=30)
def test_flipped_bits_never_give_a_wrong_answer(
    tmp_path_factory: pytest.TempPathFactory, places: list[int], flip: int, in_payload: bool
) -> None:
    path = tmp_path_factory.mktemp("cache") / "c"
    with MappingCache(path) as cache:
        for number in range(60):
            cache.put(f"key{number}", {"number": number, "pad": "x" * 100})
    content = bytearray(path.read_bytes())
    targets = [place for place in range(len(content)) if content[place] == ord("x")] if in_payload else None
    for place in places:
        target = targets[place % len(targets)] if targets else place % len(content)
        content[target] ^= flip
    path.write_bytes(content)
    logging.disable(logging.WARNING)
    try:
        with MappingCache(path) as cache:
            for number in range(60):
                assert cache.get(f"key{number}") in (None, {"number": number, "pad": "x" * 100})
            cache.put("new", {"cycles": 1})
            assert cache.get("new") in (None, {"cycles": 1})
    finally:
        logging.disable(logging.NOTSET)


def test_a_damaged_entry_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with MappingCache(tmp_path / "c") as cache:
        cache.put("key", {"cycles": 12})
        cache.put("other", {"cycles": 13})
        assert cache._connection is not None
        cache._connection.execute("UPDATE mapping SET value = '{\"cycles\": 11}' WHERE key = 'key'")
        assert cache.get("key") is None
        assert "an entry is damaged; it is dropped." in caplog.text
        assert cache._connection.execute("SELECT key FROM mapping").fetchall() == [("other",)]


def test_a_full_disk_stores_nothing(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    with MappingCache(filled) as cache:
        assert cache._connection is not None
        cache._connection.execute("PRAGMA max_page_count = 1")  # the least that holds what is there
        for number in range(3):
            cache.put(f"new{number}", {"pad": "x" * 100_000})
        assert cache.get("new0") is None
        assert cache.get("key1") == {"number": 1, "pad": "x" * 100}
    assert [record.message for record in caplog.records] == [
        f"mapping cache {filled}: database or disk is full; results are not cached."
    ]


def test_where_nothing_can_be_written_nothing_is_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with MappingCache(tmp_path / "file" / "c") as cache:
        cache.put("key", {"cycles": 1})
        assert cache.get("key") is None
    assert "results are not cached" in caplog.text


def test_a_read_only_file_is_read(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    with MappingCache(filled) as cache:
        assert cache._connection is not None
        cache._connection.execute("PRAGMA query_only = 1")
        assert cache.get("key1") == {"number": 1, "pad": "x" * 100}
        cache.put("new", {"cycles": 1})
        assert cache.get("new") is None
    assert "attempt to write a readonly database; results are not cached" in caplog.text


def test_a_space_made_by_hand_has_the_key_of_one_that_was_checked() -> None:
    space = MapSpace(einsum=einsum(), architecture=machine())
    assert cache_key(space, objective=OBJECTIVES["edp"]) == key()
