"""Claims of the catalogue, measured again: what a claim is, its resumable pieces, its page."""
