"""COCO's formats: how masks are written, what a legal record is, and the readers of annotation and result files.

`casl.coco.judge` decides what is legal. The check of a data set, the readers of annotations, every metric and
`casl score` ask it, so all of them accept the same records and refuse the others with the same sentence.
"""
