"""The small arithmetic that Timeloop v0.4 allows in attributes; read from the syntax tree, never executed."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

from heat_sim.errors import SpecError
from heat_sim.specs.cursor import MAX_INTEGER, suggest

Value = int | float | str | bool | None
"""What an attribute can hold; None is YAML's null."""

Number = int | float

MAX_CHARACTERS = 200
MAX_NESTING = 20

FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "float": float,
    "floor": math.floor,
    "int": int,
    "len": len,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": round,
    "sqrt": math.sqrt,
    "sum": sum,
}

_COMPARISONS: dict[type[ast.cmpop], Callable[[Number, Number], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def evaluate_expression(text: str, *, scope: Mapping[str, Value]) -> Value:
    """Return the value of an arithmetic expression.

    Operators ``+ - * / // % ** << >>``, parentheses, numbers, names in scope (dotted ones too), `FUNCTIONS`,
    also of lists such as ``sum([2, 3])``, and ``x if a < b else y``. As in Python, ``/`` gives a float.

    Args:
        text: For example ``"ceil(1000 / row_words)"``.
        scope: Values of the names.

    Raises:
        SpecError: One sentence saying which part is not allowed or fails.

    >>> evaluate_expression("ceil(1000 / row_words) * 2**3", scope={"row_words": 16})
    504
    """
    if len(text) > MAX_CHARACTERS:
        raise SpecError(f"longer than {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise SpecError("not an arithmetic expression; put plain words in quotes") from error
    try:
        return _value(tree.body, scope, 0)
    except SpecError:
        raise
    except (ArithmeticError, TypeError, ValueError) as error:
        raise SpecError(f"it fails with: {error}") from error


def _value(node: ast.expr, scope: Mapping[str, Value], depth: int) -> Value:
    if depth > MAX_NESTING:
        raise SpecError(f"nested more than {MAX_NESTING} deep")
    if isinstance(node, ast.Constant):
        return _bounded(node.value)
    if isinstance(node, ast.Name | ast.Attribute):
        name = _dotted(node)
        if name not in scope:
            raise SpecError(f"name {name} is not in scope.{suggest(name, scope)}")
        return scope[name]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        operand = _number(node.operand, scope, depth)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.BinOp):
        return _bounded(_binary(node.op, _number(node.left, scope, depth), _number(node.right, scope, depth)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in FUNCTIONS:
            raise SpecError(f"function {node.func.id} is not one of {', '.join(FUNCTIONS)}")
        arguments = [
            [_number(item, scope, depth) for item in argument.elts]
            if isinstance(argument, ast.List | ast.Tuple)
            else _number(argument, scope, depth)
            for argument in node.args
        ]
        return _bounded(FUNCTIONS[node.func.id](*arguments))
    if isinstance(node, ast.IfExp):
        return _value(node.body if _holds(node.test, scope, depth) else node.orelse, scope, depth + 1)
    raise SpecError(f"{type(node).__name__} is not allowed")


def _holds(node: ast.expr, scope: Mapping[str, Value], depth: int) -> bool:
    """Decide ``a < b`` and the like, or whether a value counts as true."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        left, right = _number(node.left, scope, depth), _number(node.comparators[0], scope, depth)
        return _COMPARISONS[type(node.ops[0])](left, right)
    return bool(_value(node, scope, depth + 1))


def _dotted(node: ast.expr) -> str:
    """Spell ``GLB.attributes.width``; the parts are looked up as one name, nothing is dereferenced."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise SpecError(f"{type(node).__name__} is not allowed before a dot")


def _number(node: ast.expr, scope: Mapping[str, Value], depth: int) -> Number:
    value = _value(node, scope, depth + 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{value!r} is not a number")
    return value


def _binary(sign: ast.operator, left: Number, right: Number) -> Number:
    match sign:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case ast.Pow():
            if abs(right) > 64 or abs(left) > MAX_INTEGER:
                raise SpecError("power too large")
            result = left**right
            if isinstance(result, complex):
                raise SpecError("root of a negative number")
            return float(result) if isinstance(result, float) else int(result)
        case ast.LShift() | ast.RShift() if isinstance(left, int) and isinstance(right, int):
            if right > 64:
                raise SpecError("shift too large")
            return left << right if isinstance(sign, ast.LShift) else left >> right
        case ast.BitXor():
            raise SpecError("^ is exclusive or; a power is written **")
    raise SpecError(f"operator {type(sign).__name__} is not allowed")


def _bounded(value: object) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{value!r} is not a number")
    if not abs(value) <= MAX_INTEGER:
        raise SpecError("a number beyond 2**53")
    return value
