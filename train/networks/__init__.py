"""One architecture a file.

A file that defines ``DEPTH_NETWORKS``, a table from the names that recipes may give as ``encoder``
to functions that build the network of a recipe, adds these depth networks: nothing else is edited.
"""
