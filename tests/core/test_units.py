import pytest

from physioemo.errors import UnitError
from physioemo.units import canonical_unit, conversion_factor, joint_unit


@pytest.mark.parametrize("spelling", ["microvolts", "µV", "μV", "uV", "Microvolts", " uV "])
def test_spellings_of_a_unit_are_one(spelling):
    assert canonical_unit(spelling) == "uV"


def test_millivolts_and_megavolts_are_not_confused():
    assert canonical_unit("mV") == "mV"
    assert canonical_unit("MV") == "MV"


@pytest.mark.parametrize("empty", ["", "  ", "unknown"])
def test_a_missing_unit_is_an_error(empty):
    with pytest.raises(UnitError, match="expected a stated unit"):
        canonical_unit(empty)


def test_volts_become_microvolts():
    assert conversion_factor("V", "uV") == pytest.approx(1e6)


@pytest.mark.parametrize("unit", ["uS", "a.u.", "furlong"])
def test_other_quantities_do_not_convert(unit):
    with pytest.raises(UnitError, match=f"found the unit '{unit}', expected one that converts"):
        conversion_factor(unit, "uV")


def test_a_stream_of_several_units_is_mixed():
    assert joint_unit(["mV", "uS"]) == "mixed"
    assert joint_unit(["mV", "mV"]) == "mV"
