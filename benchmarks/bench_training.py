"""Training many small transformers: together beside one by one. Ratios count, not times.

``python benchmarks/bench_training.py --preset tiny --batch 16 256 --together 32`` on a CPU,
``--device cuda --together 32 256`` on a GPU. The variants take turns, so that what else the
machine does falls on all of them.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from physioemo.models.catalogue import build_model
from physioemo.models.losses import weighted_cross_entropy
from physioemo.models.stacked_step import Engine, adamw_coefficients
from physioemo.models.stacked_weights import Architecture, State
from physioemo.models.training import TrainingConfig

N_CHANS, N_BANDS, N_CLASSES = 32, 4, 2
CONFIG = TrainingConfig()
SIZES = {
    "tiny": {},
    "published": {"embed_dim": 64, "head_dim": 16},  # the 201,602 weights of its released code
}


class Problem:
    """Random windows for ``n_models`` models, and a way to run a step of each."""

    def __init__(self, preset: str, batch: int, n_models: int, device: torch.device) -> None:
        self.device, self.n_models = device, n_models
        sizes = {"n_chans": N_CHANS, "n_bands": N_BANDS, "dropout": 0.0, **SIZES[preset]}
        self.models = [
            build_model("intercortical", preset, seed=i, **sizes).to(device)
            for i in range(n_models)
        ]
        self.architecture = Architecture(self.models[0])
        self.tokens = torch.randn(n_models, batch, N_CHANS, N_BANDS, device=device)
        self.labels = torch.randint(0, N_CLASSES, (n_models, batch, 1), device=device)
        self.class_weights = torch.ones(n_models, 1, N_CLASSES, device=device)

    def plain(self) -> Callable[[], None]:
        """One by one, as train_model does."""
        rates = {"lr": CONFIG.learning_rate, "weight_decay": CONFIG.weight_decay}
        optimisers = [torch.optim.AdamW(m.parameters(), **rates) for m in self.models]

        def run() -> None:
            for k, (model, optimiser) in enumerate(zip(self.models, optimisers, strict=True)):
                loss = weighted_cross_entropy(
                    model(self.tokens[k]).unsqueeze(1),
                    self.labels[k],
                    self.class_weights[k],
                    label_smoothing=CONFIG.label_smoothing,
                )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()

        return run

    def stacked(self, n_together: int, **options: bool) -> Callable[[], None]:
        """``n_together`` at a time."""
        engine = Engine(self.architecture, CONFIG, **options)
        numbers = adamw_coefficients(CONFIG, CONFIG.learning_rate, 10, active=True)
        coefficients = torch.tensor([numbers] * n_together, device=self.device)
        parts = [
            slice(k, k + n_together) for k in range(0, self.n_models - n_together + 1, n_together)
        ]
        states = []
        for part in parts:
            rows = [self.architecture.flatten(model) for model in self.models[part]]
            weights = torch.stack(rows)
            zeros = torch.zeros_like(weights)
            states.append(State(weights, zeros, zeros.clone()))

        def run() -> None:
            for i, part in enumerate(parts):
                batch = (self.tokens[part], None, self.labels[part], self.class_weights[part])
                states[i], _ = engine.step(states[i], *batch, coefficients, {})

        return run


def variants(problem: Problem, n_together: int, *, bfloat16: bool) -> dict[str, Callable[[], None]]:
    """Name what is compared; the first is the reference."""
    ways = {
        "sequential eager": problem.plain(),
        "sequential compiled": problem.stacked(1, compiled=True),
        f"{n_together} together eager": problem.stacked(n_together),
        f"{n_together} together compiled": problem.stacked(n_together, compiled=True),
    }
    if bfloat16:
        for n in (1, n_together):
            ways[f"{n} together compiled bfloat16"] = problem.stacked(
                n, compiled=True, bfloat16=True
            )
    if problem.device.type == "cuda":
        for n in (1, n_together):
            ways[f"{n} together compiled, CUDA graph"] = problem.stacked(
                n, compiled=True, cuda_graph=True
            )
    return ways


def measure(problem: Problem, ways: dict[str, Callable[[], None]], rounds: int) -> None:
    """Print the time of a step of one model, and how many times faster than the first."""

    def timed(way: Callable[[], None]) -> float:
        began = time.perf_counter()
        way()
        if problem.device.type == "cuda":
            torch.cuda.synchronize(problem.device)
        return (time.perf_counter() - began) / problem.n_models

    times: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in ways.items():
        print(f"  (first call of {name}: {timed(way) * problem.n_models:.1f} s)", flush=True)
        timed(way)
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(timed(way))
    reference = times["sequential eager"]
    for name, values in times.items():
        ratios = [a / b for a, b in zip(reference, values, strict=True)]
        print(f"  {name:<36} {1e3 * statistics.median(values):9.3f} ms a step and model "
              f"{statistics.median(ratios):7.2f} x")  # fmt: skip


def main() -> None:
    """Compare for each batch size and number together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", choices=SIZES, default="tiny")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--together", type=int, nargs="+", default=[16])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--bfloat16", action="store_true", help="also in bfloat16")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{card}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for batch in arguments.batch:
        for n_together in arguments.together:
            print(f"{arguments.preset}, batch {batch}, {n_together} models")
            problem = Problem(arguments.preset, batch, n_together, device)
            ways = variants(problem, n_together, bfloat16=arguments.bfloat16)
            measure(problem, ways, arguments.rounds)
            torch.compiler.reset()


if __name__ == "__main__":
    main()
