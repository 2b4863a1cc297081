"""Named tuples made of their fields in order: to take them by name costs as much as all the rest of a connection's summary.

Compiled, `new` comes from named.pxd.
"""

new = tuple.__new__
