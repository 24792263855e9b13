"""casl inside detectron2: our backbones and detectors in its registries, our data sets in its catalogs.

Nothing happens by importing this: call `register()`, and `register_data(name, folder)` for a data set. detectron2
itself is imported then.
"""

from casl.detectron2.config import add_casl_config
from casl.detectron2.data import register_data
from casl.detectron2.register import register

__all__ = ["add_casl_config", "register", "register_data"]
