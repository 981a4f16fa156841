"""Methods of the family: precision."""
