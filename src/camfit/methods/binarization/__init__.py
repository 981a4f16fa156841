"""Methods of the family: binarization."""
