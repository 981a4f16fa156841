"""plain_conv.c, compiled here and now: what a binary convolution is usually compared with."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from camfit.errors import CamfitError
from camfit.network import Network

COMPILE = ("-O3", "-shared", "-fPIC")


def prepare(
    network: Network, image: Tensor, output_shape: tuple[int, ...]
) -> tuple[Callable[[], None], Callable[[], np.ndarray]]:
    """One run, and the output of one run, for a network of one convolution without bias at stride 1.

    Raises:
        CamfitError: there is no C compiler.
    """
    layer = network.get_submodule(network.nodes[0].layer)
    assert isinstance(layer, nn.Conv2d) and layer.stride == (1, 1) and layer.bias is None
    function = _compiled().plain_conv2d
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 6
    function.restype = None
    x = np.ascontiguousarray(image.numpy())
    weights = np.ascontiguousarray(layer.weight.detach().numpy())
    y = np.empty(output_shape, np.float32)
    sizes = (*x.shape, layer.out_channels, layer.kernel_size[0], int(layer.padding[0]))

    def call() -> None:
        function(x.ctypes.data, weights.ctypes.data, y.ctypes.data, *sizes)

    def output() -> np.ndarray:
        call()
        return y

    return call, output


def compiler_version() -> str:
    """The first line of the compiler's own account of itself, and what it is told; empty where there is none."""
    path = _compiler()
    if path is None:
        return ""
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return f"{told}, {' '.join(COMPILE)}"


def _compiler() -> str | None:
    candidates = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    return next((path for name in candidates if name and (path := shutil.which(name))), None)


def _compiled() -> ctypes.CDLL:
    path = _compiler()
    if path is None:
        raise CamfitError("the plain C loop needs a C compiler: found none of cc, gcc, clang; set CC to one")
    source = Path(__file__).with_name("plain_conv.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "plain_conv.so"
        done = subprocess.run([path, *COMPILE, str(source), "-o", str(library)], capture_output=True, text=True)
        if done.returncode:
            raise CamfitError(f"{source.name}: does not compile: {done.stderr.strip()}")
        return ctypes.CDLL(str(library))
