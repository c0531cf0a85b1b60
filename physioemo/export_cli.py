"""The command ``export``."""

import json
from pathlib import Path
from typing import Any

import click

from physioemo.core_cli import override_options

__all__ = ["export"]


@click.command()
@click.argument("recording", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option("--bids", type=click.Path(path_type=Path), help="Folder of a BIDS data set.")
@click.option("--subject", help="BIDS: label of the participant, such as 01.")
@click.option("--session", help="BIDS: label of the session.")
@click.option("--task", help="BIDS: what the participant did, such as films.")
@click.option("--run", help="BIDS: label of the run.")
@click.option("--line-hz", type=float, help="BIDS: frequency of the mains, 50 or 60.")
@click.option("--gaze-system", help="BIDS: gaze-on-screen, gaze-in-world or eye-in-head.")
@click.option(
    "--screen",
    type=click.Path(path_type=Path),
    help="BIDS: JSON file with ScreenDistance, ScreenSize, ScreenResolution and ScreenOrigin.",
)
@click.option("--stream", help="FIF: which stream; needed where there is not exactly one of EEG.")
@override_options
@click.option("--overwrite", is_flag=True, help="Replace what is already there.")
def export(
    recording: Path,
    out: Path | None,
    bids: Path | None,
    subject: str | None,
    session: str | None,
    task: str | None,
    run: str | None,
    line_hz: float | None,
    gaze_system: str | None,
    screen: Path | None,
    stream: str | None,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Write RECORDING as OUT (.xdf or .fif), or into a data set with --bids.

    RECORDING is everything that 'physioemo import' reads.
    """
    from physioemo.errors import CallError
    from physioemo.files import read_recording
    from physioemo.overrides import Overrides

    if (out is None) == (bids is None):
        raise CallError(
            "found neither OUT nor --bids, expected one of them; write 'physioemo export RECORDING "
            "session.xdf', or --bids FOLDER --subject 01 --task films"
            if out is None
            else "found OUT and --bids, expected one of them; run the command once for each"
        )
    if bids is not None and not (subject and task):
        raise CallError("found --bids alone, expected also --subject and --task; state both")
    if out is not None and out.suffix.lower() not in {".xdf", ".fif"}:
        raise CallError(
            f"found the name {out.name!r}, expected one that ends in '.xdf' or '.fif'; or use "
            "--bids for a data set"
            + (", export-decoder for a decoder" if out.suffix.lower() == ".onnx" else "")
        )
    with read_recording(recording, Overrides.parse(ch_names, unit, rates)) as source:
        if bids is not None:
            from physioemo.bids_export import export_bids

            written = export_bids(
                source,
                bids,
                subject=str(subject),
                task=str(task),
                session=session,
                run=run,
                line_hz=line_hz,
                gaze_system=gaze_system,
                screen=_screen(screen),
                overwrite=overwrite,
            )
        elif out is not None and out.suffix.lower() == ".xdf":
            from physioemo.xdf_export import export_xdf

            written = export_xdf(source, out, overwrite=overwrite)
        else:
            from physioemo.fif_export import export_fif

            written = export_fif(source, str(out), stream=stream, overwrite=overwrite)
        for note in source.notes:
            click.echo(f"Note: {note}.")
    click.echo(f"{recording} is now {written}.")


def _screen(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    from physioemo.errors import CallError

    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CallError(
            f"found that {path} cannot be read ({error}), expected a JSON file such as "
            '{"ScreenDistance": 0.6, "ScreenSize": [0.53, 0.3], "ScreenResolution": [1920, 1080], '
            '"ScreenOrigin": ["top", "left"]}'
        ) from error
    if not isinstance(found, dict):
        raise CallError(
            f"found no object in {path}, expected one such as {{'ScreenDistance': 0.6}}"
        )
    return found
