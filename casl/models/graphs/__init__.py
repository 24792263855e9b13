"""Detectors as graphs that run without casl: one image in, boxes, scores and labels out, suppression included.

The graph of a detector is a module that `torch.jit.trace` follows for images of any size: it has no branch that depends
on what is found. A row of the catalog names it, casl/stages/graph_files.py writes it.
"""
