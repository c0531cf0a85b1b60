"""Write docs/commands.md, every command and option, from what ``--help`` says.

``python tools/command_reference.py`` writes it; a test compares it with the commands.
"""

from collections.abc import Iterator
from pathlib import Path

import click

__all__ = ["command_reference"]

_OUT = Path(__file__).parents[1] / "docs" / "commands.md"
_HEAD = """# Commands

Every command and option, as `--help` prints them. This page is written by
`python tools/command_reference.py`.

Exit codes: 0 done, 1 the work failed or found something wrong, 2 the call was wrong, 130 stopped by
Ctrl-C. An error is one sentence; `physioemo --debug` before the command shows
where it came from.
"""


def command_reference() -> str:
    """Return the text of docs/commands.md."""
    from physioemo.cli import cli

    context = click.Context(cli, info_name="physioemo")
    return "\n".join([_HEAD, *_lines(cli, context)])


def _lines(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None  # noqa: S101 -- it was just listed
        own = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _lines(command, own)
        else:
            yield from _of_command(command, own)


def _of_command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece)
    paragraphs = [" ".join(p.split()) for p in (command.help or "").split("\n\n")]
    yield f"## {context.command_path}\n"
    yield f"`{context.command_path} {usage}`\n"
    yield from (f"{text}\n" for text in paragraphs)
    # A bar would end the cell, an asterisk begin emphasis.
    records = (p.get_help_record(context) for p in command.params if isinstance(p, click.Option))
    rows = [[text.replace("|", "\\|").replace("*", "\\*") for text in r] for r in records if r]
    if rows:
        yield "| option | |\n|---|---|"
        yield from (f"| `{usage}` | {text} |" for usage, text in rows)
        yield ""


if __name__ == "__main__":
    _OUT.write_text(command_reference(), "utf-8")
    print(f"Wrote {_OUT}.")
