"""Cascade R-CNN: detectron2's own on our backbone and pyramid.

Source: Cascade R-CNN (CVPR 2018) with the numbers of detectron2's configs/Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml, its
masks aside. It differs from `cascade_rcnn`: the first stage alone draws regions and adds the boxes of the targets,
later ones learn from all that the one before refined; losses of the stages have equal weight, and instead the pyramid
gets a third of the gradient of each; crops are of aligned corners.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from casl.models.detect import InferenceSettings
from casl.models.frameworks.cascade_rcnn import CascadeRCNNSettings
from casl.models.frameworks.detectron2_adapter import built_with_detectron2
from casl.models.frameworks.detectron2_rcnn import Detectron2FasterRCNN, box_head, box_predictor, matcher, regions


class Detectron2CascadeRCNN(Detectron2FasterRCNN):
    """Reads P2..P6. Losses are "loss_rpn_cls" and "loss_rpn_loc", and of stage t, from 0 on, "loss_cls_stage<t>" and
    "loss_box_reg_stage<t>".

    Of the settings `stage_weights` and `test_regions` are not used: detectron2 weighs stages alike, and every proposal
    is refined.
    """

    proposals: ClassVar[int] = 2000
    settings: CascadeRCNNSettings

    def limit(self, settings: InferenceSettings) -> None:
        """Thresholds of the proposals and of the selection, which those of the last stage decide."""
        self.framework.proposal_generator.pre_nms_topk[False] = settings.topk
        predictor = self.framework.roi_heads.box_predictor[-1]
        predictor.test_score_thresh, predictor.test_nms_thresh = settings.score_threshold, settings.nms
        predictor.test_topk_per_image = settings.max_detections

    def _heads(self) -> Any:
        from detectron2.modeling.roi_heads import CascadeROIHeads

        stages = range(len(self.settings.ious))
        one_box: Mapping[str, Any] = {"cls_agnostic_bbox_reg": True, "smooth_l1_beta": self.loss_beta}
        return CascadeROIHeads(
            **regions(self.num_classes, self.settings),
            proposal_matchers=[matcher(iou) for iou in self.settings.ious],
            box_heads=[box_head(self.settings) for _ in stages],
            box_predictors=[
                box_predictor(self.num_classes, self.settings, code, **one_box) for code in self.settings.codes
            ],
        )


build = built_with_detectron2("d2_cascade_rcnn", CascadeRCNNSettings, Detectron2CascadeRCNN)
