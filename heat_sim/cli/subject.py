"""What a search is about: a network, and where the estimated loss of its designs comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from heat_sim.cli.bench import EMBEDDED_MODEL, AddBar, model_folder, prepare_bench
from heat_sim.cli.console import err
from heat_sim.cli.models import read_network
from heat_sim.cli.plan import SearchPlan
from heat_sim.cli.sites import LossSite, SuperNetSite, calibrated_site, stand_in_site
from heat_sim.codesign.joint import Groups, with_stacked
from heat_sim.errors import SpecError, describe
from heat_sim.networks import Network, load_network

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def has_weights(model: str) -> bool:
    """Return whether a model comes with pretrained weights, or is known by its configuration alone.

    >>> has_weights("minilm-l6"), has_weights("bert-base")
    (True, False)
    """
    folder = Path(model)
    return model == EMBEDDED_MODEL or (folder.is_dir() and any(any(folder.glob(name)) for name in _WEIGHTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is searched.

    Attributes:
        network: As the simulator sees it, nothing stacked.
        site: Where the errors of its matrices and of the stacked ones come from, or an estimate without them.
        groups: Matrices that designs may stack, by the name of the stacked one.
    """

    network: Network
    site: LossSite | SuperNetSite
    groups: Groups


def prepare_subject(plan: SearchPlan, *, add_bar: AddBar) -> Subject:
    """Return what a plan is about; fine-tune and calibrate the model, and train a SuperNet, if that is not cached.

    Raises:
        SpecError: An estimate that needs weights for a model of which only the configuration is known, or what the
            estimate of a SuperNet cannot do.
    """
    if plan.estimate == "supernet":
        _check_supernet_plan(plan)
    if plan.calibration is not None:
        name, folder = model_folder(plan.model)
        network = load_network(folder, tokens=plan.tokens, name=name)
        return calibrated_subject(network, Path(plan.calibration), plan)
    if has_weights(plan.model):
        bench = prepare_bench(plan.model, plan.data, epochs=plan.teacher_epochs, seed=plan.seed, add_bar=add_bar)
        network = load_network(bench.teacher.folder, tokens=plan.tokens, name=bench.model)
        if plan.estimate == "supernet":
            from heat_sim.cli.search_supernet import supernet_site

            return Subject(network=network, site=supernet_site(bench, network, plan, add_bar=add_bar), groups={})
        from heat_sim.distill.calibrate import calibration_path

        return calibrated_subject(network, calibration_path(bench.teacher.folder), plan)
    if plan.estimate != "weight":
        raise SpecError(
            describe(f"--estimate {plan.estimate}", "needs the weights of a model", got=f"{plan.model}, a config",
                     expected="weight", remedy="Leave it out, or give a folder with pretrained weights.")
        )  # fmt: skip
    network = read_network(plan.model, tokens=plan.tokens)
    err.print(
        f"{network.name}: no pretrained weights; the estimated loss is the weight error of stand-ins with the spectra "
        "of trained matrices: it ranks designs, it is no accuracy",
        style="yellow",
    )
    groups = _groups(network, plan)
    return Subject(
        network=network, site=stand_in_site(with_stacked(network).network if groups else network), groups=groups
    )


def _check_supernet_plan(plan: SearchPlan) -> None:
    """Refuse, all together and before anything is trained, what a search with the estimate of a SuperNet cannot do.

    Raises:
        SpecError: No weights, labelled data and teacher; joint matrices; another projection than that of the SuperNet.
    """
    problems = []
    if plan.calibration is not None:
        problems.append(
            describe("--estimate supernet", "needs a model, a teacher and labelled data",
                     got=f"--calibration {plan.calibration}", expected="--model and --data alone",
                     remedy="Leave --calibration out, or choose fisher, activation or weight.")
        )  # fmt: skip
    elif not has_weights(plan.model):
        problems.append(
            describe("--estimate supernet", "needs a teacher, which needs the weights of a model",
                     got=f"{plan.model}, a config", expected="a folder with pretrained weights",
                     remedy="Give one as --model, or choose weight.")
        )  # fmt: skip
    if plan.joint != "apart":
        problems.append(
            describe("--estimate supernet", "a SuperNet has no joint queries, keys and values",
                     got=f"--joint {plan.joint}", expected="--joint apart", remedy="Give --joint apart.")
        )  # fmt: skip
    if plan.cores != "activation":
        problems.append(
            describe("--estimate supernet", "the cores are those of the trained SuperNet", got=f"--cores {plan.cores}",
                     expected="no choice", remedy="Leave --cores out.")
        )  # fmt: skip
    if problems:
        raise SpecError(problems)


def calibrated_subject(network: Network, path: Path, plan: SearchPlan) -> Subject:
    """Return what a plan is about, given the network and its calibration.

    Raises:
        SpecError: The file is no calibration, or the plan stacks what the network has not.
    """
    groups = _groups(network, plan)
    site = calibrated_site(path, estimate=plan.estimate, cores=plan.cores, groups=groups)
    return Subject(network=network, site=site, groups=groups)


def _groups(network: Network, plan: SearchPlan) -> Groups:
    """Return what may be stacked; nothing of a network that has nothing alike, unless it must be."""
    if plan.joint == "apart":
        return {}
    groups = with_stacked(network).groups
    if plan.joint == "always" and not groups:
        raise SpecError(
            describe("--joint always", "nothing to factorise jointly", got=network.name,
                     expected="queries, keys and values of one size", remedy="Leave it out.")
        )  # fmt: skip
    return groups
