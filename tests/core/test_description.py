import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.description import StreamDescription, group_key
from physioemo.errors import CallError, StreamDescriptionError
from physioemo.overrides import Overrides, complete_description
from tests.streams import eeg_description


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ch_names": ()}, "found no channel names, expected one name per channel"),
        ({"ch_names": ("a", "", "b", "c")}, "found no channel names"),
        ({"ch_names": ("a", "a", "b", "c")}, "found the channel name 'a' more than once"),
        ({"units": ()}, "found 0 units for 4 channels"),
        ({"units": ("uV", "", "uV", "uV")}, "found 3 units for 4 channels"),
        ({"sfreq": 0.0}, r"found a nominal rate of 0 Hz \(irregular\) for type 'EEG'"),
        ({"sfreq": -1.0}, "found the rate -1.0 Hz"),
        ({"sfreq": float("nan")}, "found the rate nan Hz"),
        ({"channel_format": "float16"}, "found the channel format 'float16'"),
    ],
)
def test_what_is_missing_is_an_error_and_not_a_default(change, message):
    with pytest.raises(StreamDescriptionError, match=message):
        eeg_description(**change)


def test_a_description_survives_json():
    described = eeg_description(hostname="lab-3", ch_types=("eeg", "eog", "EEG", ""))
    assert StreamDescription.from_dict(described.to_dict()) == described
    assert described.ch_types == ("eeg", "eog", "eeg", "eeg")


RAW = {
    "name": "EEG",
    "stype": "EEG",
    "sfreq": 0.0,
    "n_channels": 2,
    "ch_names": (),
    "units": (),
    "channel_format": "float32",
}


def test_the_user_states_what_the_stream_does_not():
    stated = Overrides.parse(["EEG=Fp1,Fp2"], ["*=microvolts"], ["*=256"])
    described = complete_description(RAW, stated)
    assert (described.ch_names, described.units, described.sfreq) == (
        ("Fp1", "Fp2"),
        ("uV", "uV"),
        256,
    )


def test_the_star_does_not_replace_what_the_stream_says():
    fields = {**RAW, "ch_names": ("a", "b"), "units": ("mV", "mV"), "sfreq": 100.0}
    described = complete_description(fields, Overrides.parse(["*=c,d"], ["*=uV"], ["*=5"]))
    assert (described.ch_names, described.units, described.sfreq) == (
        ("a", "b"),
        ("mV", "mV"),
        100,
    )


@pytest.mark.parametrize("option", ["uV", "=uV", "EEG="])
def test_a_malformed_override_says_how_to_write_it(option):
    with pytest.raises(CallError, match="expected STREAM=VALUE such as 'EEG=uV'"):
        Overrides.parse(units=[option])


def test_too_few_stated_names_are_an_error():
    with pytest.raises(CallError, match="found 1 channel names for the stream 'EEG', expected 2"):
        complete_description(RAW, Overrides.parse(["EEG=Fp1"], ["*=uV"], ["*=256"]))


@given(st.lists(st.text(max_size=30), max_size=8))
def test_group_keys_are_unique_folder_names_on_every_system(names):
    keys: list[str] = []
    for name in names:
        keys.append(group_key(name, keys))
    folded = [k.casefold() for k in keys]
    assert len(set(folded)) == len(names)
    for key in folded:
        assert key and not set(key) & set('<>:"/\\|?*') and key == key.strip(" .")
        assert key not in {"trials", "ratings", "events", "journal", "con", "nul", "aux"}


def test_what_two_state_is_joined_and_the_second_wins():
    one = Overrides.parse(["EEG=a,b"], ["EEG=uV"], ["*=250"])
    two = Overrides.parse([], ["EEG=mV", "Body=uS"], [])
    both = one.joined(two)
    assert both.ch_names == {"EEG": ("a", "b")} and both.sfreq == {"*": 250.0}
    assert both.units == {"EEG": ("mV",), "Body": ("uS",)}
    assert one.joined(Overrides()) == one == Overrides().joined(one)
