"""Other runtimes that the engine is timed beside: one class and one file each. None is a requirement of camfit."""

from __future__ import annotations

from camfit.bench.peers.deepsparse import DeepSparse
from camfit.bench.peers.litert import LiteRT
from camfit.bench.peers.mnn import MNN
from camfit.bench.peers.ncnn import Ncnn
from camfit.bench.peers.onnxruntime import OnnxRuntime, OnnxRuntimeInt8
from camfit.bench.peers.openvino import OpenVINO
from camfit.bench.peers.peer import Case, Loaded, Peer

__all__ = ["BASELINE", "PEERS", "Case", "Loaded", "Peer"]

# What ratios are to; timed always, the others on demand.
BASELINE: tuple[Peer, ...] = (OnnxRuntime(), OnnxRuntime(spinning=False))
PEERS: tuple[Peer, ...] = (OnnxRuntimeInt8(), OpenVINO(), Ncnn(), MNN(), LiteRT(), DeepSparse())
