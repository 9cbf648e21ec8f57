"""`compare` against NumPy, and the table it makes."""

import io
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.toys import Filter, Shrinking, affine, pairs

from mbdl.core import DecisionRule, unfold
from mbdl.training import compare, metrics
from mbdl.training.comparison import Comparison, Row

XS, TARGETS = pairs(150)


class Rooted(DecisionRule):
    """The square root of the sum, which is NaN where that is negative."""

    offset: jax.Array

    def decide(self, x):
        return jnp.sqrt(jnp.sum(x) + self.offset) * jnp.ones_like(x)


def numbers(decisions, targets=TARGETS):
    values = np.sum((decisions - targets) ** 2, axis=1) / np.sum(targets**2, axis=1)
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values)), values


RULES = {"identity": affine(), "none": lambda x: 0 * x, "iterated": unfold(Shrinking(0.3, iterations=9), 2)}
DECISIONS = {"identity": XS, "none": 0 * XS, "iterated": 0.51 * XS}


@pytest.fixture(scope="module")
def table():
    return compare(RULES, (XS, TARGETS), {"NMSE": metrics.nmse, "PSNR": metrics.psnr}, reference="none", time=False)


@pytest.mark.parametrize("name", list(RULES))
def test_means_errors_and_paired_differences_are_those_of_numpy(table, name):
    mean, error, values = numbers(DECISIONS[name])
    np.testing.assert_allclose(table.mean(name), (mean, error), rtol=1e-5)
    np.testing.assert_allclose(table.mean(name, "NMSE"), (mean, error), rtol=1e-5)
    pairs_ = values - numbers(DECISIONS["none"])[2]
    expected = (pairs_.mean(), pairs_.std(ddof=1) / np.sqrt(150))
    np.testing.assert_allclose(table.difference(name), expected, rtol=1e-4, atol=1e-7)
    psnr = -10 * np.log10(np.mean((DECISIONS[name] - TARGETS) ** 2, axis=1))
    np.testing.assert_allclose(table.mean(name, "PSNR")[0], psnr.mean(), rtol=1e-5)


def test_columns_are_of_equal_length_and_complete(table):
    columns = table.to_dict()
    assert {len(column) for column in columns.values()} == {3}
    assert columns["rule"] == ["identity", "none", "iterated"]
    assert columns["learned"] == [9, 0, 0]
    assert columns["known"] == [3, 0, 1]
    assert columns["strategy"] == ["learned optimisation", "–", "model-based"]
    assert columns["bad"] == [0, 0, 0]
    np.testing.assert_allclose(columns["NMSE"], [numbers(DECISIONS[name])[0] for name in RULES], rtol=1e-5)
    np.testing.assert_allclose(columns["NMSE_difference"][1], 0.0)
    np.testing.assert_allclose(columns["NMSE_difference_se"][0], table.difference("identity")[1])


def test_stacked_instances_and_instances_one_by_one_agree(table):
    listed = compare(RULES, (list(XS), list(TARGETS)), metrics.nmse, time=False)
    paired = compare(RULES, list(zip(XS, TARGETS, strict=True)), metrics.nmse, time=False)
    for name in RULES:
        np.testing.assert_allclose(listed.mean(name), table.mean(name), rtol=1e-6)
        assert paired.mean(name) == listed.mean(name)


def test_instances_of_differing_sizes():
    random = np.random.default_rng(0)
    xs = [random.normal(size=n).astype(np.float32) for n in (5, 9, 9, 12)]
    rule = Filter(jnp.array([0.0, 0.5, 0.0]))
    table = compare({"half": rule}, (xs, xs), [metrics.nmse], time=False)
    np.testing.assert_allclose(table.rows[0].values["nmse"], 0.25, rtol=1e-5)


def test_bad_instances_are_counted_left_out_and_told():
    xs, targets = np.array([[1.0], [-2.0], [4.0], [9.0]], np.float32), np.full((4, 1), 4.0, np.float32)
    rules = {"root": Rooted(0.0), "shifted": Rooted(3.0)}
    table = compare(rules, (xs, targets), [metrics.mse, metrics.psnr], reference="shifted", time=False)
    assert table.rows[0].bad.tolist() == [False, True, False, False]
    np.testing.assert_allclose(table.mean("root", "mse")[0], (9 + 4 + 1) / 3, rtol=1e-6)
    shifted = (4 - np.sqrt([4.0, 1.0, 7.0, 12.0])) ** 2
    np.testing.assert_allclose(table.mean("shifted", "mse")[0], shifted.mean(), rtol=1e-6)
    np.testing.assert_allclose(table.difference("root", "mse")[0], np.mean([9, 4, 1] - shifted[[0, 2, 3]]), rtol=1e-5)
    assert table.difference("shifted", "mse", "root")[0] == -table.difference("root", "mse")[0]
    assert table.to_dict()["bad"] == [1, 0]
    for text in (str(table), table.markdown()):
        assert "bad" in text.splitlines()[0]
        assert "means and differences leave them out" in text
    # A decision that is right to the last bit has an infinite PSNR, which is no number to average.
    exact = compare({"same": affine()}, (XS, XS), metrics.psnr, time=False)
    assert exact.rows[0].bad.all()
    assert math.isnan(exact.mean("same")[0])
    assert "–" in str(exact)


