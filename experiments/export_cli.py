"""The command ``export-decoder``."""

from pathlib import Path

import click

__all__ = ["export_decoder"]


@click.command("export-decoder")
@click.argument("decoder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace what is already there.")
def export_decoder(decoder: Path, out: Path, overwrite: bool) -> None:
    """Write DECODER, a folder of 'physioemo train', as OUT (.onnx) for other programs.

    Its answers are compared with the decoder's first. A decoder that remembers windows (a context
    or a pooling) cannot be exported; PhysioEmo itself goes on with the folder.
    """
    from physioemo.experiments.decoder import UNTRAINED
    from physioemo.experiments.decoder_folder import load_decoder
    from physioemo.experiments.decoder_onnx import LARGEST_DIFFERENCE, export_onnx

    loaded = load_decoder(decoder)
    written = export_onnx(loaded, out, overwrite=overwrite)
    if loaded.metadata.get(UNTRAINED):
        click.echo("The decoder is UNTRAINED: its predictions mean nothing.", err=True)
    n_bands = len(loaded.recipe.bands)
    beside = ", ".join(getattr(loaded, "modalities", ())[1:])
    click.echo(
        f"The decoder {loaded.id} is now {written}: entropies in nats (window, "
        f"{len(loaded.ch_names)} electrodes, {n_bands} bands)"
        f"{f' and {beside}' if beside else ''} to {', '.join(loaded.dimensions)}.\n"
        f"ONNX Runtime says the same within {LARGEST_DIFFERENCE:g}; names, recipe and units are in "
        "its metadata."
    )
