from physioemo.datasets.catalogue import CATALOGUE, recognise


def test_every_data_set_is_listed_with_its_licence(typed):
    said = typed("datasets", "list", check=0).stdout
    for row in CATALOGUE.values():
        assert row.name in said and row.licence in said and row.obtain in said


def test_fake_writes_files_that_are_recognised_and_says_they_are_synthetic(typed, tmp_path):
    done = typed("datasets", "fake", "dreamer", tmp_path / "d", "--subjects", 1, check=0)
    assert "SYNTHETIC" in done.stdout
    assert recognise(tmp_path / "d").name == "dreamer"


def test_fake_writes_into_no_folder_that_holds_something(typed, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = typed("datasets", "fake", "deap", tmp_path, check=2)
    assert "expected nothing there" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unknown_data_set_names_those_that_are_there(typed, tmp_path):
    done = typed("datasets", "fake", "deep", tmp_path / "d", check=2)
    assert "expected one of deap, " in done.stderr
