"""What to learn: a task is a loss to minimise and a metric to report."""

from camfit.tasks.classification import classification
from camfit.tasks.task import Task

__all__ = ["Task", "classification"]
