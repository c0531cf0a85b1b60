"""What a prediction costs: parameters, latency of one window, windows per second.

Every preset of the catalogue, of the encoders (each with the fusion of its preset) and of the
contexts, beside braindecode's EEGNet and EEGConformer, in one run in which all take turns. A
window is 4 s: 32 electrodes (4 bands, or 512 samples), 12 numbers, 5 channels of the eyes at
60 Hz, sound at 16 kHz (or 400 frames of a filter bank), 6 frames of the picture.

    python benchmarks/bench_models.py [--quick] [--one-core] [--threads 2] [--only NAME ...]

Use an idle machine: two threads wait for each other, and on a busy one that costs more than it
brings.

Goals: the closed-loop student answers within 10 ms (p99) on one core, the fused student with sound
and picture within 40 ms. ONNX Runtime is measured where it and onnxscript are installed.
"""

import argparse
import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physioemo.models.catalogue import MODELS, build_model
from physioemo.models.fused import ENCODERS, FusedModel
from physioemo.models.multiple_instance import POOLINGS, MultipleInstance
from physioemo.models.temporal_context import CONTEXTS, ContextModel

ELECTRODES, BANDS, SFREQ_HZ, SECONDS = 32, 4, 128.0, 4.0
SAMPLES = int(SFREQ_HZ * SECONDS)
DIMENSIONS = ("valence", "arousal", "dominance")
FRAMES = {"tiny": (6, 32), "study": (6, 160)}
SLOW_SECONDS, TURN_SECONDS = 0.02, 0.5
BATCH, SLOW_BATCH = 256, 16
STUDENTS = {"closed-loop student": 10.0, "fused student, sound and picture": 40.0}
"""Goals in milliseconds, p99 on one core."""

ONNX_PACKAGES, LARGEST_DIFFERENCE = ("onnxruntime", "onnxscript"), 1e-3

Inputs = Callable[[int], Any]


@dataclass
class Case:
    """A model, how to feed it, and what was measured."""

    name: str
    model: nn.Module
    inputs: Inputs
    important: bool = False
    step: Callable[[], Any] | None = None
    times: dict[str, list[float]] = field(default_factory=dict)
    batch: int = BATCH
    seconds: float = 0.0


class Answer(nn.Module):
    """A model by its logits alone, as a compiler and an exporter want it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Tensor:
        """Return the logits of what a case's inputs give."""
        said = self.model(x)
        return said if isinstance(said, Tensor) else said.logits


