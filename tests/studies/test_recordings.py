"""A user's recordings: what is read from each kind of file, and what is said of a bad one; the study on them."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from studies.tiny_tracking import assignments
from typer.testing import CliRunner

from mbdl import report, studies, tracking
from mbdl.cli.main import app
from mbdl.studies.tracking.own_settings import OwnSettings, model_of, splits
from mbdl.studies.tracking.recordings import read_recordings

CSV = """sequence,duration,y1,y2,s1
a,1,1.0,2.0,0.5
a,2,,3.0,
a,1,4,nan,1.5
b,1,5,6,2
"""


def test_a_table_is_read_with_its_gaps(tmp_path):
    path = tmp_path / "recordings.csv"
    path.write_text(CSV, encoding="utf-8")
    found = read_recordings(path)
    assert found.observations.shape == (2, 3, 2)
    np.testing.assert_array_equal(found.present[0], [[True, True], [False, True], [True, False]])
    np.testing.assert_array_equal(found.present[1], [[True, True], [False, False], [False, False]])
    np.testing.assert_array_equal(found.observations[0], [[1, 2], [0, 3], [4, 0]])
    np.testing.assert_array_equal(found.states[0, :, 0], [0.5, np.nan, 1.5])
    np.testing.assert_array_equal(found.duration[0], [1, 2, 1])


def test_arrays_are_read_and_cut(tmp_path):
    path = tmp_path / "recordings.npz"
    observations = np.arange(20.0).reshape(10, 2)
    present = np.arange(10) != 4
    np.savez(path, observations=observations, present=present, duration=np.full(10, 0.5))
    found = read_recordings(path).cut(3)
    assert found.observations.shape == (3, 3, 2)
    np.testing.assert_array_equal(found.observations[1, 0], [6, 7])
    assert not found.present[1, 1].any()
    assert found.part(slice(1, None)).runs == 2


def test_parquet_is_read_like_a_table(tmp_path):
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "recordings.parquet"
    parquet.write_table(pyarrow.table({"y1": [1.0, None, 3.0], "s1": [0.0, 1.0, 2.0]}), path)
    found = read_recordings(path)
    np.testing.assert_array_equal(found.observations[0, :, 0], [1, 0, 3])
    np.testing.assert_array_equal(found.present[0, :, 0], [True, False, True])
    np.testing.assert_array_equal(found.states[0, :, 0], [0, 1, 2])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "recordings.parquet"
    path.write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow: pip install 'mbdl\[parquet\]'"):
        read_recordings(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has a column 'a'. Columns of a table"),
        ("s1\n1\n", "has no column y1"),
        ("y1\n", "has no rows"),
        ("y1,y2\n1\n", "line 2 has 1 fields and the header 2"),
        ("y1\nfast\n", "column 'y1', row 1 is 'fast', which is no number"),
        ("y1\n\nnan\n", "hold no observation"),
        ("y1,u1\n1,\n", "1 values of control that are not finite"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_recordings(path)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_recordings(tmp_path / "none.csv")
    other = tmp_path / "recordings.txt"
    other.write_text("")
    with pytest.raises(ValueError, match=r"does not end in .csv, .npz or .parquet"):
        read_recordings(other)
    path = tmp_path / "bad.npz"
    np.savez(path, ys=np.zeros((3, 1)))
    with pytest.raises(ValueError, match="has no array 'observations'"):
        read_recordings(path)
    np.savez(path, observations=np.zeros((3, 1)), states=np.zeros((4, 1)))
    with pytest.raises(ValueError, match="differ in runs or times"):
        read_recordings(path)
    np.savez(path, observations=np.zeros(3))
    with pytest.raises(ValueError, match=r"observations has shape \(3,\)"):
        read_recordings(path)


@pytest.fixture
def recording(tmp_path):
    """One sequence of a point that moves on a line, with gaps; its states are known."""
    generator = np.random.default_rng(0)
    position = np.cumsum(np.cumsum(generator.normal(size=60)) * 0.1)
    velocity = np.gradient(position)
    observations = (position + generator.normal(size=60))[:, None]
    observations[::7] = np.nan
    path = tmp_path / "line.npz"
    np.savez(path, observations=observations, states=np.stack([position, velocity], 1))
    return path


BUDGET = {"few_steps": 3, "network_steps": 3, "batch": 2}


def test_the_study_of_ones_own_recordings(recording, tmp_path):
    given = [f"data={recording}", *assignments(BUDGET)]
    run = studies.prepare(studies.study("tracking-own"), out=tmp_path / "own", assignments=given)
    results = studies.execute(run)
    report.render(tmp_path / "own")
    table = results["tables"][0]
    assert [row["name"] for row in table["rows"]] == ["filter", "filter-learned", "kalmannet"]
    for row in table["rows"]:
        assert np.isfinite(row["cells"]["state"]["value"])
        assert np.isfinite(row["cells"]["prediction"]["value"])
    assert "likelihood" not in table["rows"][2]["cells"]
    assert json.loads((tmp_path / "own" / "results.json").read_text())["settings"]["data"] == str(recording)


def test_without_states_it_learns_from_the_observations(recording, tmp_path):
    path = tmp_path / "blind.npz"
    with np.load(recording) as stored:
        np.savez(path, observations=stored["observations"])
    given = [f"data={path}", "model=random-walk", *assignments(BUDGET)]
    run = studies.prepare(studies.study("tracking-own"), out=tmp_path / "own", assignments=given)
    results = studies.execute(run)
    assert results["tables"][0]["columns"][0]["name"] == "prediction"
    assert "the observations alone" in results["statements"][1]


def test_a_model_of_ones_own_is_imported(recording, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from mbdl import tracking\n\n\ndef model():\n"
        "    return tracking.constant_velocity(1.0, q2=0.1, r2=1.0)\n\n\nnothing = 3\n",
        encoding="utf-8",
    )
    assert model_of(OwnSettings(data=str(recording), model=f"{file}:model")).state_size == 2
    for name, message in (
        (f"{file}:other", "has no 'other'"),
        (f"{file}:nothing", "is a int, not a state-space model"),
        ("gone.py:model", "there is no file gone.py"),
        ("fast", "there is no model 'fast'; there are constant-velocity"),
    ):
        with pytest.raises(ValueError, match=message):
            OwnSettings(data=str(recording), model=name)
    file.write_text(file.read_text().replace("constant_velocity", "constant_acceleration"))
    with pytest.raises(ValueError, match="has 3 states and the recordings 2"):
        OwnSettings(data=str(recording), model=f"{file}:model")


MINE = """
import equinox as eqx
import jax
import jax.numpy as jnp
import mbdl
import numpy as np
from mbdl import tracking

