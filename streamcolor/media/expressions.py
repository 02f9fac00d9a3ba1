"""FFmpeg's expressions of the time line: ``enable='between(t,10,20)'``.

Grammar and functions as ffmpeg-utils, "Expression Evaluation", describes them, without those that remember, draw lots,
print or look at the clock. A wrong expression is refused when it is read; evaluation never fails, and does arithmetic
only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streamcolor.errors import CallError

VARIABLES = ("t", "n", "pts", "w", "h", "pos")

Values = Mapping[str, float]
Evaluate = Callable[[Values], float]

_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_WORD = re.compile(r"[A-Za-z_]\w*")
# SI prefixes behind a number; "i" after one makes it a power of 1024.
_PREFIXES = {
    "y": -24, "z": -21, "a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "c": -2, "d": -1,
    "h": 2, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "Z": 21, "Y": 24,
}  # fmt: skip
_CONSTANTS = {"PI": math.pi, "E": math.e, "PHI": (1 + math.sqrt(5)) / 2}
_DEEPEST = 100
_ENOUGH = 0.5


def _guarded(function: Callable[..., float]) -> Callable[..., float]:
    """What C's floating point gives where Python raises: infinity or not a number."""

    def call(*arguments: float) -> float:
        try:
            return float(function(*arguments))
        except OverflowError:
            return math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan

    return call


def _divide(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if not a or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def _round(x: float) -> float:
    return math.copysign(math.floor(abs(x) + 0.5), x)


# Name -> (least and most arguments, function).
_FUNCTIONS: dict[str, tuple[int, int, Callable[..., float]]] = {
    **{
        name: (1, 1, _guarded(getattr(math, name)))
        for name in ("acos", "asin", "atan", "ceil", "cos", "cosh", "exp", "floor", "sin", "sinh", "sqrt", "tan")
    },
    "tanh": (1, 1, math.tanh),
    "trunc": (1, 1, _guarded(math.trunc)),
    "round": (1, 1, _guarded(_round)),
    "log": (1, 1, _guarded(math.log)),
    "abs": (1, 1, abs),
    "sgn": (1, 1, lambda x: (x > 0) - (x < 0)),
    "not": (1, 1, lambda x: x == 0),
    "isnan": (1, 1, math.isnan),
    "isinf": (1, 1, math.isinf),
    "gauss": (1, 1, _guarded(lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi))),
    "squish": (1, 1, _guarded(lambda x: 1 / (1 + math.exp(4 * x)))),
    "atan2": (2, 2, math.atan2),
    "hypot": (2, 2, math.hypot),
    "pow": (2, 2, _guarded(math.pow)),
    "mod": (2, 2, _guarded(lambda a, b: a - math.floor(_divide(a, b)) * b)),
    "gcd": (2, 2, _guarded(lambda a, b: math.gcd(int(a), int(b)))),
    "bitand": (2, 2, _guarded(lambda a, b: int(a) & int(b))),
    "bitor": (2, 2, _guarded(lambda a, b: int(a) | int(b))),
    "min": (2, 2, lambda a, b: a if a < b else b),
    "max": (2, 2, lambda a, b: a if a > b else b),
    "eq": (2, 2, lambda a, b: a == b),
    "gt": (2, 2, lambda a, b: a > b),
    "gte": (2, 2, lambda a, b: a >= b),
    "lt": (2, 2, lambda a, b: a < b),
    "lte": (2, 2, lambda a, b: a <= b),
    "between": (3, 3, lambda x, low, high: low <= x <= high),
    "clip": (3, 3, lambda x, low, high: math.nan if low > high else min(max(x, low), high)),
    "lerp": (3, 3, lambda x, y, z: x + (y - x) * z),
    "if": (2, 3, lambda x, y, z=0.0: y if x else z),
    "ifnot": (2, 3, lambda x, y, z=0.0: z if x else y),
}


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that has been read. ``text`` is how it was written."""

    text: str
    _evaluate: Evaluate

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read an expression of ``VARIABLES``. Raises CallError that says where it stops making sense."""
        return cls(text, _Parser(text).whole())

    def value(self, values: Values) -> float:
        """The number; a variable that is not among ``values`` is not a number."""
        return self._evaluate(values)

    def holds(self, values: Values) -> bool:
        """As FFmpeg decides whether a filter is enabled: a value of 0.5 or more, whatever its sign."""
        return abs(self.value(values)) >= _ENOUGH


