"""The rig contract: what may be stated, what is refused and how, and its file."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.acquisition.rig import Rig, RigStream
from physioemo.acquisition.rig_toml import parse_rig, read_rig, to_toml, write_rig
from physioemo.errors import CallError, StoreError

DOCS = Path(__file__).parents[2] / "docs" / "rig.md"
EEG = '[streams.eeg]\nname = "EEG"\nsfreq = 250\n'
HEAD = 'name = "booth"\n'


def test_the_documented_example_is_a_rig():
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    rig = parse_rig(example)
    eeg, markers, gaze = rig.streams
    assert (rig.planned_minutes, eeg.channels, eeg.units) == (60, ("Fp1", "Fp2", "Cz"), ("uV",))
    assert eeg.query == {"name": "BioSemi", "type": "EEG"} and eeg.fresh_within_seconds == 1.0
    assert markers.required and markers.fresh_within_seconds is None
    assert not gaze.required and gaze.on_missing == "warn"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + EEG + 'unitz = "uV"\n', r"'unitz' in \[streams.eeg\] \(line 5 of .*'units'\?"),
        ('nmae = "x"\n' + EEG, r"field 'nmae' in the top section \(line 1 .*mean 'name'\?"),
        (HEAD + '[stream.eeg]\nname = "EEG"\n', r"unknown field 'stream'.*mean 'streams'\?"),
        (HEAD + '[streams.eeg]\nname = "EEG"\n', r"no 'sfreq' in \[streams.eeg\] \(line 2 of"),
        (EEG, r"found no 'name' in the top section"),
        (HEAD + EEG.replace("250", '"250"'), r'sfreq = "250" in \[streams.eeg\] \(line 4 of'),
        (HEAD + EEG + "required = 1\n", r"found required = 1 in .*expected true or false"),
        (HEAD + EEG + EEG, r"no valid TOML in .*streams.*line 5"),
        (HEAD + EEG + EEG.replace("eeg", "b"), r"\[streams.b\]: found the same query as \[streams"),
        (HEAD + "[streams.eeg]\nsfreq = 250\n", r"expected at least one of name, type, source_id"),
        (HEAD, r"found no stream, expected at least one section"),
        (HEAD + EEG + 'units = ["uV", "uV"]\nchannels = 3\n', r"found 2 units for 3 channels"),
        (HEAD + EEG + 'channels = ["A", "A"]\n', r"the channel 'A' more than once"),
        (HEAD + EEG + 'modality = "eegg"\n', r"the modality 'eegg'.*did you mean 'eeg'\?"),
        (HEAD + EEG + 'on_lost = "stopp"\n', r"on_lost = 'stopp'.*did you mean 'stop'\?"),
        (HEAD + EEG + 'on_missing = "warn"\n', r"'warn' for a required stream"),
        (HEAD + EEG + 'required = false\non_late = "refuse"\n', r"'refuse' for an optional stream"),
        (HEAD + EEG.replace("250", "-1"), r"found sfreq = -1.0, expected Hz of at least 0"),
        (HEAD + EEG.replace("250", "nan"), r"found sfreq = nan"),
        (HEAD + EEG + "freshness_seconds = 0\n", r"freshness_seconds = 0.0, expected a number ab"),
        (HEAD + "min_free_gib = inf\n" + EEG, r"found min_free_gib = inf"),
        (HEAD + EEG + 'units = "unknown"\n', r"\[streams.eeg\]: found the unit 'unknown'"),
        (HEAD + "streams = 3\n", r"'streams' without sections"),
        ("name = \n", r"no valid TOML in .*line 1"),
    ],
)
def test_a_wrong_rig_is_one_sentence_that_names_the_place(tmp_path, text, message):
    file = tmp_path / "rig.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(CallError, match=message) as caught:
        read_rig(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_mistyped_file_names_the_nearest(tmp_path):
    (tmp_path / "booth.toml").write_text(HEAD + EEG)
    with pytest.raises(CallError, match=r"found no file .*boot\.toml.*did you mean 'booth.toml'\?"):
        read_rig(tmp_path / "boot.toml")
    with pytest.raises(CallError, match="rig from-network"):
        read_rig(tmp_path / "absent" / "x.toml")


def test_what_cannot_be_read_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(CallError, match="cannot be read"):
        read_rig(tmp_path)
    (tmp_path / "latin.toml").write_bytes('name = "Bücher"\n'.encode("latin-1"))
    with pytest.raises(CallError, match="found no UTF-8 text"):
        read_rig(tmp_path / "latin.toml")

    def forbidden(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(CallError, match=r"cannot be read \(Permission denied\)"):
        read_rig(tmp_path / "latin.toml")


def test_a_path_with_spaces_and_letters_of_the_world_works(tmp_path):
    file = tmp_path / "mit Ümläut 実験" / "mein rig.toml"
    file.parent.mkdir()
    file.write_text("\ufeff" + HEAD + EEG, "utf-8")  # Notepad's mark before the text
    assert read_rig(file).streams[0].sfreq == 250


def test_nothing_is_overwritten_unasked(tmp_path):
    rig = parse_rig(HEAD + EEG)
    write_rig(rig, tmp_path / "r.toml")
    with pytest.raises(CallError, match="pass --overwrite"):
        write_rig(rig, tmp_path / "r.toml")
    write_rig(rig, tmp_path / "r.toml", overwrite=True)
    with pytest.raises(StoreError, match=r"cannot be written \(Not a directory\)"):
        write_rig(rig, tmp_path / "r.toml" / "x.toml")


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
positive = st.floats(1e-3, 1e6)


@given(
    st.builds(
        RigStream,
        key=words,
        sfreq=st.floats(0, 1e5),
        name=words,
        source_id=st.just("") | words,
        channels=st.lists(words, min_size=1, max_size=4, unique=True).map(tuple),
        units=st.just(()) | st.sampled_from([("uV",), ("a.u.",)]),
        sfreq_tolerance_percent=positive,
        freshness_seconds=st.none() | positive,
        max_round_trip_ms=st.none() | positive,
        modality=st.sampled_from(["", "eeg", "gaze"]),
        required=st.booleans(),
        on_lost=st.sampled_from(["", "stop", "warn"]),
    ),
    st.none() | positive,
)
def test_every_rig_is_read_back_as_it_was_written(stream, minutes):
    rig = Rig(name="r", streams=[stream], planned_minutes=minutes)
    assert parse_rig(to_toml(rig)) == rig


def test_show_prints_the_contract(tmp_path, typed):
    (tmp_path / "r.toml").write_text(HEAD + EEG)
    shown = typed("rig", "show", tmp_path / "r.toml", check=0).stdout
    assert "name='EEG'" in shown and "250 ± 1 %" in shown and "wait / wait / warn" in shown
    done = typed("rig", "show", tmp_path / "s.toml", check=2)
    assert "did you mean 'r.toml'?" in done.stderr
