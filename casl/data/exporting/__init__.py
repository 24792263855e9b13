"""Labels for other trainers: COCO, YOLO and Pascal VOC files of pseudo labels, with their scores.

`make` chooses the writer of a format; every writer's files can be read again by the readers of casl/data/importing.
"""
