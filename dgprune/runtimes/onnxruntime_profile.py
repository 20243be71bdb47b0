"""ONNX Runtime's own profile: what ran, and how long each node took."""

import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from dgprune.errors import DgpruneError
from dgprune.node_kinds import Kind, kinds_of_executed, kinds_of_nodes, nodes_of_onnx
from dgprune.node_times import NodeTime

_SUFFIX = "_kernel_time"


class Profile:
    """A folder for one session's profile, from the options to the events; freed by `close`."""

    def __init__(self, options: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dgprune-profile-")
        self._optimised = Path(self._folder.name) / "optimised.onnx"
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name) / "profile")
        self._options = options

    def keep_graph(self) -> None:
        """Has the session write the graph that it executes, which says what was fused."""
        self._options.optimized_model_filepath = str(self._optimised)

    def events(self, session: Any) -> list[dict[str, Any]]:
        """All that happened in `session`, whose profile ends here."""
        file = Path(session.end_profiling())
        try:
            events: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:  # it writes what fits, without a word
            raise DgpruneError(
                f"ONNX Runtime could not write its profile to {file.parent}: no space left? "
                "free some or choose another TMPDIR"
            ) from error
        return events

    def kinds(self, file: Path) -> dict[str, Kind]:
        """Kind by name of every executed node of the ONNX `file`."""
        import onnx

        original = nodes_of_onnx(onnx.load(file, load_external_data=False).graph)
        graph = onnx.load(self._optimised, load_external_data=False).graph
        numbered = _Numbered()
        for node in graph.node:
            node.name = node.name or numbered.next(node.op_type)
        return kinds_of_executed(nodes_of_onnx(graph), kinds_of_nodes(original))

    def close(self) -> None:
        """Removes what was written."""
        self._folder.cleanup()


class _Numbered:
    """Names for nodes without one, such as those of a softmax that ran in parts.

    A profile calls them by numbers that the graph does not hold. Both list nodes in an order that
    they can run in, so those of one operator are counted off against each other.
    """

    def __init__(self) -> None:
        self._seen = Counter[str]()

    def next(self, op: str) -> str:
        """The name of the next node of `op` without one."""
        self._seen[op] += 1
        return f"{op} without a name, {self._seen[op]}"


def name_of(event: dict[str, Any]) -> str:
    """Name of the node that an event is of."""
    return str(event["name"]).removesuffix(_SUFFIX)


def node_times(
    events: list[dict[str, Any]], kinds: dict[str, Kind], calls: int, skip: int
) -> tuple[NodeTime, ...]:
    """Times of every node in `calls` calls, without the first `skip`.

    Raises DgpruneError where the profile does not hold every call of a node.
    """
    durations_ns: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith(_SUFFIX):
            told = event["args"]
            key = (told["node_index"], name_of(event), told["op_name"])
            durations_ns[key].append(1000 * event["dur"])
    if not durations_ns or any(len(found) != calls for found in durations_ns.values()):
        raise DgpruneError(
            f"ONNX Runtime's profile does not hold {calls} calls of every node; profile again"
        )
    numbered = _Numbered()
    return tuple(
        NodeTime(
            name=name,
            op=op,
            kind=kinds.get(name if name in kinds else numbered.next(op), "other"),
            durations_ns=tuple(found[skip:]),
        )
        for (_, name, op), found in durations_ns.items()
    )