class _Parser:
    """Recursive descent: sequence ; sum + - ; product * / ; power ^ ; sign ; number, variable, call or parentheses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self) -> Evaluate:
        result = self._sequence()
        if self._peek():
            raise self._wrong(f"{self._text[self._at :]!r} is left over")
        return result

    def _sequence(self) -> Evaluate:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong("the parentheses go too deep")
        result = self._sum()
        while self._take(";"):
            result = self._sum()
        self._depth -= 1
        return result

    def _sum(self) -> Evaluate:
        result = self._product()
        while (sign := self._peek()) in ("+", "-"):
            self._at += 1
            # Both operands must be bound now: the names change.
            result = _joined(_add if sign == "+" else _subtract, result, self._product())
        return result

    def _product(self) -> Evaluate:
        result = self._power()
        while (sign := self._peek()) in ("*", "/"):
            self._at += 1
            result = _joined(_multiply if sign == "*" else _divide, result, self._power())
        return result

    def _power(self) -> Evaluate:
        negative = self._sign()
        result = self._primary()
        while self._take("^"):
            exponent_negative = self._sign()
            exponent = self._primary()
            result = _joined(_guarded(math.pow), result, _negated(exponent) if exponent_negative else exponent)
        return _negated(result) if negative else result

    def _sign(self) -> bool:
        sign = self._peek()
        if sign in ("+", "-"):
            self._at += 1
        return sign == "-"

    def _primary(self) -> Evaluate:
        if self._take("("):
            inner = self._sequence()
            self._expect(")")
            return inner
        self._peek()
        number = _NUMBER.match(self._text, self._at)
        if number is not None:
            self._at = number.end()
            return _constant(self._scaled(number[0]))
        word = _WORD.match(self._text, self._at)
        if word is None:
            rest = self._text[self._at :]
            raise self._wrong(
                f"a number, variable or function is missing before {rest!r}" if rest else "it ends too early"
            )
        self._at = word.end()
        if self._take("("):
            return self._call(word[0])
        if word[0] in _CONSTANTS:
            return _constant(_CONSTANTS[word[0]])
        if word[0] not in VARIABLES:
            raise self._wrong(f"there is no variable {word[0]!r}, only {', '.join(VARIABLES)}")
        name = word[0]
        return lambda values: float(values.get(name, math.nan))

    def _scaled(self, number: str) -> float:
        """A number with what may stand behind it: decibels, or an SI prefix, and B for 8 (av_strtod)."""
        value = float(int(number, 16)) if number[:2].lower() == "0x" else float(number)
        if self._text.startswith("dB", self._at):
            self._at += 2
            return 10 ** (value / 20)
        prefix = self._text[self._at : self._at + 1]
        if prefix and prefix in _PREFIXES:
            self._at += 1
            power = _PREFIXES[prefix]
            binary = power % 3 == 0 and self._text.startswith("i", self._at)
            self._at += binary
            value *= 1024.0 ** (power // 3) if binary else 10.0**power
        if self._text.startswith("B", self._at):
            self._at += 1
            value *= 8
        return value

    def _call(self, name: str) -> Evaluate:
        if name not in _FUNCTIONS:
            raise self._wrong(f"there is no function {name!r}, only {', '.join(sorted(_FUNCTIONS))}")
        arguments = [self._sequence()]
        while self._take(","):
            arguments.append(self._sequence())
        self._expect(")")
        least, most, function = _FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            wanted = f"{least}" if least == most else f"{least} or {most}"
            raise self._wrong(f"{name} takes {wanted} arguments, not {len(arguments)}")
        return lambda values: float(function(*(argument(values) for argument in arguments)))

    def _peek(self) -> str:
        """The next character that is not blank; '' at the end."""
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._take(character):
            raise self._wrong(
                f"{character!r} is missing at {self._text[self._at :]!r}"
                if self._peek()
                else f"{character!r} is missing at its end"
            )

    def _wrong(self, why: str) -> CallError:
        return CallError(f"the expression {self._text!r} cannot be read: {why}")


def _constant(value: float) -> Evaluate:
    return lambda values: value


def _negated(operand: Evaluate) -> Evaluate:
    return lambda values: -operand(values)


def _joined(function: Callable[[float, float], float], left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda values: function(left(values), right(values))


def _add(a: float, b: float) -> float:
    return a + b


def _subtract(a: float, b: float) -> float:
    return a - b


def _multiply(a: float, b: float) -> float:
    return a * b
