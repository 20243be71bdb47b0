"""Tables of a report as LaTeX, for a paper."""
