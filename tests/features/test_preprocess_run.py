"""A feature store grows part by part: it can be killed at any time, and never mixes recipes."""

import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
import xarray as xr

from physioemo.datasets.catalogue import CATALOGUE, dataset
from physioemo.errors import (
    CallError,
    DamagedRecordingError,
    DataError,
    NewerSchemaError,
    RecordingExistsError,
    RecordingNotFoundError,
)
from physioemo.features.feature_store import Workshop, open_features
from physioemo.features.preprocess import recording_features
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_run import preprocess, recording_sources
from tests.features.build_store import sources, start_build
from tests.simulated import simulated_recording


def features_of(name):
    """Return a feature that the recordings of a data set have a stream for."""
    return ("de",)


def make(name, folder, *, subjects=2, **options):
    row = dataset(name)
    row.write_fixture(folder / row.folder, subjects=subjects, **{**row.small, **options})
    return folder


@pytest.fixture(scope="module")
def deap(tmp_path_factory):
    return make("deap", tmp_path_factory.mktemp("deap"), subjects=3)


def same(a, b):
    one, two = open_features(a), open_features(b)
    xr.testing.assert_identical(one.load(), two.load())


def test_the_store_is_the_features_of_each_recording_in_order(deap, tmp_path):
    result = preprocess(sources("deap", deap), tmp_path / "f.zarr", PreprocessRecipe())
    store = open_features(result.out)
    parts = [
        recording_features(r, PreprocessRecipe(), name="r")
        for r in dataset("deap").read(dataset("deap").locate(deap), n_samples=1024)
    ]
    for name in ("de", "de_present", "rating", "trial", "subject", "onset_seconds"):
        wanted = np.concatenate([p[name].values for p in parts])
        np.testing.assert_array_equal(store[name].values, wanted)
    assert store["recording_windows"].values.tolist() == [200] * 3
    assert list(store["channel"].values) == list(parts[0]["channel"].values)
    assert not (tmp_path / "f.zarr.partial").exists()


def test_anybody_can_open_the_store_with_xarray(deap, tmp_path):
    out = preprocess(sources("deap", deap), tmp_path / "f.zarr", PreprocessRecipe()).out
    store = xr.open_zarr(out)
    assert {"subject", "session", "trial", "stimulus", "onset_seconds"} <= set(store.coords)
    assert store["de"].dims == ("window", "channel", "band")
    assert json.loads(json.dumps(store.attrs["recipe"])) == PreprocessRecipe().to_dict()
    assert store.attrs["recipe_hash"] == PreprocessRecipe().fingerprint
    assert [s["name"] for s in store.attrs["sources"]] == ["s01", "s02", "s03"]


def test_the_same_command_again_computes_nothing_and_touches_nothing(deap, tmp_path):
    out = preprocess(sources("deap", deap), tmp_path / "f.zarr", PreprocessRecipe()).out
    stamp = (out / "zarr.json").stat().st_mtime_ns
    result = preprocess(sources("deap", deap), out, PreprocessRecipe())
    assert result.computed == () and result.reused == ("s01", "s02", "s03")
    assert (out / "zarr.json").stat().st_mtime_ns == stamp


def test_a_new_subject_is_added_without_redoing_the_others(deap, tmp_path):
    mine = tmp_path / "deap"
    shutil.copytree(deap, mine)
    folder = dataset("deap").locate(mine)
    (folder / "s03.dat").rename(tmp_path / "s03.dat")
    out = preprocess(sources("deap", mine), tmp_path / "f.zarr", PreprocessRecipe()).out
    (tmp_path / "s03.dat").rename(folder / "s03.dat")
    result = preprocess(sources("deap", mine), out, PreprocessRecipe())
    assert result.computed == ("s03",) and result.reused == ("s01", "s02")
    whole = preprocess(sources("deap", deap), tmp_path / "whole.zarr", PreprocessRecipe()).out
    same(out, whole)


def test_torcheeg_cache_a_changed_recipe_never_reuses_an_old_result(deap, tmp_path):
    out = preprocess(sources("deap", deap), tmp_path / "f.zarr", PreprocessRecipe()).out
    changed = PreprocessRecipe(bands={"alpha": (8.0, 12.0)})
    with pytest.raises(RecordingExistsError, match=r"another recipe.*replace it with --overwrite"):
        preprocess(sources("deap", deap), out, changed)
    before = open_features(out)["de"].shape
    result = preprocess(sources("deap", deap), out, changed, overwrite=True)
    assert result.reused == () and before == (600, 32, 4)
    assert open_features(out)["de"].shape == (600, 32, 1)


def test_a_changed_file_is_read_again(deap, tmp_path):
    mine = tmp_path / "deap"
    shutil.copytree(deap, mine)
    out = preprocess(sources("deap", mine), tmp_path / "f.zarr", PreprocessRecipe()).out
    old = open_features(out)["de"].values.copy()
    make("deap", tmp_path / "other", subjects=1, seed=9)
    folder = dataset("deap").locate(mine)
    shutil.copy(dataset("deap").locate(tmp_path / "other") / "s01.dat", folder / "s02.dat")
    result = preprocess(sources("deap", mine), out, PreprocessRecipe())
    assert result.computed == ("s02",)
    new = open_features(out)["de"].values
    changed = np.any(old != new, axis=(1, 2))
    assert changed[200:400].all() and not changed[:200].any() and not changed[400:].any()


