"""From any PyTorch model to a :class:`~camfit.network.Network`, through ``torch.export``.

``tracer.py`` reads the exported graph op by op; ``ops.py`` says what each op becomes, ``split.py`` and
``transposed.py`` do so for the ops that take several layers.
"""

from camfit.trace.tracer import load_exported, trace

__all__ = ["load_exported", "trace"]
