"""How a weight can live: one file per form."""

from camfit.forms.base import Form, attach, form_of, stored_of, weight_of
from camfit.forms.codebook import Codebook
from camfit.forms.hashed import Hashed
from camfit.forms.integer import Integer
from camfit.forms.masked import Masked
from camfit.forms.sign import Sign

FORMS: dict[str, type[Form]] = {form.name: form for form in (Masked, Codebook, Hashed, Sign, Integer)}

__all__ = [
    "FORMS",
    "Codebook",
    "Form",
    "Hashed",
    "Integer",
    "Masked",
    "Sign",
    "attach",
    "form_of",
    "stored_of",
    "weight_of",
]
