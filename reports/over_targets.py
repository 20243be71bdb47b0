"""Over targets and seeds: one row a recipe, and no average of less than all that was asked."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dgprune.lineage import chosen_by_oracle
from dgprune.missing import Missing
from dgprune.paired import Pairs, difference_interval
from dgprune.statistics import Average, Interval, average, student_interval
from reports.beside_dense import InFp32, Measured, dense_in_fp32, measured
from reports.missing import fits, is_like
from reports.published_accuracy import Published, published_for
from reports.recipe import MadeBy, made_by_recipe, names_beside
from reports.rows import Row, Table
from reports.setting import seed_of


@dataclass(frozen=True, kw_only=True)
class Line:
    """All files of one recipe, by target and seed; `seeds` of them were asked for a target.

    One that is `alone` was tried with a single target and seed, where others have more: nothing
    shows that it was asked for elsewhere, so that it counts as no missing file.
    """

    name: str
    targets: tuple[str, ...]
    seeds: int
    alone: bool = False
    files: dict[tuple[str, str], Measured] = field(default_factory=dict)

    def over_seeds(self, target: str) -> Average:
        """Accuracy on `target` over seeds."""
        found = [m.accuracy for (name, _), m in sorted(self.files.items()) if name == target]
        return average([*found, *[None] * (self.seeds - len(found))])

    @property
    def missing(self) -> int:
        """Files that were asked for and are not there."""
        return self.asked - len(self.files)

    @property
    def asked(self) -> int:
        """Targets times seeds."""
        return len(self.targets) * self.seeds

    @property
    def over_targets(self) -> Average:
        """Per seed, the mean accuracy over all targets; empty cells where a file is missing."""
        by_seed = self._by_seed({key: m.accuracy for key, m in self.files.items()})
        return average(by_seed or [None] * self.seeds)

    @property
    def worst_target(self) -> tuple[str, float] | None:
        """The target with the lowest mean over seeds; None where a file is missing."""
        means = {target: self.over_seeds(target).mean for target in self.targets}
        there = {target: mean for target, mean in means.items() if mean is not None}
        if len(there) < len(self.targets):
            return None
        return min(there.items(), key=lambda pair: pair[1])

    @property
    def over_dense(self) -> Interval | None:
        """Mean difference over all targets from dense; None where a file or its dense is missing.

        Over several seeds with Student's t limits over seeds; of one, with those of the bootstrap
        over images, stratified by target.
        """
        return self._difference({key: m.over_dense for key, m in self.files.items()})

    @property
    def over_fp32(self) -> Interval | None:
        """The same from dense in fp32: what precision and pruning cost together."""
        return self._difference({key: m.over_fp32 for key, m in self.files.items()})

    def _difference(self, cells: Mapping[tuple[str, str], Pairs | None]) -> Interval | None:
        pairs = {key: found for key, found in cells.items() if found is not None}
        if self.missing or len(pairs) < self.asked:
            return None
        if self.seeds == 1:
            return difference_interval([pairs[key] for key in sorted(pairs)])
        return student_interval(self._by_seed({key: p.difference for key, p in pairs.items()}))

    def _by_seed(self, cells: dict[tuple[str, str], float]) -> list[float]:
        """The mean over targets of each seed; of nothing where a cell is missing."""
        if len(cells) < self.asked:
            return []
        seeds = sorted({seed for _, seed in cells})
        return [
            sum(cells[target, seed] for target in self.targets) / len(self.targets)
            for seed in seeds
        ]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every recipe on one data set, in one format and precision, on one runtime.

    `domains` is how many the data set has, as far as records tell; `replaced` counts files that
    a newer one of the same recipe, target and seed stands for.
    """

    title: str
    targets: tuple[str, ...]
    domains: int
    seeds: int
    lines: tuple[Line, ...]
    published: tuple[Published, ...]
    replaced: int

    @property
    def missing(self) -> int:
        """Files that were asked for and are not there, over all recipes."""
        return sum(line.missing for line in self.lines if not line.alone)

    @property
    def asked(self) -> int:
        """Files that were asked for, over all recipes."""
        return sum(line.asked for line in self.lines if not line.alone)

    @property
    def alone(self) -> int:
        """Recipes that were tried with a single target and seed."""
        return sum(line.alone for line in self.lines)

    @property
    def beside_fp32(self) -> bool:
        """Whether files of another precision stand beside dense in fp32."""
        return any(line.over_fp32 is not None for line in self.lines)


