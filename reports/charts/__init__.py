"""Interactive charts of a report: Vega-Lite specifications, pure functions of what was measured."""
