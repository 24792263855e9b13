"""Data sets from what annotation tools export: Pascal VOC, YOLO, LabelMe, COCO, VIA, or a plain folder of images.

A reader (`voc`, `yolo`, `labelme`, `coco`, `via`, `native`) turns one format into a `Source`; `fit` moves its shapes
onto upright images and judges them; `near` finds near copies; `draw` draws the splits; `write` links the images and
writes the set with its manifest. `make` does these in order.
"""
