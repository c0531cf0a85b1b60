"""Training many small transformers: together beside one by one. Ratios count, not times.

``python benchmarks/bench_training.py --preset tiny --batch 16 256 --together 32`` on a CPU,
``--device cuda --together 32 256`` on a GPU. The variants take turns, so that what else the
machine does falls on all of them; the fastest round of each counts. Processes do more than the
others in what is timed as their step: they get data and weights, shuffle, gather, validate and
give the best weights back, as in a study.
"""

import argparse
import contextlib
import time
from collections.abc import Callable

import psutil
import torch

from physioemo.models.catalogue import build_model
from physioemo.models.losses import weighted_cross_entropy
from physioemo.models.stacked_step import Engine, adamw_coefficients
from physioemo.models.stacked_weights import Architecture, State
from physioemo.models.training import Split, TrainingConfig
from physioemo.models.training_processes import TrainingProcesses
from physioemo.models.training_slots import CheckedData, Room

N_CHANS, N_BANDS, N_CLASSES = 32, 4, 2
N_STEPS_IN_PROCESSES = 8  # and half a batch to validate on: a fifth of the windows, passed once
CONFIG = TrainingConfig()
SIZES = {
    "tiny": {},
    "published": {"embed_dim": 64, "head_dim": 16},  # the 201,602 weights of its released code
}


class Problem:
    """Random windows for ``n_models`` models, and a way to run a step of each."""

    def __init__(self, preset: str, batch: int, n_models: int, device: torch.device) -> None:
        self.device, self.batch, self.n_models = device, batch, n_models
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

    def in_processes(
        self,
        n_processes: int,
        stack: contextlib.ExitStack,
        *,
        compiled: bool,
        bfloat16: bool = False,
    ) -> Callable[[], None]:
        """One by one in each of some processes, which end with the stack."""
        n_training, n_validation = N_STEPS_IN_PROCESSES * self.batch, max(1, self.batch // 2)

        def windows(n: int) -> Split:
            labels = torch.randint(0, N_CLASSES, (n, 1))
            return Split(torch.randn(n, N_CHANS, N_BANDS), labels, None)

        data = CheckedData(windows(n_training), windows(n_validation), (1, N_CLASSES), 0)
        room = Room.for_all([data], self.batch)
        config = TrainingConfig(n_epochs=1, batch_size=self.batch)
        processes = stack.enter_context(
            TrainingProcesses(
                self.models[0],
                room,
                config,
                n_processes=n_processes,
                compiled=compiled,
                bfloat16=bfloat16,
            )
        )
        rows = [self.architecture.flatten(model) for model in self.models]

        def run() -> None:
            for _ in processes.train((k, data, row) for k, row in enumerate(rows)):
                pass

        return run


def variants(
    problem: Problem, n_together: int, arguments: argparse.Namespace, stack: contextlib.ExitStack
) -> dict[str, Callable[[], None]]:
    """Name what is compared; the first is the reference."""
    n_processes = arguments.processes
    ways = {
        "sequential eager": problem.plain(),
        "sequential compiled": problem.stacked(1, compiled=True),
        f"{n_together} together eager": problem.stacked(n_together),
        f"{n_together} together compiled": problem.stacked(n_together, compiled=True),
    }
    if arguments.bfloat16:
        for n in (1, n_together):
            ways[f"{n} together compiled bfloat16"] = problem.stacked(
                n, compiled=True, bfloat16=True
            )
    if problem.device.type == "cpu":
        ways["sequential eager, 1 thread"] = on_one_thread(problem.plain())
        for name, compiled in (("eager", False), ("compiled", True)):
            ways[f"{n_processes} processes {name}"] = problem.in_processes(
                n_processes, stack, compiled=compiled
            )
        if arguments.bfloat16:
            ways[f"{n_processes} processes compiled bfloat16"] = problem.in_processes(
                n_processes, stack, compiled=True, bfloat16=True
            )
    if problem.device.type == "cuda":
        for n in (1, n_together):
            ways[f"{n} together compiled, CUDA graph"] = problem.stacked(
                n, compiled=True, cuda_graph=True
            )
    return ways


def on_one_thread(way: Callable[[], None]) -> Callable[[], None]:
    """Wrap a way: beside other work its processor time is fair, that of waiting threads is not."""

    def run() -> None:
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        way()
        torch.set_num_threads(n_threads)

    return run


def measure(problem: Problem, ways: dict[str, Callable[[], None]], rounds: int) -> None:
    """Print what a step of one model takes, and how many times faster than the first it is."""

    def timed(name: str) -> tuple[float, float]:
        began, processor = time.perf_counter(), processor_seconds()
        ways[name]()
        if problem.device.type == "cuda":
            torch.cuda.synchronize(problem.device)
        n_steps = problem.n_models * (N_STEPS_IN_PROCESSES if "processes" in name else 1)
        elapsed = time.perf_counter() - began
        return elapsed / n_steps, (processor_seconds() - processor) / n_steps

    for name in ways:
        print(f"  (first call of {name}: {timed(name)[0] * problem.n_models:.1f} s)", flush=True)
        timed(name)
    times = {name: [timed(name)] for name in ways}
    for _ in range(rounds - 1):
        for name in ways:
            times[name].append(timed(name))
    reference = [min(values) for values in zip(*times["sequential eager"], strict=True)]
    for name, values in times.items():
        best = [min(each) for each in zip(*values, strict=True)]
        wall, processor = (f"{1e3 * a:9.3f} ({r / a:5.2f} x)"
                           for a, r in zip(best, reference, strict=True))  # fmt: skip
        print(f"  {name:<32} ms a step and model {wall}, of processor time {processor}")


def processor_seconds() -> float:
    """Return the processor time of this process and those it has started."""
    children = [child.cpu_times() for child in psutil.Process().children()]
    return time.process_time() + sum(c.user + c.system for c in children)


def main() -> None:
    """Compare for each batch size and number together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", choices=SIZES, default="tiny")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--together", type=int, nargs="+", default=[16])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--processes", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", default=[""], help="part of a name, or several")
    parser.add_argument("--bfloat16", action="store_true", help="also in bfloat16")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{card}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for batch in arguments.batch:
        for n_together in arguments.together:
            print(f"{arguments.preset}, batch {batch}, {n_together} models")
            problem = Problem(arguments.preset, batch, n_together, device)
            with contextlib.ExitStack() as stack:
                ways = variants(problem, n_together, arguments, stack)
                first = next(iter(ways))
                kept = [n for n in ways if n == first or any(t in n for t in arguments.only)]
                measure(problem, {n: ways[n] for n in kept}, arguments.rounds)
            torch.compiler.reset()


if __name__ == "__main__":
    main()
