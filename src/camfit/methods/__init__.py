"""One file per paper, in families. A module with an ``ENTRY`` is in the catalogue."""
