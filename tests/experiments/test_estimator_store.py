"""A fitted estimator comes back from disk bit for bit, and nothing else does."""

import json

import numpy as np
import pytest

from physioemo.errors import CallError, CheckpointError
from physioemo.experiments.estimator_store import (
    ARRAYS,
    DESCRIPTION,
    load_estimator,
    save_estimator,
)
from physioemo.experiments.estimators import build_estimator
from tests.experiments.test_estimators import ROWS, features, outcome, quick, targets


@pytest.mark.parametrize("name", ROWS)
def test_every_estimator_comes_back_bit_for_bit(name, tmp_path):
    X, y = features(name), targets(name, n_classes=3)
    X[5, 1] = X[9, 2, 0] = np.nan
    fitted = quick(name).fit(X, y)
    save_estimator(tmp_path, fitted, name=name, metadata={"fold": 3})
    back, metadata = load_estimator(tmp_path)
    assert metadata == {"fold": 3} and type(back) is type(fitted)
    for rows in (X, X[:7], X[5:6]):
        assert np.array_equal(outcome(name, back, rows), outcome(name, fitted, rows))
    assert sorted(p.name for p in tmp_path.iterdir()) == [DESCRIPTION, ARRAYS]


@pytest.mark.parametrize("options", [{"link": "cumulative"}, {"joint": True}])
def test_ordered_and_joint_networks_come_back_too(options, tmp_path):
    X = features("intercortical")
    y = np.random.default_rng(1).integers(0, 3, (60, 2))
    joint = options.get("joint", False)
    fitted = build_estimator("intercortical", "small", n_epochs=1, **options)
    fitted.fit(X, y if joint else y[:, 0])
    save_estimator(tmp_path, fitted, name="intercortical", joint=joint)
    back, _ = load_estimator(tmp_path)
    assert np.array_equal(back.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(back.attention(X), fitted.attention(X))


def test_several_families_come_back(tmp_path):
    X, y = features("fused-transformer").reshape(60, -1), targets("fused-transformer")
    layout = [("de", (4, 2), 0, 8), ("eda", (4,), 8, 12)]
    fitted = quick("fused-transformer", layout=layout, families=["de", "eda"]).fit(X, y)
    save_estimator(tmp_path, fitted, name="fused-transformer")
    back, _ = load_estimator(tmp_path)
    assert np.array_equal(back.predict_proba(X), fitted.predict_proba(X))
    only = back.predict_proba_from(X, ["eda"])
    assert np.array_equal(only, fitted.predict_proba_from(X, ["eda"]))


@pytest.fixture
def kept(tmp_path):
    fitted = quick("logistic").fit(features("logistic"), targets("logistic"))
    save_estimator(tmp_path, fitted, name="logistic")
    return tmp_path


def changed(folder, **fields):
    path = folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_what_was_cut_off_or_changed_is_refused(kept):
    raw = (kept / ARRAYS).read_bytes()
    (kept / ARRAYS).write_bytes(raw[:-1])
    with pytest.raises(CheckpointError, match="with SHA-256 .*, expected .*cut off or changed"):
        load_estimator(kept)
    (kept / ARRAYS).unlink()
    with pytest.raises(CheckpointError, match="found no readable .*expected the arrays"):
        load_estimator(kept)
    (kept / DESCRIPTION).unlink()
    with pytest.raises(CheckpointError, match="expected the description of an estimator"):
        load_estimator(kept)


def test_no_class_but_those_of_the_list_is_ever_made(kept):
    wicked = {"mapping": {"model_": {"object": "Popen", "fields": {"mapping": {}}}}}
    changed(kept, state=wicked)
    with pytest.raises(CheckpointError, match=r"no estimator of this PhysioEmo \(KeyError: 'Popen"):
        load_estimator(kept)
    changed(kept, estimator="oracle")
    with pytest.raises(CheckpointError, match="KeyError: 'oracle'"):
        load_estimator(kept)
    changed(kept, format=2)
    with pytest.raises(CheckpointError, match="of the format 2, expected 1"):
        load_estimator(kept)


def test_what_cannot_be_written_is_told(tmp_path):
    fitted = quick("logistic").fit(features("logistic"), targets("logistic"))
    with pytest.raises(CallError, match="found a Logistic to be saved as 'svm', expected a Suppor"):
        save_estimator(tmp_path, fitted, name="svm")
    fitted.thing_ = object()
    with pytest.raises(CallError, match="found a object at state.thing_, expected numbers"):
        save_estimator(tmp_path, fitted, name="logistic")
    assert not (tmp_path / DESCRIPTION).exists()