class Flat(nn.Module):
    """A model whose modalities are tensors one after the other, as an exporter wants them."""

    def __init__(self, answer: nn.Module, example: Any) -> None:
        super().__init__()
        self.answer = answer
        self.names = [
            (name, part)
            for name, given in (example.items() if isinstance(example, dict) else ())
            for part in (given if isinstance(given, dict) else ("",))
        ]

    def tensors(self, inputs: Any) -> tuple[Tensor, ...]:
        """Return what a case's inputs hold, in order."""
        if not self.names:
            return (inputs,)
        return tuple(inputs[name][part] if part else inputs[name] for name, part in self.names)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the logits."""
        if not self.names:
            return self.answer(tensors[0])
        inputs: dict[str, Any] = {}
        for (name, part), tensor in zip(self.names, tensors, strict=True):
            if part:
                inputs.setdefault(name, {})[part] = tensor
            else:
                inputs[name] = tensor
        return self.answer(inputs)


def modality(name: str, preset: str, n: int) -> Any:
    """Return random input of `n` windows for an encoder."""
    frames, size = FRAMES[preset]
    shapes = {
        "electrodes": (ELECTRODES, BANDS),
        "scalars": (12,),
        "series": (5, 240),
        "raw-eeg": (ELECTRODES, SAMPLES),
        "audio-patches": (400, 128),
        "audio-wave": (64_000,),
    }
    if name in shapes:
        return torch.randn(n, *shapes[name])
    if name == "video-tubelets":
        seconds = torch.linspace(-SECONDS, 0, frames).repeat(n, 1)
        return {"values": torch.randn(n, frames, size, size, 3), "time_seconds": seconds}
    raise KeyError(name)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "electrodes": {"n_chans": ELECTRODES, "n_bands": BANDS},
    "scalars": {"n_scalars": 12},
    "series": {"n_channels": 5, "sfreq": 60.0},
    "raw-eeg": {"n_chans": ELECTRODES, "n_times": SAMPLES, "sfreq": SFREQ_HZ},
    "audio-patches": {},
    "audio-wave": {},
    "video-tubelets": {},
}


def fused(name: str, parts: tuple[str, ...], preset: str, *, important: bool = False) -> Case:
    """Return a fused model of some encoders, all of one preset."""
    names = {part: part.replace("-", "_") for part in parts}
    model = FusedModel(
        encoders={
            n: {"encoder": part, "preset": preset, **ARGUMENTS[part]} for part, n in names.items()
        },
        dimensions=DIMENSIONS,
        preset=preset,
    )
    return Case(
        name, model, lambda n: {k: modality(p, preset, n) for p, k in names.items()}, important
    )


def cases() -> Iterator[Case]:
    """Yield all models, the peers first."""
    import braindecode.models

    for peer in ("EEGNet", "EEGConformer"):
        model = getattr(braindecode.models, peer)(
            n_chans=ELECTRODES, n_outputs=2, n_times=SAMPLES, sfreq=SFREQ_HZ
        )
        yield Case(
            f"braindecode {peer}", model, lambda n: torch.randn(n, ELECTRODES, SAMPLES), True
        )
    for name, row in MODELS.items():
        for preset in row.presets:
            model = build_model(name, preset, n_chans=ELECTRODES, n_bands=BANDS)
            yield Case(f"{name} {preset}", model, lambda n: torch.randn(n, ELECTRODES, BANDS),
                       name == "intercortical")  # fmt: skip
    small = ("electrodes", "scalars", "series")
    yield fused("closed-loop student", small, "tiny", important=True)
    everything = (*small, "audio-wave", "video-tubelets")
    yield fused("fused student, sound and picture", everything, "tiny", important=True)
    for part in ENCODERS:
        for preset in ("tiny", "study"):
            if part in ARGUMENTS:
                yield fused(f"{part} {preset}, fused", (part,), preset)
    yield fused("all modalities study, fused", (*small, "audio-patches", "video-tubelets"), "study")
    yield from sequence_cases()


def sequence_cases() -> Iterator[Case]:
    """Yield contexts, of which a window is one step, and poolings of a trial of 15 windows."""
    for name in CONTEXTS:
        for preset in ("tiny", "study"):
            model = ContextModel(in_dim=96, dimensions=DIMENSIONS, context=name, preset=preset)
            case = Case(f"context {name} {preset}", model, lambda n: torch.randn(n, 15, 96))
            if not model.offline_only:
                case.step = stepper(model)
            yield case
    for pooling in POOLINGS:
        if pooling in ("attention", "mean"):
            pool = MultipleInstance(in_dim=96, dimensions=DIMENSIONS, pooling=pooling)
            yield Case(f"trial by {pooling}", pool, lambda n: torch.randn(n, 15, 96))


def stepper(model: ContextModel) -> Callable[[], Any]:
    """Return a call that steps a live context by one window."""
    model.eval()
    state = [model.start()]
    window = torch.randn(96)

    def step() -> Any:
        said, state[0] = model.step(window, state[0])
        return said

    return step


def ways_of(case: Case, *, compiled: bool) -> dict[str, Callable[[], Any]]:
    """Return how one window can be answered."""
    one, answer = case.inputs(1), Answer(case.model).eval()
    ways: dict[str, Callable[[], Any]] = {"eager": case.step or (lambda: answer(one))}
    if compiled and case.step is None:
        # All models are called through one function, and by default the ninth is not compiled.
        torch._dynamo.config.recompile_limit = 1000
        quick = torch.compile(answer)
        ways["compiled"] = lambda: quick(one)
        if all(map(importlib.util.find_spec, ONNX_PACKAGES)):
            try:
                ways["onnx"] = exported(answer, one)
            except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
                print(f"({case.name} is not exported to ONNX: {str(error).splitlines()[0]})")
    return ways


def exported(answer: nn.Module, one: Any) -> Callable[[], Any]:
    """Return the model in ONNX Runtime, if it says the same there."""
    import onnxruntime

    flat, file = Flat(answer, one), io.BytesIO()
    tensors = flat.tensors(one)
    torch.onnx.export(flat, tensors, file, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    given = {i.name: t.numpy() for i, t in zip(session.get_inputs(), tensors, strict=True)}
    apart = float(np.abs(session.run(None, given)[0] - answer(one).numpy()).max())
    if apart > LARGEST_DIFFERENCE:
        raise RuntimeError(f"its logits differ by {apart:g}")
    return lambda: session.run(None, given)


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long one call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@torch.no_grad()
def measure(all_cases: list[Case], rounds: int, calls: int, *, compile_all: bool) -> None:
    """Time every way of every case in turns, and the batches once in each of a few rounds."""
    ways = {}
    for case in all_cases:
        ways[case.name] = ways_of(case, compiled=compile_all or case.important)
        for way in ways[case.name].values():
            for _ in range(3):
                way()
        case.seconds = min(seconds_of(ways[case.name]["eager"]) for _ in range(5))
        case.batch = SLOW_BATCH if case.seconds > SLOW_SECONDS else BATCH
    for _ in range(rounds):
        for case in all_cases:
            n = max(2, min(calls, int(TURN_SECONDS / case.seconds)))
            for name, way in ways[case.name].items():
                case.times.setdefault(name, []).extend(seconds_of(way) for _ in range(n))
    for case in all_cases:
        batch = case.inputs(case.batch)
        case.model(batch)
        case.times["batch"] = [seconds_of(lambda: case.model(batch)) for _ in range(3)]  # noqa: B023


def table(all_cases: list[Case], threads: int) -> None:
    """Print the results as Markdown."""
    there = [w for w in ("eager", "compiled", "onnx") if any(w in c.times for c in all_cases)]
    heads = [f"{way} p50, ms | p99, ms" for way in there]
    print(f"\n{threads} threads, torch {torch.__version__}\n")
    print(f"| model | parameters | {' | '.join(heads)} | windows/s | at batch |")
    print("|---" * (4 + 2 * len(there)) + "|")
    for case in all_cases:
        n = sum(p.numel() for p in case.model.parameters())
        cells = []
        for way in there:
            found = np.percentile(case.times[way], (50, 99)) * 1e3 if way in case.times else None
            cells += ["", ""] if found is None else [f"{found[0]:.2f}", f"{found[1]:.2f}"]
        rate = case.batch / min(case.times["batch"])
        print(f"| {case.name} | {n:,} | {' | '.join(cells)} | {rate:,.0f} | {case.batch} |")


@torch.no_grad()
def one_core(all_cases: list[Case], calls: int) -> None:
    """Print what one window takes on one core, and whether the students meet their goals.

    Beside the time on the wall stands the processor's, which other programs lengthen little.
    """
    torch.set_num_threads(1)
    print("\n| one core, eager | p50, ms | p99, ms | processor p50, ms | p99, ms | goal | |")
    print("|---" * 7 + "|")
    for case in all_cases:
        one, found = case.inputs(1), []
        way = case.step or partial(case.model, one)
        way()
        for _ in range(max(10, min(calls, int(4 * TURN_SECONDS / seconds_of(way))))):
            began, worked = time.perf_counter(), time.thread_time()
            way()
            found.append((time.perf_counter() - began, time.thread_time() - worked))
        wall, work = 1e3 * np.percentile(found[len(found) // 10 :], (50, 99), axis=0).T
        goal = STUDENTS.get(case.name)
        cells = ["", ""] if goal is None else [f"{goal:g}", "met" if wall[1] < goal else "missed"]
        print(f"| {case.name} | {wall[0]:.2f} | {wall[1]:.2f} | {work[0]:.2f} | {work[1]:.2f} | "
              f"{' | '.join(cells)} |")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few calls, compile what counts only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one-core", action="store_true", help="the last table alone")
    parser.add_argument("--only", nargs="+", help="names that a model's name has to contain")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    chosen = [
        case
        for case in cases()
        if not arguments.only or any(part in case.name for part in arguments.only)
    ]
    for case in chosen:
        case.model.eval()
    rounds, calls = (4, 25) if arguments.quick else (20, 50)
    if not arguments.one_core:
        measure(chosen, rounds, calls, compile_all=not arguments.quick)
        table(chosen, arguments.threads)
    one_core(chosen, 20 * calls)


if __name__ == "__main__":
    main()
