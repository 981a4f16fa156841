"""Torch against the engine on any number of random networks: ``python -m agreement`` (``make agree``)."""
