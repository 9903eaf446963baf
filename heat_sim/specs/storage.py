"""Attributes of a storage, as Timeloop names them, turned into a `StorageLevel` without energies."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from heat_sim.architecture import StorageLevel
from heat_sim.specs.cursor import MAX_INTEGER, Cursor, suggest
from heat_sim.specs.expressions import Value

STORAGE_CLASSES = ("DRAM", "SRAM", "regfile", "smartbuffer", "storage")
COMPUTE_CLASSES = ("mac", "compute")

READ = (
    "datawidth", "word_bits", "width", "block_size", "cluster_size", "depth", "entries", "sizeKB", "multiple_buffering",
    "read_bandwidth", "write_bandwidth", "shared_bandwidth", "network_fill_latency", "network_drain_latency",
    "energy_per_hop", "router_energy", "meshX", "meshY", "technology", "global_cycle_seconds", "min_utilization",
)  # fmt: skip
"""Attributes that mean something to the model."""

WITHOUT_EFFECT = ("n_banks", "has_power_gating", "reduction_supported", "allow_overbooking", "latency")
"""Attributes that users write and Timeloop's counts do not depend on."""

REFUSED = {
    "n_words": "Write block_size.",
    "memory_width": "Write width.",
    "data_storage_width": "Write width.",
    "memory_depth": "Write depth.",
    "data_storage_depth": "Write depth.",
    "word_width": "Write datawidth.",
    "bandwidth": "Write read_bandwidth and write_bandwidth, half of it each.",
    "instances": "Write a mesh.",
    "vector_access_energy": "Give energies in the ERT.",
    "per_dataspace_bandwidth_consumption_scale": "The model counts every tensor alike; delete it.",
}
"""Attributes that change Timeloop's results and are not read, with what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One evaluated attribute.

    Attributes:
        value: What it says.
        at: Where it stands.
    """

    value: Value
    at: Cursor


Attributes = Mapping[str, Attribute]


def is_storage(class_name: str) -> bool:
    """Return whether the class is a storage: it contains one of `STORAGE_CLASSES`.

    >>> is_storage("smartbuffer_SRAM"), is_storage("dram")
    (True, False)
    """
    return any(word in class_name for word in STORAGE_CLASSES)


def is_compute(class_name: str) -> bool:
    """Return whether the class is a compute unit: it contains one of `COMPUTE_CLASSES`.

    >>> is_compute("intmac"), is_compute("intadder")
    (True, False)
    """
    return any(word in class_name for word in COMPUTE_CLASSES)


