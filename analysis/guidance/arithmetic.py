"""Sums as a person writes them down: `11.21 / 11.84`, `ln(151936)`, `1 - {peak_memory.lora} / {peak_memory.full}`.

A name in braces is a published figure, which was rounded before it was printed: a sum of such figures is a span, from the least to the
greatest value that it has for any numbers that round to them.
"""

import ast
import itertools
import math
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from scipy.stats import t as student

from records.refusals import Refusal


def _two_sided(t: float, degrees: float) -> float:
    return 2 * float(student.sf(abs(t), degrees))


OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda dividend, divisor: dividend / divisor,
    ast.Pow: lambda base, exponent: base**exponent,
}
FUNCTIONS: dict[str, tuple[int, Callable[..., float]]] = {  # name -> how many numbers it takes, and what it makes of them
    "ln": (1, math.log),
    "exp": (1, math.exp),
    "sqrt": (1, math.sqrt),
    "ceil": (1, math.ceil),
    "t_quantile": (2, student.ppf),  # a share, degrees of freedom
    "p_of_t": (2, _two_sided),
}
FIGURE = re.compile(r"\{([^{}]+)\}")
RELATION = re.compile(r"\s(<|>|==)\s")
EXACT = 1e-6  # of half a unit, by which a number in binary may miss it

Figures = Mapping[str, float]  # a published figure by its name
Span = tuple[float, float]  # least, greatest


def compute(expression: str) -> float:
    """Return the value of a sum of numbers, + - * / **, brackets and FUNCTIONS. Raises ValueError for anything else."""
    try:
        return _value_of(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ZeroDivisionError, OverflowError, ValueError) as error:
        allowed = f"numbers, + - * / **, brackets, {', '.join(FUNCTIONS)}"
        raise Refusal(got=f"{expression!r}: {error}", allowed=allowed) from None


def agrees(printed: float, computed: float | Span) -> bool:
    """Return whether `computed`, or a number of that span, rounded as `printed` is, is that: within half a unit of its last digit."""
    low, high = computed if isinstance(computed, tuple) else (computed, computed)
    half = half_unit(printed) * (1 + EXACT)
    return low - half <= printed <= high + half


def half_unit(printed: float) -> float:
    """Return half a unit of a printed number's last digit; of a whole number, a half."""
    exponent = Decimal(repr(printed)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0 ** min(exponent, 0)


def fill_in(expression: str, figures: Figures) -> str:
    """Return a sum with figures in the place of their names. Raises ValueError for a name that none has."""
    return FIGURE.sub(lambda found: _write(_look_up(found[1], figures)), expression)


def show_sum(expression: str, figures: Figures) -> str:
    """Return a sum or a comparison with its figures, in the signs that people write. Raises ValueError for a name that none has."""
    return fill_in(expression, figures).replace("**2", "²").replace("*", "×").replace("==", "≈")


def find_span(expression: str, figures: Figures) -> Span:
    """Return the least and the greatest value of a sum, for figures up to half a unit of their last digit off.

    They lie at the ends of what each figure may have been, since a sum that names a figure rises or falls with it. Raises ValueError.
    """
    names = list(dict.fromkeys(FIGURE.findall(expression)))
    printed = {name: _look_up(name, figures) for name in names}
    ends = [(value - half_unit(value), value + half_unit(value)) for value in printed.values()]
    values = [compute(fill_in(expression, dict(zip(names, corner, strict=True)))) for corner in itertools.product(*ends)]
    return min(values), max(values)


def split_relation(relation: str) -> tuple[str, str, str]:
    """Return the two sums of `left < right`, and what stands between them. Raises ValueError where it is none."""
    parts = RELATION.split(relation)
    if len(parts) != 3:
        raise Refusal(got=repr(relation), allowed="two sums with <, > or == between them")
    return parts[0], parts[1], parts[2]


def relates(relation: str, figures: Figures) -> bool | None:
    """Return whether `left < right` is so of all numbers that round to the figures; None where it is so of some.

    Of `left == right`, whether it is so of some. Raises ValueError.
    """
    left, sign, right = split_relation(relation)
    low, high = find_span(f"({left}) - ({right})", figures)
    near = EXACT * max(abs(low), abs(high), EXACT)
    if sign == "==":
        return low <= near and high >= -near
    if sign == "<":
        low, high = -high, -low
    return True if low > near else False if high <= near else None


def _look_up(name: str, figures: Figures) -> float:
    if name not in figures:
        raise Refusal(got=f"{{{name}}}", allowed="the name of a claim, a dot, the key of a figure that it published")
    return figures[name]


def _write(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _value_of(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value_of(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](_value_of(left), _value_of(right))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if FUNCTIONS.get(name, (-1,))[0] == len(arguments):
            return float(FUNCTIONS[name][1](*map(_value_of, arguments)))
        case _:
            raise ValueError(f"what is {ast.unparse(node)!r}")
