"""Methods of the family: hashing."""
