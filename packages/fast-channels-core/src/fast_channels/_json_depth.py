"""How deeply a JSON text is nested, without parsing it."""

import re
from itertools import accumulate
from typing import Final

# A string, its escapes included, or a run of what is neither a bracket nor a string. Possessive,
# so that no text takes more than one pass.
_NOT_BRACKETS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^"\[\]{}]++', re.DOTALL)
_STEPS: Final = {"[": 1, "{": 1, "]": -1, "}": -1}


def is_deeper_than(limit: int, text: str) -> bool:
    """Whether more than ``limit`` arrays and objects are nested in a JSON text.

    ``1`` has depth 0 and ``[1]`` depth 1. Of a text that is not JSON, what comes before the fault
    is judged right, which is as far as a parser goes; nothing is raised for it.
    """
    # Nearly every text ends here, for the price of two searches.
    if text.count("[") + text.count("{") <= limit:
        return False
    brackets = _NOT_BRACKETS.sub("", text)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > limit
