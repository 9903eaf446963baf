"""The estimated loss of a search, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass

from heat_sim.cli.sites import LossSite, SuperNetSite
from heat_sim.cli.subject import Subject
from heat_sim.codesign.estimate import AdditiveEstimate, search_estimate
from heat_sim.codesign.matrix_errors import SquaredErrors


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoss:
    """An estimate, and the errors of matrices that it asks for, so that others may work them out.

    Attributes:
        estimate: Estimated loss of a design.
        errors: Of matrices; None if the estimate needs none.
        of_errors: What they depend on; None likewise.
    """

    estimate: AdditiveEstimate
    errors: SquaredErrors | None = None
    of_errors: LossSite | None = None


def open_loss(subject: Subject, *, estimate: str) -> OpenLoss:
    """Return the estimated loss of the designs of a subject.

    Args:
        subject: The network, and where the estimated loss comes from.
        estimate: Its name.

    >>> open_loss(prepare_subject(plan, add_bar=add_bar), estimate=plan.estimate).estimate(design)  # doctest: +SKIP
    0.113
    """
    site = subject.site
    if isinstance(site, SuperNetSite):
        return OpenLoss(estimate=site.estimate)
    errors = site.open()
    return OpenLoss(
        estimate=search_estimate(estimate, errors=errors, groups=subject.groups), errors=errors, of_errors=site
    )
