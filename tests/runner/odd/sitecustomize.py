"""Read by every Python that has this folder on its path: puts misbehaving stages in the place of two real kinds."""

from casl import catalog

catalog.STAGES["scenes"] = "tests.runner.odd.stages:scenes"
catalog.STAGES["labeler"] = "tests.runner.odd.stages:labeler"
