"""Data sets on the Hugging Face hub, through the package `datasets` (extra `hub`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heat_sim.distill.tasks.tables import Table
from heat_sim.distill.tasks.task import Split
from heat_sim.errors import HeatError, MissingDependencyError, SpecError, describe

PREFIX = "hf:"

_NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",), "dev": ("validation", "dev", "validation_matched"), "test": ("test", "test_matched"),
}  # fmt: skip


def hub_tables(source: str) -> Table | Mapping[Split, Table]:
    """Return the splits of a data set on the hub, or of the copy that was fetched before; a lone train as one table.

    `hf:NAME`, `hf:NAME/CONFIG`, `hf:OWNER/NAME` or `hf:OWNER/NAME/CONFIG`; of two parts the second is a configuration
    only if the hub has no such data set of that owner.

    Raises:
        MissingDependencyError: The package `datasets` is not installed.
        HeatError: The hub has no such data set, or cannot be asked.

    >>> list(hub_tables("hf:nyu-mll/glue/sst2"))  # doctest: +SKIP
    ['train', 'dev', 'test']
    """
    parts = source.removeprefix(PREFIX).split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise SpecError(
            describe(source, "not the name of a data set", got=source, expected="hf:NAME or hf:NAME/CONFIG",
                     remedy="For example hf:nyu-mll/glue/sst2.")
        )  # fmt: skip
    data = _load(source, parts)
    found = {split: next((data[name] for name in names if name in data), None) for split, names in _NAMES.items()}
    tables = {split: _table(f"{source}, {split}", rows) for split, rows in found.items() if rows is not None}
    return tables["train"] if list(tables) == ["train"] else tables


def _load(source: str, parts: list[str]) -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(
            describe(source, "cannot be fetched", got="no package datasets", expected="the package datasets",
                     remedy='Run: pip install "heat_sim[hub]"')
        ) from None  # fmt: skip

    tries: tuple[tuple[str, str | None], ...] = {
        1: ((parts[0], None),),
        2: (("/".join(parts), None), (parts[0], parts[-1])),
        3: (("/".join(parts[:2]), parts[-1]),),
    }[len(parts)]
    reasons = []
    for name, config in tries:
        try:
            return datasets.load_dataset(name, config)
        except (OSError, ValueError, RuntimeError, KeyError) as problem:
            reasons.append(next(iter(str(problem).splitlines()), "") or type(problem).__name__)
    raise HeatError(
        describe(source, "cannot be fetched", got="; ".join(reason[:200] for reason in reasons),
                 expected="a data set on the hub, or fetched before",
                 remedy="Check the name and the network (HF_HUB_OFFLINE forbids it), or name a local file.")
    )  # fmt: skip


def _table(where: str, rows: Any) -> Table:
    """Return a split; images stay the bytes of their files."""
    import datasets

    classes = {}
    for name, feature in dict(rows.features).items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
        inner = getattr(feature, "feature", feature)
        if names := getattr(inner, "names", None):
            classes[name] = tuple(names)
    columns = tuple(rows.column_names)
    values = rows.to_dict()
    records = [
        (f"{where}, row {number}", dict(zip(columns, row, strict=True)))
        for number, row in enumerate(zip(*(values[name] for name in columns), strict=True), start=1)
    ]
    return Table(where=where, columns=columns, rows=records, classes=classes)
