"""Records of made-up runs, as report.json holds them: the shapes that a report meets."""

from __future__ import annotations

import math
from typing import Any

CLASSES = ["t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


def lenet() -> dict[str, Any]:
    """LeNet-5 by pruning and weight sharing: the budget met, every section there."""
    kept = {"conv1": (500, 330, 64), "conv2": (25000, 3000, 32), "fc1": (400000, 24000, 16), "fc2": (5000, 1000, 16)}
    macs = {"conv1": 288000, "conv2": 1600000, "fc1": 400000, "fc2": 5000}
    layers = []
    for name, (weights, left, entries) in kept.items():
        op = "conv2d" if name.startswith("conv") else "linear"
        share = left / weights
        before = {
            "form": "dense",
            "bytes": 4 * weights + 80,
            "macs": macs[name],
            "ms": macs[name] / 1.1e7,
            "weights": weights,
        }
        after = {
            "form": "codebook",
            "bytes": round(left * 0.95) + 4 * entries,
            "macs": round(macs[name] * share),
            "ms": macs[name] / 1.1e7 * (0.25 + 0.75 * share),
            "weights": left,
            "entries": entries,
        }
        layers.append({"name": name, "op": op, "before": before, "after": after})
    notes = {name: {"weights": weights, "before": weights, "kept": left} for name, (weights, left, _) in kept.items()}
    books = {
        name: {"entries": entries, "bits": entries.bit_length() - 1, "error": 0.0123}
        for name, (_, _, entries) in kept.items()
    }
    return {
        "camfit": "0.1.0",
        "kind": "fit",
        "command": "camfit fit zoo:lenet5 --data fashion-mnist --max-size 30kB --max-drop 0.3 --out runs/lenet5",
        "seed": 0,
        "seconds": 512.3,
        "versions": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.3.1", "compiler": "g++ 12.2"},
        "machine": {"processor": "x86-64 with AVX2", "cores": 2, "isa": "avx2"},
        "model": {"name": "zoo:lenet5", "input_shape": [1, 28, 28], "parameters": 431080},
        "data": {
            "name": "fashion-mnist",
            "classes": CLASSES,
            "train": 55000,
            "val": 5000,
            "test": 10000,
            "fingerprint": "9f3a61c0d2b8",
        },
        "metric": "accuracy",
        "budget": {"max_size": 30000, "max_latency": None, "max_drop": 0.3},
        "verdict": [
            {
                "limit": "max-size",
                "unit": "bytes",
                "budget": 30000,
                "delivered": 29120,
                "met": True,
                "basis": "the file",
            },
            {
                "limit": "max-drop",
                "unit": "points",
                "budget": 0.3,
                "delivered": 0.12,
                "met": True,
                "basis": "validation",
            },
        ],
        "before": {
            "accuracy": 0.9155,
            "bytes": 1725000,
            "ms_median": 0.21,
            "ms_p95": 0.25,
            "threads": 1,
            "peak_bytes": 1900000,
            "macs": 2293000,
            "params": 431080,
        },
        "after": {
            "accuracy": 0.9143,
            "bytes": 29120,
            "ms_median": 0.118,
            "ms_p95": 0.141,
            "threads": 1,
            "peak_bytes": 214000,
            "macs": 411000,
            "params": 28910,
        },
        "validation": {"before": 0.9168, "after": 0.9156},
        "float32_bytes": 1724320,
        "layers": layers,
        "bytes": {"codes": 11940, "indices": 14400, "codebooks": 600, "biases": 1760, "graph and header": 420},
        "coders": {"bits": 40310, "huffman": 33154, "fast": 29410, "range": 29120},
        "steps": [
            {
                "name": "train",
                "kind": "train",
                "what": "train 2 epochs, sgd 0.01 (cosine)",
                "validation": 0.9168,
                "history": {"loss": [0.41, 0.32], "validation": [0.898, 0.9168]},
                "seconds": 71.0,
                "why": "the zoo's LeNet-5 has no weights of its own",
            },
            {
                "name": "magnitude",
                "kind": "rewrite",
                "what": "keep 86,216 of 430,500 weights (20.0 %)",
                "why": "small weights matter least; conv1 keeps more because its curve falls first",
                "validation": 0.9088,
                "bytes": 123456,
                "seconds": 1.2,
                "notes": notes,
            },
            {
                "name": "train",
                "kind": "train",
                "what": "train 3 epochs, sgd 0.01 (cosine)",
                "validation": 0.9172,
                "history": {"loss": [0.241, 0.222, 0.215], "validation": [0.9131, 0.9159, 0.9172]},
                "seconds": 103.0,
            },
            {
                "name": "magnitude",
                "kind": "rewrite",
                "what": "keep 28,330 of 430,500 weights (6.6 %)",
                "why": "the second round prunes what the first one taught the network to do without",
                "validation": 0.8822,
                "bytes": 61200,
                "seconds": 1.1,
                "notes": notes,
            },
            {
                "name": "train",
                "kind": "train",
                "what": "train 3 epochs, sgd 0.01 (cosine)",
                "validation": 0.9162,
                "history": {"loss": [0.268, 0.243, 0.231], "validation": [0.9094, 0.9146, 0.9162]},
                "seconds": 104.0,
            },
            {
                "name": "weight-sharing",
                "kind": "rewrite",
                "what": "64, 32, 16 and 16 shared values, linear start",
                "why": "a code of 4 to 6 bits takes the place of 32",
                "validation": 0.9102,
                "bytes": 29310,
                "seconds": 2.9,
                "notes": books,
            },
            {
                "name": "train",
                "kind": "train",
                "what": "train 2 epochs of the centroids, sgd 0.001",
                "validation": 0.9156,
                "history": {"loss": [0.239, 0.233], "validation": [0.9150, 0.9156]},
                "bytes": 29120,
                "seconds": 80.0,
            },
        ],
        "trials": [
            {"name": "rung 1", "density": 0.5, "bytes": 251000, "validation": 0.9185, "ms": 0.198, "met": False},
            {"name": "rung 2", "density": 0.25, "bytes": 121000, "validation": 0.9179, "ms": 0.171, "met": False},
            {"name": "rung 3", "density": 0.1, "bytes": 46300, "validation": 0.9164, "ms": 0.133, "met": False},
            {"name": "rung 4", "density": 0.04, "bytes": 18200, "validation": 0.9085, "ms": 0.101, "met": False},
            {
                "name": "between 3 and 4",
                "density": 0.0657,
                "bytes": 29120,
                "validation": 0.9156,
                "ms": 0.118,
                "met": True,
                "chosen": True,
            },
            {
                "name": "between 4 and 5",
                "density": 0.05,
                "bytes": 22800,
                "validation": 0.9125,
                "ms": 0.108,
                "met": False,
            },
        ],
        "sensitivity": {
            name: [
                [kept, max(0.1, 0.9168 - drop * (1 / kept - 1))]
                for kept in (1, 0.6, 0.4, 0.25, 0.16, 0.1, 0.06, 0.035, 0.02, 0.01)
            ]
            for name, drop in {"conv1": 0.009, "conv2": 0.0022, "fc1": 0.0003, "fc2": 0.0016}.items()
        },
        "reproduce": [
            "pip install camfit==0.1.0",
            "camfit fit zoo:lenet5 --data fashion-mnist --max-size 30kB --max-drop 0.3 --seed 0 --out runs/lenet5",
        ],
    }


def mobilenet() -> dict[str, Any]:
    """MobileNet v1 0.25 at 96 pixels with removed channels: 30 layers, three limits, no coders."""
    record = lenet()
    layers: list[dict[str, Any]] = []
    width, side = 8, 48
    for block in range(14):
        for kind in ("dw", "pw") if block else ("conv",):
            wide = min(256, width * 2 if kind == "pw" and block in (1, 2, 4, 6, 12) else width)
            weights = 9 * width if kind == "dw" else (27 * width if kind == "conv" else width * wide)
            macs = weights * side * side
            share = 1.0 if block == 0 else 0.45 + 0.04 * (block % 5)
            share = share if kind != "pw" else share * share
            layers.append(
                {
                    "name": f"features.{block}.{kind}",
                    "op": "depthwise" if kind == "dw" else "conv2d",
                    "before": {
                        "form": "dense",
                        "bytes": 4 * weights + 8 * wide,
                        "macs": macs,
                        "ms": macs / 6e6,
                        "weights": weights,
                    },
                    "after": {
                        "form": "dense",
                        "bytes": round((4 * weights + 8 * wide) * share),
                        "macs": round(macs * share),
                        "ms": macs * share / 5.6e6,
                        "weights": round(weights * share),
                    },
                }
            )
            width = wide
        side = max(3, side // 2) if block in (2, 4, 6, 12) else side
    layers.insert(
        3,
        {
            "name": "features.1.dropout",
            "op": "affine",
            "before": {"form": "dense", "bytes": 128, "macs": 36864, "ms": 0.004, "weights": 32},
            "after": None,
        },
    )
    layers.append(
        {
            "name": "pool",
            "op": "global_avg_pool",
            "before": {"macs": 0, "ms": 0.002},
            "after": {"macs": 0, "ms": 0.0015},
        }
    )
    layers.append(
        {
            "name": "classifier",
            "op": "linear",
            "before": {"form": "dense", "bytes": 10280, "macs": 2560, "ms": 0.0004, "weights": 2560},
            "after": {"form": "dense", "bytes": 5040, "macs": 1250, "ms": 0.0003, "weights": 1250},
        }
    )
    for name in ("coders", "bytes", "sensitivity", "float32_bytes"):
        del record[name]
    record["command"] = (
        "camfit fit models/mobilenet.py:mobilenet --weights mobilenet.safetensors --data photos/ --max-latency 4ms"
    )
    record["reproduce"] = [record["command"]]
    record["model"] = {"name": "models/mobilenet.py:mobilenet", "input_shape": [3, 96, 96], "parameters": 218130}
    record["data"] = {"name": "photos", "classes": CLASSES, "train": 8200, "val": 900, "test": 1800}
    record["budget"] = {"max_size": 400000, "max_latency": 4.0, "max_drop": 1.0}
    record["verdict"] = [
        {"limit": "max-size", "unit": "bytes", "budget": 400000, "delivered": 391204, "met": True, "basis": "the file"},
        {
            "limit": "max-latency",
            "unit": "ms",
            "budget": 4.0,
            "delivered": 3.71,
            "met": True,
            "basis": "the engine, 1 thread",
        },
        {"limit": "max-drop", "unit": "points", "budget": 1.0, "delivered": -0.11, "met": True, "basis": "validation"},
    ]
    record["before"] |= {
        "accuracy": 0.8712,
        "bytes": 885300,
        "ms_median": 7.02,
        "ms_p95": 7.55,
        "peak_bytes": 1480000,
        "macs": 6910000,
        "params": 218130,
    }
    record["after"] |= {
        "accuracy": 0.8723,
        "bytes": 391204,
        "ms_median": 3.71,
        "ms_p95": 3.94,
        "peak_bytes": 742000,
        "macs": 3120000,
        "params": 96110,
    }
    record["validation"] = {"before": 0.8690, "after": 0.8701}
    record["steps"] = [
        {
            "name": "l1-filters",
            "kind": "rewrite",
            "what": f"remove {8 * n} channels of 14 groups",
            "why": "filters with the least L1 norm",
            "validation": 0.79 + 0.01 * n,
            "bytes": 391204 if n == 5 else 800000 - 80000 * n,
            "seconds": 0.8,
        }
        if n % 2
        else {
            "name": "train",
            "kind": "train",
            "what": "train 4 epochs, adam 0.001, soft targets at T = 4",
            "validation": 0.862 + 0.001 * n,
            "history": {"loss": [1.1, 0.8, 0.7, 0.66], "validation": [0.84, 0.855, 0.86, 0.862 + 0.001 * n]},
            "seconds": 240.5,
        }
        for n in range(1, 11)
    ]
    record["trials"] = [
        {
            "name": f"ratio {ratio:.2f}",
            "bytes": round(885300 * (1 - ratio) ** 1.6),
            "validation": 0.872 - 0.06 * ratio**3,
            "ms": 7.02 * (1 - ratio),
            "met": 0.44 < ratio < 0.58,
            "chosen": ratio == 0.47,
        }
        for ratio in (0.1, 0.2, 0.3, 0.4, 0.47, 0.55, 0.7)
    ]
    record["layers"] = layers
    return record


def failed() -> dict[str, Any]:
    """A budget that could not be met: the size limit fails and the drop is an estimate."""
    record = lenet()
    record["command"] = record["command"].replace("30kB", "20kB")
    record["budget"]["max_size"] = 20000
    record["verdict"][0] |= {"budget": 20000, "met": False}
    record["verdict"][1] |= {"delivered": 0.302, "met": False, "basis": "an estimate on 500 images"}
    for trial in record["trials"]:
        trial["met"] = False
    record["trials"][3]["basis"] = "estimate"
    return record


def minimal() -> dict[str, Any]:
    """Only what must be there."""
    return {
        "camfit": "0.1.0",
        "model": {"name": "net.pt2"},
        "data": {"name": "digits"},
        "before": {"accuracy": 0.97, "bytes": 41200},
        "after": {"accuracy": 0.97, "bytes": 9100},
    }


HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>\u202e\x00\ud800 & 'quoted'"


def hostile() -> dict[str, Any]:
    """Markup in every text of the record, and figures that are not finite."""

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoil(item) for key, item in value.items()}
        if isinstance(value, list):
            return [spoil(item) for item in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) else value

    record = spoil(lenet())
    for name in ("bytes", "coders", "sensitivity", "versions", "machine"):
        record[name] = {f"{key}{HOSTILE}": value for key, value in record[name].items()}
    for step in record["steps"]:
        step["notes"] = {f"{key}{HOSTILE}": {HOSTILE: HOSTILE} for key in step.get("notes", {})}
        if "history" in step:
            step["history"] = {f"{key}{HOSTILE}": values for key, values in step["history"].items()}
    record["steps"][1]["validation"] = math.nan
    record["layers"][0]["after"]["ms"] = math.inf
    return record


SAMPLES = {"lenet": lenet, "mobilenet": mobilenet, "failed": failed, "minimal": minimal, "hostile": hostile}
