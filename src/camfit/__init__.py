"""camfit fits trained neural networks onto small devices.

    import camfit

    result = camfit.fit("zoo:lenet5", "fashion-mnist", camfit.Budget(max_size=34_000), out="runs/lenet5")
    print(result.met, result.before.bytes, "->", result.after.bytes)

    engine = camfit.Engine(result.file)
    logits = engine.run(images)                      # raw uint8 images, [N, H, W, C]

The same walk by hand: ``trace`` a model to a :class:`Network`, let methods make a :class:`~camfit.plan.Plan`,
``surgery.apply`` it, ``train`` it, ``pack`` it, run it with :class:`Engine`.
"""

from camfit.budget import Budget
from camfit.engine import Engine
from camfit.errors import CamfitError
from camfit.export import export_c, export_onnx
from camfit.fit import Result, apply, fit
from camfit.measure import Measurement, measure
from camfit.network import Network
from camfit.pack import Packed, pack
from camfit.recipe import Recipe, Rewrite
from camfit.trace import trace
from camfit.train import Train

__all__ = [
    "Budget",
    "CamfitError",
    "Engine",
    "Measurement",
    "Network",
    "Packed",
    "Recipe",
    "Result",
    "Rewrite",
    "Train",
    "apply",
    "export_c",
    "export_onnx",
    "fit",
    "measure",
    "pack",
    "trace",
]
