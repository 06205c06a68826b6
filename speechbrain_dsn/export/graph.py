"""A small builder of ONNX graphs.

A step of a network is some hundred operators. Written down one by one they
are what runs; a trace of the PyTorch code would hold its copies and shape
computations too, and each operator costs time.

Authors
 * The speechbrain_dsn developers 2026
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

# What onnxruntime 1.14 and anything later runs.
OPSET, IR_VERSION = 18, 8
DTYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
Value = str | np.ndarray | Tensor | float | None


class Graph:
    """Collects operators; values go by their names.

    Arguments
    ---------
    outer : Graph, optional
        The graph that this one is a branch of, whose values it may use.
    single : bool
        Whether the axis of streams has size 1; a branch is as its outer
        graph.

    Example
    -------
    >>> graph = Graph()
    >>> x = graph.input("x", (1, 4))
    >>> y = graph("Softmax", graph("Mul", x, 2.0), axis=-1)
    >>> graph.output("y", y, (1, 4))
    >>> [node.op_type for node in graph.model().graph.node]
    ['Mul', 'Softmax']
    """

    def __init__(self, outer: Graph | None = None, single: bool = True) -> None:
        self.single = outer.single if outer else single
        self._counter = outer._counter if outer else [0]
        self._outermost = outer._outermost if outer else self
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._known: dict[tuple, str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def __call__(
        self, operator: str, *inputs: Value, results: int = 1, **attributes
    ) -> str | list[str]:
        """Adds an operator.

        Arguments
        ---------
        operator : str
            Its name in the ONNX standard.
        *inputs : str or array or Tensor or float or None
            Names of values, constants, or None for an input left out.
        results : int
            How many outputs it has.
        **attributes
            As the standard names them, and ``domain`` if it is another's.

        Returns
        -------
        str or list of str
            Name of the result, or names if there are several.
        """
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        out = [self._name(operator) for _ in range(results)]
        self._nodes.append(helper.make_node(operator, names, out, **attributes))
        return out if results > 1 else out[0]

    def constant(self, value: np.ndarray | Tensor | float | None) -> str:
        """Adds a constant; equal ones are stored once.

        Arguments
        ---------
        value : array or Tensor or float or None
            Floats are stored as float32.

        Returns
        -------
        str
            Its name, empty for None.
        """
        if value is None:
            return ""
        if isinstance(value, Tensor):
            value = weight(value)
        value = np.array(value, order="C")
        if value.dtype.kind == "f":
            value = value.astype(np.float32)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = self._name("weight")
            self._weights.append(
                numpy_helper.from_array(value, self._known[key])
            )
        return self._known[key]

    def shared(self, value: np.ndarray | Tensor | float) -> str:
        """Adds a constant that several branches use, once for all of them.

        Arguments
        ---------
        value : array or Tensor or float
            As for `constant`.

        Returns
        -------
        str
            Its name.
        """
        return self._outermost.constant(value)

    def stored(self, value: np.ndarray | Tensor | float) -> str:
        """Adds a constant where it is used, or, as branches for many streams
        run the same layers, once for all of them.

        Arguments
        ---------
        value : array or Tensor or float
            As for `constant`.

        Returns
        -------
        str
            Its name.
        """
        return self.constant(value) if self.single else self.shared(value)

    def reshape(self, x: str, *shape: int) -> str:
        """Adds a view of the same values in another shape.

        Arguments
        ---------
        x : str
            A value.
        *shape : int
            One axis may be -1.

        Returns
        -------
        str
            Name of the result.
        """
        return self("Reshape", x, np.array(shape, np.int64))

    def input(
        self, name: str, shape: Sequence[int | str], dtype: str = "float32"
    ) -> str:
        """Declares an input of the model.

        Arguments
        ---------
        name : str
            Its name.
        shape : sequence of int or str
            A name stands for a size known only at run time.
        dtype : str
            A key of ``DTYPES``.

        Returns
        -------
        str
            The name.
        """
        self._inputs.append(
            helper.make_tensor_value_info(name, DTYPES[dtype], shape)
        )
        return name

    def output(
        self,
        name: str,
        value: str,
        shape: Sequence[int | str],
        dtype: str = "float32",
    ) -> None:
        """Declares an output of the model.

        Arguments
        ---------
        name : str
            Its name.
        value : str
            What it is; from here on it goes by the output's name.
        shape : sequence of int or str
            As for an input.
        dtype : str
            A key of ``DTYPES``.
        """
        for node in _nested(self._nodes):
            for names in (node.input, node.output):
                for index, old in enumerate(names):
                    if old == value:
                        names[index] = name
        self._outputs.append(
            helper.make_tensor_value_info(name, DTYPES[dtype], shape)
        )

    def choose(
        self, condition: str, branches: Sequence[tuple[Graph, Sequence[str]]]
    ) -> list[str]:
        """Runs one of two graphs.

        Arguments
        ---------
        condition : str
            A boolean with one element.
        branches : sequence of (Graph, sequence of str)
            The graph for true and the one for false, built with this one as
            ``outer``, each with the floats that it hands out.

        Returns
        -------
        list of str
            Names of what was handed out.
        """
        bodies = []
        for graph, values in branches:
            made = {name for node in graph._nodes for name in node.output}
            for value in values:
                if value not in made:  # a branch hands out what it made
                    value = graph("Identity", value)
                graph._outputs.append(
                    helper.make_tensor_value_info(
                        value, TensorProto.FLOAT, None
                    )
                )
            bodies.append(graph._proto("branch"))
        names = self(
            "If",
            condition,
            results=len(branches[0][1]),
            then_branch=bodies[0],
            else_branch=bodies[1],
        )
        return [names] if isinstance(names, str) else names

    def model(self, metadata: dict[str, str] | None = None) -> onnx.ModelProto:
        """The finished model, checked.

        Arguments
        ---------
        metadata : dict, optional
            Texts that travel with it.

        Returns
        -------
        onnx.ModelProto
            With its weights inside.
        """
        model = helper.make_model(
            self._proto("step"),
            opset_imports=[
                helper.make_opsetid("", OPSET),
                helper.make_opsetid("com.microsoft", 1),
            ],
            ir_version=IR_VERSION,
            producer_name="speechbrain_dsn",
        )
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model, full_check=True)
        return model

    def _name(self, stem: str) -> str:
        self._counter[0] += 1
        return f"{stem.lower()}_{self._counter[0]}"

    def _proto(self, name: str) -> onnx.GraphProto:
        return helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, self._weights
        )


def _nested(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """These operators and those of their branches."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _nested(attribute.g.node)


def weight(x: Tensor) -> np.ndarray:
    """A parameter as an array that can be worked with.

    Arguments
    ---------
    x : Tensor
        Any shape.

    Returns
    -------
    np.ndarray
        A copy in float64, so that weights are combined without loss.
    """
    return x.detach().cpu().to(torch.float64).numpy().copy()