still = np.array([[1.0, 1.0], [0.0, 1.0]])


def model(transition, process_noise):
    return tracking.LinearGaussian(
        transition=transition, observation=np.eye(1, 2), process_noise=process_noise, observation_noise=np.eye(1),
        initial_mean=np.zeros(2), initial_covariance=np.eye(2),
    )


singular = model(still, np.diag([0.0, 0.1]))
varying = model(tracking.TimeVarying(jnp.stack([jnp.asarray(still)] * 12)), 0.1 * np.eye(2))
marked = model(mbdl.Learned(jnp.asarray(still), mbdl.unconstrained), 0.1 * np.eye(2))
noises = model(still, tracking.TimeVarying(jnp.stack([0.1 * jnp.eye(2)] * 12)))
nothing = eqx.tree_at(lambda m: m.observation_noise, noises, tracking.TimeVarying(jnp.ones((12, 1, 1))))


@mbdl.register
class Swing(eqx.Module):
    pull: jax.Array

    def __call__(self, state, moment):
        speed = state[1] + 0.1 * (moment.control[0] - self.pull * jnp.sin(state[0]))
        return jnp.stack([state[0] + 0.1 * speed, speed])


@mbdl.register
class Position(eqx.Module):
    def __call__(self, state, moment):
        return state[:1]


