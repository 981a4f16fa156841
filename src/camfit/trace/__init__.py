"""From any PyTorch model to a :class:`~camfit.network.Network`, through ``torch.export``.

``program.py`` is the way in; ``tracer.py`` reads the exported graph op by op; ``ops.py`` says what each op becomes,
with ``split.py``, ``shuffle.py`` and ``transposed.py`` for those that take more than a layer.
"""

from camfit.trace.program import load_exported, trace

__all__ = ["load_exported", "trace"]