def test_a_metric_that_hides_a_bad_decision_does_not_hide_it_here():
    table = compare({"root": Rooted(0.0)}, (-np.ones((2, 1)), np.ones((2, 1))), {"zero": lambda s, t: 0.0}, time=False)
    assert table.rows[0].bad.all()


def test_time_is_the_median_of_single_calls():
    calls = []

    def rule(x):
        calls.append(x.shape)
        return x

    table = compare({"rule": rule, "module": affine()}, (XS[:2], TARGETS[:2]), metrics.nmse)
    assert set(calls) == {(3,)}
    assert len(calls) >= 2 + 1 + 3
    assert all(0 < row.seconds < 1 for row in table.rows)
    assert "time" in str(table)
    assert "batch size 1, after compilation" in str(table)
    assert "time" not in str(compare({"rule": rule}, (XS, TARGETS), metrics.nmse, time=False)).splitlines()[0]


def hand_made():
    good = np.zeros(2, bool)
    return Comparison(
        (
            Row("tuned", {"psnr": np.array([29.0, 30.0])}, good, "model-based", 3, 0, 0, 1, 1.5e-3),
            Row("a|b", {"psnr": np.array([29.5, 31.0])}, good, "deep unfolding", 3, 12345, 0, 0, 2.0e-6),
        ),
        ("psnr",),
        "tuned",
        2,
    )


def test_text_and_markdown():
    text = [
        "rule    psnr ± se  − tuned ± se  learned  tuned     time  strategy",
        "──────────────────────────────────────────────────────────────────────────",
        "tuned  29.50 ± 0.50                     0      1   1.5 ms  model-based",
        "a|b    30.25 ± 0.75  +0.75 ± 0.25  12,345      0     2 µs  deep unfolding",
    ]
    lines = str(hand_made()).splitlines()
    assert [line.split() for line in lines[:4] if "─" not in line] == [line.split() for line in text if "─" not in line]
    assert len({len(line) for line in lines[:2]}) <= 2
    assert lines[4:] == [
        "Mean ± standard error over 2 instances.",
        "Differences to tuned are paired by instance.",
        "Time: median of one decision, batch size 1, after compilation.",
    ]
    markdown = hand_made().markdown().splitlines()
    assert markdown[0] == "| rule | psnr ± se | − tuned ± se | learned | tuned | time | strategy |"
    assert markdown[1] == "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    assert markdown[3] == r"| a\|b | 30.25 ± 0.75 | +0.75 ± 0.25 | 12,345 | 0 | 2 µs | deep unfolding |"


def test_rich_draws_it_and_plain_output_is_plain(capsys):
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=120).print(hand_made())
    assert "30.25 ± 0.75" in out.getvalue()
    assert "┃" in out.getvalue()
    hand_made().show()
    assert capsys.readouterr().out == f"{hand_made()}\n"


def test_a_terminal_gets_the_drawn_table(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    hand_made().show()
    assert "┃" in terminal.getvalue()


def test_one_instance_has_no_standard_error():
    table = compare({"none": lambda x: 0 * x}, (XS[:1], TARGETS[:1]), metrics.nmse, time=False)
    assert table.mean("none")[0] == 1.0
    assert math.isnan(table.mean("none")[1])
    assert "over 1 instance." in str(table)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({}, (XS, TARGETS), metrics.nmse), ValueError, "at least one rule"),
        (({"a": 3}, (XS, TARGETS), metrics.nmse), TypeError, "not callable"),
        ((RULES, (XS, TARGETS[:3]), metrics.nmse), ValueError, "one leading axis"),
        ((RULES, ([*XS], [*TARGETS[:3]]), metrics.nmse), ValueError, "as many targets as contexts"),
        ((RULES, ([], []), metrics.nmse), ValueError, "at least one"),
        ((RULES, XS, metrics.nmse), ValueError, r"data = \(xs, targets\)"),
        ((RULES, [XS], metrics.nmse), ValueError, "list of pairs"),
        ((RULES, (XS, TARGETS), "nmse"), TypeError, "is not a function"),
        ((RULES, (XS, TARGETS), []), ValueError, "at least one metric"),
        ((RULES, (XS, TARGETS), [metrics.nmse, metrics.nmse]), ValueError, "same name"),
        ((RULES, (XS, TARGETS), {"all": lambda s, t: s}), ValueError, "returns a scalar"),
    ],
)
def test_what_is_given_wrong_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        compare(*arguments, time=False)


def test_names_that_are_not_there_are_errors(table):
    with pytest.raises(ValueError, match="reference 'other' is not among"):
        compare(RULES, (XS, TARGETS), metrics.nmse, reference="other")
    with pytest.raises(ValueError, match="no rule 'other'"):
        table.mean("other")
    with pytest.raises(ValueError, match="needs a reference"):
        compare({"identity": affine()}, (XS, TARGETS), metrics.nmse, time=False).difference("identity")


def test_a_learned_rule_is_placed_on_the_spectrum():
    rule = unfold(Shrinking(0.3, iterations=9), 4, untie=lambda r: r.step_size)
    row = compare({"unfolded": rule}, (XS, TARGETS), metrics.nmse, time=False).rows[0]
    assert (row.learned, row.known, row.strategy) == (4, 0, "deep unfolding")