def swing():
    return tracking.NonlinearGaussian(
        transition=Swing(jnp.asarray(1.0)), observation=Position(), process_noise=0.1 * np.eye(2),
        observation_noise=np.eye(1), initial_mean=np.zeros(2), initial_covariance=np.eye(2),
    )
"""


@pytest.mark.parametrize(
    ("name", "learned", "title"),
    [
        ("singular", 4 + 1, "Kalman filter, learned covariances"),
        ("varying", 3 + 1, "Kalman filter, learned covariances"),
        ("marked", 4, "Kalman filter, learned numbers of the model"),
        ("noises", 1, "Kalman filter, learned observation noise"),
        ("nothing", None, None),
    ],
)
def test_what_can_be_learned_of_a_model_is(recording, tmp_path, name, learned, title):
    """Of a singular covariance, of one with parameters in time, of what the model itself marks."""
    file = tmp_path / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    given = [f"data={recording}", f"model={file}:{name}", *assignments(BUDGET)]
    results = studies.execute(studies.prepare(studies.study("tracking-own"), out=tmp_path / "own", assignments=given))
    rows = {row["name"]: row["cells"] for row in results["tables"][0]["rows"]}
    assert all(np.isfinite(cells["state"]["value"]) for cells in rows.values())
    assert rows["filter"]["learned"] == 0
    assert rows.get("filter-learned", {}).get("learned") == learned
    titles = {row["name"]: row["title"] for row in results["tables"][0]["rows"]}
    assert titles.get("filter-learned") == title
    # One sequence has no spread.
    assert all("error" not in cells["state"] for cells in rows.values())


def test_a_nonlinear_model_with_a_control_goes_through(recording, tmp_path):
    file, path = tmp_path / "mine.py", tmp_path / "driven.npz"
    file.write_text(MINE, encoding="utf-8")
    with np.load(recording) as stored:
        np.savez(path, **stored, control=np.sin(np.arange(60.0))[:, None])
    given = [f"data={path}", f"model={file}:swing", *assignments(BUDGET)]
    results = studies.execute(studies.prepare(studies.study("tracking-own"), out=tmp_path / "own", assignments=given))
    rows = {row["name"]: row for row in results["tables"][0]["rows"]}
    assert list(rows) == ["filter", "unscented", "filter-learned", "kalmannet"]
    assert rows["filter"]["title"] == "extended Kalman filter, given covariances"
    assert all(np.isfinite(row["cells"]["state"]["value"]) for row in rows.values())


def test_a_random_walk_goes_further_in_a_longer_time(tmp_path):
    generator = np.random.default_rng(1)
    durations = np.tile([0.5, 4.0], 20)
    position = np.cumsum(generator.normal(size=40) * np.sqrt(durations))
    path = tmp_path / "irregular.npz"
    np.savez(path, observations=position[:, None], duration=durations)
    model = model_of(OwnSettings(data=str(path), model="random-walk", q2=2.0))
    moment = tracking.Moment(jnp.asarray(1), None, jnp.asarray(4.0))
    np.testing.assert_allclose(tracking.dense(model.process_noise_at(moment)), [[8.0]])


def test_a_model_that_has_no_form_in_a_file_is_refused_before_anything_is_trained(recording, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\nfrom mbdl import tracking\n\nmodel = tracking.NonlinearGaussian(\n"
        "    transition=lambda s, moment: s, observation=lambda s, moment: s[:1], process_noise=np.eye(2),\n"
        "    observation_noise=np.eye(1), initial_mean=np.zeros(2), initial_covariance=np.eye(2))\n",
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match="this model cannot be: .*lambda"):
        OwnSettings(data=str(recording), model=f"{file}:model")


def test_the_first_estimate_of_a_named_model_is_from_the_training_sequences(recording, tmp_path):
    with np.load(recording) as stored:
        held = {name: stored[name] for name in stored.files}
    held["observations"][36:] += 1e3  # the last two fifths: validation and test
    path = tmp_path / "later.npz"
    np.savez(path, **held)
    one, other = (model_of(OwnSettings(data=str(file))) for file in (recording, path))
    np.testing.assert_array_equal(one.initial_mean, other.initial_mean)
    np.testing.assert_array_equal(one.initial_covariance, other.initial_covariance)


def test_a_sequence_without_states_says_nothing_of_their_error(recording, tmp_path):
    with np.load(recording) as stored:
        states = np.repeat(stored["states"][None], 5, axis=0)
        observations = np.repeat(stored["observations"][None], 5, axis=0)
    states[4] = np.nan
    path = tmp_path / "partly.npz"
    np.savez(path, observations=observations[:, :, :], states=states)
    given = [f"data={path}", *assignments(BUDGET)]
    results = studies.execute(studies.prepare(studies.study("tracking-own"), out=tmp_path / "own", assignments=given))
    for row in results["tables"][0]["rows"]:
        assert "state" not in row["cells"]
        assert np.isfinite(row["cells"]["prediction"]["value"])


def test_settings_that_cannot_be(recording, tmp_path):
    with pytest.raises(ValueError, match="needs recordings: mbdl run tracking-own --data FILE"):
        OwnSettings()
    with pytest.raises(ValueError, match="the setting step is 0"):
        OwnSettings(data=str(recording), step=0)
    with pytest.raises(ValueError, match="too few"):
        splits(OwnSettings(data=str(recording), cut=2))
    short = recording.with_name("short.csv")
    short.write_text("y1\n1\n2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="5 sequences of 0 observations are too few"):
        OwnSettings(data=str(short))


def written(path, columns):
    """A file of recordings by its kind; a number that is not finite is an empty field."""
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(columns), path)
        return
    rows = zip(*columns.values(), strict=True)
    lines = [",".join("" if np.isnan(value) else repr(float(value)) for value in row) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]), encoding="utf-8")


DRIVEN = """
import numpy as np
from mbdl import tracking

