"""Values in the text of an error: as long as a reader can use them."""

import reprlib


def make_shortener(*, levels: int) -> reprlib.Repr:
    """What renders values, down to that many levels of nesting."""
    shorten = reprlib.Repr()
    shorten.maxlevel = levels
    shorten.maxstring = 100
    shorten.maxother = 100
    shorten.maxlist = 8
    shorten.maxtuple = 8
    shorten.maxdict = 12
    return shorten
