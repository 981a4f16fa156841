"""Methods of the family: pruning."""
