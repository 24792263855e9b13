"""The downstream detectors of Table 10: torchvision's own, on this package's backbone and pyramid."""
