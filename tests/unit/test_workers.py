"""Processes and clusters find what this process finds, and the search ends in the same front."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from heat_sim.codesign.estimate import WeightError
from heat_sim.codesign.machines import Machines
from heat_sim.codesign.matrix_errors import MatrixErrors, Squares
from heat_sim.codesign.prefetch import Prefetch
from heat_sim.codesign.search import SearchSettings, search_designs
from heat_sim.codesign.sites import ErrorsTask, MachineSite, StandInSite, run_task
from heat_sim.codesign.space import design_space
from heat_sim.codesign.stand_in import StandInErrors, stand_in_errors, stand_in_spectrum, stand_in_weight
from heat_sim.codesign.stored_errors import StoredErrors
from heat_sim.codesign.workers import DaskCluster, Nobody, Processes, workers_of
from heat_sim.errors import HeatError, SpecError
from heat_sim.mapper.cache import MappingCache
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.projection import project, reconstruct
from heat_sim.tensorize.tensorization import Tensorization
from tests.unit.test_codesign import ARCHITECTURE, NETWORK

SPACE = design_space(NETWORK)
MACHINE = MachineSite(
    architecture=ARCHITECTURE, constraints={}, tokens=NETWORK.tokens, fuse=False, order="edp", cache_file=None
)
STAND_INS = StandInSite(network=NETWORK, cache_file=None)


def searched(workers, **settings):
    errors = STAND_INS.open()
    machines = Machines(network=NETWORK, estimate=WeightError(errors=errors), base=MACHINE)
    evaluator = machines.at(())
    asked = []

    class Counted:
        def run(self, tasks):
            found = workers.run(tasks)
            asked.append((len(tasks), sum(each is not None for each in found)))
            return found

    prefetch = Prefetch(workers=Counted(), machines=machines, of_errors=STAND_INS, errors=errors)
    budget = SearchSettings(population=12, generations=3, seed=1, **settings)
    found = search_designs(SPACE, evaluator, settings=budget, prefetch=prefetch)
    return [(cost.key, cost.energy_pj, cost.cycles, cost.estimated_loss) for cost in found.front], asked


def test_two_processes_end_in_the_front_of_one() -> None:
    alone, asked_alone = searched(Nobody())
    together, asked = searched(Processes(2, least=1))
    assert together == alone
    assert [tasks for tasks, _ in asked] == [tasks for tasks, _ in asked_alone]
    assert sum(taken for _, taken in asked_alone) == 0
    assert all(taken == tasks for tasks, taken in asked)
    assert sum(tasks for tasks, _ in asked) > 20


def test_a_dask_cluster_of_two_workers_ends_in_the_front_of_one_process() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        workers = DaskCluster(cluster.scheduler_address)
        try:
            together, asked = searched(workers)
        finally:
            workers.close()
    assert together == searched(Nobody())[0]
    assert all(taken == tasks for tasks, taken in asked)


def test_nobody_at_the_address_of_a_cluster() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(HeatError, match="no scheduler answers"):
        DaskCluster("tcp://127.0.0.1:9", patience_s=0.5)


def test_one_job_is_this_process() -> None:
    assert isinstance(workers_of(jobs=1, dask=None), Nobody)
    assert isinstance(workers_of(jobs=2, dask=None), Processes)


def test_a_task_that_fails_leaves_it_to_who_asked() -> None:
    task = ErrorsTask(site=STAND_INS, names=("nobody",), factorization=low_rank(3))
    with pytest.raises(SpecError):
        task.run()
    assert run_task(task) is None


def test_sites_are_told_apart_by_what_they_are() -> None:
    other = MachineSite(
        architecture=dataclasses.replace(ARCHITECTURE, compute_energy_pj=0.3), constraints={}, tokens=NETWORK.tokens,
        fuse=False, order="edp", cache_file=None,
    )  # fmt: skip
    same = MachineSite(
        architecture=ARCHITECTURE, constraints={}, tokens=NETWORK.tokens, fuse=False, order="edp", cache_file=None
    )
    assert other != MACHINE
    assert same == MACHINE
    assert hash(same) == hash(MACHINE)


def low_rank(rank: int) -> Factorization:
    return Factorization(format="low-rank", tensorization=Tensorization(out_modes=(32,), in_modes=(64,)), ranks=(rank,))


def test_the_errors_of_stand_ins_are_those_of_their_projections() -> None:
    errors = stand_in_errors(NETWORK)
    name = next(m.name for m in NETWORK.matrices if (m.out_features, m.in_features) == (32, 64))
    weight = stand_in_weight(32, 64)
    assert np.allclose(np.linalg.svd(weight, compute_uv=False), stand_in_spectrum(32, 64))
    assert errors.whole(name).weight == pytest.approx(float(np.square(weight).sum()))
    for slot in SPACE.slots:
        if slot.shape != (32, 64):
            continue
        for option, (form, _) in enumerate(slot.options):
            values = slot.rank_values[option]
            genome = {v.name: 5 for v in SPACE.variables} | {f"option{SPACE.slots.index(slot)}": option}
            factorization = SPACE.decode(genome)[SPACE.slots.index(slot)]
            exact = np.square(weight - reconstruct(project(weight, factorization), factorization)).sum()
            found = errors(name, factorization).weight
            if form in ("dense", "low-rank"):
                assert found == pytest.approx(float(exact), rel=1e-9, abs=1e-9)
            else:  # the leading parts: an upper bound
                assert exact * (1 - 1e-9) <= found <= float(np.square(weight).sum()), (form, values)


def test_an_unknown_matrix_of_a_stand_in_is_refused() -> None:
    errors = stand_in_errors(NETWORK)
    with pytest.raises(SpecError, match="unknown matrix"):
        errors("nobody", low_rank(3))
    assert not errors.knows("nobody", low_rank(3))


def test_errors_are_found_on_disk_by_the_next_one(tmp_path) -> None:
    shapes = {"a": (32, 64), "b": (32, 64)}
    content = {"a": "A", "b": "B"}
    with MappingCache(tmp_path / "errors.sqlite3") as store:
        first = StoredErrors(errors=StandInErrors(shapes=shapes), content=content, store=store)
        assert not first.knows("a", low_rank(3))
        squares = first("a", low_rank(3))
        again = StoredErrors(errors=StandInErrors(shapes=shapes), content=content, store=store)
        assert again.knows("a", low_rank(3))
        assert again("a", low_rank(3)) == squares
        changed = StoredErrors(errors=StandInErrors(shapes=shapes), content={"a": "C", "b": "B"}, store=store)
        assert not changed.knows("a", low_rank(3))
        assert not changed.knows("a", low_rank(4))
        assert again.whole("a") == StandInErrors(shapes=shapes).whole("a")


def test_what_a_worker_finds_goes_to_the_matrix_it_was_asked_for() -> None:
    errors = MatrixErrors(
        weights={name: np.full((2, 2), k + 1.0) for k, name in enumerate("abc")},
        second_moments=dict.fromkeys("abc", np.eye(2)),
    )
    half = Factorization(format="low-rank", tensorization=Tensorization(out_modes=(2,), in_modes=(2,)), ranks=(1,))
    errors.learn("b", half, Squares(9.0, 9.0, 9.0))  # known: it is not asked for

    class Elsewhere:
        def run(self, tasks):
            return [
                tuple(Squares(float(ord(name)), 0.0, 0.0) for name in task.names)
                if isinstance(task, ErrorsTask)
                else None
                for task in tasks
            ]

    machines = Machines(network=NETWORK, estimate=WeightError(errors=errors), base=MACHINE)
    prefetch = Prefetch(workers=Elsewhere(), machines=machines, of_errors=STAND_INS, errors=errors)
    prefetch([((), dict.fromkeys("abc", half))])
    assert [errors(name, half).weight for name in "abc"] == [ord("a"), 9.0, ord("c")]


def test_a_task_of_errors_returns_them_in_the_order_of_its_names() -> None:
    names = tuple(m.name for m in NETWORK.matrices if (m.out_features, m.in_features) == (32, 64))
    found = ErrorsTask(site=STAND_INS, names=names, factorization=low_rank(3)).run()
    assert len(found) == len(names)
    assert all(isinstance(each, Squares) for each in found)
    assert found[0].weight == pytest.approx(float(np.square(stand_in_spectrum(32, 64)[3:]).sum()))
