"""Divide a graph into parts that run one after the other.

A network of much arithmetic computes a window for minutes. Between its parts, others may use the
processor. The parts are cut where few tensors are in use, such as between the blocks of a network.
Nothing is computed twice, and every operation computes what it does in one run.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from core.model.card import ModelCard
from core.model.graph import tf

SIDE = 24
"""Height and width of the window for which the sizes of tensors are computed, LR px."""

LEAST_SHARE, MOST_SHARE = 0.5, 4.0
"""Arithmetic of a part, in units of that wanted: cutting through few tensors saves memory."""


class GraphPart(NamedTuple):
    """Operations that are run at once, by the names of tensors.

    Attributes:
        feeds: what they need of what earlier parts have computed.
        fetches: what they compute for later parts; the result, if it is the last part.
        kept: what later parts need, of this part and of earlier ones.
    """

    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    kept: tuple[str, ...]


class GraphPlan:
    """The operations of a graph in the order in which they run, and the tensors between them.

    Args:
        card: of the graph.
        graph_def: the serialised graph.
        feeds: names of the tensors that are fed.
        result: name of the tensor that is computed.
        share: wanted arithmetic of a part, in units of that of the graph. An operation is not
            divided.

    Attributes:
        parts: of the graph, in the order in which they run.
        activation_bytes: largest sum of tensors in memory at a time, for each LR pixel of a window.
        constant_bytes: sum of the tensors that are the same for every window, such as weights.
    """

    def __init__(
        self,
        card: ModelCard,
        graph_def: bytes,
        feeds: Sequence[str],
        result: str,
        share: float = 1.0,
    ) -> None:
        graph = graph_of_known_shapes(card, graph_def)
        self._operations = computed_operations(graph, feeds, result)
        tensors = [x for op in self._operations for x in (*op.inputs, *op.outputs)]
        self._sizes = {x.name: size_of(x) for x in tensors}
        self._in_use = list(tensors_in_use(self._operations, feeds, result))
        done = list(accumulate(map(arithmetic, self._operations), initial=0.0))
        sizes = [self._sum(names) for names in self._in_use]
        edges = [0, *choose_cuts(done, sizes, share * done[-1]), len(self._operations)]
        spans = list(zip(edges, edges[1:], strict=False))
        self.parts = [self._part(*span) for span in spans]
        self.activation_bytes = max(self._most_bytes(*span) for span in spans) / SIDE**2
        computed = {x.name for op in self._operations for x in op.outputs}
        self.constant_bytes = self._sum(self._sizes.keys() - computed - set(feeds))

    def _sum(self, names: Iterable[str]) -> int:
        return sum(self._sizes[name] for name in names)

    def _most_bytes(self, begin: int, end: int) -> int:
        """Return the largest sum of tensors in a part, in which those that are fed stay."""
        fed = set(self._in_use[begin])
        return max(
            self._sum({*fed, *self._in_use[n], *(x.name for x in self._operations[n].outputs)})
            for n in range(begin, end)
        )

    def _part(self, begin: int, end: int) -> GraphPart:
        needed = {x.name for op in self._operations[begin:end] for x in op.inputs}
        computed = {x.name for op in self._operations[begin:end] for x in op.outputs}
        return GraphPart(
            tuple(name for name in self._in_use[begin] if name in needed),
            tuple(name for name in self._in_use[end] if name in computed),
            tuple(self._in_use[end]),
        )


def tensors_in_use(
    operations: Sequence[tf.Operation], feeds: Iterable[str], result: str
) -> Iterator[list[str]]:
    """Yield what is in memory and needed later, before each operation and after all."""
    last_uses = {x.name: n for n, op in enumerate(operations) for x in op.inputs}
    last_uses[result] = len(operations)
    in_use = [name for name in feeds if name in last_uses]
    yield in_use
    for n, op in enumerate(operations):
        in_use = [*in_use, *(x.name for x in op.outputs)]
        in_use = [name for name in in_use if last_uses.get(name, -1) > n]
        yield in_use


def choose_cuts(done: Sequence[float], sizes: Sequence[float], wanted: float) -> list[int]:
    """Return where to cut a list of operations.

    Args:
        done: arithmetic of all operations before each place, and of all.
        sizes: of the tensors in use at each place.
        wanted: arithmetic between two cuts.
    """
    cuts: list[int] = []
    begin, end = 0, len(done) - 1
    while done[end] - done[begin] > wanted:
        parts = {n: done[n] - done[begin] for n in range(begin + 1, end)}
        good = [n for n, part in parts.items() if LEAST_SHARE <= part / wanted <= MOST_SHARE]
        if good:  # a part that is twice as large has half of the tensors in use at its end
            begin = min(good, key=lambda n: (sizes[n] * max(1, parts[n] / wanted), -n))
        else:  # one operation is more
            begin = next((n for n, part in parts.items() if part > wanted), end)
        if begin == end:
            break
        cuts.append(begin)
    return cuts


def graph_of_known_shapes(card: ModelCard, graph_def: bytes) -> tf.Graph:
    """Return a graph that is never run, whose tensors have the shapes of a window of `SIDE`."""
    definition = tf.compat.v1.GraphDef.FromString(graph_def)
    for node in definition.node:
        if f"{node.name}:0" == card.input_tensor:
            node.attr["shape"].shape.CopyFrom(tf.TensorShape((1, SIDE, SIDE, 3)).as_proto())
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    return graph


def computed_operations(graph: tf.Graph, feeds: Iterable[str], result: str) -> list[tf.Operation]:
    """Return the operations between some tensors and the result, each after those it needs."""
    fed = {graph.get_tensor_by_name(name).op for name in feeds}
    reached = set(fed)
    for op in graph.get_operations():
        if any(x.op in reached for x in op.inputs):
            reached.add(op)
    needed = {graph.get_tensor_by_name(result).op}
    for op in reversed(graph.get_operations()):
        if op in needed and op not in fed:
            needed.update(x.op for x in op.inputs)
    return [op for op in graph.get_operations() if op in reached & needed and op not in fed]


def arithmetic(operation: tf.Operation) -> float:
    """Return the arithmetic of an operation; only convolutions are dear."""
    outputs = float(sum(x.shape.num_elements() or 0 for x in operation.outputs))
    if operation.type != "Conv2D":
        return outputs
    return 2 * outputs * (operation.inputs[1].shape[:3].num_elements() or 0)


def size_of(tensor: tf.Tensor) -> int:
    """Return the size of a tensor, in bytes."""
    return (tensor.shape.num_elements() or 0) * int(tensor.dtype.size)
