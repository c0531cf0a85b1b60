import re

import numpy as np
import pytest

from physioemo.description import StreamDescription
from physioemo.errors import CallError, CheckpointError, DataError, RecordingExistsError, UnitError
from physioemo.experiments.report import write_report
from physioemo.experiments.report.heart import heart_blocks, trusted_beats
from physioemo.experiments.report.parts import Table, clock_text, make_section, number_text
from physioemo.experiments.report.power import asymmetry, band_power, high_minus_low
from physioemo.experiments.report.predictions import live_score, read_predictions
from physioemo.experiments.report.scalp import positions, scalp_blocks
from physioemo.experiments.report.scores import read_evaluation, told_apart
from physioemo.experiments.report.session import open_sessions
from physioemo.experiments.report.streams import stream_problems
from physioemo.experiments.report.tokens import entropy_tokens
from physioemo.experiments.report.verdict import verdict
from physioemo.store import create_recording
from physioemo.stream import make_stream
from physioemo.trials import make_trials
from tests.experiments.reported import (
    EVIL,
    TRIALS,
    VALENCE,
    Balanced,
    decoder,
    ecg,
    eeg,
    make_session,
    predictions,
    ratings,
    score,
    skin,
    truth,
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    streams = {"eeg": eeg(gap=(33.0, 35.0)), "PhysioEmo-VAD": predictions(), "truth": truth()}
    return create_recording(
        tmp_path_factory.mktemp("recordings") / "session",
        {**streams, "body": skin(), "heart": ecg(), EVIL: skin()},
        trials=make_trials([*TRIALS[:5], (*TRIALS[5][:3], EVIL)]),
        ratings=ratings(),
        attrs={"simulated": True, "notes": ["the recording was cut off: " + EVIL], "who": EVIL},
    )


@pytest.fixture(scope="module")
def session(recording):
    return open_sessions([recording])[0]


@pytest.fixture(scope="module")
def page(recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return write_report(folder / "r.html", [recording], decoder_folder=decoder(folder / "decoder"))


@pytest.fixture(scope="module")
def html(page):
    return page.read_text(encoding="utf-8")


def test_planted_alpha_has_its_maximum_at_its_electrode(session):
    power = band_power(session, "eeg")
    decibels = power.decibels()
    assert power.ch_names[decibels[:, power.band_names.index("alpha")].argmax()] == "O1"
    assert power.ch_names[decibels[:, power.band_names.index("beta")].argmax()] != "O1"


def test_band_power_of_a_sine_is_half_its_squared_amplitude_in_microvolts(tmp_path):
    time = np.arange(20 * 128) / 128
    description = StreamDescription("x", "EEG", 128.0, ("Cz",), ("mV",))
    wave = (0.02 * np.sin(2 * np.pi * 10 * time))[:, None].astype(np.float32)
    power = band_power(make_session(tmp_path, eeg=make_stream(wave, description)), "eeg")
    np.testing.assert_allclose(power.power[:, 0, 1], 20**2 / 2, rtol=1e-3)


def test_windows_of_band_power_do_not_cross_a_gap(session):
    centres = band_power(session, "eeg").centre_seconds
    assert not ((centres > 32.01) & (centres < 35.99)).any()


def test_halved_alpha_in_high_arousal_is_six_decibels_less(session):
    power = band_power(session, "eeg")
    difference = high_minus_low(session, power, "arousal")
    assert difference[8, 1] == pytest.approx(-6.02, abs=0.1)
    with pytest.raises(DataError, match="found 0 trials rated high and 0 rated low in dominance"):
        high_minus_low(session, power, "dominance")


def test_asymmetry_follows_planted_frontal_alpha(session):
    power = band_power(session, "eeg")
    values = [asymmetry(power, trial) for trial in session.trials]
    np.testing.assert_array_equal(np.array(values) > 0, np.array(VALENCE) > 5)
    assert values[0] == pytest.approx(np.log(8**2 / 4**2), abs=0.15)


def test_positions_are_found_without_case_and_unknown_names_are_left_out():
    assert positions(["FP1", "cz", "EXG1", "T3", "Cz"]) == ([0, 1, 3], ["Fp1", "Cz", "T3"])


def test_electrodes_without_positions_are_shown_as_bars(tmp_path):
    names = tuple(f"E{i + 100}" for i in range(12))
    note, figure, *_ = scalp_blocks(make_session(tmp_path, eeg=eeg(names)))
    assert "0 of 12 channels bear a name of the 10-05 system" in note.text
    assert figure.source.startswith("data:image/svg+xml")


def test_eeg_without_a_voltage_says_why_there_is_no_map(tmp_path):
    session = make_session(tmp_path, eeg=eeg(unit="a.u."))
    with pytest.raises(UnitError, match=r"found the unit 'a\.u\.'"):
        scalp_blocks(session)
    shown = make_section("Maps", "maps", lambda: scalp_blocks(session)).blocks[0]
    assert shown.tone == "missing" and shown.text.startswith("Not shown: found the unit")


def test_entropy_tokens_begin_anew_after_a_gap(session):
    tokens = entropy_tokens(session, "eeg")
    starts = tokens.start_seconds
    np.testing.assert_allclose(starts, [*range(33), *range(35, 64)], atol=0.01)
    alpha = np.nanmedian(tokens.entropy[:, :, tokens.band_names.index("alpha")], axis=0)
    assert tokens.ch_names[alpha.argmax()] == "O1"


def test_problems_of_a_stream_are_said_in_words(session, tmp_path):
    quality = session.recording.quality()
    assert list(stream_problems(session, "eeg", quality["eeg"])) == [
        "1 gap, 2.01 s in all (2.01 s at 0:33.0)"
    ]
    broken = eeg()
    broken["signal"][:, 0], broken["signal"][5:10, 1] = 0, np.nan
    session = make_session(tmp_path, eeg=broken, body=skin().isel(time=slice(320)))
    [late] = stream_problems(session, "body", session.recording.quality()["body"])
    assert late == "samples only from 0:00.0 to 0:10.0 of 1:04.0"
    said = " ".join(stream_problems(session, "eeg", session.recording.quality()["eeg"]))
    assert "5 values missing" in said and "never changes in Fp1" in said


def test_planted_heart_rate_is_found_on_both_sides_of_a_gap(session):
    (first, first_at), (second, second_at) = trusted_beats(
        session, session.channels("ecg")[0], "ecg"
    ).stretches
    np.testing.assert_allclose(first, 1.0, atol=0.01)
    np.testing.assert_allclose(second[second_at > 31.1], 0.75, atol=0.01)
    assert first_at[0] == pytest.approx(1.5, abs=0.02) and second_at[0] > 24


def test_heart_table_has_units_and_says_why_a_measure_is_missing(session):
    _, table = heart_blocks(session)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["MeanNN"][1] == "ms" and rows["HF"][1] == "ms²" and rows["pNN50"][1] == "%"
    assert rows["LF"][0] == "–" and "needs a window of at least 120 s" in rows["LF"][2]


def test_detached_ecg_says_why_there_is_no_heart_rate(tmp_path):
    [note] = heart_blocks(make_session(tmp_path, heart=ecg(attached=False)))
    assert note.text.startswith("No heart rate from heart: II: the signal is flat")


def test_live_score_counts_rated_trials_and_leaves_abstentions_out(session):
    read = read_predictions(session, "PhysioEmo-VAD")
    score = live_score(session, read, "valence")
    assert (score.n_trials, score.n_right, score.n_majority) == (6, 5, 3)
    assert score.balanced_accuracy == pytest.approx((1 + 2 / 3) / 2)
    assert read.of_trial(session.trials[5], "valence") == pytest.approx(0.8)
    assert read.abstain[read.in_trial(session.trials[5])].any()


@pytest.mark.parametrize(
    ("value", "interval", "permuted", "expected"),
    [
        (0.87, (0.7, 0.96), (0.45, 0.55), True),
        (0.60, (0.45, 0.75), (0.45, 0.55), False),
        (0.70, (0.52, 0.85), (0.45, 0.72), False),
        (0.87, (0.7, 0.96), (), None),
        (float("nan"), (0, 1), (0.5,), None),
    ],
)
def test_told_apart_needs_interval_and_permutations(value, interval, permuted, expected):
    assert told_apart(score(value, interval, permuted)) is expected


def test_verdict_says_what_was_told_apart_and_what_was_not(session, tmp_path):
    first, live = verdict([session], read_evaluation(decoder(tmp_path / "d")), "")
    assert first.text.startswith(
        "Valence was told apart on held-out trials: balanced accuracy 0.87 "
        "[95 % interval 0.70 – 0.96] over 30 trials, permuted labels 0.51, majority class 0.50."
    )
    assert "Arousal was not told apart better than chance on held-out trials" in first.text
    assert "valence right in 5 of 6 trials (always the larger class: 3)" in live.text


def test_verdict_warns_of_a_recording_that_the_decoder_was_trained_on(session, tmp_path):
    prints = {"r": session.recording.fingerprint()}
    evaluation = read_evaluation(decoder(tmp_path / "d", data_fingerprints=prints))
    assert "was trained on this very recording" in verdict([session], evaluation, "")[1].text


def test_leaky_scores_are_stamped_and_conclude_nothing(recording, tmp_path):
    folder = decoder(tmp_path / "d", leaky=True)
    text = write_report(tmp_path / "r.html", [recording], decoder_folder=folder).read_text("utf-8")
    assert text.count('<span class="stamp">LEAKY</span>') == 2
    assert "nothing can be concluded" in text
    assert "was told apart" not in text


def test_missing_and_foreign_evaluations_say_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match="found no decoder"):
        read_evaluation(None)
    with pytest.raises(CheckpointError, match=r"found no evaluation\.json"):
        read_evaluation(tmp_path)
    with pytest.raises(CheckpointError, match="of format 2, expected format 1"):
        read_evaluation(decoder(tmp_path / "newer", format=2))
    (tmp_path / "evaluation.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="that is no JSON"):
        read_evaluation(tmp_path)


def test_page_is_whole_html_with_every_part(html):
    parsed = Balanced(html)
    assert not parsed.open
    titles = ["Streams", "EEG band power", "Entropy tokens over time", "Heart, skin and breath"]
    titles += ["Prediction against truth", "Scores beside their baselines", "How it was made"]
    assert all(title in parsed.text for title in titles)
    assert "Not shown" not in parsed.text
    assert parsed.tags.count("img") == 9
    assert "feedc0de" in parsed.text and "trial-grouped 5-fold; 30 trials" in parsed.text


def test_page_says_that_no_person_was_recorded_and_shows_notes(html):
    assert "SIMULATED PARTICIPANT - no person was recorded" in html
    assert "the recording was cut off" in Balanced(html).text


def test_page_loads_nothing_from_outside(html):
    assert all(load.startswith(("data:", "#")) for load in Balanced(html).loads)
    assert not re.search(r"url\(|@import|https?://", html)


def test_names_from_the_network_are_text(html):
    parsed = Balanced(html)
    assert "script" not in parsed.tags
    assert EVIL in parsed.text


def test_page_opens_in_a_browser_without_a_word_on_the_console(page, console_errors):
    assert console_errors(page) == []


def test_person_is_not_called_simulated_and_parts_say_why_they_are_missing(tmp_path):
    recording = create_recording(tmp_path / "r", {"body": skin()})
    text = Balanced(write_report(tmp_path / "r.html", [recording]).read_text("utf-8")).text
    assert "SIMULATED" not in text
    assert "Not shown: found no EEG channel, expected at least one" in text
    assert "Not shown: found no stream of predictions" in text
    assert "No scores: found no decoder, expected its folder" in text


@pytest.mark.parametrize("n_samples", [0, 1, 100])
def test_short_recordings_still_make_a_report(tmp_path, n_samples):
    streams = {"eeg": eeg().isel(time=slice(n_samples)), "truth": truth().isel(time=slice(0, 1))}
    recording = create_recording(tmp_path / "r", streams)
    text = write_report(tmp_path / "r.html", [recording]).read_text("utf-8")
    assert "Not shown: found no stretch of 2 s without a gap" in text


def test_recordings_of_one_name_are_kept_apart(tmp_path):
    made = [create_recording(tmp_path / f / "r", {"body": skin()}) for f in "ab"]
    assert [s.name for s in open_sessions(made)] == ["r", "r (2)"]


def test_report_is_not_overwritten_unasked(recording, tmp_path):
    out = tmp_path / "r.html"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(RecordingExistsError, match="choose another name or pass --overwrite"):
        write_report(out, [recording])
    assert out.read_text("utf-8") == "mine"
    with pytest.raises(CallError, match="found no recordings"):
        write_report(out, [], overwrite=True)


def test_overwriting_leaves_nothing_beside_the_report(tmp_path):
    recording = create_recording(tmp_path / "r", {"body": skin()})
    out = tmp_path / "pages" / "r.html"
    write_report(out, [recording])
    assert write_report(out, [recording], overwrite=True) == out
    assert [p.name for p in out.parent.iterdir()] == ["r.html"]


def test_numbers_and_times_read_as_people_write_them():
    times = [clock_text(s) for s in (0, 59.96, 61.2, 3725)]
    assert times == ["0:00.0", "1:00.0", "1:01.2", "1:02:05"]
    numbers = [number_text(v) for v in (-1.5, 12345, float("nan"), None)]
    assert numbers == ["−1.50", "12 345.00", "–", "–"]
    assert Table("", ("a", "b"), (("1 000", "x"), ("–", "2"))).numeric == (True, False)
