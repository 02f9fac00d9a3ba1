from __future__ import annotations

import math
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcolor.errors import CallError
from streamcolor.media.expressions import Expression

EXPRESSIONS = (
    "between(t,0.25,1)", "gte(t,0.5)*lt(t,1.25)+eq(n,1)", "if(gt(n,3),t,-1)", "ifnot(mod(n,3),7)", "if(n,2)",
    "not(n)", "1+2*3-4/8", "-2^2", "2^-1", "2^3^2", "(1+2)*3", "+3--2", "1;2;n", "PI*E/PHI", "1k+2Ki", "5m+3u+1M",
    "0x1F", "1e3", ".5", "mod(-7,3)", "mod(7,-3)", "floor(-1.5)+ceil(-1.5)+trunc(-1.5)", "round(2.5)+round(-2.5)",
    "abs(-3)+sgn(-2)+max(1,n)+min(1,n)", "clip(n,2,4)", "lerp(1,3,t)", "hypot(3,4)", "atan2(1,2)", "gcd(12,18)",
    "bitand(12,10)+bitor(12,10)", "sqrt(2)+exp(1)+log(2)", "sin(t)+cos(t)+tan(t)+asin(0.1)+acos(0.1)+atan(2)",
    "sinh(1)+cosh(1)+tanh(1)", "gauss(1)", "squish(0.1)", "isnan(0/0)+2*isinf(1/0)", "pow(2,10)", "lte(n,2)",
    "1/0", "0/0", "2B", "1KiB", "log(-1)", "2 * ( n + 1 )", "10dB", "gte(n,2)*not(eq(n,5))",
)  # fmt: skip
# ffmpeg knows layouts of up to 8 channels by number.
CHANNELS = 8


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
def test_values_are_those_of_ffmpeg() -> None:
    """The audio source aevalsrc computes an expression of t and n for every sample."""
    for first in range(0, len(EXPRESSIONS), CHANNELS):
        some = EXPRESSIONS[first : first + CHANNELS]
        graph = f"aevalsrc=exprs='{'|'.join(some)}':s=8:d=1.5:c={len(some)}c"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", graph, "-f", "f64le", "-c:a", "pcm_f64le", "-"]
        said = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
        theirs = np.frombuffer(said, np.float64).reshape(-1, len(some))
        assert len(theirs) == 12
        for column, text in enumerate(some):
            expression = Expression.parse(text)
            mine = [expression.value({"n": n, "t": n / 8}) for n in range(len(theirs))]
            np.testing.assert_allclose(mine, theirs[:, column], rtol=1e-12, err_msg=text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ends too early"),
        ("between(t,1,2", "')' is missing"),
        ("between(t,1)", "between takes 3 arguments, not 2"),
        ("t &&n", "left over"),
        ("seconds>1", "no variable 'seconds', only t, n"),
        ("__import__(1)", "no function '__import__'"),
        ("random(0)", "no function 'random'"),
        ("1+", "ends too early"),
        ("1 2", "'2' is left over"),
        ("(" * 200 + "1" + ")" * 200, "too deep"),
    ],
)
def test_wrong_expressions(text: str, says: str) -> None:
    with pytest.raises(CallError) as error:
        Expression.parse(text)
    assert says in str(error.value)


@given(st.text("tn0123456789.+-*/^();,eifltbgmod xk", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        expression = Expression.parse(text)
    except CallError:
        return
    assert isinstance(expression.holds({"t": 1.5, "n": 3}), bool)


def test_a_value_of_a_half_holds() -> None:
    assert Expression.parse("0.5").holds({}) and Expression.parse("-1").holds({})
    assert not Expression.parse("0.49").holds({})
    assert not Expression.parse("pos").holds({"t": 1.0})
    assert math.isnan(Expression.parse("w").value({}))
