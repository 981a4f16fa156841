"""Claims of the catalogue, measured again: one file for each kind of claim; ``rows.py`` lists them all."""