def test_a_damaged_file_stops_the_store_but_not_the_others(deap, tmp_path):
    mine = tmp_path / "deap"
    shutil.copytree(deap, mine)
    damaged = dataset("deap").locate(mine) / "s02.dat"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "f.zarr"
    with pytest.raises(DataError, match=r"found 1 of 3 sources that cannot be used: s02: .*s02"):
        preprocess(sources("deap", mine), out, PreprocessRecipe())
    assert not out.exists()
    kept = preprocess(sources("deap", mine), out, PreprocessRecipe(), exclude_damaged=True)
    assert kept.reused == ("s01", "s03") and list(kept.excluded) == ["s02"]
    assert open_features(out).attrs["excluded"].keys() == {"s02"}
    damaged.write_bytes(whole)
    assert preprocess(sources("deap", mine), out, PreprocessRecipe()).computed == ("s02",)
    same(out, preprocess(sources("deap", deap), tmp_path / "g.zarr", PreprocessRecipe()).out)


def test_all_files_damaged_is_never_an_empty_store(deap, tmp_path):
    mine = tmp_path / "deap"
    shutil.copytree(deap, mine)
    for file in dataset("deap").locate(mine).glob("*.dat"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"found 3 of 3 sources that cannot be used"):
        out = tmp_path / "f.zarr"
        preprocess(sources("deap", mine), out, PreprocessRecipe(), exclude_damaged=True)
    assert not (tmp_path / "f.zarr").exists()


@pytest.mark.parametrize(
    "name", [n for n, r in CATALOGUE.items() if "eeg" in r.published["rates_hz"]]
)
def test_killed_at_ten_random_moments_the_store_comes_out_the_same(name, tmp_path):
    folder, features = make(name, tmp_path / "data"), features_of(name)
    recipe = PreprocessRecipe(features=features)
    wanted = preprocess(sources(name, folder), tmp_path / "a.zarr", recipe, dataset=name).out
    out, partial = tmp_path / "b.zarr", tmp_path / "b.zarr.partial"
    rng, killed = np.random.default_rng(5), 0
    while killed < 10:
        process = start_build(name, str(folder), str(out), features)
        deadline = time.monotonic() + 300
        # From the moment that the first part is begun: before it, there is nothing to lose.
        while not partial.exists() and process.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.2)))
        killed += process.is_alive()
        process.kill()
        process.join()
        if out.exists() and not partial.exists():
            same(out, wanted)
            shutil.rmtree(out)  # begin anew
    preprocess(sources(name, folder), out, recipe, dataset=name)
    same(out, wanted)
    assert not partial.exists()


