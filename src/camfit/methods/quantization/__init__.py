"""Methods of the family: quantization."""
