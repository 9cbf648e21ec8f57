"""The studies there are, each loaded when it is asked for."""

import importlib

from mbdl.studies.study import Study

_STUDIES = {
    "super-resolution": "mbdl.studies.super_resolution.study",
    "super-resolution-choice": "mbdl.studies.super_resolution.choice",
    "tracking-linear": "mbdl.studies.tracking.linear",
    "tracking-lorenz": "mbdl.studies.tracking.lorenz",
    "tracking-hybrid": "mbdl.studies.tracking.hybrid",
    "tracking-own": "mbdl.studies.tracking.own",
    "lqr": "mbdl.studies.control.lqr",
    "constrained-lqr": "mbdl.studies.control.constrained_lqr",
    "supply-chain": "mbdl.studies.control.supply_chain",
    "portfolio": "mbdl.studies.control.portfolio",
    "vehicle": "mbdl.studies.control.vehicle",
    "stochastic-control": "mbdl.studies.control.stochastic_control",
}


def names() -> tuple[str, ...]:
    """The names of the studies, in the order in which they are listed."""
    return tuple(_STUDIES)


def study(name: str) -> Study:
    """The study of a name.

    Args:
        name: one of `names()`.

    Returns:
        The study.

    Raises:
        ValueError: if there is none of that name; the message lists those there are.

    Example:
        >>> from mbdl import studies
        >>> studies.study("super-resolution").name
        'super-resolution'
    """
    if name not in _STUDIES:
        raise ValueError(f"there is no study {name!r}; there are {', '.join(_STUDIES)}")
    return importlib.import_module(_STUDIES[name]).STUDY
