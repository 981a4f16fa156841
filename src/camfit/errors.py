"""Every error that camfit raises on purpose; each names the file, layer or field, what was found, what was expected."""


class CamfitError(Exception):
    """Base of all expected errors; the command line prints its message alone, without a traceback."""


class DataError(CamfitError):
    """A data set is missing, damaged or not of the expected shape."""


class ModelError(CamfitError):
    """A model cannot be loaded, traced or packed."""


class PlanError(CamfitError):
    """A plan does not fit the network, or two edits contradict each other."""


class RecipeError(CamfitError):
    """A recipe's text or options are wrong; names the step, the field and what was expected."""


class TrainingError(CamfitError):
    """Training broke down, for example through a loss that is not finite."""


class BudgetError(CamfitError):
    """A budget is malformed or contradictory."""


class RunError(CamfitError):
    """A run directory belongs to other work, is damaged or cannot be written."""


class FileError(CamfitError):
    """A .camfit file cannot be read or run by this engine."""


class ExportError(CamfitError):
    """A packed network cannot be written in another format, or would overwrite somebody else's file."""


class VideoError(CamfitError):
    """A video cannot be read or written, or OpenCV, which does both, is not installed."""