def grids(tables: Sequence[Table], missing: Sequence[Missing] = ()) -> list[Grid]:
    """One where a recipe was or should be tried on several targets or seeds; none of a single one.

    What is `missing` counts as asked, and is a line where nothing else of its recipe is there.
    """
    groups: dict[tuple[str, ...], list[tuple[Row, Table]]] = defaultdict(list)
    in_fp32 = dense_in_fp32(tables)
    for table in tables:
        for row in table.rows:
            if row.unseen is not None and row.unseen.record.role == "target":
                groups[group_of(row)].append((row, table))
    found = []
    for _, group in sorted(groups.items()):
        absent = [one for one in missing if fits(one, group[0][0].subject)]
        grid = _grid(group, absent, in_fp32)
        wide = absent and grid.lines[0].asked > 1
        if wide or any(len(line.files) > 1 for line in grid.lines):
            found.append(grid)
    return found


def group_of(row: Row) -> tuple[str, ...]:
    """What tables over targets hold one of: data, file and runtime; "" or who chose the epoch."""
    assert row.unseen is not None
    origin, runtime = row.subject.origin, row.unseen.record.runtime
    executed = (row.subject.format, row.subject.precision, runtime.name, runtime.provider)
    chosen = "oracle" if chosen_by_oracle(row.subject.lineage) else ""
    return (origin.data_name, origin.data_digest, *executed, chosen)


def _grid(group: Sequence[tuple[Row, Table]], missing: Sequence[Missing], in_fp32: InFp32) -> Grid:
    files: dict[str, dict[tuple[str, str], Measured]] = defaultdict(dict)
    recipes: dict[str, MadeBy] = {}
    order: dict[str, tuple[object, ...]] = {}
    for row, table in sorted(group, key=lambda pair: pair[0].order):  # the newest comes last
        of = made_by_recipe(row.subject)
        recipes[of.key] = of
        order.setdefault(of.key, (of.model, of.image_size, row.budget, of.label, len(of.steps)))
        place = (row.subject.origin.target, seed_of(row.subject))
        files[of.key][place] = measured(row, table, in_fp32)
    asked = {key: set(cells) for key, cells in files.items()}
    made_by = list(recipes.values())
    names = dict(zip(recipes, names_beside(made_by), strict=True))
    for one in missing:
        key = _recipe_of(one, [row for row, _ in group])
        asked.setdefault(key, set()).add((one.target, str(one.seed)))
        order.setdefault(key, _place(one))
        if key not in names:
            names[key] = _name_beside(one, names)
    targets = tuple(sorted({target for cells in asked.values() for target, _ in cells}))
    seeds = max(len({seed for _, seed in cells}) for cells in asked.values())
    first = group[0][0]
    return Grid(
        title=_title(first),
        targets=targets,
        domains=len({*targets, *(domain for _, table in group for domain in table.domains)}),
        seeds=seeds,
        lines=tuple(
            Line(
                name=names[key],
                targets=targets,
                seeds=seeds,
                alone=len(asked[key]) == len(files.get(key, {})) == 1 < len(targets) * seeds,
                files=files.get(key, {}),
            )
            for key in sorted(asked, key=lambda key: order[key])
        ),
        published=published_for(first.subject.origin.data_name, len(first.subject.origin.classes)),
        replaced=len(group) - sum(map(len, files.values())),
    )


def _recipe_of(missing: Missing, rows: Sequence[Row]) -> str:
    """The key of the recipe that a missing file is of: that of a row, where one is like it."""
    like = (row.subject for row in rows if is_like(missing, row.subject))
    found = next(like, None)
    return missing.recipe if found is None else made_by_recipe(found).key


def _place(missing: Missing) -> tuple[object, ...]:
    """Where the line of a recipe of which nothing is there stands: by its budget, as the others."""
    budget = ("", 0.0) if missing.ratio is None else ("ratio", missing.ratio)
    return (missing.model, missing.image_size, budget, missing.label, 0)


def _name_beside(missing: Missing, names: Mapping[str, str]) -> str:
    """The plan's words, and where another recipe has them, the id of this one."""
    name = missing.recipe_name
    return f"{name} (recipe {missing.recipe[:8]})" if name in names.values() else name


def _title(row: Row) -> str:
    name, *_ = group_of(row)
    _, _, format_, precision, runtime, provider, chosen = group_of(row)
    told = ", the unseen domain chose the epoch" if chosen else ""
    return f"Over targets and seeds: {name} ({format_} {precision} on {runtime}, {provider}{told})"
