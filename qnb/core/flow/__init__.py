"""Labels that follow the data: what a cell reads and binds, and what that makes of its label.

Enters: the source of a cell, code objects, marks on names. Leaves: which names it reads, binds and changes, which of
its constructs nobody can follow, and why a label is what it is, in words and as a picture.
Never: runs, imports or looks at a value; that is `qnb.kernel.flow`.
"""
