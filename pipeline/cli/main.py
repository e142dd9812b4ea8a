"""``xd-pipeline``: the group of all commands, each imported only when it is called."""

from xdistill.pipeline.cli import console

main = console.Commands(
    "xd-pipeline",
    help="""Teacher labels for self-supervised depth: made once, kept in a zarr store.

    \b
    Examples:
      xd-pipeline segment --data kitti --teacher ocrnet-hr48
      xd-pipeline regroup --scheme 4
      xd-pipeline info
    """,
)
