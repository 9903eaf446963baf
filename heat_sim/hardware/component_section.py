"""The components of a range file: what each level and the compute units are made of."""

from __future__ import annotations

from heat_sim.hardware.components import Dram, Mac, Register, Sram, Storage
from heat_sim.specs import ArchitectureSpec
from heat_sim.specs.cursor import Cursor, suggest

_KEYS = {"sram": ("banks",), "register": ("banks",), "dram": ("type",), "mac": ("multiplier", "accumulator")}
_REQUIRED = {"dram": ("type",), "mac": ("multiplier", "accumulator")}


def read_components(
    section: Cursor, spec: ArchitectureSpec
) -> tuple[dict[str, Storage | Mac], dict[str, Cursor]]:  # fmt: skip
    """Return what each component is made of, and where the file says so; refusals are recorded.

    Args:
        section: A table with one entry per storage level, and one for the compute units.
        spec: The machine.

    >>> from heat_sim.specs import load_architecture
    >>> from heat_sim.specs.yaml_nodes import parse_yaml
    >>> spec = load_architecture(["arch_specs/simba_l/arch.yaml", "arch_specs/simba_l/ert.yaml"])
    >>> node, problems = parse_yaml("{GlobalBuffer: {kind: sram, banks: 4}}", source="demo")
    >>> parts, _ = read_components(Cursor(node=node, name="components", source="demo", problems=problems), spec)
    >>> parts["GlobalBuffer"], len(problems)
    (Sram(banks=4), 6)
    """
    compute = spec.architecture.compute_name
    levels = [level.name for level in spec.architecture.levels if not level.is_virtual]
    places = section.table((*levels, compute), required=(*levels, compute))
    parts: dict[str, Storage | Mac] = {}
    for name, at in places.items():
        kinds = ("mac",) if name == compute else ("sram", "register", "dram")
        part = _component(at, kinds)
        if part is not None:
            parts[name] = part
        shared = spec.components[name].attributes.get("cluster_size", 1) if name in spec.components else 1
        if shared != 1:
            at.refuse("a row that instances share has no cost per instance", got=f"cluster_size {shared}",
                      expected="rows of their own", remedy="Give each instance its row.")  # fmt: skip
    return parts, places


def _component(at: Cursor, kinds: tuple[str, ...]) -> Storage | Mac | None:
    if at.node.kind != "table":
        at.table()
        return None
    kind = at.peek("kind")
    if kind not in kinds:
        at.refuse("not a kind that it can be", got=kind or "no kind", expected=" or ".join(kinds),
                  remedy=f"Write kind: {kinds[0]}, for example.{suggest(kind, kinds)}")  # fmt: skip
        return None
    keys = at.table(("kind", *_KEYS[kind]), required=_REQUIRED.get(kind, ()))
    if not set(_REQUIRED.get(kind, ())) <= set(keys):
        return None
    if kind == "dram":
        word = keys["type"].word()
        return None if word is None else Dram(type=word)
    if kind == "mac":
        multiplier, accumulator = (keys[key].integer(minimum=1) for key in _REQUIRED["mac"])
        if multiplier is None or accumulator is None:
            return None
        return Mac(multiplier_bits=multiplier, accumulator_bits=accumulator)
    banks = keys["banks"].integer(minimum=1) if "banks" in keys else 1
    if banks is None:
        return None
    return Sram(banks=banks) if kind == "sram" else Register(banks=banks)
