"""Commands of the join: train, live, report, demo."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from physioemo.core_cli import in_shell, override_options
from physioemo.led import Leader, led_option
from physioemo.overrides import Overrides
from physioemo.progress import progress

__all__ = ["demo", "live", "report", "train"]


@click.command()
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the decoder."
)
@click.option(
    "--midpoint",
    type=click.Choice(["drop", "low", "high"]),
    default="drop",
    show_default=True,
    help="What a rating exactly in the middle of the scale is.",
)
@click.option("--preset", default="tiny", show_default=True, help="Size of the transformer.")
@click.option("--window-seconds", default=1.0, show_default=True, help="Length of a window.")
@click.option("--hop-seconds", default=0.5, show_default=True, help="Step between windows.")
@click.option(
    "--definition", default="gaussian-filter", show_default=True, help="Which differential entropy."
)
@click.option("--folds", default=5, show_default=True, help="Folds of grouped trials.")
@click.option("--permutations", default=10, show_default=True, help="Runs with permuted labels.")
@click.option("--epochs", default=40, show_default=True, help="At most so many epochs.")
@click.option("--seed", default=0, show_default=True, help="Of folds, weights and permutations.")
@click.option("--overwrite", is_flag=True, help="Replace a decoder that is already there.")
@click.option(
    "--model",
    type=click.Choice(["eeg", "fused"]),
    help="The EEG alone, or with other streams; fused where families are named.",
)
@click.option("--families", help="Features of other streams, such as eda,hrv,respiration,gaze.")
@click.option(
    "--stimuli",
    multiple=True,
    type=click.Path(),
    help="Files that were shown, or a folder of them: what was seen and heard is read as well.",
)
@click.option(
    "--fusion",
    help="How streams are fused: queries (attention), concat, late or gated.  [default: queries]",
)
@click.option(
    "--pretrained",
    type=click.Path(),
    help="Folder of 'physioemo pretrain' whose encoders a fused decoder begins with.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="TOML file with these settings, [sides.FAMILY] and [trust]; what is typed here wins.",
)
@click.pass_context
def train(
    context: click.Context,
    /,
    recordings: tuple[Path, ...],
    out: Path,
    overwrite: bool,
    config_file: Path | None,
    **options: Any,
) -> None:
    """Train a decoder on recordings with rated trials, and score it on held-out trials."""
    import torch

    from physioemo.experiments.fused_training import FusedConfig, train_fused_decoder
    from physioemo.experiments.train_config import read_train_file, train_config, train_stimuli
    from physioemo.experiments.training import refuse_existing_decoder, train_decoder
    from physioemo.store import open_recording

    refuse_existing_decoder(out, overwrite=overwrite)
    typed = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if "families" in typed:
        typed["families"] = [f.strip() for f in typed["families"].split(",") if f.strip()]
    settings = {**(read_train_file(config_file) if config_file else {}), **typed}
    config = train_config(settings)
    stimuli = train_stimuli(settings, config, beside=config_file.parent if config_file else None)
    named = {_name(path, recordings): open_recording(path) for path in recordings}
    if config.preset == "tiny":
        torch.set_num_threads(1)  # of several threads each waits for the others
    with progress("training", 1.0) as update:

        def told(what: str, done: int, total: int) -> None:
            update(done / total)

        if isinstance(config, FusedConfig):
            trained = train_fused_decoder(named, config, stimuli=stimuli, on_progress=told)
        else:
            trained = train_decoder(named, config, on_progress=told)
    trained.save(out, overwrite=overwrite)
    print_scores(trained.evaluation)
    click.echo(f"The decoder is in {out}.")
    if not trained.evaluation.get("offline_only"):
        click.echo(f"Next: physioemo live --decoder {in_shell(out)}")


def _name(path: Path, paths: tuple[Path, ...]) -> str:
    """Return a recording's name in results: the folder's, or the whole path if two share it."""
    return path.stem if sum(p.stem == path.stem for p in paths) == 1 else path.as_posix()


def print_scores(evaluation: dict[str, Any]) -> None:
    """Print each score beside its baselines."""
    stamp = "  LEAKY" if evaluation["leaky"] else ""
    click.echo(
        f"Balanced accuracy on {evaluation['n_trials']} held-out trials, "
        f"{evaluation['protocol']}{stamp}:"
    )
    for name, s in evaluation["dimensions"].items():
        permuted = s["permuted_balanced_accuracy"]
        shuffled = f"{sum(permuted) / len(permuted):.2f}" if permuted else "not run"
        low, high = s["interval_95"]
        click.echo(
            f"  {name:<10} {s['balanced_accuracy']:.2f} [{low:.2f}, {high:.2f}]   majority class "
            f"{s['majority_balanced_accuracy']:.2f}   permuted labels {shuffled}   "
            f"binomial p {s['p_binomial']:.2g}"
        )
    _print_baselines(evaluation)
    for note in evaluation.get("notes", []):
        click.echo(f"  {note}")


def _print_baselines(evaluation: dict[str, Any]) -> None:
    """Print what models of fewer streams reach, and whether the other streams are worth it."""
    own = {d: s["balanced_accuracy"] for d, s in evaluation["dimensions"].items()}
    for name, scores in evaluation.get("baselines", {}).items():
        told = "   ".join(f"{d} {value:.2f}" for d, value in scores.items())
        click.echo(f"  {name}: {told}")
        better = [d for d, value in scores.items() if value > own[d]]
        if better:
            click.echo(
                f"  In {', '.join(better)} that is more than with all streams: more trials, or "
                "fewer families, may serve better."
            )


@click.command()
@click.option(
    "--decoder",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of 'physioemo train'.",
)
@click.option("--stream", "predicates", multiple=True, help="XPath predicate of the EEG stream.")
@click.option(
    "--beside",
    multiple=True,
    help="XPath predicate of streams beside the EEG, for a decoder that reads them; if not "
    "stated, all of the rig, or else of the network.",
)
@click.option(
    "--rig",
    "rig_file",
    type=click.Path(path_type=Path),
    help="Decode the EEG stream of this rig (TOML, see 'physioemo rig').",
)
@click.option(
    "--wait-seconds", default=10.0, show_default=True, help="Wait this long for the rig's stream."
)
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds.")
@click.option(
    "--stop-when-idle",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop when the stream came and then delivered nothing for this many seconds.",
)
@click.option("--find-seconds", default=5.0, show_default=True, help="How long to look.")
@click.option(
    "--stimuli",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File or folder that the player shows, for a decoder that reads it; repeatable.",
)
@click.option(
    "--player", default="", help="XPath predicate of the player's streams; any if not stated."
)
@click.option("--json", "as_json", is_flag=True, help="Print the latency statistics as JSON.")
@override_options
@led_option
def live(
    folder: Path,
    predicates: tuple[str, ...],
    beside: tuple[str, ...],
    rig_file: Path | None,
    wait_seconds: float,
    duration: float | None,
    stop_when_idle: float | None,
    find_seconds: float,
    stimuli: tuple[Path, ...],
    player: str,
    as_json: bool,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
    led: bool,
) -> None:
    """Decode an EEG stream and publish the stream PhysioEmo-VAD until Ctrl-C.

    A decoder of several streams finds those beside the EEG by what they carry.
    """
    from physioemo.acquisition.lsl import configure_quietly
    from physioemo.acquisition.record_cli import notice, refuse_contradictions
    from physioemo.experiments.decoder import UNTRAINED, Decoder
    from physioemo.experiments.decoder_folder import load_decoder
    from physioemo.experiments.fused_run import run_fused_live
    from physioemo.experiments.live import run_live

    configure_quietly()
    overrides = Overrides.parse(ch_names, unit, rates)
    refuse_contradictions(rig_file, False, (*predicates, *beside), overrides, False, False)
    decoder = load_decoder(folder)
    around: tuple[str, ...] | None = beside or None
    if rig_file is not None:
        from physioemo.acquisition.rig_live import prepare_others, prepare_stream
        from physioemo.acquisition.rig_toml import read_rig

        rig = read_rig(rig_file)
        plan = prepare_stream(rig, wait_seconds=wait_seconds, on_notice=notice)
        predicates, overrides = plan.predicates, plan.overrides
        if not isinstance(decoder, Decoder):
            others = prepare_others(rig, wait_seconds=wait_seconds, on_notice=notice)
            around = others.predicates if others else ()
            overrides = overrides.joined(others.overrides) if others else overrides
    if decoder.metadata.get(UNTRAINED):
        click.echo("The decoder is UNTRAINED: its predictions mean nothing.", err=True)
    leader = Leader() if led else None
    options: dict[str, Any] = {
        "predicates": predicates,
        "overrides": overrides,
        "duration_seconds": duration,
        "stop_when_idle_seconds": stop_when_idle,
        "find_seconds": find_seconds,
        "should_stop": leader.is_gone if leader else _never,
        "restarts": leader.restarts if leader else tuple,
        "on_start": _ignore if as_json else _print_start,
        "on_prediction": _ignore if as_json else _print_prediction(),
        "on_notice": notice,
    }
    if isinstance(decoder, Decoder):
        summary = run_live(decoder, **options)
    else:
        cache = Path(click.get_app_dir("physioemo")) / "stimuli"
        summary = run_fused_live(
            decoder, beside=around, stimuli=stimuli, cache=cache, which_player=player, **options
        )
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=2))
        return
    click.echo(
        f"{summary.n_predictions} predictions, {summary.n_abstained} abstained, "
        f"{summary.n_skipped} skipped; newest sample to "
        f"prediction: median {1e3 * summary.latency_p50_seconds:.1f} ms, 99 % within "
        f"{1e3 * summary.latency_p99_seconds:.1f} ms; {summary.ended}."
    )


def _never() -> bool:
    return False


def _ignore(*_: Any) -> None:
    pass


def _print_start(description: Any) -> None:
    click.echo(f"Publishing PhysioEmo-VAD from the stream {description.name}. Ctrl-C stops.")
    sys.stdout.flush()


def _print_prediction() -> Any:
    """Return a function that shows the newest prediction about once a second."""
    import time

    last = 0.0

    def show(prediction: Any, latency: float) -> None:
        nonlocal last
        if time.monotonic() - last >= 1.0:
            last = time.monotonic()
            words = "  ".join(f"{d} {p:.2f}" for d, p in prediction.probability.items())
            note = f"  ABSTAINS: {prediction.reason}" if prediction.abstain else ""
            rated = "".join(f"  {d} {v:.1f}" for d, v in prediction.value.items())
            ratings = f"   rating{rated}" if rated else ""
            named = "".join(f"  {e} {p:.2f}" for e, p in prediction.emotions.items())
            ratings += f"   P(emotion){named}" if named else ""
            click.echo(f"P(high)  {words}{ratings}  ({1e3 * latency:.0f} ms){note}")

    return show


@click.command()
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="HTML file to write.")
@click.option("--decoder", type=click.Path(path_type=Path), help="Decoder whose scores to show.")
@click.option("--overwrite", is_flag=True, help="Replace a report that is already there.")
@override_options
def report(
    recordings: tuple[Path, ...],
    out: Path,
    decoder: Path | None,
    overwrite: bool,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
) -> None:
    """Write one self-contained HTML file about recordings and a decoder."""
    from physioemo.experiments.report import write_report
    from physioemo.files import read_recording

    overrides = Overrides.parse(ch_names, unit, rates)
    opened = [read_recording(path, overrides) for path in recordings]
    write_report(out, opened, decoder_folder=decoder, overwrite=overwrite)
    click.echo(f"Wrote {out}.\nNext: open it in a browser.")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--replay", is_flag=True, help="Use the real recordings FILES, not the simulator.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder of the results.",
)
@click.option("--decoder", type=click.Path(path_type=Path), help="Decoder to use with --replay.")
@click.option("--seed", default=0, show_default=True, help="Who the simulated participant is.")
@click.option(
    "--effect", default=1.0, show_default=True, help="Size of affect's influence; 0 = none."
)
@click.option("--overwrite", is_flag=True, help="Replace the results of an earlier demo.")
@override_options
def demo(
    files: tuple[Path, ...],
    replay: bool,
    out: Path,
    decoder: Path | None,
    seed: int,
    effect: float,
    overwrite: bool,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
) -> None:
    """Walk the whole thread: simulate (or replay FILES), record, train, live, report."""
    from physioemo.experiments.demo import run_demo, run_replay_demo

    if replay != bool(files):
        raise click.UsageError("found FILES or --replay alone, expected both: --replay FILE ...")
    if replay:
        options = [f"--ch-names={o}" for o in ch_names] + [f"--unit={o}" for o in unit]
        options += [f"--sfreq={o}" for o in rates]
        run_replay_demo(out, files, decoder=decoder, options=options, overwrite=overwrite)
    else:
        run_demo(out, seed=seed, effect=effect, overwrite=overwrite)
