"""Sums as a person writes them down: `11.21 / 11.84`, `ln(151936)`, `16 * 24 * 5632`."""

import ast
import math
import operator
from collections.abc import Callable
from decimal import Decimal

from records.refusals import Refusal

OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda dividend, divisor: dividend / divisor,
    ast.Pow: lambda base, exponent: base**exponent,
}
FUNCTIONS: dict[str, Callable[[float], float]] = {"ln": math.log, "exp": math.exp, "sqrt": math.sqrt}


def compute(expression: str) -> float:
    """Return the value of a sum of numbers, + - * / **, brackets, ln, exp and sqrt. Raises ValueError for anything else."""
    try:
        return _value_of(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ZeroDivisionError, OverflowError, ValueError) as error:
        allowed = "numbers, + - * / **, brackets, ln, exp, sqrt"
        raise Refusal(got=f"{expression!r}: {error}", allowed=allowed) from None


def agrees(printed: float, computed: float) -> bool:
    """Return whether `computed`, rounded as `printed` is, is that number: within half a unit of its last digit."""
    exponent = Decimal(repr(printed)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    unit = 10.0 ** min(exponent, 0)
    return abs(printed - computed) <= 0.5 * unit * (1 + 1e-6)


def _value_of(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value_of(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](_value_of(left), _value_of(right))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](_value_of(argument))
        case _:
            raise ValueError(f"what is {ast.unparse(node)!r}")
