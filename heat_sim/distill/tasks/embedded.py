"""The embedded task, fetched once by package name."""

from __future__ import annotations

from pathlib import Path

from heat_sim.distill.sources import MOVIE_SNIPPETS, fetch
from heat_sim.distill.tasks.text import TextTask, make_task

EMBEDDED = "movie-snippets"


def load_embedded_task(*, cache: Path | None = None) -> TextTask:
    """Return the embedded task: is a sentence of a film review positive or negative?

    The label is the sign of the mean of 15 to 29 human ratings; rows with mean exactly 0 are left out
    (Hutto and Gilbert 2014, the film snippets). 10,566 rows: 7,566 train, 1,000 dev, 2,000 test.

    Raises:
        HeatError: The data is not in the cache and cannot be downloaded.

    >>> load_embedded_task().class_names  # doctest: +SKIP
    ('negative', 'positive')
    """
    path = fetch(MOVIE_SNIPPETS, cache=cache) / MOVIE_SNIPPETS.members[0].name
    rows = []
    for line in path.read_bytes().decode("latin-1").split("\r\n"):
        if line:
            _, mean, text = line.split("\t")
            if float(mean) != 0:
                rows.append((text, "positive" if float(mean) > 0 else "negative"))
    return make_task(EMBEDDED, rows)
