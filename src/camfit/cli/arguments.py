"""Arguments and options that several subcommands of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    str, typer.Argument(help="zoo:NAME, path/to/file.py:factory, or a .pt2 file; its code is run", metavar="MODEL")
]
DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        help="digits, mnist-5k, fashion-mnist, an .npz file (x_train, y_train, x_test, y_test), or a folder of class "
        "folders of images",
        metavar="DATA",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", help="Run directory; the same command goes on where it was interrupted", metavar="RUN")
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", help="State dict: .safetensors, .pt or .pth; or imagenet", metavar="FILE"),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of every random choice", min=0, max=2**32 - 1, metavar="N")]
ThreadsOption = Annotated[int, typer.Option("--threads", help="Threads of the engine", min=1, max=64, metavar="N")]
MeanOption = Annotated[
    str | None,
    typer.Option(
        "--mean",
        help="Pixel mean in 0..1, one number or one a channel, comma-separated; by default that of the training images",
        metavar="X[,X,X]",
    ),
]
StdOption = Annotated[
    str | None, typer.Option("--std", help="Pixel deviation, given together with --mean", metavar="X[,X,X]")
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option("--image-size", help="Resize the images of a folder to this height and width", metavar="HxW"),
]
UnlabelledOption = Annotated[
    int | None,
    typer.Option(
        "--unlabelled",
        help="DATA is a folder of images without labels, for a trained model of N outputs: its own answers are the "
        "labels, and accuracy is how often they stay",
        min=2,
        metavar="N",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option("--epochs", help="Epochs of training, where the model is untrained", min=1, metavar="N"),
]
RateOption = Annotated[
    float | None,
    typer.Option("--learning-rate", help="Learning rate of training, where the model is untrained", metavar="X"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else")]
FileArgument = Annotated[Path, typer.Argument(help="A packed network (.camfit)", metavar="FILE")]