def test_a_finished_recording_is_not_computed_again(deap, tmp_path, monkeypatch):
    import physioemo.features.preprocess_run as run

    calls = []

    def third_time_out(recording, recipe, *, name, stimuli):
        calls.append(name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return recording_features(recording, recipe, name=name)

    monkeypatch.setattr(run, "recording_features", third_time_out)
    with pytest.raises(KeyboardInterrupt):
        preprocess(sources("deap", deap), tmp_path / "f.zarr", PreprocessRecipe())
    result = preprocess(sources("deap", deap), tmp_path / "f.zarr", PreprocessRecipe())
    assert calls == ["01-1", "02-1", "03-1", "03-1"]
    assert result.reused == ("s01", "s02") and result.computed == ("s03",)


def test_recordings_of_our_own_are_named_and_marked_as_simulated(tmp_path):
    (tmp_path / "mine").mkdir()
    simulated_recording(tmp_path / "mine" / "anna.zarr", n_trials=1, seed=1)
    simulated_recording(tmp_path / "mine" / "bela.zarr", n_trials=1, seed=2)
    result = preprocess(
        recording_sources(tmp_path / "mine"), tmp_path / "f.zarr", PreprocessRecipe()
    )
    store = open_features(result.out)
    assert len(set(store["subject"].values)) == 2
    assert store["recording_simulated"].values.all()
    assert result.computed == ("anna", "bela")


def test_a_name_in_a_file_never_leads_out_of_the_folder(tmp_path, rng):
    from physioemo.store import create_recording
    from tests.streams import eeg_stream, trial_markers

    streams = {
        "eeg": eeg_stream(rng.normal(size=(1500, 2)).astype(np.float32), 250.0),
        "markers": trial_markers([(1, 0.0, 4.0, "a")]),
    }
    names = {"subject": "../../elsewhere", "session": "c:\\x"}
    create_recording(tmp_path / "r.zarr", streams, attrs=names)
    before = {p for p in tmp_path.rglob("*") if "r.zarr" not in p.parts}
    out = tmp_path / "deep" / "f.zarr"
    workshop = Workshop(out, PreprocessRecipe())
    path = workshop.part_path("a/b", "../../elsewhere-1")
    assert path.parent == workshop.folder
    preprocess(recording_sources(tmp_path / "r.zarr"), out, PreprocessRecipe())
    assert set(open_features(out)["subject"].values) == {"../../elsewhere"}
    after = {p for p in tmp_path.rglob("*") if "r.zarr" not in p.parts}
    assert all(out in (p, *p.parents) or p == out.parent for p in after - before)


def test_no_two_recordings_share_a_file_where_capitals_are_small_letters(tmp_path):
    workshop = Workshop(tmp_path / "f.zarr", PreprocessRecipe())
    names = [
        ("s1", "a"),
        ("S1", "a"),
        ("s1", "A"),
        ("s", "1~a"),
        ("s~1", "a"),
        ("é", "a"),
        ("É", "a"),
    ]
    paths = [workshop.part_path(*pair) for pair in names]
    assert len({p.name.casefold() for p in paths}) == len(names)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    workshop.begin("s", {"file": "changed"})
    assert [p.is_file() for p in paths] == [True, True, True, False, True, True, True]


def test_recordings_with_other_channels_are_not_mixed(tmp_path, rng):
    from tests.features.test_preprocess import record

    for k, n in enumerate((2, 3)):
        folder = tmp_path / "mine" / f"s{k}"
        folder.mkdir(parents=True)
        record(folder, rng.normal(size=(1500, n)).astype(np.float32), [(1, 0.0, 4.0, "a")])
    found = [recording_sources(tmp_path / "mine" / f"s{k}" / "r.zarr")[0] for k in range(2)]
    renamed = [type(s)(f"s{k}", s.files, s.read) for k, s in enumerate(found)]
    with pytest.raises(
        DataError, match=r"found another 'channel' of the recordings s0~s0 and s1~s1"
    ):
        preprocess(renamed, tmp_path / "f.zarr", PreprocessRecipe())
    with pytest.raises(CallError, match=r"found two sources called 'r'"):
        preprocess(found, tmp_path / "f.zarr", PreprocessRecipe())


def test_what_is_no_feature_store_is_said(tmp_path, deap):
    with pytest.raises(
        RecordingNotFoundError, match="found nothing at .*run 'physioemo preprocess'"
    ):
        open_features(tmp_path / "f.zarr")
    workshop = Workshop(tmp_path / "f.zarr", PreprocessRecipe())
    workshop.begin("s01", {"0:s01.dat": "1"})
    with pytest.raises(RecordingNotFoundError, match="one that is not finished.*goes on where"):
        open_features(tmp_path / "f.zarr")
    (tmp_path / "g.zarr").mkdir()
    with pytest.raises(RecordingExistsError, match="that is no feature store"):
        preprocess(sources("deap", deap), tmp_path / "g.zarr", PreprocessRecipe())
    (tmp_path / "g.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(DamagedRecordingError, match="cannot be opened as features"):
        open_features(tmp_path / "g.zarr")
    out = preprocess(sources("deap", deap), tmp_path / "h.zarr", PreprocessRecipe()).out
    text = (out / "zarr.json").read_text()
    (out / "zarr.json").write_text(
        text.replace('"feature_store_version":1', '"feature_store_version":2').replace(
            '"feature_store_version": 1', '"feature_store_version": 2'
        )
    )
    with pytest.raises(NewerSchemaError, match="found feature store version 2"):
        open_features(out)


@pytest.mark.slow
def test_dask_workers_make_the_same_store_though_one_is_killed(deap, tmp_path):
    distributed = pytest.importorskip("distributed")
    wanted = preprocess(sources("deap", deap), tmp_path / "a.zarr", PreprocessRecipe()).out
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        victims = [w.pid for w in cluster.workers.values()]
        killed = []

        def kill_one(done, total):
            if not killed:
                os.kill(victims[0], getattr(signal, "SIGKILL", signal.SIGTERM))
                killed.append(victims[0])

        result = preprocess(
            sources("deap", deap),
            tmp_path / "b.zarr",
            PreprocessRecipe(),
            scheduler=cluster.scheduler_address,
            on_progress=kill_one,
        )
    # What the killed worker had finished but not yet reported is found by the next one.
    assert killed and {*result.computed, *result.reused} == {"s01", "s02", "s03"}
    same(result.out, wanted)


@pytest.mark.slow
def test_two_processes_make_the_same_store(deap, tmp_path):
    wanted = preprocess(sources("deap", deap), tmp_path / "a.zarr", PreprocessRecipe()).out
    out = preprocess(sources("deap", deap), tmp_path / "b.zarr", PreprocessRecipe(), jobs=2).out
    same(out, wanted)


def test_a_scheduler_that_is_not_there_is_said(deap, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(CallError, match="found no dask scheduler at 'tcp://127.0.0.1:1'"):
        preprocess(
            sources("deap", deap), tmp_path / "f", PreprocessRecipe(), scheduler="tcp://127.0.0.1:1"
        )