model = tracking.LinearGaussian(
    transition=np.array([[1.0, 1.0], [0.0, 1.0]]), control=np.array([[0.5], [1.0]]), observation=np.eye(1, 2),
    process_noise=1e-4 * np.eye(2), observation_noise=np.eye(1), initial_mean=np.zeros(2), initial_covariance=np.eye(2),
)
"""


@pytest.mark.parametrize(("kind", "driven"), [("csv", False), ("parquet", False), ("csv", True)])
def test_the_command_runs_on_a_file(tmp_path, kind, driven):
    generator = np.random.default_rng(3)
    push = np.sin(np.arange(60) / 3)
    velocity = np.cumsum(push)
    position = np.cumsum(velocity - 0.5 * push)
    columns = {"y1": position + generator.normal(size=60), "s1": position, "s2": velocity}
    columns["y1"][::7] = np.nan
    arguments = ["--out", str(tmp_path / "own")]
    if driven:
        (tmp_path / "driven.py").write_text(DRIVEN, encoding="utf-8")
        columns["u1"] = push
        arguments += ["--set", f"model={tmp_path / 'driven.py'}:model"]
    path = tmp_path / f"line.{kind}"
    written(path, columns)
    for assignment in assignments(BUDGET):
        arguments += ["--set", assignment]
    result = CliRunner().invoke(app, ["run", "tracking-own", "--data", str(path), *arguments])
    assert result.exit_code == 0, result.output
    table = json.loads((tmp_path / "own" / "results.json").read_text())["tables"][0]
    cells = {row["name"]: row["cells"] for row in table["rows"]}
    assert list(cells) == ["filter", "filter-learned", "kalmannet"]
    assert all(np.isfinite(row["prediction"]["value"]) for row in cells.values())
    # A model with a control matrix refuses inputs without one, so that the column u1 arrived.
    assert (tmp_path / "own" / "report.html").is_file()
