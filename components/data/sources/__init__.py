"""Reads the shop's own files and the exported feedback as tables of the contract (``schema``).

``files`` finds and opens them, ``columns`` names and types their columns, and one module for each
table of the contract (``interactions``, ``items``, ``users``, ``reviews``) completes its rows.
Rows are not judged here: a value that cannot be read as its type becomes null, and the stage
``validate`` quarantines the row.

Tables are Ibis expressions on an embedded DuckDB, so no table has to fit into memory.
"""
