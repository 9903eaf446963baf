"""The network that a text names: a known size, a local folder or config.json, or a model on the Hugging Face hub.

transformers is imported here only when the hub has to be asked.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from heat_sim.errors import HeatError, MissingDependencyError, describe
from heat_sim.networks import SIZES, Network, load_network, network_from_config

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SHOWN = 200
"""Characters shown of a reason: transformers explains at length."""


def read_network(model: str, *, tokens: int | None) -> Network:
    """Return the network that a text names.

    Args:
        model: A name in `SIZES`, a model folder, its config.json, or the id of a model on the hub, in that order.
        tokens: As in `network_from_config`.

    Raises:
        HeatError: It is none of these, or a model that is not covered.

    >>> read_network("vit-base", tokens=None).tokens
    197
    """
    if model in SIZES:
        return network_from_config(SIZES[model], tokens=tokens, name=model)
    path = Path(model)
    if path.exists() or path.suffix == ".json" or not _HUB_ID.fullmatch(model):
        return load_network(path, tokens=tokens)
    return network_from_config(_hub_config(model), tokens=tokens, name=model.rpartition("/")[2])


def _hub_config(model: str) -> dict[str, Any]:
    """Return the configuration of a model on the hub, or of a copy that was fetched before."""
    if importlib.util.find_spec("transformers") is None:
        raise MissingDependencyError(_no_model(model, "no such path, and transformers is not installed"))
    from huggingface_hub.utils import logging as hub_logging
    from transformers import AutoConfig
    from transformers.utils import logging

    verbosity, hub_verbosity = logging.get_verbosity(), hub_logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    hub_logging.set_verbosity(logging.ERROR)  # it would report every retry
    try:
        config: dict[str, Any] = AutoConfig.from_pretrained(model).to_dict()
    except (OSError, ValueError, KeyError, RuntimeError) as problem:
        reason = next(iter(str(problem).splitlines()), "") or type(problem).__name__
        raise HeatError(_no_model(model, f"no such path; the hub: {reason[:_SHOWN].rstrip('.')}")) from None
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
    return config


def _no_model(model: str, reason: str) -> str:
    return describe(
        f"model {model}", "not found", got=reason,
        expected=f"a folder with config.json, a config.json, {', '.join(SIZES)}, or a model on the Hugging Face hub",
        remedy="Correct the name, or fetch the config.json and give its path.",
    )  # fmt: skip
