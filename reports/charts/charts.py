"""All charts of a report, in the order of the page."""

from collections.abc import Mapping, Sequence

from dgprune.records import Entry
from reports.attribution import Attribution
from reports.charts.batch_sweep import batch_sweep
from reports.charts.chart import Chart
from reports.charts.distributions import distributions
from reports.charts.domains import domain_map
from reports.charts.kept import kept_structure
from reports.charts.layer_kinds import layer_kinds
from reports.charts.placed import experiments
from reports.charts.speedup_parts import speedup_parts
from reports.charts.tradeoff import tradeoff
from reports.rows import Table


def charts(
    tables: Sequence[Table],
    entries: Sequence[Entry],
    attributed: Mapping[str, Sequence[Attribution]],
) -> list[Chart]:
    """Those that the records have something for; `attributed` is by section."""
    found = experiments(tables)
    made = (
        tradeoff(found),
        batch_sweep(found),
        domain_map(found),
        kept_structure(found),
        speedup_parts(attributed),
        distributions(found),
        layer_kinds(entries),
    )
    return [chart for chart in made if chart is not None]
