"""Read by every Python that has this folder on its path: puts misbehaving stages in the place of two real kinds."""

from dataclasses import replace

from casl import catalog

for kind in ("scenes", "labeler"):
    catalog.STAGES[kind] = replace(catalog.STAGES[kind], run=f"tests.runner.odd.stages:{kind}")
