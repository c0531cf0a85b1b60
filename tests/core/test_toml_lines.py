"""Lines of fields and sections, however they are written."""

from physioemo.toml_lines import TomlLines


def test_lines_are_found_past_texts_of_several_lines_and_comments():
    text = (
        'a = """\n[x]\nb = 1\n"""\n# b = 2\nb = 3\n[[ "x" ]] # c\nb = 4\n[x.y]\nb = 5\n[[x]]\nb=6\n'
    )
    lines = TomlLines(text, "f")
    assert lines.place("", "b") == " (line 6 of f)"
    assert lines.place("x", "b") == " (line 8 of f)"
    assert lines.place("x.y", "b") == " (line 10 of f)"
    assert lines.place("x", "b", 2) == " (line 12 of f)"
    assert lines.place("x", "none", 2) == " (line 11 of f)"
    assert lines.place("z") == " (in f)"
