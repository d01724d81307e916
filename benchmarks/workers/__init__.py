"""What is measured: each module runs in a process of its own, in either environment.

The same source runs against this library and against the reference implementation, which has
the same names, so these modules use only what both document.
"""
