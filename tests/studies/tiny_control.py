"""The studies of control, so small that what takes time is their compilation."""

SIZES = {"test_runs": 3, "validation_runs": 2, "network_steps": 2, "width": 3}
TINY = {
    "lqr": {**SIZES, "steps": 5, "sgd_steps": 2, "few_steps": 2, "long_steps": 5, "long_runs": 3},
    "constrained-lqr": {
        **SIZES,
        "steps": 5,
        "sgd_steps": 2,
        "adam_steps": 2,
        "long_steps": 5,
        "long_runs": 3,
        "plan": 2,
        "fits": 1,
    },
    "supply-chain": {**SIZES, "steps": 3, "sgd_steps": 2, "adam_steps": 2, "tuning_runs": 2},
    "portfolio": {**SIZES, "months": 3, "batch": 2, "sgd_steps": 2, "tuning_runs": 2},
    "vehicle": {**SIZES, "steps": 5, "sgd_steps": 2, "adam_steps": 2, "tuning_runs": 2, "plan": 2},
    "stochastic-control": {
        **SIZES,
        "steps": 5,
        "levels": "0",
        "batch": 2,
        "few_steps": 2,
        "estimation_steps": 2,
        "estimation_runs": 4,
        "pole_steps": 4,
        "pole_runs": 3,
        "pole_trainings": 1,
        "tuning_runs": 2,
        "plan": 3,
        "short_plan": 2,
        "planner_steps": 2,
        "recorded_runs": 4,
        "curve_runs": "2,3",
        "curve_angles": "0,20",
        "curve_stretches": "1,2",
    },
}


def assignments(settings):
    """The settings as the command line takes them."""
    return [f"{name}={value}" for name, value in settings.items()]