def check_names(attributes: Mapping[str, Cursor]) -> tuple[str, ...]:
    """Return warnings for free attributes that look like misspelt ones; refuses those in `REFUSED`.

    >>> from heat_sim.specs.yaml_nodes import parse_yaml
    >>> node, problems = parse_yaml("{n_words: 4, dept: 8, colour: 1}", source="demo")
    >>> top = Cursor(node=node, name="GLB", source="demo", problems=problems)
    >>> check_names(top.table())
    ('demo:1 GLB.dept: free attribute without effect. Did you mean depth?',)
    >>> print(problems[0])
    demo:1 GLB.n_words: attribute is not read (got 4, expected a supported attribute). Write block_size.
    """
    warnings: list[str] = []
    for name, at in attributes.items():
        if name in REFUSED:
            at.refuse("attribute is not read", expected="a supported attribute", remedy=REFUSED[name])
        elif name not in (*READ, *WITHOUT_EFFECT) and (meant := suggest(name, (*READ, *REFUSED))):
            warnings.append(f"{at.where}: free attribute without effect.{meant}")
    return tuple(warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageDraft:
    """A storage level before its energies are known.

    Attributes:
        level: The level; energies zero, mesh below it as known so far.
        cluster_size: Instances that share one physical row, and so the energy of an access.
        at: Where it stands.
    """

    level: StorageLevel
    cluster_size: int
    at: Cursor


def draft_storage(name: str, *, class_name: str, attributes: Attributes, at: Cursor) -> StorageDraft:
    """Return the storage level that the attributes describe.

    Args:
        name: Its name.
        class_name: Its Timeloop class.
        attributes: What is written on it or inherited.
        at: Where it stands, for messages.

    >>> from heat_sim.specs.yaml_nodes import parse_yaml
    >>> node, problems = parse_yaml("{datawidth: 16, width: 64, depth: 100}", source="demo")
    >>> top = Cursor(node=node, name="GLB", source="demo", problems=problems)
    >>> written = {key: Attribute(value=at.integer(minimum=1), at=at) for key, at in top.table().items()}
    >>> level = draft_storage("GLB", class_name="SRAM", attributes=written, at=top).level
    >>> level.words_per_access, level.capacity_words
    (4, 400)
    """
    dram = "DRAM" in class_name or ("technology" in attributes and attributes["technology"].value == "DRAM")
    bits_key = "datawidth" if "datawidth" in attributes else "word_bits"
    word_bits = _integer(attributes, bits_key, default=16)
    words, cluster = _row(attributes, word_bits, at)
    if dram and cluster != 1:
        at.refuse("a DRAM row is not shared", got=f"cluster_size {cluster}", expected="1",
                  remedy="Correct width or cluster_size.")  # fmt: skip
    capacity = _capacity(attributes, word_bits, words)
    if capacity is None and not dram and not {"depth", "entries", "sizeKB"} & set(attributes):
        at.refuse("storage without a size", got=f"class {class_name} without depth, entries or sizeKB",
                  expected="a size, unless it is a DRAM", remedy="Add depth (rows) or entries (words).")  # fmt: skip
    level = StorageLevel(
        name=name,
        capacity_words=capacity,
        word_bits=word_bits,
        words_per_access=words,
        read_bandwidth_words_per_cycle=_bandwidth(attributes, "read_bandwidth"),
        write_bandwidth_words_per_cycle=_bandwidth(attributes, "write_bandwidth"),
        shared_bandwidth_words_per_cycle=_bandwidth(attributes, "shared_bandwidth"),
        multiple_buffering=_number(attributes, "multiple_buffering", default=1.0, minimum=1.0),
        min_utilization=_number(attributes, "min_utilization", default=0.0, minimum=0.0, maximum=1.0),
        network_fill_latency_cycles=_integer(attributes, "network_fill_latency", default=0, minimum=0),
        network_drain_latency_cycles=_integer(attributes, "network_drain_latency", default=0, minimum=0),
        hop_energy_pj=_number(attributes, "energy_per_hop", default=0.0, minimum=0.0),
        router_energy_pj=_number(attributes, "router_energy", default=0.0, minimum=0.0),
        drains_in_place=not dram,
    )
    return StorageDraft(level=level, cluster_size=cluster, at=at)


def _row(attributes: Attributes, word_bits: int, at: Cursor) -> tuple[int, int]:
    """Return words per access and instances per row; width = block_size * datawidth * cluster_size."""
    cluster = _integer(attributes, "cluster_size", default=1)
    words = _integer(attributes, "block_size", default=1)
    if "width" not in attributes:
        return words, cluster
    width = _integer(attributes, "width", default=word_bits * words * cluster)
    if "block_size" not in attributes:
        words = max(1, width // (word_bits * cluster))
    if width != words * word_bits * cluster:
        attributes["width"].at.refuse(
            "a row does not hold whole words", got=f"width {width}",
            expected=f"block_size * datawidth * cluster_size = {words} * {word_bits} * {cluster}",
            remedy=f"Correct one of them for {at.name}.",
        )  # fmt: skip
    return words, cluster


def _capacity(attributes: Attributes, word_bits: int, words_per_access: int) -> int | None:
    if "sizeKB" in attributes:
        size = attributes["sizeKB"]
        if other := [key for key in ("depth", "entries") if key in attributes]:
            size.at.refuse("the size is given twice", got=f"sizeKB and {' and '.join(other)}", expected="one of them",
                           remedy="Delete the others.")  # fmt: skip
        return max(1, _integer(attributes, "sizeKB", default=1) * 8192 // word_bits)
    if "entries" in attributes:
        return _integer(attributes, "entries", default=1)
    if "depth" in attributes:
        return _integer(attributes, "depth", default=1) * words_per_access
    return None


def _integer(attributes: Attributes, key: str, *, default: int, minimum: int = 1) -> int:
    if key not in attributes:
        return default
    value, at = attributes[key].value, attributes[key].at
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= MAX_INTEGER:
        at.refuse(
            "not an integer in range",
            got=value,
            expected=f"an integer >= {minimum}",
            remedy="Write // or int(..) where it is computed." if isinstance(value, float) else "Correct it.",
        )
        return max(default, minimum)
    return value


def _number(
    attributes: Attributes, key: str, *, default: float, minimum: float, maximum: float = sys.float_info.max
) -> float:
    if key not in attributes:
        return default
    value, at = attributes[key].value, attributes[key].at
    if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
        at.refuse("not a number in range", got=value, remedy="Correct it.",
                  expected=f"a number >= {minimum:g}{f' and <= {maximum:g}' if maximum == 1 else ''}")  # fmt: skip
        return default
    return float(value)


def _bandwidth(attributes: Attributes, key: str) -> float | None:
    """Words per cycle of one instance; null and infinity are unlimited."""
    if key not in attributes or attributes[key].value in (None, math.inf):
        return None
    value, at = attributes[key].value, attributes[key].at
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        at.refuse("not a bandwidth", got=value, expected="words per cycle > 0", remedy="Delete it if unlimited.")
        return None
    return float(value)
