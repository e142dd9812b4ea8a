"""One architecture a file.

A file that defines ``ENCODERS``, a table from the names that recipes may give as ``encoder`` to
functions that build the encoder of a recipe, adds these encoders: nothing else is edited.
``DECODERS`` does the same for ``decoder``.
"""
