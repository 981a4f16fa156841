"""Decompositions of one layer into a chain of cheaper ones, and the choice of their ranks."""
