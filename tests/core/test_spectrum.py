"""The measured place of a rule on the spectrum."""

import jax
import jax.numpy as jnp
import pytest
from core import toys

import mbdl
from mbdl.core.spectrum import Component
from mbdl.networks import MLP, NetworkRule

NETWORK = toys.Dense.make(jax.random.key(0))


def descent():
    return toys.Descent(toys.matrix())


def proximal():
    return toys.Proximal(toys.matrix(), toys.Shrink(0.01))


def frozen_prior():
    return mbdl.freeze(mbdl.substitute(proximal(), lambda r: r.prox, NETWORK), lambda r: r.prox)


CASES = {
    "model-based": (descent(), (18, 0, 0, 0), ()),
    "learn": (mbdl.learn(descent(), lambda r: (r.ridge, r.A)), (5, 13, 0, 0), ("learned optimisation",)),
    "unfold only": (mbdl.unfold(descent(), 3), (18, 0, 0, 0), ()),
    "unfold": (mbdl.unfold(descent(), 3, untie=lambda r: r.ridge), (17, 3, 0, 0), ("deep unfolding",)),
    "learn and unfold it": (
        mbdl.unfold(mbdl.learn(descent(), lambda r: r.ridge), 3, untie=lambda r: r.ridge),
        (17, 3, 0, 0),
        ("deep unfolding",),
    ),
    "learn one and unfold another": (
        mbdl.unfold(mbdl.learn(descent(), lambda r: r.ridge), 3, untie=lambda r: r.step_size),
        (16, 4, 0, 0),
        ("learned optimisation", "deep unfolding"),
    ),
    "substitute": (mbdl.substitute(proximal(), lambda r: r.prox, NETWORK), (13, 24, 0, 0), ("DNN-aided",)),
    "substitute in every layer": (
        mbdl.unfold(mbdl.substitute(proximal(), lambda r: r.prox, NETWORK), 3, untie=lambda r: r.prox),
        (13, 72, 0, 0),
        ("deep unfolding", "DNN-aided"),
    ),
    "augment": (mbdl.augment(descent(), NETWORK), (18, 25, 0, 0), ("deep unfolding",)),
    "augmented inside": (toys.Proximal(toys.matrix(), mbdl.augment(descent(), NETWORK)), (31, 25, 0, 0), None),
    "frozen": (frozen_prior(), (13, 0, 24, 0), ("DNN-aided",)),
    "partly frozen": (
        mbdl.freeze(mbdl.substitute(proximal(), lambda r: r.prox, NETWORK), lambda r: r.prox.first),
        (13, 12, 12, 0),
        ("DNN-aided",),
    ),
    "tuned": (mbdl.tuned(descent(), lambda r: (r.ridge, r.step_size)), (16, 0, 0, 2), ()),
    "tuned, then learned": (
        mbdl.learn(mbdl.tuned(descent(), lambda r: (r.ridge, r.step_size)), lambda r: r.ridge),
        (16, 1, 0, 1),
        ("learned optimisation",),
    ),
    "black box": (NetworkRule(MLP(2, 2, 3, 1, key=jax.random.key(0))), (0, 9 + 8, 0, 0), ("black box",)),
    "a network rule inside": (
        toys.Proximal(toys.matrix(), NetworkRule(MLP(3, 3, 2, 1, key=jax.random.key(0)))),
        (13, 17, 0, 0),
        ("black box",),
    ),
    "covariance": (
        mbdl.learn({"P": jnp.eye(3), "F": jnp.eye(3)}, lambda m: m["P"], constraint=mbdl.positive_definite),
        (9, 6, 0, 0),
        ("learned optimisation",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_counts_and_strategies(case):
    rule, counts, strategies = CASES[case]
    measured = mbdl.spectrum(rule)
    assert (measured.known, measured.learned, measured.frozen, measured.tuned) == counts
    assert measured.learned == mbdl.core.count(mbdl.core.partition(rule)[0])
    if strategies is not None:
        assert measured.strategies == strategies


def test_a_solver_inside_a_rule_is_unfolded_too():
    class Holder(mbdl.DecisionRule):
        solver: toys.Descent

        def decide(self, x):
            return self.solver(x)

    assert mbdl.spectrum(Holder(mbdl.augment(descent(), NETWORK))).strategies == ("deep unfolding",)


def test_components():
    rule = mbdl.learn(mbdl.substitute(proximal(), lambda r: r.prox, NETWORK), lambda r: r.step_size)
    rule = mbdl.tuned(mbdl.freeze(rule, lambda r: r.prox.second), lambda r: r.A)
    assert set(mbdl.spectrum(rule).components) == {
        Component("A", tuned=12),
        Component("prox", learned=12, frozen=12),
        Component("step_size", learned=1),
    }


def test_what_is_printed():
    rule = mbdl.tuned(frozen_prior(), lambda r: r.step_size)
    measured = mbdl.spectrum(rule)
    line = "Proximal: DNN-aided (12 known, 0 learned, 24 learned but frozen, 1 tuned)"
    assert str(measured) == line
    assert str(mbdl.spectrum(descent())) == "Descent: model-based (18 known, 0 learned)"
    table = measured.table().splitlines()
    assert table[0] == line
    assert table[1].split() == ["component", "known", "learned", "frozen", "tuned"]
    assert table[-1].split() == ["total", "12", "0", "24", "1"]
    assert len({len(row) for row in table[1:]}) == 1
    assert measured.markdown().splitlines() == [
        "| component | known | learned | frozen | tuned |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| A | 12 | 0 | 0 | 0 |",
        "| prox | 0 | 0 | 24 | 0 |",
        "| step_size | 0 | 0 | 0 | 1 |",
        "| total | 12 | 0 | 24 | 1 |",
    ]
    large = mbdl.spectrum({"w": jnp.zeros(12345)})
    assert str(large) == "dict: model-based (12,345 known, 0 learned)"
