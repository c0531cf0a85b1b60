"""What README.md and docs/*.md show exists: commands, options, TOML, Python, links."""

import ast
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from physioemo.cli import cli
from tools.command_reference import command_reference

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path, *languages):
    found = BLOCK.findall(path.read_text("utf-8"))
    return [text for language, text in found if language in languages]


def command_lines(path):
    """Return the lines of a document that call physioemo, without their comments."""
    text = "\n".join(blocks(path, "", "bash", "sh")).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("physioemo ")]
    return [re.split(r"\s#\s|\s{2,}|\s\(", line)[0] for line in lines]


def parse(words):
    """Parse a command line as click does, and return the command's name; nothing is run."""
    command, context = cli, click.Context(cli, info_name="physioemo")
    while isinstance(command, click.Group):
        assert words, "a group needs a command"
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"no such command: {name}"
        context, command = click.Context(found, info_name=name, parent=context), found
    command.make_context(command.name, words)
    return command


def options_of(words):
    """Return the command that the first words name, and its options."""
    command, context = cli, click.Context(cli, info_name="physioemo")
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        found = command.get_command(context, word)
        if found is None:
            return command, None
        command = found
    return command, {name for p in command.params for name in (*p.opts, *p.secondary_opts)}


def wrong_lines(path):
    """Return the command lines of a document that click refuses, each with what it says."""
    wrong = []
    for line in command_lines(path):
        try:
            parse(shlex.split(line)[1:])
        except (click.ClickException, AssertionError) as error:
            wrong.append((line, getattr(error, "message", str(error))))
    return wrong


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_line_is_understood(path):
    assert wrong_lines(path) == []


def test_a_command_line_with_a_wrong_option_or_name_is_found(tmp_path):
    path = tmp_path / "a.md"
    path.write_text(
        "```\nphysioemo streams --jsn   # a comment\nphysioemo steams\nphysioemo doctor --json\n```"
    )
    assert [line for line, _ in wrong_lines(path)] == [
        "physioemo streams --jsn",
        "physioemo steams",
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_within_the_text_has_the_options_that_are_named(path):
    text = BLOCK.sub("", path.read_text("utf-8"))
    for span in re.findall(r"`physioemo ([^`]+)`", text):
        words = " ".join(span.split()).split(" ")
        command, options = options_of(words)
        assert options is not None, span
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options, (span, command.name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_toml_block_is_read_and_every_python_block_has_what_it_imports(path):
    for text in blocks(path, "toml"):
        tomllib.loads(text)
    for text in blocks(path, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), (node.module, alias.name)


def anchors(path):
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    text = BLOCK.sub("", path.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    for name in re.findall(r"(?<![\w/])docs/\w+\.md", text):
        assert (ROOT / name).exists(), name


def all_commands(command=cli, context=None, names=()):
    """Yield every command that does something, with the words that call it."""
    context = click.Context(command, info_name="physioemo", parent=context)
    if not isinstance(command, click.Group):
        yield " ".join(names), command
        return
    for name in command.list_commands(context):
        yield from all_commands(command.get_command(context, name), context, (*names, name))


def test_every_command_is_in_a_document_and_every_option_says_what_it_is():
    text = "\n".join(path.read_text("utf-8") for path in DOCUMENTS)
    for name, command in all_commands():
        assert f"physioemo {name}" in text, name
        assert command.help and command.help.strip().split("\n\n")[0].endswith("."), name
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                said = option.help or ""
                about = (name, option.opts, said)
                assert re.match(r"[A-Z0-9'\"]", said) and re.search(r"[.\]]$", said), about
                default = option.to_info_dict()["default"]
                shown = option.show_default or "[default: " in said or option.is_flag
                assert shown or option.required or default in (None, (), ""), about


def test_the_page_of_all_commands_is_what_help_says():
    written = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert written == command_reference(), "run: python tools/command_reference.py"
