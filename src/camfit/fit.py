"""The main jobs: ``fit`` a model to a budget, or ``apply`` a recipe to it; both end with a measured packed file."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import torch

from camfit import data as datasets
from camfit import models, report
from camfit.budget import Budget
from camfit.cost import macs
from camfit.data import Dataset
from camfit.engine import Engine
from camfit.errors import RunError
from camfit.evaluate import evaluate, predict
from camfit.execute import Workshop, execute
from camfit.ladder import Climb, Ladder
from camfit.measure import LayerMeasurement, Measurement, accuracy, measure, measure_layers
from camfit.models import Model, ModelSource
from camfit.network import Network
from camfit.pack import CODERS, Packed, pack
from camfit.recipe import Recipe
from camfit.run import Record, Run
from camfit.storage import load_network, network_bytes, write_atomically, write_json
from camfit.tasks import Task, classification
from camfit.train import Progress, Train, fitting_threads, quiet

MODEL_FILE = "model.camfit"
ORIGINAL_FILE = "original.camfit"


@dataclass(frozen=True)
class Limit:
    """One limit of the budget against what was delivered. ``basis`` says on what it was measured."""

    limit: str
    unit: str
    budget: float
    delivered: float
    met: bool
    basis: str


@dataclass(frozen=True)
class Result:
    """What ``fit`` and ``apply`` deliver.

    Attributes:
        file: the packed file.
        network: the compressed network in torch.
        before, after: the original packed as it was, and the packed file; both measured on the test split.
        verdict: the budget's limits, empty for ``apply``.
        report: the HTML page.
        record: everything the report shows.
    """

    file: Path
    network: Network
    before: Measurement
    after: Measurement
    verdict: tuple[Limit, ...]
    report: Path
    record: Record

    @property
    def met(self) -> bool:
        """True when every limit holds."""
        return all(limit.met for limit in self.verdict)


def fit(
    model: ModelSource,
    data: str | Path | Dataset,
    budget: Budget,
    *,
    out: str | Path = "runs/fit",
    weights: str | Path | None = None,
    training: Train | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = quiet,
    command: str = "",
) -> Result:
    """Compresses a model until it fits a budget.

    Args:
        model: ``zoo:NAME``, ``file.py:factory``, ``file.pt2``, a module or an exported program.
        data: name or path for :func:`camfit.data.load`, or a data set. Unlabelled images get the classes that the model
            itself names, so that accuracy is how often its answer stays.
        budget: at least one limit.
        out: run directory. The same call goes on where an interrupted one stopped.
        weights: state dict for a zoo or factory model. A model without weights is trained first.
        training: how to train it then; a tuned default for the zoo.
        seed: of every random choice; same seed, same file (where no latency limit decides).
        threads: of the engine, for measuring.
        progress: told what happens, a line at a time.

    Returns:
        The result; :attr:`Result.met` says whether the budget holds. The closest file is kept either way.
    """

    def search(original: Network, job: _Job) -> _Found:
        baseline = job.run.value(
            "baseline", lambda: {"validation": accuracy(Engine(job.original.data), job.dataset.val, job.task)}
        )["validation"]
        ladder = Ladder(original, job.dataset, job.workshop, job.run, budget, baseline, threads, job.info, job.training)
        climb = ladder.climb()
        return _Found(climb.best.network, climb.best.packed, climb.best.half, _climb_record(climb, baseline))

    what: Record = {"budget": vars(budget)}
    return _work("fit", model, data, search, what, budget, out, weights, training, seed, threads, progress, command)


def apply(
    recipe: Recipe | str | Path,
    model: ModelSource,
    data: str | Path | Dataset,
    *,
    out: str | Path = "runs/apply",
    weights: str | Path | None = None,
    training: Train | None = None,
    half: bool = True,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = quiet,
    command: str = "",
) -> Result:
    """Runs a recipe on a model, packs the outcome and measures it. Arguments as for :func:`fit`.

    Args:
        recipe: a recipe, or the path of its TOML file.
        half: store biases, scales and codebooks as binary16.
    """
    chosen = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    chosen.check()

    def follow(original: Network, job: _Job) -> _Found:
        network, steps = execute(chosen, original, job.workshop, job.run)
        packed = pack(network, job.dataset.normalisation, info=job.info, half=half)
        return _Found(network, packed, half, {"steps": steps})

    what: Record = {"recipe": chosen.to_toml(), "half": half}
    return _work("apply", model, data, follow, what, None, out, weights, training, seed, threads, progress, command)


@dataclass(frozen=True)
class _Job:
    dataset: Dataset
    task: Task
    workshop: Workshop
    run: Run
    original: Packed
    info: dict[str, object]
    training: Train


@dataclass(frozen=True)
class _Found:
    """What to deliver, whether it is packed with binary16 values, and what the record tells of the way to it."""

    network: Network
    packed: Packed
    half: bool
    record: Record


_Search = Callable[[Network, _Job], _Found]


def _work(
    kind: str,
    source: ModelSource,
    data: str | Path | Dataset,
    search: _Search,
    what: Record,
    budget: Budget | None,
    out: str | Path,
    weights: str | Path | None,
    training: Train | None,
    seed: int,
    threads: int,
    progress: Progress,
    command: str,
) -> Result:
    """The walk that ``fit`` and ``apply`` share; ``search`` is where they differ."""
    begin = time.perf_counter()
    if not 0 <= seed < 1 << 32:
        raise RunError(f"seed {seed}: expected 0 to 2^32 - 1")
    dataset = data if isinstance(data, Dataset) else datasets.load(data, seed=seed)
    task = classification()
    model = models.load(source, dataset, weights=weights, seed=seed)
    if not dataset.labelled:
        if model.trained is False:
            raise RunError(f"{model.name} is untrained and {dataset.name} has no labels; expected --weights or labels")
        dataset = dataset.named_by(partial(predict, model.network))
    manifest: Record = {
        "camfit": version("camfit"),  # steps of two versions make no one run
        "kind": kind,
        "model": f"{model.name} {model.fingerprint}",
        "data": f"{dataset.name} {dataset.fingerprint}",
        "seed": seed,
        "threads": threads,
        "training": None if training is None else msgspec.to_builtins(training),
        **what,
    }
    with Run(out, manifest) as run, fitting_threads(sum(macs(model.network).values())):
        if run.resumed_steps:
            progress(f"{run.path}: going on after {run.resumed_steps} finished steps")
        workshop = Workshop.of(dataset, task, seed, progress)
        original, steps = _train_first(model, training or model.training, workshop, run)
        info: dict[str, object] = {
            "camfit": version("camfit"), "model": model.name, "data": dataset.name, "classes": list(dataset.classes),
        }  # fmt: skip
        if dataset.train.images.dtype != np.uint8:
            info["pixels"] = "float32"  # else uint8, as image files have them
        packed_original = pack(original, dataset.normalisation, info=info)
        packed_original.save(run.path / ORIGINAL_FILE)
        job = _Job(dataset, task, workshop, run, packed_original, info, training or model.training)
        result = search(original, job)
        network, packed, found = result.network, result.packed, result.record
        file = packed.save(run.path / MODEL_FILE)
        write_atomically(run.path / "model.safetensors", network_bytes(network))
        progress(f"{file}: {len(packed.data):,} bytes; measuring on the test split")
        before = measure(packed_original.data, dataset.test, task, threads=threads)
        after = measure(packed.data, dataset.test, task, threads=threads)
        verdict = () if budget is None else _verdict(budget, packed, after, found)
        record: Record = {
            "camfit": version("camfit"),
            "kind": kind,
            "command": command,
            "seed": seed,
            "seconds": round(time.perf_counter() - begin, 1),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
            "machine": {"processor": _processor(), "cores": torch.get_num_threads(), "isa": after.isa},
            "model": {
                "name": model.name,
                "input_shape": list(original.input_shape),
                "parameters": sum(p.numel() for p in original.parameters()),
            },
            "data": {
                "name": dataset.name, "classes": list(dataset.classes),
                "train": len(dataset.train), "val": len(dataset.val),
                "test": len(dataset.test), "fingerprint": dataset.fingerprint,
            },
            "metric": task.metric_name,
            "before": msgspec.to_builtins(before),
            "after": msgspec.to_builtins(after),
            "float32_bytes": 4 * sum(p.numel() for p in original.parameters()),
            "layers": _layers(packed_original, packed, dataset.test.images[0], threads),
            "bytes": packed.parts,
            "coders": {
                coder: len(pack(network, dataset.normalisation, info=info, coder=coder, half=result.half).data)
                for coder in CODERS
            },
            **found,
            "steps": [*steps, *found.get("steps", [])],
            "reproduce": [line for line in ("pip install .", command) if line],
        }  # fmt: skip
        if budget is not None:
            record |= {"budget": vars(budget), "verdict": [vars(limit) for limit in verdict]}
        write_json(run.path / "report.json", record)
        page = report.write(run.path)
    return Result(file, network, before, after, verdict, page, record)


def _train_first(model: Model, training: Train, workshop: Workshop, run: Run) -> tuple[Network, list[Record]]:
    """The original to compress: as it came, or trained (and kept in the run) where it is untrained."""
    trained = model.trained
    if trained is None:
        # A module at hand: it counts as trained when it is clearly better than guessing.
        metric = run.value(
            "original-check", lambda: {"validation": evaluate(model.network, workshop.validation, workshop.task)}
        )["validation"]
        trained = metric > _clearly_better(_guessing(workshop))
    if trained:
        return model.network, []
    workshop.progress(f"{model.name} is untrained: training it first ({training})")
    return execute(Recipe("original", (training,)), model.network, workshop, run, prefix="original-")


def _guessing(workshop: Workshop) -> float:
    """Validation accuracy of always naming the most frequent class."""
    return float(workshop.validation.targets.bincount().max()) / len(workshop.validation)


def _clearly_better(guessing: float) -> float:
    """Twice as good as guessing; halfway to perfect where that is less."""
    return min(2 * guessing, (1 + guessing) / 2)


def original_of(run: str | Path) -> Network:
    """The network that a run trained first, from its directory.

    Raises:
        RunError: the run did not train one.
    """
    path = Path(run) / "steps" / "original-01-train" / "network.safetensors"
    if not path.exists():
        raise RunError(f"{run}: holds no trained original (its model came with weights)")
    return load_network(path)


def _climb_record(climb: Climb, baseline: float) -> Record:
    return {
        "steps": climb.steps,
        "trials": climb.trials,
        "sensitivity": {layer: [list(point) for point in points] for layer, points in climb.curves.items()},
        "validation": {"before": baseline, "after": climb.best.validation},
    }


def _verdict(budget: Budget, packed: Packed, after: Measurement, found: Record) -> tuple[Limit, ...]:
    limits = []
    if budget.max_size is not None:
        size = len(packed.data)
        limits.append(Limit("max-size", "bytes", budget.max_size, size, size <= budget.max_size, "the file"))
    if budget.max_latency is not None:
        ms = after.ms_median
        limits.append(
            Limit("max-latency", "ms", budget.max_latency, ms, ms <= budget.max_latency, "the engine, median")
        )
    if budget.max_drop is not None:
        drop = 100 * (found["validation"]["before"] - found["validation"]["after"])
        met = drop <= budget.max_drop + 1e-9
        limits.append(Limit("max-drop", "points", budget.max_drop, drop, met, "the engine on validation data"))
    return tuple(limits)


def _layers(before: Packed, after: Packed, image: np.ndarray, threads: int) -> list[Record]:
    """Layers before and after, paired by name; in the order of the original, new ones behind their predecessor."""
    old = {layer.name: layer for layer in measure_layers(before.data, image, threads=threads)}
    new = {layer.name: layer for layer in measure_layers(after.data, image, threads=threads)}
    names = list(old)
    previous = None
    for name in new:
        if name not in old:
            names.insert(names.index(previous) + 1 if previous is not None else 0, name)
        previous = name

    def side(layer: LayerMeasurement | None) -> Record | None:
        if layer is None:
            return None
        return {"form": layer.form, "bytes": layer.bytes, "macs": layer.macs, "ms": layer.ms, "weights": layer.params}

    return [
        {
            "name": name,
            "op": (new.get(name) or old[name]).op,
            "before": side(old.get(name)),
            "after": side(new.get(name)),
        }
        for name in names
    ]


def _processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
