"""Methods of the family: distillation."""
